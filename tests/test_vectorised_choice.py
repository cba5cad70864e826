"""What the engine finds out for itself: which way is the fastest, and how many members fit in memory."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import lamarck as lk
from lamarck.engines.vectorised.torch import Supervised, choice, memory
from lamarck.engines.vectorised.torch.choice import Choice
from lamarck.testing.engine import SPACE as ENGINE_SPACE
from lamarck.testing.stacks import StackedNumbers

CPU = torch.device("cpu")


class Fake:
    """Ways with a clock of their own."""

    unrolled = property(lambda self: self.fused)
    compiling = property(lambda self: 5.0 * self.fused)

    def __init__(self, monkeypatch, **seconds):
        self.fused, self.now, self.seconds, self.steps = 4, 0.0, seconds, []
        monkeypatch.setattr(choice.time, "perf_counter", lambda: self.now)

    def __getattr__(self, way):
        def train(members, plan):
            self.now += self.seconds[way] * len(plan)
            self.steps += [way] * len(plan)

        return train


class Steps(list):
    """As much of a plan as a choice looks at."""

    def part(self, start, stop):
        return Steps(self[start:stop])


@pytest.mark.parametrize(
    ("seconds", "left", "fastest"),
    [
        ({"batched": 1.0, "looped": 2.0, "compiled": 0.5}, 1000, "compiled"),
        ({"batched": 1.0, "looped": 2.0, "compiled": 3.0}, 1000, "batched"),
        ({"batched": 2.0, "looped": 1.0, "compiled": 0.4}, 1000, "compiled"),
        ({"batched": 9.0, "looped": 1.0, "compiled": 0.1}, 1000, "looped"),  # so much slower that compiling is not even tried
        ({"batched": 0.01, "looped": 0.02, "compiled": 0.001}, 1000, "batched"),  # what is left is not worth it
        ({"batched": 1.0, "looped": 2.0, "compiled": 0.5}, None, "compiled"),
        ({"batched": 0.01, "looped": 0.02, "compiled": 0.001}, None, "batched"),
    ],
)
def test_the_fastest_way_is_found_by_training_every_step_once(monkeypatch, seconds, left, fastest):
    ways = Fake(monkeypatch, **seconds)
    chosen = Choice(ways, "auto", CPU, left)
    for _ in range(20):
        chosen.train(range(8), Steps(range(50)))
    assert len(ways.steps) == 1000
    assert ways.steps[-1] == fastest == chosen.fastest(8)
    assert ways.steps.count(fastest) > 900


@pytest.mark.parametrize(("size", "loops"), [(8, 24), (256, 6), (1024, 3)])
def test_on_a_gpu_whole_recordings_are_measured_and_few_steps_of_many_loops(monkeypatch, size, loops):
    monkeypatch.setattr(choice, "Graphs", lambda way: way)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    ways = Fake(monkeypatch, batched=2e-4 * size, looped=1.0, compiled=1.0)
    Choice(ways, "auto", torch.device("cuda"), 1000).train(range(size), Steps(range(200)))
    assert ways.steps.count("looped") == loops
    assert ways.steps[: 3 * 16] == ["batched"] * 48


def test_on_a_gpu_nobody_loops_who_would_only_launch(monkeypatch):
    monkeypatch.setattr(choice, "Graphs", lambda way: way)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    ways = Fake(monkeypatch, batched=0.02, looped=0.0, compiled=0.01)
    chosen = Choice(ways, "auto", torch.device("cuda"), 100_000)
    chosen.train(range(256), Steps(range(200)))
    assert "looped" not in ways.steps
    assert chosen.fastest(256) == "compiled"


@pytest.mark.parametrize(("left", "fused"), [(10_000, 4), (200, 2), (None, 2)])
def test_many_steps_are_fused_if_much_is_left(monkeypatch, left, fused):
    ways = Fake(monkeypatch, batched=1.0, looped=2.0, compiled=0.5)
    chosen = Choice(ways, "auto", CPU, left)
    for _ in range(4):
        chosen.train(range(8), Steps(range(50)))
        assert ways.fused in (fused, 4)
    assert ways.fused == fused
    assert "compiled" in ways.steps


class Counting(StackedNumbers):
    def expect(self, steps):
        Path("expected").write_text(str(steps))


@pytest.mark.parametrize(("processes", "chunk", "stacks"), [(1, 6, 1), (1, 2, 3), (2, 2, 2)])
def test_what_is_left_is_that_of_all_stacks_that_take_turns(processes, chunk, stacks):
    engine = lk.Vectorised(processes=processes, members_per_chunk=chunk)
    lk.run(Counting(), ENGINE_SPACE, population_size=6, interval=5, generations=4, engine=engine)
    assert int(Path("expected").read_text()) == 20 * stacks


def test_compiling_is_said_once_for_each_size_before_it_begins(monkeypatch, caplog):
    caplog.set_level("INFO", "lamarck")
    ways = Fake(monkeypatch, batched=1.0, looped=2.0, compiled=0.5)
    chosen = Choice(ways, "compiled", CPU, 1000)
    for size in (8, 8, 4):
        chosen.train(range(size), Steps(range(50)))
    assert [message.partition(",")[0] for message in caplog.messages] == ["compiling 4 steps for 8 members", "compiling 4 steps for 4 members"]
    assert "takes about 20 s" in caplog.text


def test_stacks_of_another_size_are_measured_anew(monkeypatch):
    ways = Fake(monkeypatch, batched=1e-4, looped=2e-4)
    chosen = Choice(ways, "auto", CPU, 1000)
    chosen.train(range(8), Steps(range(100)))
    assert chosen.fastest(4) is None
    chosen.train(range(4), Steps(range(100)))
    assert chosen.fastest(4) == "batched"


def test_a_member_alone_is_never_batched(monkeypatch):
    ways = Fake(monkeypatch, batched=1.0, looped=2.0)
    Choice(ways, "auto", CPU, 1000).train(range(1), Steps(range(100)))
    assert set(ways.steps) == {"looped"}


def test_a_way_that_was_named_is_taken(monkeypatch):
    ways = Fake(monkeypatch, batched=1.0, looped=2.0)
    Choice(ways, "looped", CPU).train(range(8), Steps(range(100)))
    assert set(ways.steps) == {"looped"}


def wide():
    return nn.Sequential(nn.Linear(10, 1000), nn.ReLU(), nn.Linear(1000, 1))


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(10, 1)

    def forward(self, x, y):
        return self.layer(x) + y


def squared(model, batch, hparams):
    return functional.mse_loss(model(batch[0]), batch[1])


def task(build=wide):
    x = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
    return Supervised(build, squared, train=(x, x[:, :1]), test=(x, x[:, :1]), batch_size=64, how="batched")


def allocated(work):
    """Bytes at the peak, as the allocator itself counts."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    events = sorted(profile.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    return max(np.cumsum([event.nbytes() for event in events if event.name() == "[memory]"]))


def normalised():
    return nn.Sequential(nn.Linear(10, 300), nn.LayerNorm(300), nn.GELU(), nn.Linear(300, 1))


@pytest.mark.parametrize("build", [wide, normalised])
def test_memory_is_counted_as_the_allocator_counts_it(build):
    model, x = build(), torch.randn(9999, 10)[:512]

    def train():
        squared(model, (x, x[:, :1]), {}).backward()

    def judge():
        with torch.no_grad():
            squared(model, (x, x[:, :1]), {})

    for work in (train, judge):
        model.zero_grad()
        expected = allocated(work)
        model.zero_grad()
        assert memory.peak(work)[1] == pytest.approx(expected, rel=0.1)


def test_chunks_are_as_large_as_memory_allows(monkeypatch):
    model, x = wide(), torch.randn(64, 10)
    weights = sum(weight.nbytes for weight in model.parameters())
    each = allocated(lambda: squared(model, (x, x[:, :1]), {}).backward())
    for free, expected in ((1e12, 100), (100 * 3 * weights / 0.7 + 10 * each / 0.7, 10), (1e3, 1)):
        monkeypatch.setattr(memory, "free", lambda device, free=free: int(free))
        monkeypatch.setattr(Supervised, "processes", lambda self, members: 1)
        assert task().members_per_chunk(100) == pytest.approx(expected, rel=0.1)
    monkeypatch.setattr(memory, "free", lambda device: None)
    assert task().members_per_chunk(100) == 100
    assert task(Two).members_per_chunk(7) == 7


def test_the_memory_of_this_machine_is_known():
    assert 1e6 < memory.free(CPU) < 1e15


def test_a_chunked_population_decides_as_a_whole_one():
    space = lk.Space(lr=lk.Float(1e-4, 1e-1, log=True))
    settings = {"population_size": 6, "interval": 4, "generations": 3, "mode": "min"}
    whole = lk.run(task(), space, engine=lk.Vectorised(processes=1), **settings)
    chunked = lk.run(task(), space, engine=lk.Vectorised(processes=1, members_per_chunk=4), **settings)
    assert [r.hparams for r in whole.records] == [r.hparams for r in chunked.records]
    np.testing.assert_allclose([r.value for r in whole.records], [r.value for r in chunked.records], rtol=1e-5)
