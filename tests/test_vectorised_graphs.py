"""CUDA graphs: what is copied where around a recording, on any device; and the recording itself where there is a GPU."""

import dataclasses
import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import lamarck as lk
from lamarck.engines.vectorised.torch import Supervised, graphs, tapes
from lamarck.engines.vectorised.torch.choice import Choice
from lamarck.engines.vectorised.torch.graphs import Graphs
from lamarck.engines.vectorised.torch.tapes import Recorder, Tapes
from lamarck.engines.vectorised.torch.training import CompilingFailed, Ways

MEMBERS = 3
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def played(device, calls):
    """Returns what stands for a recorder: the true one on a GPU; on a CPU, one whose recordings run the function again."""

    def record(work):
        calls.append("recorded")
        if device == "cuda":
            return Recorder()(work)
        work()  # as a warm-up does
        return lambda: (calls.append("replayed"), work())

    return record


def loss(model, batch, hparams):
    return functional.cross_entropy(model(batch[0]), batch[1], label_smoothing=hparams["smoothing"])


def task(device, how="batched", **more):
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(24, 8, generator=rng).to(device), torch.randint(0, 3, (24,), generator=rng).to(device)

    def build():
        return nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.Dropout(0.5), nn.Linear(32, 3))

    return Supervised(build, loss, train=(x, y), test=(x, y), batch_size=8, attributes={"dropout": "2.p"}, how=how, **more)


def intervals(steps, start=0, size=MEMBERS):
    return lk.Intervals(
        members=np.arange(size),
        generations=np.zeros(size, dtype=int),
        hparams={"lr": np.linspace(1e-3, 1e-2, size), "smoothing": np.linspace(0, 0.2, size), "dropout": np.linspace(0.1, 0.7, size)},
        start=np.full(size, start),
        steps=steps,
        seeds=np.arange(size) + 10 + start,
    )


def trained(device, record=None, steps=(40, 7, 16), size=MEMBERS, how="batched"):
    trainer = task(device, how, cuda_graphs=False)
    if record is not None:
        ways = dict(trainer.choice._ways)
        trainer.choice._ways = ways | {how: Graphs(ways[how], Tapes(record))}
    state, start = trainer.init(np.arange(size)), 0
    for count in steps:
        state, start = trainer.fit(state, intervals(count, start, size)), start + count
    return state


def equal(state, other):
    for mine, theirs in zip(state.tensors(), other.tensors(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.fixture(autouse=True)
def slower(monkeypatch):
    """On a CPU nothing is gained by a graph; here the first of two runs that are compared is said to be the faster."""
    seconds = iter(range(10_000))
    monkeypatch.setattr(tapes, "_seconds", lambda work: (work(), next(seconds))[1])


@pytest.mark.parametrize("device", DEVICES)
def test_steps_in_graphs_are_the_steps_without(device):
    calls = []
    equal(trained(device, played(device, calls)), trained(device))
    assert calls.count("recorded") == 1  # one length, whatever is left over; and the third interval plays what the first recorded
    if device == "cpu":
        assert calls.count("replayed") == 1 + 2 + 1  # tried; two blocks of 16 and eight steps over; seven; one block


@pytest.mark.parametrize("device", DEVICES)
def test_each_size_of_a_stack_has_a_recording_of_its_own(device):
    calls = []
    record = played(device, calls)
    equal(trained(device, record, size=2), trained(device, size=2))
    equal(trained(device, record, size=4), trained(device, size=4))
    assert calls.count("recorded") == 2


def test_a_recording_that_is_not_faster_is_not_used(monkeypatch):
    monkeypatch.setattr(tapes, "_seconds", lambda work: (work(), 1.0)[1])
    calls = []
    equal(trained("cpu", played("cpu", calls)), trained("cpu"))
    assert calls == ["recorded", "replayed"]


@pytest.mark.parametrize(("fault", "reason"), [("wrong", "computes something else"), ("broken", "not permitted when stream is capturing")])
def test_what_cannot_be_recorded_is_said_once_and_trained_all_the_same(fault, reason, caplog):
    def record(work):
        if fault == "broken":
            work()
            raise RuntimeError(f"{reason}\nand much more")
        return lambda: None

    with caplog.at_level(logging.WARNING, "lamarck"):
        equal(trained("cpu", record), trained("cpu"))
    assert [r.message for r in caplog.records] == [
        f"training is not recorded as a CUDA graph, because that failed ({'the recording ' * (fault == 'wrong')}{reason}); it goes on without"
    ]


@pytest.mark.parametrize(("strays", "used"), [(1, True), (2, False)])
def test_a_member_that_goes_its_own_way_does_not_condemn_a_recording(strays, used, caplog):
    """One that is about to diverge makes much of another order of sums; a recording that is wrong is wrong for all."""
    state, moved = task("cpu").init(np.arange(MEMBERS)), []

    def way(members, plan):
        moved.append(len(plan))
        next(members.tensors())[: strays if len(moved) == 2 else 0] += 1.0

    with caplog.at_level(logging.WARNING, "lamarck"):
        Graphs(way, Tapes(lambda work: work))(state, next(task("cpu")._plans(intervals(graphs.BLOCK), torch.float32)))
    assert bool(caplog.records) is not used


def test_a_smaller_last_batch_of_a_loader_is_trained_apart():
    rng = torch.Generator().manual_seed(0)
    samples = TensorDataset(torch.randn(21, 8, generator=rng), torch.randint(0, 3, (21,), generator=rng))

    def lived(record):
        loader = DataLoader(samples, batch_size=5)  # and one of one sample, which could be mistaken for many
        trainer = Supervised(lambda: nn.Linear(8, 3), loss, train=loader, test=samples.tensors, how="batched")
        if record is not None:
            trainer.choice._ways = {"batched": Graphs(trainer.choice._ways["batched"], Tapes(record))}
        return trainer.fit(trainer.init(np.arange(MEMBERS)), told(4 * graphs.BLOCK))

    def told(steps):
        plain = intervals(steps)
        return dataclasses.replace(plain, hparams={name: plain.hparams[name] for name in ("lr", "smoothing")})

    calls = []
    equal(lived(played("cpu", calls)), lived(None))
    assert "replayed" not in calls


def test_recordings_of_stacks_that_are_gone_go_too(monkeypatch):
    monkeypatch.setattr(tapes, "_check", lambda got, expected: None)
    trainer = task("cpu", cuda_graphs=False)
    recorded = Tapes(lambda work: bool)  # which keeps nothing, as a graph keeps no Python objects
    trainer.choice._ways = {"batched": Graphs(trainer.choice._ways["batched"], recorded)}
    state = trainer.init(np.arange(MEMBERS))
    for _ in range(3):
        trainer.fit(state, intervals(graphs.BLOCK))
        assert len(recorded._tapes) == 1
        state = trainer.init(np.arange(MEMBERS))


def test_compiling_that_fails_is_told_as_such():
    def never(members, plan):
        raise CompilingFailed("no compiler here")

    trainer = task("cpu", "compiled")
    trainer.choice._ways = {"compiled": Graphs(never, Tapes(played("cpu", [])))}
    with pytest.raises(CompilingFailed, match="no compiler here"):
        trainer.fit(trainer.init(np.arange(MEMBERS)), intervals(16))


@pytest.mark.parametrize(("device", "allowed", "used"), [("cuda", True, True), ("cuda", False, False), ("cpu", True, False)])
def test_graphs_are_for_gpus_and_can_be_forbidden(device, allowed, used):
    trainer = task("cpu")
    ways = Choice(Ways(trainer.program, trainer.rule), "auto", torch.device(device), graphs=allowed)._ways
    assert [isinstance(ways[how], Graphs) for how in ("batched", "compiled", "looped")] == [used, used, False]
