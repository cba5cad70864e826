"""Clipping, schedules and the step: against torch.optim with torch.nn.utils and LambdaLR, member by member."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import lamarck as lk
from lamarck.engines.vectorised.torch import Supervised
from lamarck.engines.vectorised.torch.optimizers import RULES
from lamarck.engines.vectorised.torch.pace import Pace, clipped
from lamarck.engines.vectorised.torch.training import Ways

MEMBERS, STEPS = 3, 30
OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}
LENGTHS = [0.05, 0.4, 3.0]


def build():
    return nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 3))


def loss(model, batch, hparams):
    return functional.cross_entropy(model(batch[0]), batch[1])


def annealed(model, batch, hparams):
    return loss(model, batch, hparams) / (1 + hparams["step"])


def warm_up_and_cosine(step):
    return min(1.0, (step + 1) / 5) * 0.5 * (1 + math.cos(math.pi * step / 40))


def data(dtype):
    rng = torch.Generator().manual_seed(0)
    return torch.randn(40, 6, generator=rng).to(dtype), torch.randint(0, 3, (40,), generator=rng)


def intervals(steps=STEPS, start=0, **hparams):
    return lk.Intervals(
        members=np.arange(MEMBERS),
        generations=np.zeros(MEMBERS, dtype=int),
        hparams={"lr": np.linspace(0.01, 0.05, MEMBERS)} | {name: np.asarray(column) for name, column in hparams.items()},
        start=np.full(MEMBERS, start),
        steps=steps,
        seeds=np.arange(MEMBERS) + 10,
    )


def task(dtype=torch.float64, loss=loss, **more):
    x, y = data(dtype)
    return Supervised(lambda: build().to(dtype), loss, train=(x, y), test=(x, y), batch_size=8, **more)


def plainly(trainer, optimizer, member, told, dtype, *, clip=None, schedule=lambda step: 1.0, anneal=False):
    x, y = data(dtype)
    chosen = trainer._batches.indices(np.zeros(MEMBERS), told.seeds, STEPS)
    torch.manual_seed(member)
    model = build().to(dtype)
    made = OPTIMIZERS[optimizer](model.parameters(), lr=float(told.hparams["lr"][member]))
    scheduler = torch.optim.lr_scheduler.LambdaLR(made, schedule)
    for step in range(STEPS):
        made.zero_grad()
        rows = chosen[step, member].long()
        (loss(model, (x[rows], y[rows]), {}) / (1 + step if anneal else 1)).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        made.step()
        scheduler.step()
    return model.state_dict()


def trained(trainer, told=None):
    return trainer.fit(trainer.init(np.arange(MEMBERS)), told or intervals())


def same(state, member, expected, dtype):
    close = 1e-10 if dtype == torch.float64 else 2e-5
    for name, weight in expected.items():
        torch.testing.assert_close(state.weights[name][member], weight, rtol=close, atol=close)


WAYS = ["batched", "looped", pytest.param("compiled", marks=[pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")])]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
@pytest.mark.parametrize("how", ["batched", "looped"])
def test_clipping_and_a_schedule_are_those_of_pytorch(how, optimizer, dtype):
    trainer = task(dtype, optimizer=optimizer, clip_grad_norm=0.3, schedule=warm_up_and_cosine, how=how)
    state = trained(trainer)
    for member in range(MEMBERS):
        same(state, member, plainly(trainer, optimizer, member, intervals(), dtype, clip=0.3, schedule=warm_up_and_cosine), dtype)


@pytest.mark.parametrize("how", WAYS)
def test_each_member_may_clip_where_it_wants_and_anneal_by_the_step(how, monkeypatch):
    monkeypatch.setattr(Ways, "unrolled", 2)  # half as much to compile
    told = intervals(clip_grad_norm=LENGTHS)
    trainer = task(loss=annealed, optimizer="adamw", schedule=warm_up_and_cosine, how=how)
    state = trained(trainer, told)
    for member, length in enumerate(LENGTHS):
        expected = plainly(trainer, "adamw", member, told, torch.float64, clip=length, schedule=warm_up_and_cosine, anneal=True)
        same(state, member, expected, torch.float64)


@pytest.mark.parametrize("how", ["batched", "looped"])
@pytest.mark.parametrize("optimizer", list(RULES))
def test_a_schedule_goes_on_where_it_was(optimizer, how):
    settings = {"optimizer": optimizer, "clip_grad_norm": 0.2, "schedule": warm_up_and_cosine, "how": how, "shared_batches": True}
    whole = trained(task(loss=annealed, **settings))
    trainer = task(loss=annealed, **settings)
    half = trainer.load(trainer.save(trained(trainer, intervals(steps=13))))
    half = trainer.fit(half, intervals(steps=STEPS - 13, start=13))
    for mine, theirs in zip(half.tensors(), whole.tensors(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def test_clipping_that_is_not_active_clips_nothing():
    state = trained(task(how="batched"), intervals(clip_grad_norm=[np.nan, 0.1, np.nan]))
    free, cut = trained(task(how="batched")), trained(task(how="batched", clip_grad_norm=0.1))
    for mine, theirs, others in zip(state.tensors(), free.tensors(), cut.tensors(), strict=True):
        assert torch.equal(mine[[0, 2]], theirs[[0, 2]])
        assert torch.equal(mine[1], others[1])


def test_a_gradient_that_is_not_finite_is_its_members_own_matter():
    given = {"a": torch.tensor([[3.0, 4.0], [math.nan, 1.0], [0.3, 0.4]]), "b": torch.tensor([0.0, 1.0, 0.0])}
    made = clipped(given, torch.tensor([1.0, 1.0, 1.0]))
    torch.testing.assert_close(made["a"][[0, 2]], torch.tensor([[0.6, 0.8], [0.3, 0.4]]))
    assert made["a"][1].isnan().all()
    assert torch.equal(given["a"][0], torch.tensor([3.0, 4.0]))


def test_evaluate_is_told_the_step():
    trainer = task(evaluate=lambda m, b, h: h["step"] + 0 * m(b[0]).sum(), how="batched")
    told = intervals(steps=4, start=6)
    assert trainer.evaluate(trainer.fit(trainer.init(np.arange(MEMBERS)), told), told).values.tolist() == [10.0] * 3


@pytest.mark.parametrize("how", ["batched", "looped"])
@pytest.mark.parametrize(
    ("optimizer", "name", "values", "message"),
    [
        ("sgd", "lr", [0.1, -0.1, 0.1], "lr: got -0.1 to 0.1 as hyperparameters; it must be a number of at least 0 and finite"),
        ("sgd", "momentum", [0.1, -0.1, 0.1], "momentum: got -0.1"),
        ("adam", "beta1", [0.1, 0.5, 1.5], "beta1: got 0.1 to 1.5 as hyperparameters; it must be a number of at least 0 and less than 1"),
        ("adamw", "weight_decay", [-1e-3, 0.0, 0.0], "weight_decay: got -0.001"),
        ("adam", "eps", [1e-8, math.inf, 1e-8], "eps: got 1e-08 to inf"),
        ("adam", "clip_grad_norm", [1.0, 0.0, 1.0], "clip_grad_norm: got 0 to 1 as hyperparameters; it must be a number above 0"),
    ],
)
def test_what_cannot_be_tuned_to_is_refused_in_every_way(optimizer, name, values, message, how):
    trainer = task(optimizer=optimizer, how=how, **({} if optimizer == "sgd" else {"optimizer_settings": {}}))
    told = intervals(**{name: np.array(values)})
    with pytest.raises(lk.SettingsError, match=message):
        trainer.fit(trainer.init(np.arange(MEMBERS)), told)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"clip_grad_norm": 0}, "clip_grad_norm: got 0;"),
        ({"clip_grad_norm": math.nan}, "above 0"),
        ({"clip_grad_norm": True}, "above 0"),
        ({"schedule": 0.1}, "schedule: got 0.1; it must be a function"),
    ],
)
def test_settings_are_checked(more, message):
    with pytest.raises(lk.SettingsError, match=message):
        task(**more)


@pytest.mark.parametrize("factor", [math.nan, -0.1, "1", None, math.inf])
def test_a_schedule_must_return_a_factor(factor):
    with pytest.raises(lk.SettingsError, match="for the step 0; it must return a finite number"):
        trained(task(schedule=lambda step: factor))


def test_the_step_is_no_hyperparameter():
    with pytest.raises(lk.SettingsError, match="step: by this name the loss is told the step"):
        trained(task(), intervals(step=[1, 2, 3]))


def test_what_a_pace_takes_is_what_its_optimizer_takes_and_the_length():
    for kind in RULES.values():
        assert Pace(rule=kind()).names() == [*kind.hyperparameters(), "clip_grad_norm"]
