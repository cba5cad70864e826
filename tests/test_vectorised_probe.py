"""What is found out before anything is trained: noise, hyperparameters, what only loops can train, and what is said of the rest."""

import numpy as np
import pytest
import torch
import torch.utils.checkpoint
from torch import distributions, nn
from torch.nn import functional

import lamarck as lk
from lamarck.engines.vectorised.torch import Supervised

MEMBERS, STEPS = 3, 4
SGD = {"optimizer": "sgd", "optimizer_settings": {"momentum": 0.9}}
"""Adam makes a step of any size out of a gradient that is zero but for rounding, as that of the bias of attention's keys."""
SPACE = lk.Space(lr=lk.Float(1e-3, 1e-1, log=True))


def loss(model, batch, hparams):
    return functional.cross_entropy(model(batch[0]), batch[1])


def data(dtype=torch.float32):
    rng = torch.Generator().manual_seed(0)
    return torch.randn(24, 8, generator=rng).to(dtype), torch.randint(0, 3, (24,), generator=rng)


def task(build, loss=loss, dtype=torch.float32, **more):
    x, y = data(dtype)
    return Supervised(lambda: build().to(dtype), loss, **{"train": (x, y), "test": (x, y), "batch_size": 8, "optimizer": "adam"} | more)


def intervals(size=MEMBERS, steps=STEPS, **hparams):
    return lk.Intervals(
        members=np.arange(size),
        generations=np.zeros(size, dtype=int),
        hparams={"lr": np.linspace(0.001, 0.01, size)} | {name: np.asarray(column) for name, column in hparams.items()},
        start=np.zeros(size, dtype=int),
        steps=steps,
        seeds=np.arange(size) + 10,
    )


def fitted(trainer, told=None, members=range(MEMBERS)):
    rows = np.array(list(members))
    told = (told or intervals()).rows(rows)
    state = trainer.fit(trainer.init(rows), told)
    return state, trainer.evaluate(state, told).values


def equal(state, other, rows=slice(None), dtype=torch.float32):
    close = 1e-9 if dtype == torch.float64 else 2e-5
    for mine, theirs in zip(state.tensors(), other.tensors(), strict=True):
        torch.testing.assert_close(mine[rows], theirs, rtol=close, atol=close)


class Layer(nn.Module):
    """A linear layer, and something done before and after it."""

    def __init__(self, after=lambda x: x, before=lambda x: x, make=lambda: nn.Linear(8, 3)):
        super().__init__()
        self.inner, self.before, self.after = make(), before, after

    def forward(self, x):
        return self.after(self.inner(self.before(x)))


def made(**how):
    return lambda: nn.Sequential(Layer(**how))


# ---- noise --------------------------------------------------------------------------------------------------------------------------------


class Encoder(nn.Module):
    """An autoencoder's first half: what it says is drawn."""

    def __init__(self):
        super().__init__()
        self.mean, self.log_scale = nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x):
        return distributions.Normal(self.mean(x), self.log_scale(x).exp()).rsample()


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.rnn, self.out = kind(2, 4, 2, dropout=0.4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.out(self.rnn(x.reshape(len(x), 4, 2))[0][:, -1])


NOISY = {
    "randn_like": made(before=lambda x: x + 0.5 * torch.randn_like(x)),
    "rand": made(after=lambda x: x + torch.rand(3)),
    "rsample": Encoder,
    "alpha dropout": lambda: nn.Sequential(nn.Linear(8, 16), nn.SELU(), nn.AlphaDropout(0.3), nn.Linear(16, 3)),
    "gru": lambda: Recurrent(nn.GRU),
    "lstm": lambda: Recurrent(nn.LSTM),
    "encoder": lambda: nn.Sequential(nn.Unflatten(1, (2, 4)), nn.TransformerEncoderLayer(4, 2, 8, 0.3), nn.Flatten(), nn.Linear(8, 3)),
    "mixed up": made(before=lambda x: 0.7 * x + 0.3 * x[torch.randperm(len(x))]),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", list(NOISY))
def test_a_members_noise_is_its_own(name, dtype):
    settings = {"dtype": dtype} | SGD
    batched, values = fitted(task(NOISY[name], how="batched", **settings))
    looped, others = fitted(task(NOISY[name], how="looped", **settings))
    equal(batched, looped, dtype=dtype)
    np.testing.assert_allclose(values, others, rtol=1e-9 if dtype == torch.float64 else 1e-3)
    for member in range(MEMBERS):
        for how in ("batched", "looped"):
            alone, _ = fitted(task(NOISY[name], how=how, **settings), members=[member])
            equal(batched, alone, rows=slice(member, member + 1), dtype=dtype)


def noisy_loss(model, batch, hparams):
    return functional.cross_entropy(model(batch[0]) + torch.randn(3), batch[1])


def noisy_evaluate(model, batch, hparams):
    return functional.cross_entropy(model(batch[0]) + torch.randn(3), batch[1], reduction="none")


def drawn_by_numpy(model, batch, hparams):
    return functional.cross_entropy(model(batch[0]) + float(np.random.normal()) * torch.randn(3), batch[1])


@pytest.mark.parametrize(
    ("loss", "evaluate", "how"),
    [
        (noisy_loss, noisy_evaluate, "batched"),
        (noisy_loss, noisy_evaluate, "looped"),
        (noisy_loss, drawn_by_numpy, "batched"),
        (drawn_by_numpy, drawn_by_numpy, "looped"),
    ],
)
def test_decisions_are_those_of_the_inline_engine_whatever_is_drawn(loss, evaluate, how):
    settings = {"population_size": 6, "interval": 3, "generations": 4, "mode": "min", "seed": 3}
    settings["exploit"] = lk.exploit.Truncation(bottom=0.4, top=0.4)
    trainer = task(made(), loss, evaluate=evaluate, how=how, dtype=torch.float64)
    engines = (lk.Vectorised(processes=1), lk.Vectorised(processes=1, members_per_chunk=4), "inline")
    runs = [lk.run(trainer, SPACE, engine=engine, **settings) for engine in engines]
    decided = [{(r.member, r.generation): (r.hparams, r.parent) for r in run.records} for run in runs]
    assert decided[0] == decided[1] == decided[2]
    values = [[r.value for r in sorted(run.records, key=lambda r: (r.generation, r.member))] for run in runs]
    np.testing.assert_allclose(values[1:], [values[0]] * 2, rtol=1e-9)


STRANGE = {
    "numpy": lambda x: x + torch.from_numpy(np.random.normal(size=x.shape)).to(x.dtype),
    "python": lambda x: x * __import__("random").random(),
    "poisson": lambda x: x * torch.poisson(torch.ones(x.shape)),
    "beta": lambda x: x * distributions.Beta(0.5, 0.5, validate_args=False).sample(),
}


@pytest.mark.parametrize("name", list(STRANGE))
def test_noise_from_elsewhere_is_refused_where_it_would_be_wrong_and_right_in_loops(name):
    build = made(after=STRANGE[name])
    for how in ("auto", "batched", "compiled"):
        with pytest.raises(lk.SettingsError, match=r"'0', a Layer, draws noise of its own.*torch\.rand.*how='looped'"):
            fitted(task(build, how=how))
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    together, values = fitted(task(build, how="looped"))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()
    for member in range(MEMBERS):
        alone, value = fitted(task(build, how="looped"), members=[member])
        equal(together, alone, rows=slice(member, member + 1))
        assert value[0] == pytest.approx(values[member])


# ---- what loops can train -----------------------------------------------------------------------------------------------------------------


class Squared(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient * ctx.saved_tensors[0]


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 3)

    def forward(self, x):
        return torch.utils.checkpoint.checkpoint(self.inner, x, use_reentrant=False)


class Replaces(nn.Module):
    """Puts a new tensor in the place of its buffer."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 3)
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x):
        y = self.inner(x)
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * y.detach().mean(0)
        return y - self.mean


class Looked(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(2, 3, sparse=True)

    def forward(self, x):
        return self.table((x > 0).long()).mean(1)


class Hooked(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 3)
        self.inner.weight.register_hook(lambda gradient: gradient * 0.5)

    def forward(self, x):
        return self.inner(x)


def old_weight_norm():
    with pytest.warns(FutureWarning):
        return nn.utils.weight_norm(nn.Linear(8, 3))


def scripted():
    with pytest.warns(DeprecationWarning, match="script"):
        return torch.jit.script(nn.Sequential(nn.Linear(8, 3)))


ORDINARY = {
    "old autograd function": made(after=Squared.apply),
    "checkpoint": Checkpointed,
    "old weight norm": made(make=old_weight_norm),
    "weight norm": made(make=lambda: nn.utils.parametrizations.weight_norm(nn.Linear(8, 3))),
    "spectral norm": made(make=lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(8, 3))),
    "numpy": made(before=lambda x: torch.from_numpy(np.sin(x.numpy()))),
    "values": made(after=lambda x: x * float(x.mean() > 0)),
    "replaces": Replaces,
    "hooked": Hooked,
    "unused": lambda: nn.ModuleDict({"0": nn.Linear(8, 3), "1": nn.Linear(8, 3)}),
}


def plain_loss(model, batch, hparams):
    return functional.cross_entropy((model["0"] if isinstance(model, nn.ModuleDict) else model)(batch[0]), batch[1])


def plainly_trained(build, trainer, member, told):
    """A member's training as anybody would write it."""
    x, y = data()
    chosen = trainer._batches.indices(np.zeros(MEMBERS), told.seeds, STEPS)
    torch.manual_seed(member)
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), lr=float(told.hparams["lr"][member]))
    for step in range(STEPS):
        optimizer.zero_grad()
        rows = chosen[step, member]
        plain_loss(model, (x[rows], y[rows]), {}).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        return model, plain_loss(model, (x, y), {}).item()


@pytest.mark.parametrize("name", list(ORDINARY))
def test_loops_train_every_module_as_a_plain_loop_does(name):
    trainer = task(ORDINARY[name], plain_loss, how="looped")
    state, values = fitted(trainer)
    saved = trainer.save(state)["model"]
    for member in range(MEMBERS):
        model, value = plainly_trained(ORDINARY[name], trainer, member, intervals())
        for key, tensor in model.state_dict().items():
            torch.testing.assert_close(saved[key][member], tensor, rtol=1e-5, atol=1e-5)
        assert values[member] == pytest.approx(value, rel=1e-4)


def test_a_buffer_that_is_replaced_is_a_members_own_in_every_way():
    equal(fitted(task(Replaces, how="batched"))[0], fitted(task(Replaces, how="looped"))[0])


def test_a_scripted_module_is_trained():
    state, values = fitted(task(scripted, how="looped"))
    other, expected = fitted(task(lambda: nn.Sequential(nn.Linear(8, 3)), how="looped"))
    equal(state, other)
    np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_dropout_that_is_computed_again_in_the_backward_pass_drops_the_same():
    class Again(Checkpointed):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 3))

    def checked(model, batch, hparams):
        made = model(batch[0])
        if made.requires_grad:
            made.register_hook(torch.zeros_like)
        return made.sum()

    trainer = task(Again, checked, how="looped")
    state, _ = fitted(trainer)
    assert not trainer.program.keyed
    fresh = trainer.init(np.arange(MEMBERS))
    for name, weight in state.weights.items():
        assert torch.equal(weight, fresh.weights[name])
    first, _ = fitted(task(Again, how="looped"))
    equal(first, fitted(task(Again, how="looped"))[0])


# ---- attributes ---------------------------------------------------------------------------------------------------------------------------


class Scaled(nn.Module):
    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return x * self.scale


class Chooses(Scaled):
    def forward(self, x):
        return x * self.scale if self.scale > 0 else x


ATTRIBUTES = {
    "slope": ("1.negative_slope", lambda v: nn.Sequential(nn.Linear(8, 6), nn.LeakyReLU(v), nn.Linear(6, 3))),
    "momentum": ("1.momentum", lambda v: nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6, momentum=v), nn.Linear(6, 3))),
    "eps": ("1.eps", lambda v: nn.Sequential(nn.Linear(8, 6), nn.LayerNorm(6, eps=v), nn.Linear(6, 3))),
    "own": ("0.scale", lambda v: nn.Sequential(Scaled(v), nn.Linear(8, 3))),
    "attention": (
        "1.self_attn.dropout",
        lambda v: nn.Sequential(nn.Unflatten(1, (2, 4)), attending(v), nn.Flatten(), nn.Linear(8, 3)),
    ),
}


def attending(chance):
    layer = nn.TransformerEncoderLayer(4, 2, 8, 0.1)
    layer.self_attn.dropout = chance
    return layer


@pytest.mark.parametrize("how", ["batched", "looped"])
@pytest.mark.parametrize("name", list(ATTRIBUTES))
def test_an_attribute_is_what_the_member_says(name, how):
    path, build = ATTRIBUTES[name]
    amounts = [0.01, 0.2, 0.5]
    state, values = fitted(task(lambda: build(0.3), how=how, attributes={"a": path}, **SGD), intervals(a=amounts))
    for member, amount in enumerate(amounts):
        alone, value = fitted(task(lambda amount=amount: build(amount), how="looped", **SGD), members=[member])
        equal(state, alone, rows=slice(member, member + 1))
        assert values[member] == pytest.approx(value[0], rel=1e-4)


@pytest.mark.parametrize("how", ["batched", "looped"])
@pytest.mark.parametrize("name", ["dropout", "attention", "recurrent"])
def test_a_probability_is_one_whoever_has_it(name, how):
    path, build = {
        "dropout": ("1.p", lambda: nn.Sequential(nn.Linear(8, 6), nn.Dropout(), nn.Linear(6, 3))),
        "attention": ("1.self_attn.dropout", lambda: ATTRIBUTES["attention"][1](0.3)),
        "recurrent": ("0.rnn.dropout", lambda: nn.Sequential(Floors(), nn.Linear(4, 3))),
    }[name]
    message = rf"a: got 0.1 to 1.2 as hyperparameters for '{path}'; a probability is between 0 and 1"
    trainer = task(build, how=how, attributes={"a": path}, **SGD)
    with pytest.raises(lk.SettingsError, match=message):
        trainer.fit(trainer.init(np.arange(MEMBERS)), intervals(a=[0.1, 1.2, 0.5]))


class Floors(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(8, 4, num_layers=2, dropout=0.5)

    def forward(self, x):
        return self.rnn(x)[0]


def test_an_attribute_that_cannot_differ_is_named_as_the_cause():
    def build():
        return nn.Sequential(Chooses(), nn.Linear(8, 3))

    told = intervals(a=[0.1, 0.2, 0.3])
    with pytest.raises(lk.SettingsError, match=r"attribute '0\.scale' of a Chooses.*dropout.*how='looped'"):
        fitted(task(build, attributes={"a": "0.scale"}), told)
    fitted(task(build, attributes={"a": "0.scale"}, how="looped"), told)


# ---- what is said -------------------------------------------------------------------------------------------------------------------------

READERS = {
    "index": lambda h: h["a"],
    "get": lambda h: h.get("a"),
    "names": lambda h: (lambda lr, a: a)(**h),
    "items": lambda h: sum(value for name, value in h.items() if name != "lr"),
    "values": lambda h: list(h.values())[1],
    "copy": lambda h: dict(h)["a"],
    "spread": lambda h: {**h, "b": 1}["a"],
    "or": lambda h: (h | {"b": 1})["a"],
    "pop": lambda h: h.copy().pop("a"),
}


@pytest.mark.parametrize("name", list(READERS))
def test_a_hyperparameter_may_be_read_in_any_way(name):
    fitted(task(made(), lambda m, b, h: loss(m, b, h) * READERS[name](h)), intervals(a=[1.0, 2.0, 3.0]))


def test_one_that_is_read_in_no_way_is_an_error():
    with pytest.raises(lk.SettingsError, match=r"'a': tuned, but arrives nowhere"):
        fitted(task(made(), lambda m, b, h: loss(m, b, h) * h["lr"]), intervals(a=[1.0, 2.0, 3.0]))


def typo(model, batch, hparams):
    return loss(model, batch, hparams) * hparams["weihgt"]


WRONG = {
    "typo": (made(), typo, lk.TrainingError, r"loss: it raised.*KeyError: 'weihgt'; hparams has lr"),
    "nothing": (made(), lambda m, b, h: None, lk.SettingsError, r"loss: it returned None, a NoneType; it must return a tensor"),
    "several": (made(), lambda m, b, h: {"loss": loss(m, b, h)}, lk.SettingsError, r"loss: it returned .* a dict; it must return a tensor"),
    "number": (made(), lambda m, b, h: 0.5, lk.SettingsError, r"loss: it returned 0\.5, a float"),
    "detached": (made(), lambda m, b, h: loss(m, b, h).detach(), lk.SettingsError, r"does not depend on the weights"),
    "lazy": (lambda: nn.LazyLinear(3), loss, lk.SettingsError, r"'weight' has no shape yet"),
    "sparse": (Looked, loss, lk.SettingsError, r"the gradient of 'table\.weight' is sparse"),
    "hook": (Hooked, loss, lk.SettingsError, r"'inner\.weight' has a hook.*how='looped'"),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_what_is_wrong_is_said_and_the_run_ends_at_once(name):
    build, wrong, kind, message = WRONG[name]
    calls = []

    def counted(model, batch, hparams):
        calls.append(1)
        return wrong(model, batch, hparams)

    with pytest.raises(kind, match=message):
        lk.run(task(build, counted), SPACE, population_size=64, interval=2, generations=2, engine=lk.Vectorised(processes=1))
    assert len(calls) <= 3


def test_a_module_and_arrays_are_told_from_what_makes_one_and_from_tensors():
    x, y = data(torch.float32)
    one = Supervised(made()(), loss, train=(x, y), test=(x, y))
    with pytest.raises(lk.SettingsError, match=r"model: got a module, a Sequential; give a function that makes one"):
        one.init(np.arange(2))
    for tensors, kinds in (((x.numpy(), y), "ndarray, Tensor"), ((x, torch.tensor(1)), "Tensor, a number"), ((), "nothing")):
        with pytest.raises(lk.SettingsError, match=rf"train: got a tuple of {kinds}; it must be one of tensors.*torch\.as_tensor"):
            Supervised(made(), loss, train=tensors, test=(x, y))


def test_a_name_that_means_two_things_is_said(caplog):
    def smoothed(model, batch, hparams):
        return functional.cross_entropy(model(batch[0]), batch[1], label_smoothing=hparams["eps"])

    with caplog.at_level("WARNING", "lamarck"):
        fitted(task(made(), smoothed), intervals(eps=[0.1, 0.2, 0.3]))
        fitted(task(made(), lambda m, b, h: loss(m, b, h) + 0 * sum(h.values())), intervals(eps=[0.1, 0.2, 0.3]))
    assert [record.getMessage()[:50] for record in caplog.records] == ["'eps' is read by the loss and set in the optimizer"]


def test_what_evaluate_raises_is_said_and_the_run_ends_at_once():
    for evaluate, kind, message in (
        (lambda m, b, h: 1 / 0, lk.TrainingError, "evaluate: it raised.*ZeroDivisionError"),
        (lambda m, b, h: "good", lk.SettingsError, r"evaluate: it returned 'good'"),
    ):
        with pytest.raises(kind, match=message):
            lk.run(task(made(), evaluate=evaluate), SPACE, population_size=8, interval=2, generations=2, engine=lk.Vectorised(processes=1))


def test_one_number_for_each_token_and_a_tuned_batch_size_do_not_go_together():
    def tokens(model, batch, hparams):
        return functional.mse_loss(model(batch[0]), batch[0][:, :3], reduction="none")

    with pytest.raises(lk.SettingsError, match=r"loss: it returned the shape \(8, 3\).*\(8,\)"):
        fitted(task(made(), tokens), intervals(batch_size=[2, 4, 8]))


@pytest.mark.parametrize("how", ["batched", "looped"])
def test_a_tuned_batch_size_and_what_mixes_samples_do_not_go_together(how):
    def each(model, batch, hparams):
        return functional.cross_entropy(model(batch[0]), batch[1], reduction="none")

    def mixing(model, batch, hparams):
        return each(model, (batch[0] + batch[0].flip(0), batch[1]), hparams)

    def build():
        return nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))

    told = intervals(batch_size=[2, 4, 8])
    with pytest.raises(lk.SettingsError, match=r"batch_size.*by the module '1', a BatchNorm1d, and.*LayerNorm"):
        fitted(task(build, each, how=how), told)
    with pytest.raises(lk.SettingsError, match=r"batch_size.*depends on the others in its batch, and"):
        fitted(task(made(), mixing, how=how), told)
    fitted(task(made(after=lambda x: functional.dropout(x + torch.randn_like(x), 0.3)), each, how=how), told)
    fitted(task(build, loss, how=how))
