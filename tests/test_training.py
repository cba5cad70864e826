"""The worker: the right weights at the right time, and plain words for misuse."""

import random
from collections import deque

import numpy as np
import pytest
import torch

import lamarck as lk
from lamarck import exploit, explore
from lamarck._errors import CheckpointDamaged, ReportError, StaleReport, TrainingError
from lamarck.checkpoints import MemoryCheckpoints
from lamarck.tracking import tracked
from lamarck.training import Worker
from lamarck.types import Failure, Interval, Report

SPACE = lk.Space(h=lk.Float(0.0, 1.0))


def interval(member=0, generation=0, restore=None, parent=None, seed=1):
    return Interval(
        member=member,
        generation=generation,
        hparams={"h": 0.5},
        start=generation,
        until=generation + 1,
        restore=restore,
        parent=parent,
        seed=seed,
    )


class Script:
    """A transport that hands out prepared intervals and remembers what it was told."""

    def __init__(self, *answers):
        self.answers, self.heard = list(answers), []

    def __call__(self, message):
        self.heard.append(message)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer


class Counting(MemoryCheckpoints):
    """A store that remembers what was read."""

    def __init__(self):
        super().__init__()
        self.reads = []

    def get(self, name):
        self.reads.append(name)
        return super().get(name)


def test_a_worker_that_keeps_its_member_reloads_nothing():
    store = Counting()
    worker = Worker(Script(interval(), interval(generation=1, restore="0-0", parent=(0, 0))), store)
    x = np.zeros(1)
    worker.track(x=x)
    for it in worker:
        x += 1
        it.report(float(x[0]))
    assert store.reads == []
    assert store.get("0-1")["x"][0] == 2


def test_another_members_weights_are_loaded_and_nothing_leaks_from_before():
    store = MemoryCheckpoints()
    script = Script(interval(0), interval(1), interval(0, 1, "0-0", (0, 0)), interval(1, 1, "0-0", (0, 0)))
    worker = Worker(script, store)
    x, seen = np.zeros(1), []
    worker.track(x=x)
    for it in worker:
        seen.append(float(x[0]))
        x += 1 + it.member
        it.report(float(x[0]))
    assert seen == [0, 0, 1, 1]  # member 1 starts from nothing, not from member 0's weights
    assert [message.checkpoint for message in script.heard[1:]] == ["0-0", "1-0", "0-1", "1-1"]


def test_on_fresh_gives_each_member_weights_of_its_own():
    worker = Worker(Script(interval(0, seed=11), interval(1, seed=22), interval(0, 1, "0-0", (0, 0), seed=33)), MemoryCheckpoints())
    x, seeds = np.zeros(1), []
    worker.track(x=x)
    worker.on_fresh(seeds.append)
    for it in worker:
        it.report(0.0)
    assert seeds == [11, 22]


def test_global_generators_start_from_the_intervals_seed():
    draws = []
    for before in (1, 2):
        random.seed(before), np.random.seed(before), torch.manual_seed(before)
        worker = Worker(Script(interval(seed=5)), MemoryCheckpoints())
        worker.track(x=np.zeros(1))
        for it in worker:
            draws.append((random.random(), np.random.rand(), torch.rand(1).item(), it.rng.random()))
            it.report(0.0)
    assert draws[0] == draws[1]


def test_a_damaged_checkpoint_is_reported_and_the_next_interval_taken():
    class Broken(MemoryCheckpoints):
        def get(self, name):
            if name == "7-0":
                raise CheckpointDamaged("7-0 is not what was saved")
            return super().get(name)

    script = Script(interval(0, 1, "7-0", (7, 0)), interval(0))
    worker = Worker(script, Broken())
    worker.track(x=np.zeros(1))
    for it in worker:
        it.report(1.0)
    assert isinstance(script.heard[1], Failure)
    assert (script.heard[1].kind, script.heard[1].checkpoint) == ("damaged", "7-0")
    assert isinstance(script.heard[2], Report)


def test_a_failure_is_one_line():
    def train(worker):
        worker.track(x=np.zeros(1))
        for _ in worker:
            raise ValueError("\n  no such data\nand much more")

    with pytest.raises(lk.PopulationLost, match=r"after 2 failed attempts.*: ValueError: no such data$"):
        lk.run(train, lk.Space(h=lk.Float(0.1, 1.0)), population_size=1, interval=1, generations=1, max_failures=0)


def test_a_stale_report_is_dropped_and_the_weights_with_it(caplog):
    store = Counting()
    store.put(3, 0, {"x": np.array([42.0])})
    script = Script(interval(0), StaleReport("too late"), interval(0, 1, "3-0", (3, 0)))
    worker = Worker(script, store)
    x, seen = np.zeros(1), []
    worker.track(x=x)
    for it in worker:
        seen.append(float(x[0]))
        it.report(1.0)
    assert "too late" in caplog.text
    assert seen == [0.0, 42.0]
    assert store.reads == ["3-0"]


def test_misuse_is_explained():
    worker = Worker(Script(interval(), interval(1)), MemoryCheckpoints())
    loop = iter(worker)
    it = next(loop)
    with pytest.raises(TrainingError, match="nothing is tracked"):
        it.report(1.0)
    with pytest.raises(TrainingError, match="before the first interval"):
        worker.track(x=np.zeros(1))
    with pytest.raises(TrainingError, match="without a report"):
        next(loop)
    worker = Worker(Script(interval(), interval(1)), MemoryCheckpoints())
    worker.track(x=np.zeros(1))
    it = next(iter(worker))
    with pytest.raises(ReportError, match="report a number"):
        it.report("good")
    with pytest.raises(ReportError, match=r"metrics\['loss'\]: got tensor\(\[1., 2.\]\); give one number"):
        it.report(1.0, metrics={"loss": torch.tensor([1.0, 2.0])})
    with pytest.raises(ReportError, match="samples: got None; give one number"):
        it.report(1.0, samples=[1.0, None])
    it.report(1.0)
    with pytest.raises(TrainingError, match="already reported"):
        it.report(1.0)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (dict(value=10**400), "value: got 1000+; report a number"),
        (dict(value=1.0, step=float("nan")), "step: got nan; give a whole number"),
        (dict(value=1.0, step=0.7), "step: got 0.7; give a whole number"),
        (dict(value=1.0, step="1"), "step: got '1'; give a whole number"),
        (dict(value=1.0, samples=3), "samples: got 3; give a sequence of numbers"),
        (dict(value=1.0, samples=[10**400]), "samples: got 1000+; give one number"),
        (dict(value=1.0, metrics=[1]), r"metrics: got \[1\]; give a mapping from names, which do not begin with '\$', to numbers"),
        (dict(value=1.0, metrics={1: 2}), "metrics: got {1: 2}; give a mapping from names"),
        (dict(value=1.0, metrics={"$a": 2}), r"metrics: got {'\$a': 2}; give a mapping from names, which do not begin with"),
        (dict(value=1.0, metrics={"a": 10**400}), r"metrics\['a'\]: got 1000+; give one number"),
    ],
)
def test_what_is_no_number_is_refused_and_not_taken_for_a_failure(said, message):
    script = Script(interval())
    worker = Worker(script, MemoryCheckpoints())
    worker.track(x=np.zeros(1))
    with pytest.raises(ReportError, match=message):
        next(iter(worker)).report(**said)
    assert script.heard == [None]


def test_whole_numbers_of_other_libraries_are_steps():
    for step in (np.int32(1), torch.tensor(1)):
        script = Script(interval())
        worker = Worker(script, MemoryCheckpoints())
        worker.track(x=np.zeros(1))
        next(iter(worker)).report(0.5, step=step)
        assert script.heard[1].step == 1


def test_everything_that_can_be_tracked_comes_back():
    model, generator = torch.nn.Linear(2, 1), torch.Generator().manual_seed(3)
    things = {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=0.1),
        "tensor": torch.ones(2, requires_grad=True),
        "generator": generator,
        "numpy": np.random.default_rng(1),
        "legacy": np.random.RandomState(1),
        "python": random.Random(1),
        "array": np.ones(3),
        "list": [1, 2],
        "deque": deque([(1, 0.5), (2, 0.25)], maxlen=2),
        "dict": {"a": 1},
    }
    box = [0]
    things["pair"] = (lambda: {"n": box[0]}, lambda state: box.__setitem__(0, state["n"]))
    adapters = {name: tracked(name, thing) for name, thing in things.items()}
    store = MemoryCheckpoints()
    name = store.put(0, 0, {key: adapter.save() for key, adapter in adapters.items()})

    def draws():
        return things["numpy"].random(), things["legacy"].normal(), things["python"].random(), torch.rand(1, generator=generator).item()

    before = draws(), model.weight.detach().clone()
    model(torch.ones(2)).backward()
    things["optimizer"].step()
    with torch.no_grad():
        things["tensor"] += 1
    things["array"] += 1
    things["list"].append(3)
    things["deque"].append((3, 0.125))
    things["dict"]["b"] = 2
    box[0] = 9
    draws()
    state = store.get(name)
    for key, adapter in adapters.items():
        adapter.load(state[key])
    assert draws() == before[0]
    assert torch.equal(model.weight, before[1])
    assert things["optimizer"].state_dict()["state"] == {}
    assert things["tensor"].tolist() == [1, 1]
    assert things["array"].tolist() == [1, 1, 1]
    assert (list(things["deque"]), things["deque"].maxlen) == ([(1, 0.5), (2, 0.25)], 2)
    assert (things["list"], things["dict"], box) == ([1, 2], {"a": 1}, [0])
    with pytest.raises(TrainingError, match="cannot track 'nothing', a int"):
        tracked("nothing", 3)


@pytest.mark.parametrize("make", [np.zeros, torch.zeros])
def test_a_state_of_another_shape_is_not_spread_over_an_array(make):
    thing = make((2, 3))
    for other in ((3,), (), (1, 3), (3, 2)):
        with pytest.raises(TrainingError, match=r"'x' has the shape \(2, 3\), and the state to restore has"):
            tracked("x", thing).load(make(other) + 1)
    assert thing.sum() == 0


def test_the_learning_rate_after_an_exploit_is_the_explored_one():
    """The classic fault: the donor's optimizer state silently restores the donor's learning rate."""
    seen = []

    def train(worker):
        model = torch.nn.Linear(1, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        worker.track(model=model, optimizer=optimizer)
        for it in worker:
            for group in optimizer.param_groups:
                group["lr"] = it.hparams["h"]
            seen.append((it.copied, optimizer.param_groups[0]["lr"], it.hparams["h"]))
            it.report(it.hparams["h"])

    lk.run(
        train,
        SPACE,
        population_size=4,
        interval=1,
        generations=6,
        exploit=exploit.Truncation(bottom=0.5, top=0.5),
        explore=explore.Gaussian(0.1),
    )
    assert sum(copied for copied, _, _ in seen) >= 5
    assert all(used == told for _, used, told in seen)


def test_two_children_of_one_parent_see_different_data():
    data = {}

    def train(worker):
        worker.track(x=np.zeros(1))
        for it in worker:
            data[it.member, it.generation] = (it.parent, tuple(np.random.permutation(10)))
            it.report(float(it.member == 2))

    lk.run(train, SPACE, population_size=3, interval=1, generations=2, exploit=exploit.Best())
    children = [drawn for (member, generation), (parent, drawn) in data.items() if parent == (2, 0)]
    assert len(children) == len(set(children)) == 3
