"""What can be trained as a stack: layers one by one against a member trained alone, and what is said where it cannot be done."""

import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import lamarck as lk
from lamarck.checking import check
from lamarck.checkpoints.rows import row_of, stacked
from lamarck.engines.vectorised.torch import Supervised, choice, debris
from lamarck.engines.vectorised.torch.aids import Aids
from lamarck.engines.vectorised.torch.training import Ways

MEMBERS = 3


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.attend = nn.Embedding(5, 8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        h = self.embed(x[:, :4].abs().long() % 5)
        return self.out(self.attend(h, h, h, need_weights=False)[0].mean(1))


class Memory(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.rnn, self.out = kind(2, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.out(self.rnn(x.reshape(len(x), 4, 2))[0][:, -1])


class Recurrent(nn.Module):
    """A cell written in plain operations."""

    def __init__(self):
        super().__init__()
        self.cell, self.out = nn.Linear(2 + 4, 4), nn.Linear(4, 3)

    def forward(self, x):
        h = x.new_zeros(len(x), 4)
        for part in x.split(2, dim=1):
            h = torch.tanh(self.cell(torch.cat([part, h], dim=1)))
        return self.out(h)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.out = nn.Linear(8, 8), nn.Linear(8, 3)
        self.b = nn.Linear(8, 8)
        self.b.weight = self.a.weight
        self.scale = nn.Parameter(torch.ones(8), requires_grad=False)
        self.register_buffer("shift", torch.zeros(8), persistent=False)

    def forward(self, x):
        return self.out(self.b(torch.relu(self.a(x * self.scale + self.shift))))


def image(*layers):
    return nn.Sequential(nn.Unflatten(1, (1, 2, 4)), *layers)


MODULES = {
    "linear": lambda: nn.Sequential(nn.Linear(8, 6), nn.GELU(), nn.Linear(6, 3)),
    "batch norm": lambda: nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)),
    "layer norm": lambda: nn.Sequential(nn.Linear(8, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 3)),
    "dropout": lambda: nn.Sequential(nn.Linear(8, 32), nn.Dropout(0.4), nn.Linear(32, 3)),
    "convolution": lambda: image(nn.Conv2d(1, 4, 2), nn.ReLU(), nn.Dropout2d(0.3), nn.MaxPool2d((1, 3)), nn.Flatten(), nn.Linear(4, 3)),
    "attention": Attention,
    "encoder": lambda: nn.Sequential(
        nn.Unflatten(1, (2, 4)),
        nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(8, 3),
    ),
    "gru": lambda: Memory(nn.GRU),
    "lstm": lambda: Memory(nn.LSTM),
    "recurrent": Recurrent,
    "tied": Tied,
}


def loss(model, batch, hparams):
    return functional.cross_entropy(model(batch[0]), batch[1])


def data(samples=24):
    rng = torch.Generator().manual_seed(0)
    return torch.randn(samples, 8, generator=rng, dtype=torch.float64) * 2, torch.randint(0, 3, (samples,), generator=rng)


def task(build, loss=loss, **more):
    x, y = data()
    return Supervised(lambda: build().double(), loss, **{"train": (x, y), "test": (x, y), "batch_size": 8, "optimizer": "adam"} | more)


def intervals(size=MEMBERS, steps=5, start=0, first=0, **hparams):
    return lk.Intervals(
        members=np.arange(size),
        generations=np.zeros(size, dtype=int),
        hparams={"lr": np.linspace(0.001, 0.01, size)} | {name: np.asarray(column) for name, column in hparams.items()},
        start=np.full(size, start),
        steps=steps,
        seeds=np.arange(first, first + size) + 10,
    )


def equal(state, other, rows=slice(None), atol=1e-9):
    for mine, theirs in zip(state.tensors(), other.tensors(), strict=True):
        torch.testing.assert_close(mine[rows], theirs, rtol=atol, atol=atol)


@pytest.mark.parametrize("name", list(MODULES))
def test_a_member_becomes_the_same_in_a_stack_and_alone(name):
    batched, looped = (task(MODULES[name], how=how) for how in ("batched", "looped"))
    together = batched.fit(batched.init(np.arange(MEMBERS)), intervals())
    scores = batched.evaluate(together, intervals()).values
    equal(together, looped.fit(looped.init(np.arange(MEMBERS)), intervals()))
    np.testing.assert_allclose(looped.evaluate(together, intervals()).values, scores, rtol=1e-9)
    for member in range(MEMBERS):
        alone = batched.fit(batched.init(np.array([member])), intervals().rows(np.array([member])))
        equal(together, alone, rows=slice(member, member + 1))


@pytest.mark.parametrize("name", list(MODULES))
def test_a_saved_row_loads_into_the_ordinary_module(name):
    trainer = task(MODULES[name])
    state = trainer.fit(trainer.init(np.arange(MEMBERS)), intervals())
    saved = row_of(trainer.save(state), 1)
    model = MODULES[name]().double()
    model.load_state_dict(saved["model"])
    x, y = data()
    model.eval()
    with torch.no_grad():
        value = functional.cross_entropy(model(x), y).item()
    assert value == pytest.approx(trainer.evaluate(state, intervals()).values[1], rel=1e-9)
    equal(trainer.load(stacked([saved])), trainer.gather(state, np.array([1])))


def wide(width=4, *more, dtype=torch.float64, optimizer="adam"):
    return task(lambda: nn.Sequential(nn.Linear(8, width), nn.Linear(width, 3), *more).to(dtype), optimizer=optimizer)


CHANGED = {
    "wider": (lambda: wide(5), r"of '0\.weight' it has \(4, 8\) of torch\.float64, and the module \(5, 8\) of torch\.float64"),
    "longer": (lambda: wide(4, nn.BatchNorm1d(3)), r"of '2\.weight' it has nothing of that name, and the module \(3,\)"),
    "precision": (
        lambda: Supervised(lambda: nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 3)), loss, train=data(), test=data()),
        r"torch\.float64, and the module \(4, 8\) of torch\.float32",
    ),
    "optimizer": (lambda: wide(optimizer="sgd"), r"its optimizer remembers exp_avg, exp_avg_sq, and this one momentum_buffer"),
    "shorter": (lambda: task(lambda: nn.Sequential(nn.Linear(8, 4))), r"it has '1\.bias', and the module does not"),
}


@pytest.mark.parametrize("name", list(CHANGED))
def test_a_checkpoint_of_a_task_that_has_changed_is_refused_plainly(name):
    trainer = wide()
    saved = trainer.save(trainer.init(np.arange(MEMBERS)))
    other, message = CHANGED[name]
    with pytest.raises(lk.TrainingError, match=rf"the checkpoint is of another task, which has changed since it was saved: .*{message}"):
        other().load(saved)


def test_a_checkpoint_of_another_kind_of_task_is_refused_plainly():
    with pytest.raises(lk.TrainingError, match=r"of '0\.weight' it has nothing of that name"):
        wide().load({"agent": torch.zeros(3, 2)})


def test_a_member_that_becomes_nan_leaves_the_others_as_they_are():
    trainer = task(MODULES["linear"], how="batched")
    good = trainer.fit(trainer.init(np.arange(MEMBERS)), intervals())
    bad = trainer.fit(trainer.init(np.arange(MEMBERS)), intervals(lr=[0.001, 1e308, 0.01]))
    for mine, theirs in zip(good.tensors(), bad.tensors(), strict=True):
        assert torch.equal(mine[[0, 2]], theirs[[0, 2]])
    assert bad.weights["0.weight"][1].isfinite().any().logical_not()
    assert np.isnan(trainer.evaluate(bad, intervals()).values[1])


# ---- hyperparameters --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["batched", "looped"])
def test_label_smoothing_differs_from_member_to_member(how):
    def smoothed(model, batch, hparams):
        return functional.cross_entropy(model(batch[0]), batch[1], label_smoothing=hparams["smoothing"])

    amounts = [0.0, 0.1, 0.4]
    trainer = task(MODULES["linear"], smoothed, how=how)
    state = trainer.fit(trainer.init(np.arange(MEMBERS)), intervals(smoothing=amounts))
    for member, amount in enumerate(amounts):
        plain = task(
            MODULES["linear"], lambda m, b, h, amount=amount: functional.cross_entropy(m(b[0]), b[1], label_smoothing=amount), how="looped"
        )
        alone = plain.fit(plain.init(np.array([member])), intervals().rows(np.array([member])))
        equal(state, alone, rows=slice(member, member + 1))


@pytest.mark.parametrize("how", ["batched", "looped"])
def test_dropout_probabilities_are_those_of_the_members(how):
    def build():
        return nn.Sequential(nn.Linear(8, 64), nn.Dropout(0.5), nn.Linear(64, 3))

    trainer = task(build, how=how, attributes={"dropout": "1.p"})
    chances = [0.0, 0.3, 0.9]
    state = trainer.fit(trainer.init(np.arange(MEMBERS)), intervals(dropout=chances))
    for member, chance in enumerate(chances):
        plain = task(lambda chance=chance: nn.Sequential(nn.Linear(8, 64), nn.Dropout(chance), nn.Linear(64, 3)), how="looped")
        alone = plain.fit(plain.init(np.array([member])), intervals().rows(np.array([member])))
        equal(state, alone, rows=slice(member, member + 1))


def test_dropout_drops_the_share_that_it_says_and_keeps_the_mean():
    x = torch.ones(200, 500, dtype=torch.float64)
    for chance in (0.1, 0.5, torch.tensor(0.8)):
        with Aids(torch.tensor(7)):
            first, second = functional.dropout(x, chance), functional.dropout(x, chance)
        assert (first == 0).double().mean().item() == pytest.approx(float(chance), abs=0.005)
        assert first.mean().item() == pytest.approx(1, abs=0.02)
        assert (first != second).any()  # two dropouts of one pass differ
        assert abs(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1].item()) < 0.02
        assert abs(torch.corrcoef(torch.stack([first[:, :-1].flatten(), first[:, 1:].flatten()]))[0, 1].item()) < 0.02
    with Aids(torch.tensor(7)):
        assert functional.dropout(x, torch.tensor(1.0)).sum() == 0
        assert torch.equal(functional.dropout(x, 0.5, training=False), x)


@pytest.mark.parametrize("how", ["batched", "looped"])
def test_batch_sizes_differ_from_member_to_member(how):
    def each(model, batch, hparams):
        return functional.cross_entropy(model(batch[0]), batch[1], reduction="none")

    sizes = [2, 5, 8]
    trainer = task(MODULES["linear"], each, how=how)
    state = trainer.fit(trainer.init(np.arange(MEMBERS)), intervals(batch_size=sizes))
    x, y = data()
    chosen = trainer._batches.indices(np.zeros(MEMBERS), intervals().seeds, 5)
    for member, size in enumerate(sizes):
        torch.manual_seed(member)
        model = MODULES["linear"]().double()
        optimizer = torch.optim.Adam(model.parameters(), lr=float(intervals().hparams["lr"][member]))
        for step in range(5):
            optimizer.zero_grad()
            rows = chosen[step, member, :size]
            functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        for name, weight in model.state_dict().items():
            torch.testing.assert_close(state.weights[name][member], weight, rtol=1e-9, atol=1e-9)


def test_a_tuned_batch_size_needs_a_loss_for_each_sample_and_room():
    with pytest.raises(lk.SettingsError, match=r"one number for each sample.*reduction"):
        task(MODULES["linear"]).fit(task(MODULES["linear"]).init(np.arange(3)), intervals(batch_size=[2, 3, 4]))
    with pytest.raises(lk.SettingsError, match=r"got 2 to 99 .* allow 8"):
        task(MODULES["linear"]).fit(task(MODULES["linear"]).init(np.arange(3)), intervals(batch_size=[2, 3, 99]))


def test_a_hyperparameter_that_arrives_nowhere_is_an_error():
    trainer = task(MODULES["linear"])
    with pytest.raises(lk.SettingsError, match=r"'momentum'.*arrives nowhere"):
        trainer.fit(trainer.init(np.arange(3)), intervals(momentum=[0.1, 0.2, 0.3]))


def test_a_hyperparameter_that_is_no_number_is_an_error():
    trainer = task(MODULES["linear"])
    with pytest.raises(lk.SettingsError, match="kind: got 'a', 'b', 'c'; members of one program can differ in numbers alone.*'processes'"):
        trainer.fit(trainer.init(np.arange(3)), intervals(kind=np.array(["a", "b", "c"], dtype=object)))
    with pytest.raises(lk.SettingsError, match="True, False; members"):
        trainer.fit(trainer.init(np.arange(3)), intervals(kind=np.array([True, False, True], dtype=object)))
    with pytest.raises(lk.SettingsError, match="eps: got 'small'; it must be a number"):
        trainer.fit(trainer.init(np.arange(3)), intervals(eps=np.array(["small"] * 3, dtype=object)))


@pytest.mark.parametrize("how", ["batched", "looped"])
def test_a_constant_may_be_anything(how):
    def told(model, batch, hparams):
        assert hparams["kind"] == "plain"
        return loss(model, batch, hparams) * (2.0 if hparams["double"] is True else 1.0)

    space = {"kind": np.array(["plain"] * 3, dtype=object), "double": np.array([True] * 3, dtype=object)}
    trainer = task(MODULES["linear"], told, how=how)
    state = trainer.fit(trainer.init(np.arange(3)), intervals(**space))
    reference = task(MODULES["linear"], lambda model, batch, hparams: 2.0 * loss(model, batch, hparams), how="batched")
    equal(state, reference.fit(reference.init(np.arange(3)), intervals()))
    np.testing.assert_allclose(trainer.evaluate(state, intervals(**space)).values, reference.evaluate(state, intervals()).values)


def test_a_loss_that_raises_ends_the_run_at_once():
    calls = []

    def mistyped(model, batch, hparams):
        calls.append(1)
        return loss(model, batch, hparams) * hparams["weihgt"]

    space = lk.Space(lr=lk.Float(1e-3, 1e-1, log=True))
    with pytest.raises(lk.TrainingError, match="loss: it raised when it was first called, KeyError: 'weihgt'; hparams has lr"):
        lk.run(task(MODULES["linear"], mistyped), space, population_size=16, interval=2, generations=2, engine=lk.Vectorised(processes=1))
    assert len(calls) <= 3  # to count its memory, and to try it


def test_looking_ahead_needs_a_momentum():
    ahead = task(MODULES["linear"], optimizer="sgd", optimizer_settings={"nesterov": True})
    with pytest.raises(lk.SettingsError, match="nesterov=True needs a momentum"):
        ahead.fit(ahead.init(np.arange(3)), intervals())
    ahead.fit(ahead.init(np.arange(3)), intervals(momentum=np.full(3, 0.5)))


# ---- data -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["batched", "looped"])
def test_members_at_different_steps_share_with_those_who_stand_where_they_do(how):
    trainer = task(MODULES["linear"], shared_batches=True, how=how)
    state = trainer.init(np.arange(MEMBERS))
    mixed_up = intervals()
    object.__setattr__(mixed_up, "start", np.array([0, 5, 0]))
    together = trainer.fit(trainer.gather(state, np.arange(3)), mixed_up)
    for member in range(MEMBERS):
        row = np.array([member])
        equal(together, trainer.fit(trainer.gather(state, row), mixed_up.rows(row)), rows=slice(member, member + 1))


# ---- what cannot be done ----------------------------------------------------------------------------------------------------------------


class Item(nn.Module):
    def forward(self, x):
        return x * x.mean().item()


class Branches(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Writes(nn.Module):
    def forward(self, x):
        new = torch.zeros(len(x), 8, dtype=x.dtype)
        new[:, :4] = x[:, :4]
        return new


UNFIT = {
    "item": (lambda: nn.Sequential(nn.Linear(8, 8), Item(), nn.Linear(8, 3)), r"'1', a Item.*torch\.where"),
    "branch": (lambda: nn.Sequential(nn.Linear(8, 8), Branches(), nn.Linear(8, 3)), r"'1', a Branches.*torch\.where"),
    "writes": (lambda: nn.Sequential(nn.Linear(8, 8), Writes(), nn.Linear(8, 3)), r"'1', a Writes.*torch\.cat"),
}


@pytest.mark.parametrize("name", list(UNFIT))
def test_what_cannot_be_batched_is_named_with_the_way_out(name):
    build, message = UNFIT[name]
    trainer = task(build)
    with pytest.raises(lk.SettingsError, match=message + r".*how='looped'"):
        trainer.fit(trainer.init(np.arange(2)), intervals(2))
    looped = task(build, how="looped")
    state = looped.fit(looped.init(np.arange(2)), intervals(2))
    assert np.isfinite(looped.evaluate(state, intervals(2)).values).all()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"optimizer": "adagrad"}, "'adamw'"),
        ({"optimizer_settings": {"beta3": 1}}, "beta3.*beta1"),
        ({"optimizer_settings": {"lr": "0.9"}}, "lr: got '0.9'; it must be a number of at least 0 and finite"),
        ({"optimizer_settings": {"lr": -3}}, "lr: got -3"),
        ({"optimizer_settings": {"eps": float("nan")}}, "eps: got nan"),
        ({"optimizer_settings": {"weight_decay": True}}, "weight_decay: got True"),
        ({"optimizer_settings": {"beta2": 1.0}}, "beta2: got 1.0; it must be a number of at least 0 and less than 1"),
        ({"optimizer": "sgd", "optimizer_settings": {"nesterov": 1}}, "nesterov: got 1; it must be True or False"),
        ({"how": "fast"}, "'looped'"),
        ({"batch_size": 0}, "batch_size"),
        ({"test": [1, 2]}, "tuple of tensors"),
        ({"train": [torch.zeros(3), torch.zeros(3)]}, "tuple of tensors"),
        ({"train": (torch.zeros(3), torch.zeros(2))}, "same number"),
    ],
)
def test_arguments_are_checked(more, message):
    with pytest.raises(lk.SettingsError, match=message):
        task(MODULES["linear"], **more)


@pytest.mark.parametrize(
    ("build", "attributes", "message"),
    [
        (MODULES["linear"], {"dropout": "7.p"}, "no '7.p'"),
        (MODULES["linear"], {"width": "0.weight"}, "only a number"),
        (nn.ReLU, {}, "no parameter"),
    ],
)
def test_modules_are_checked(build, attributes, message):
    with pytest.raises(lk.SettingsError, match=message):
        task(build, attributes=attributes).init(np.arange(2))


def test_a_compiler_that_fails_is_said_once_and_training_goes_on(monkeypatch, caplog):
    monkeypatch.setattr(Ways, "compiling", -1.0)
    monkeypatch.setattr(choice, "_HOPELESS", float("inf"))

    def broken(*args, **kwargs):
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch, "compile", broken)
    trainer = task(MODULES["linear"])
    with caplog.at_level(logging.WARNING, "lamarck"):
        state = trainer.fit(trainer.init(np.arange(MEMBERS)), intervals(steps=60))
        state = trainer.fit(state, intervals(steps=60, start=60))
    assert [record.message for record in caplog.records] == [
        "training is not compiled, because that failed (no compiler here); it goes on without"
    ]
    assert trainer.choice.fastest(MEMBERS) in ("batched", "looped")
    reference = task(MODULES["linear"], how="looped")
    expected = reference.fit(reference.init(np.arange(MEMBERS)), intervals(steps=60))
    equal(state, reference.fit(expected, intervals(steps=60, start=60)))


@pytest.mark.parametrize("cure", [True, False])
def test_half_a_file_of_a_compiler_that_was_killed_is_compiled_again(cure, monkeypatch, caplog, tmp_path):
    """PyTorch's cache never writes a file again that is there. If another does not help, as where nothing may be executed, training goes on."""
    monkeypatch.setattr(Ways, "compiling", -1.0)
    monkeypatch.setattr(choice, "_HOPELESS", float("inf"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    half, called = tmp_path / "cache" / "3g" / "c3ghip.main.so", []
    half.parent.mkdir(parents=True)
    half.touch()

    def compiled(function, **settings):
        def run(*tensors):
            called.append(half.exists())
            if half.exists() or not cure:
                half.touch()
                try:
                    raise ImportError(f"{half}: invalid ELF header", path=str(half))
                except ImportError as error:
                    raise RuntimeError("ImportError: what a compiler makes of it") from error
            function(*tensors)

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    trainer = task(MODULES["linear"])
    with caplog.at_level(logging.WARNING, "lamarck"):
        trainer.fit(trainer.init(np.arange(MEMBERS)), intervals(steps=60))
    assert [record.message for record in caplog.records] == [
        f"{half} cannot be loaded, as after a compiler was killed; it is deleted and compiled again",
        *([] if cure else ["training is not compiled, because that failed (ImportError: what a compiler makes of it); it goes on without"]),
    ]
    assert called[:2] == [True, False]
    assert (len(called) > 2) == cure


def test_only_files_of_the_compilers_cache_are_taken_for_its_debris(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    mine = tmp_path / "cache" / "x.so"
    assert debris.unloadable(OSError(f"{mine}: file too short")) == mine
    assert debris.unloadable(OSError(f"{tmp_path}/x.so: file too short")) is None
    assert debris.unloadable(OSError("/usr/lib/libcuda.so: cannot open shared object file")) is None
    assert debris.unloadable(RuntimeError(f"{mine}: file too short")) is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch, when it first loads its compiler
@pytest.mark.parametrize("tile", [1, MEMBERS])
def test_compiled_steps_equal_batched_ones(tile, monkeypatch):
    monkeypatch.setattr(Ways, "tile", lambda ways, members: tile)
    monkeypatch.setattr(Ways, "unrolled", 2)  # two calls and a step left over, and half as much to compile

    def build():
        return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))

    def smoothed(model, batch, hparams):
        assert hparams["kind"] == "plain"
        loss = functional.cross_entropy(model(batch[0]), batch[1], label_smoothing=hparams["smoothing"])
        return loss * (2.0 if hparams["double"] is True else 1.0)

    constants = {"kind": np.array(["plain"] * MEMBERS, dtype=object), "double": np.array([True] * MEMBERS, dtype=object)}
    told = intervals(steps=5, smoothing=[0.0, 0.1, 0.2], dropout=[0.1, 0.5, 0.7], **constants)
    states = []
    for how in ("batched", "compiled"):
        trainer = task(build, smoothed, how=how, attributes={"dropout": "3.p"}, optimizer="adamw")
        states.append(trainer.fit(trainer.init(np.arange(MEMBERS)), told))
    equal(*states)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_population_learns_the_digits_of_a_line(processes):
    x = torch.linspace(-1, 1, 64)[:, None]
    trainer = Supervised(line, squared, train=(x, 3 * x), test=(x, 3 * x), optimizer="sgd", batch_size=16)
    space = lk.Space(lr=lk.Float(1e-3, 1.0, log=True))
    settings = {"population_size": 8, "interval": 10, "generations": 4, "mode": "min", "seed": 1}
    history = lk.run(trainer, space, engine=lk.Vectorised(processes=processes), **settings)
    reference = lk.run(trainer, space, engine="inline", **settings)
    assert history.best.value < 1e-3
    assert [record.key for record in history.records if record.parent and record.parent[0] != record.member] == [
        record.key
        for record in sorted(reference.records, key=lambda r: (r.generation, r.member))
        if record.parent and record.parent[0] != record.member
    ]


def branching():
    return nn.Sequential(nn.Linear(1, 1), Branches())


def test_a_check_says_it_before_a_run():
    x = torch.linspace(-1, 1, 64)[:, None]
    trainer = Supervised(branching, squared, train=(x, 3 * x), test=(x, 3 * x), optimizer="sgd")
    report = check(trainer, lk.Space(lr=lk.Float(1e-3, 1.0, log=True)), interval=2)
    assert not report.fit
    assert "'1', a Branches" in str(report)
    assert "how='looped'" in str(report)


def line():
    return nn.Linear(1, 1)


def squared(model, batch, hparams):
    return functional.mse_loss(model(batch[0]), batch[1])
