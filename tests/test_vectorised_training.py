"""Steps of a stack: what is cut out of a plan or a stack is what stood there."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from lamarck.engines.vectorised.torch.batch import evenly
from lamarck.engines.vectorised.torch.optimizers import rule
from lamarck.engines.vectorised.torch.program import Program
from lamarck.engines.vectorised.torch.training import Members, Plan, Ways


def squared(model, batch, hparams):
    return functional.mse_loss(model(batch[0]), batch[1])


@pytest.mark.parametrize("batches", ["chosen", "chosen, shared", "given, shared"])
def test_some_members_of_a_plan_are_told_what_they_are_told_among_all(batches):
    steps, members, rng = 3, 5, torch.Generator().manual_seed(0)
    shape = (6,) if "shared" in batches else (members, 6)
    given = tuple((torch.randn(*shape, 2, generator=rng),) for _ in range(steps)) if "given" in batches else ()
    plan = Plan(
        batches=given,
        chosen=None if given else torch.randint(10, (steps, *shape), generator=rng),
        samples=() if given else (torch.randn(10, 2, generator=rng),),
        shared="shared" in batches,
        hparams={"lr": torch.arange(5.0)},
        attributes={"1.p": torch.arange(5.0)},
        numbers={"lr": torch.arange(5.0)},
        scalars={"correction": torch.randn(steps, members, generator=rng)},
        keys=torch.arange(steps * members).reshape(steps, members),
        mask=torch.randn(members, 6, generator=rng),
        count=torch.arange(members),
        steps=torch.arange(steps * members).reshape(steps, members),
    )
    few = plan.rows(1, 4)
    for step in range(steps):
        (batch,), (whole,) = few.batch(step), plan.batch(step)
        assert torch.equal(batch, whole if plan.shared else whole[1:4])
    for name in ("keys", "scalars"):
        got, all_ = getattr(few, name), getattr(plan, name)
        assert torch.equal(got["correction"] if name == "scalars" else got, (all_["correction"] if name == "scalars" else all_)[:, 1:4])
    assert torch.equal(few.steps, plan.steps[:, 1:4])
    assert few.hparams["lr"].tolist() == few.attributes["1.p"].tolist() == few.numbers["lr"].tolist() == few.count.tolist() == [1, 2, 3]
    assert torch.equal(few.mask, plan.mask[1:4])


@pytest.mark.parametrize(("length", "most", "lengths"), [(8, 8, [8]), (8, 3, [2, 3, 3]), (7, 2, [1, 2, 2, 2]), (3, 1, [1, 1, 1]), (2, 9, [2])])
def test_members_are_cut_into_tiles_of_two_lengths_at_most(length, most, lengths):
    cut = list(evenly(length, most))
    assert sorted(stop - start for start, stop in cut) == lengths
    assert [row for stretch in cut for row in range(*stretch)] == list(range(length))


def test_a_tile_is_what_a_core_keeps_close():
    program = Program(lambda: nn.Linear(100, 100), squared, {})
    ways = Ways(program, rule("adamw", {}))
    members = Members(weights={"w": torch.zeros(4, 1 << 17)}, fixed={}, slots={"a": {}, "b": {}})
    assert ways.tile(members) == 1
    small = Members(weights={"w": torch.zeros(4, 1 << 13)}, fixed={}, slots={"a": {}, "b": {}})
    assert ways.tile(small) == 24
    program.activations = 6 << 17
    assert ways.tile(small) == 6
