from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

import lamarck as lk
from lamarck import SettingsError
from lamarck._rng import generator
from lamarck.codec import decode_event, encode
from lamarck.exploit import FirstOf, Itself, Truncation
from lamarck.explore import PB2, Gaussian, Keep, PerKey, Perturb
from lamarck.explore.pb2 import _beginning, _others, _promising, _scaled, _standardised, _usable
from lamarck.pbt import PBT
from lamarck.population import RECENT, Population, apply, replay
from lamarck.space import Categorical, Float, Int, Space
from lamarck.testing.explore import SPACES, check_explore
from lamarck.testing.populations import population, state
from lamarck.testing.simulation import simulate
from lamarck.types import Assigned, Event, Interval, Report, Reported, Settings, Started
from lamarck.verify import verify

nan = math.nan

SPACE = Space(lr=Float(1e-4, 1.0, log=True), width=Int(1, 64, log=True), kind=Categorical(["a", "b"]))


def pbt(
    size: int = 8, generations: int = 10, *, space: Space = SPACE, mode: str = "max", seed: int = 0, max_lead: int | None = 0, **strategies: Any
) -> PBT:
    settings = Settings(population_size=size, interval=10, generations=generations, mode=mode, seed=seed, max_lead=max_lead)  # type: ignore[arg-type]
    return PBT(space=space, settings=settings, **{"explore": PB2(window=40), "exploit": Truncation(bottom=0.25, top=0.25), **strategies})


def rising(interval: Interval, state: Any) -> tuple[float, float]:
    """Rises fastest at lr = 0.01 and width = 8; now and then a value is lost."""
    h = interval.hparams
    gain = 1.0 - 0.2 * (math.log10(float(h["lr"])) + 2) ** 2 - 0.1 * (math.log2(float(h["width"])) - 3) ** 2
    weights = (state or 0.0) + gain + 0.01 * float(np.random.default_rng(interval.seed).normal())
    return (nan if interval.seed % 17 == 0 else weights), weights


def explored(events: list[Event]) -> list[Interval]:
    """The intervals that began with a copy."""
    return [event.interval for event in events if isinstance(event, Assigned) and event.interval.copied]


# ---- what it is told -------------------------------------------------------------------------------------------------------------------------


def told(values: dict[tuple[int, int], float], parents: dict[tuple[int, int], tuple[int, int]], size: int) -> Population:
    """A population of intervals of ten steps."""
    events: list[Event] = [
        Started(settings=Settings(population_size=size, interval=10, generations=99), space={}, strategies={}, initial=({},) * size)
    ]
    steps: dict[tuple[int, int], int] = {}
    for (member, generation), value in values.items():
        key = (member, generation)
        parent = parents.get(key, (member, generation - 1) if generation else None)
        start = steps[parent] if parent else 0
        steps[key] = start + 10
        events.append(
            Assigned(
                interval=Interval(
                    member=member,
                    generation=generation,
                    hparams={"lr": 0.1 * (member + 1) + 0.01 * generation},
                    start=start,
                    until=start + 10,
                    restore=None if parent is None else f"{parent[0]}-{parent[1]}",
                    parent=parent,
                    seed=0,
                )
            )
        )
        events.append(
            Reported(report=Report(member=member, generation=generation, step=start + 10, value=value, checkpoint=f"{member}-{generation}"))
        )
    return state(events)


def test_a_gain_after_a_copy_is_counted_from_the_donor():
    """Member 0 goes from 1.0 to 1.5; member 1 copies it at 1.0 and falls to 0.75. What member 1 had before, 0.0, does not come into it."""
    now = told({(0, 0): 1.0, (1, 0): 0.0, (0, 1): 1.5, (1, 1): 0.75}, {(1, 1): (0, 0)}, 2)
    space = Space(lr=Float(0.0, 1.0))
    rows = [record for record in now.recent(0, 100) if _usable(record, ["lr"], space)]
    assert [(record.key, record.start, record.step, record.trail[-2:]) for record in rows] == [
        ((0, 1), 10, 20, (1.0, 1.5)),
        ((1, 1), 10, 20, (1.0, 0.75)),
    ]


def test_what_says_nothing_is_left_out():
    space = Space(lr=Float(0.0, 0.25))
    now = told(
        {(0, 0): 1.0, (1, 0): nan, (2, 0): 1e200, (0, 1): math.inf, (2, 1): 1.0, (0, 2): 2.0, (1, 1): 1.0}, {(0, 2): (0, 0), (1, 1): (0, 0)}, 3
    )
    usable = [record.key for record in now.recent(0, 100) if _usable(record, ["lr"], space)]
    # Generation 0 began from nothing; (0, 1) is not finite; (2, 1) began at a number that is too large, and its 0.31 is out of range.
    assert usable == [(1, 1), (0, 2)]


def test_what_is_recent_is_neither_older_than_oneself_nor_in_the_order_of_arrival():
    values = {(1, 0): 0.0, (0, 0): 0.0, (1, 1): 0.0, (1, 2): 0.0, (0, 1): 0.0}
    now = told(values, {}, 2)
    assert [record.key for record in now.recent(0, 100)] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert [record.key for record in now.recent(1, 100)] == [(0, 0), (1, 0), (0, 1), (1, 1), (1, 2)]
    assert [record.key for record in now.recent(1, 2)] == [(1, 1), (1, 2)]


def test_the_last_reports_are_kept_and_no_more():
    size = 5
    now = population([[float(g) for g in range(400)] for _ in range(size)])
    kept = list(now.reports)
    assert RECENT + 2 * size <= len(kept) <= RECENT + 2 * size + 127
    assert [record.key for record in kept[-7:]] == [(m, 398) for m in (3, 4)] + [(m, 399) for m in range(5)]
    assert len(now.recent(0, RECENT)) == RECENT


def test_targets_by_hand():
    np.testing.assert_allclose(_standardised(np.array([1.0, 3.0])), [-1.0, 1.0])
    outlier = _standardised(np.array([0.0] * 99 + [100.0]))
    assert outlier is not None
    assert outlier.max() == 2.0
    assert _standardised(np.array([])) is None
    assert _standardised(np.array([0.1, 0.1, 0.1])) is None
    assert _standardised(np.array([0.1 + 0.2, 0.3, 0.3])) is None  # differs in the last bit only
    np.testing.assert_allclose(_scaled(np.array([1.0, 2.0, 9.0]), np.array([[1.0, 3.0]])), [0.0, 0.5, 1.0])
    assert _scaled(np.array([1.0, 5.0]), np.array([1.0, 1.0])).tolist() == [0.0, 1.0]


def test_it_stands_where_the_copied_weights_stand():
    now = told({(0, 0): 5.0, (1, 0): 1.0}, {}, 2)
    assert _beginning(now, 1) == (1.0, 1.0)
    taken = Interval(member=1, generation=1, hparams={"lr": 0.1}, start=10, until=20, restore="0-0", parent=(0, 0), seed=0)
    assert _beginning(apply(now, Assigned(interval=taken)), 1) == (1.0, 5.0)
    assert _beginning(told({(0, 0): nan}, {}, 1), 0) is None


def test_the_machine_shows_it_the_population_after_the_copy():
    seen: list[tuple[int, Any]] = []

    @dataclass(frozen=True)
    class Spy(lk.Explore):
        name: ClassVar[str] = "spy"

        def __call__(self, hparams, member, population, space, rng):
            seen.append((member, population.members[member].interval))
            return dict(hparams)

    events = simulate(pbt(explore=Spy()), rising)
    assert [(interval.member, interval) for interval in explored(events)] == seen


def test_those_ahead_are_pending_and_those_behind_choose_first():
    now = told({(0, 0): 5.0, (1, 0): 1.0, (2, 0): 3.0, (3, 0): nan}, {}, 4)
    space = Space(lr=Float(0.0, 1.0))
    for member, ahead, behind in ((0, [], 3), (2, [0.1], 2), (1, [0.1, 0.3], 1), (3, [0.1, 0.3, 0.2], 0)):
        places, count = _others(now, member, ["lr"], space)
        np.testing.assert_allclose(places[:, 0], ahead)
        assert count == behind


# ---- what it chooses -------------------------------------------------------------------------------------------------------------------------


def distance(interval: Interval) -> float:
    return abs(math.log10(float(interval.hparams["lr"])) + 2) + 0.5 * abs(math.log2(float(interval.hparams["width"])) - 3)


@pytest.mark.parametrize("mode", ["max", "min"])
def test_it_finds_what_raises_the_value(mode):
    sign = 1 if mode == "max" else -1

    def step(interval, state):
        value, weights = rising(interval, state)
        return sign * value, weights

    last = [interval for seed in range(2) for interval in explored(simulate(pbt(seed=seed, mode=mode), step)) if interval.generation >= 6]
    perturbed = [
        interval
        for seed in range(2)
        for interval in explored(simulate(pbt(seed=seed, mode=mode, explore=Perturb()), step))
        if interval.generation >= 6
    ]
    assert np.median([distance(interval) for interval in last]) < 0.5
    assert np.median([distance(interval) for interval in last]) < np.median([distance(interval) for interval in perturbed])


def test_the_members_of_one_generation_try_different_things():
    """Eight rows at one end of the range say little about the other end: the second who is replaced does not go where the first goes."""
    points = np.column_stack([np.zeros(8), np.full(8, 0.5), np.linspace(0.0, 0.3, 8)])
    y = np.array([-1.5, -1.0, -0.5, 0.0, 0.3, 0.6, 0.8, 1.3])
    now, nobody = np.array([1.0, 0.5]), np.zeros((0, 1))
    places = [_promising(points, y, now, nobody, behind, generator(0, behind, 0, "decide"))[0, 0] for behind in (0, 1, 2)]
    assert min(abs(a - b) for a, b in itertools.combinations(places, 2)) > 0.01
    # Nor where somebody ahead is.
    elsewhere = _promising(points, y, now, np.array([[places[0]]]), 0, generator(0, 0, 0, "decide"))[0, 0]
    assert abs(elsewhere - places[0]) > 0.01


def test_the_beginning_and_the_rest_are_left_to_another():
    doubled = Perturb(factors=(2.0,), categorical=0.0)
    events = simulate(pbt(4, 10, explore=PB2(inner=doubled), rescue=None), rising)
    population = None
    early, late = [], []
    for event in events:
        if isinstance(event, Assigned) and event.interval.copied:
            assert population is not None
            donor = population.record(event.interval.parent)
            usable = [r for r in population.recent(event.interval.member, 100) if _usable(r, ["lr", "width"], SPACE)]
            assert event.interval.hparams["kind"] == donor.hparams["kind"]
            same = event.interval.hparams == doubled(dict(donor.hparams), 0, population, SPACE, generator(0, 0, 0, "any"))
            (early if len(usable) < 6 else late).append(same)
        population = apply(population, event)
    assert early
    assert all(early)
    assert late
    assert not any(late)


def test_only_choices_are_left_to_another_entirely():
    space = Space(kind=Categorical(["a", "b", "c"]), h=Float(0.0, 1.0, when={"kind": "a"}))
    now = population([[1.0, 2.0]] * 3, hparams=[{"kind": "a", "h": 0.5}] * 3)
    for i in range(20):
        drawn = Gaussian(0.5)({"kind": "a", "h": 0.5}, 0, now, space, generator(0, 0, i, "decide"))
        assert PB2(inner=Gaussian(0.5))({"kind": "a", "h": 0.5}, 0, now, space, generator(0, 0, i, "decide")) == drawn


def test_constraints_are_met_by_the_best_place_that_meets_them():
    space = Space(lr=Float(1e-4, 1.0, log=True), width=Int(1, 64, log=True), kind=Categorical(["a"])).where("lr * width <= 0.02")
    events = simulate(pbt(space=space), rising)
    late = [interval for interval in explored(events) if interval.generation >= 5]
    assert late
    assert all(float(i.hparams["lr"]) * int(i.hparams["width"]) <= 0.02 for i in late)


def test_under_a_strategy_for_each_hyperparameter():
    events = simulate(pbt(explore=PerKey({"lr": PB2()}, default=Keep())), rising)
    assert all(type(interval.hparams["width"]) is int for interval in explored(events))
    assert verify(events) is None


@pytest.mark.parametrize(
    ("field", "value"), [("window", 9), ("window", 257), ("window", 50.0), ("window", True), ("inner", Truncation()), ("inner", "keep")]
)
def test_illegal_settings(field, value):
    with pytest.raises(SettingsError, match=f"pb2: {field}: got"):
        PB2(**{field: value})


# ---- the Laws --------------------------------------------------------------------------------------------------------------------------------


def lived(space: Space, seed: int) -> Population:
    """A population that has gone through some generations: the suite's own are too young for a model."""

    def step(interval: Interval, state: Any) -> tuple[float, float]:
        weights = (state or 0.0) + float(space.to_unit([interval.hparams])[0, 0]) + 0.1 * float(np.random.default_rng(interval.seed).normal())
        return weights, weights

    events = simulate(pbt(6, 6, space=space, seed=seed, explore=Perturb()), step)
    made = replay(events[: -2 if seed % 2 else None])
    assert made is not None
    return made


@pytest.mark.parametrize("space", SPACES)
def test_the_laws(space):
    check_explore(PB2(), spaces=[space])
    for seed in range(2):
        now = lived(space, seed)
        for record in [member.last for member in now.members if member.last]:
            for draw in (seed,):
                given = dict(record.hparams)
                answer = PB2()(given, record.member, now, space, generator(seed, record.member, draw, "decide"))
                assert given == record.hparams
                assert answer.keys() == given.keys()
                assert all(space[name].contains(value) and type(value) in (bool, int, float, str, type(None)) for name, value in answer.items())
                turned = PB2()(dict(reversed(given.items())), record.member, now, space, generator(seed, record.member, draw, "decide"))
                assert turned == answer


SPEEDS = ((1.0,), (1.0, 0.3), (1.0,) * 8, (0.2, 1.0, 3.0))


def test_how_many_workers_of_what_speed_does_not_matter():
    def decisions(speeds):
        return sorted(explored(simulate(pbt(8, 8, seed=5), rising, speeds=speeds)), key=lambda interval: interval.key)

    first, *others = (decisions(speeds) for speeds in SPEEDS)
    assert len(first) > 10
    assert all(one == first for one in others)


@pytest.mark.parametrize("max_lead", [0, 2, None])
def test_a_run_can_be_verified_and_read_back(max_lead):
    events = simulate(pbt(4, 8, max_lead=max_lead, exploit=FirstOf(Truncation(), Itself())), rising, speeds=(1.0, 0.4, 1.7))
    written = [encode(event) for event in events]
    read = [decode_event(text) for text in written]
    assert read == events
    assert verify(read) is None


def test_values_of_any_size():
    """Nothing overflows, whatever is reported."""
    for size in (1e-320, 1e-200, 1.0, 1e99, 1e200, 1e308):

        def step(interval, state, size=size):
            h = float(interval.hparams["lr"])
            return (size * h * (1 if interval.seed % 2 else -1)), None

        simulate(pbt(4, 8), step)


def train(worker: lk.Worker) -> None:
    x = np.ones(3)
    worker.track(x=x)
    for interval in worker:
        for _ in interval.steps:
            x -= interval.hparams["lr"] * x * np.array([1.0, 0.5, 0.1])
        interval.report(float(x @ x))


def test_all_engines_decide_alike(tmp_path):
    settings: dict[str, Any] = {"population_size": 6, "interval": 5, "generations": 8, "mode": "min", "seed": 2, "explore": PB2()}
    space = lk.Space(lr=lk.Float(1e-4, 1.5, log=True))
    runs = [lk.run(train, space, engine=engine, **settings) for engine in ("inline", lk.Processes(workers=2))]
    copies = [sorted((copy.member, copy.generation, copy.donor) for copy in run.copies) for run in runs]
    hparams = [{record.key: record.hparams for record in run.records} for run in runs]
    assert copies[0] == copies[1]
    assert copies[0]
    assert hparams[0] == hparams[1]


DECIDE = """
import json
from test_explore_pb2 import PB2, explored, pbt, rising
from lamarck.testing.simulation import simulate
print(json.dumps([dict(interval.hparams) for interval in explored(simulate(pbt(12, 8, seed=1, explore=PB2()), rising))]))
"""


def test_threads_do_not_matter():
    answers = []
    for threads in ("1", "2"):
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        environment["PYTHONPATH"] = os.pathsep.join([os.path.dirname(__file__), environment.get("PYTHONPATH", "")])
        done = subprocess.run([sys.executable, "-c", DECIDE], env=environment, capture_output=True, text=True, check=True, timeout=200)
        answers.append(json.loads(done.stdout))
    assert len(answers[0]) > 10
    assert answers[0] == answers[1]


def test_the_past_of_a_long_run_does_not_make_it_slower():
    """What is looked at is bounded, so it is bounded what a decision costs."""
    now = population([[float(g) for g in range(300)] for _ in range(100)], hparams=[{"lr": 0.1}] * 100)
    assert len(now.recent(0, 100)) == 100
    assert len(list(now.reports)) < RECENT + 2 * 100 + 128
