"""What is found out before anything is trained: attributes, hyperparameters, and what is said of what cannot be."""

import numpy as np
import pytest
import torch
import torch.utils.checkpoint
from torch import nn
from torch.nn import functional

import lamarck as lk
from lamarck.engines.vectorised.torch import Supervised
from probing import MEMBERS, SGD, SPACE, Hooked, Looked, data, equal, fitted, intervals, loss, made, task

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
