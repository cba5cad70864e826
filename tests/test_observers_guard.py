"""Guards on runs that really happen: what they say while it goes on is what the history shows afterwards."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

import lamarck as lk
from lamarck import exploit, explore
from lamarck._rng import generator
from lamarck.guards import Finding, check, check_settings
from lamarck.history import History
from lamarck.observers.guard import GuardObserver
from lamarck.pbt import PBT
from lamarck.population import apply
from lamarck.space import Float, Space
from lamarck.testing.simulation import simulate
from lamarck.types import Failed, Failure, Report, Reported, Retired, Settings
from tracked import told

SPACE = Space(lr=Float(1e-4, 1.0, log=True), m=Float(0.1, 1.0))


def descent(interval, state):
    """Ten steps down a bowl that is steep one way and flat the other; ``m`` changes nothing."""
    x = np.array([1.0, 1.0]) if state is None else state
    slope = np.array([1.0, 0.05])
    for _ in range(10):
        x = x - interval.hparams["lr"] * slope * x
    return -float((slope * x * x).sum()), x


def luck(interval, state):
    return generator(interval.seed, 0, 0, "luck").normal(), None


def deceptive(interval, state):
    """Where a fast fall of the rate pays at once and costs later; the best schedule is a slow one."""
    theta, penalty, generation = state or (0.9, 0.0, 0)
    h = interval.hparams["lr"]
    penalty += 0.2 * abs(h - (1000 - 20 * generation) / 1000)
    for _ in range(20):
        theta *= 1 - 0.002 * max(2 - h - penalty, 0)
    return 1.2 - theta * theta, (theta, penalty, generation + 1)


def machine(size, generations, seed=0, space=SPACE, max_lead=0, **strategies):
    settings = Settings(population_size=size, interval=10, generations=generations, seed=seed, max_lead=max_lead)
    return PBT(space=space, settings=settings, **strategies)


def folded(events):
    population = None
    for event in events:
        population = apply(population, event)
    return population


# ---- what they say --------------------------------------------------------------------------------------------------------------------------


def test_a_healthy_run_is_left_in_peace(caplog):
    said = []
    for seed in range(5):
        pbt = machine(40, 16, seed)
        assert check_settings(pbt) == ()
        said.append([finding.name for finding in check(History.of(simulate(pbt, descent)))])
    # that one family owns everybody sooner or later is in the nature of the method, but with 40 members in 16 generations mostly later
    assert all(names in ([], ["one_family"]) for names in said)
    assert sum(names == [] for names in said) >= 3
    guard = GuardObserver()
    with caplog.at_level(logging.INFO, logger="lamarck"):
        told(guard, simulate(machine(40, 16, 0), descent))
    assert guard.findings == ()
    assert caplog.records == []


@pytest.mark.parametrize("seed", range(3))
def test_greed_is_seen_on_the_toy_where_greed_loses(seed):
    pbt = machine(
        22,
        50,
        seed,
        Space(lr=Float(1e-4, 1.1, init=(0.9, 1.1))),
        exploit=exploit.Truncation(bottom=0.25, top=0.25),
        explore=explore.Perturb(factors=(0.5, 2.0)),
    )
    findings = {(finding.name, finding.subject): finding for finding in check(History.of(simulate(pbt, deceptive)))}
    assert findings["greed", "lr"].generation <= 12


def test_pure_luck_is_seen_as_noise():
    assert "noise" in {finding.name for finding in check(History.of(simulate(machine(20, 15), luck)))}


@pytest.mark.parametrize("speeds", [(1.0,), (1.0, 0.4, 3.0)])
@pytest.mark.parametrize("max_lead", [0, 2, None])
@pytest.mark.parametrize("step", [descent, luck])
def test_the_observer_says_what_the_history_shows(speeds, max_lead, step):
    events = simulate(machine(8, 20, 3, max_lead=max_lead), step, speeds=speeds)
    guard = GuardObserver()
    told(guard, events)
    shown = check(History.of(events))
    assert guard.findings == shown
    assert shown


def test_findings_never_go_away_while_a_run_goes_on():
    events = simulate(machine(8, 20, 1, max_lead=None), luck, speeds=(1.0, 0.4))
    whole = check(History.of(events))
    counts = []
    for end in [*range(1, len(events), 29), len(events)]:
        findings = check(History.of(events[:end]))
        assert findings == whole[: len(findings)]
        counts.append(len(findings))
    assert counts == sorted(counts)
    assert counts[-1] == len(whole) > 0


def test_nobody_waits_for_a_member_that_is_retired():
    events = simulate(machine(8, 20, 0), luck)
    cut = next(i for i, event in enumerate(events) if isinstance(event, Reported) and event.report.generation == 5)
    lost = events[cut].report.member
    events = events[:cut]
    guard = GuardObserver()
    population = told(guard, events)
    for event in (
        Failed(failure=Failure(member=lost, generation=5, kind="error")),
        Retired(member=lost, reason="failed for good"),
    ):
        population = apply(population, event)
        guard(event, population)
        events.append(event)
    assert population.members[lost].retired
    alone = machine(8, 20, 0)
    for _ in range(14):
        for member in (m for m in range(8) if m != lost):
            for event in alone.decide(population, member):
                population = apply(population, event)
                guard(event, population)
                events.append(event)
            interval = population.members[member].interval
            value, _ = luck(interval, None)
            report = Report(member=member, generation=interval.generation, step=interval.until, value=value, checkpoint=f"{interval.key}")
            event = Reported(report=report)
            population = apply(population, event)
            guard(event, population)
            events.append(event)
    assert guard.findings == check(History.of(events))
    assert any(finding.generation is not None and finding.generation > 5 for finding in guard.findings)


# ---- how they say it ------------------------------------------------------------------------------------------------------------------------


def test_each_finding_is_logged_once_warnings_as_warnings(caplog):
    guard = GuardObserver()
    with caplog.at_level(logging.INFO, logger="lamarck"):
        told(guard, simulate(machine(7, 61, space=Space(x=Float(-1.0, 1.0)), explore=explore.Perturb()), luck))
    levels = {"note": logging.INFO, "warning": logging.WARNING}
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (levels[finding.severity], str(finding)) for finding in guard.findings
    ]
    names = [finding.name for finding in guard.findings]
    assert names[:3] == ["few_members", "many_generations", "crosses_zero"]
    assert len(names) == len(set(names)) > 3
    assert {finding.severity for finding in guard.findings} == {"note", "warning"}


def test_times_among_the_metrics_reach_the_guards():
    def slow(interval, state):
        return 0.0, None

    events = [
        Reported(report=replace(event.report, metrics={"seconds.train": 1.0, "seconds.save": 1.0})) if isinstance(event, Reported) else event
        for event in simulate(machine(8, 10), slow)
    ]
    guard = GuardObserver()
    told(guard, events)
    assert "overhead" in [finding.name for finding in guard.findings]
    assert "overhead" in [finding.name for finding in check(History.of(events))]
    metrics = {event.report.key: event.report.metrics for event in events if isinstance(event, Reported)}
    assert check(History.of(events), metrics) == guard.findings


def test_a_strategy_of_ones_own_is_no_trouble():
    class Mine(exploit.Itself.__base__):
        name = "mine"
        __slots__ = ()

        def __call__(self, member, population, rng):
            return None

    events = [replace(event, strategies={**event.strategies, "exploit": {"name": "mine"}}) for event in machine(2, 4).init()]
    guard = GuardObserver()
    told(guard, events)
    assert guard.findings == ()


# ---- a past ---------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 100, 250])
def test_a_resumed_run_goes_on_from_its_past(cut, caplog):
    events = simulate(machine(8, 20, 8), luck)
    whole = GuardObserver()
    told(whole, events)
    guard = GuardObserver(History.of(events[:cut]))
    known = guard.findings
    assert known == whole.findings[: len(known)]
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="lamarck"):
        told(guard, events[cut:], folded(events[:cut]))
    assert guard.findings == whole.findings
    assert len(whole.findings) > 1
    assert [record.getMessage() for record in caplog.records] == [str(finding) for finding in whole.findings[len(known) :]]


def test_without_a_past_the_guards_say_so_once_and_are_silent(caplog):
    events = simulate(machine(8, 20, 8), luck)
    guard = GuardObserver()
    told(guard, events[50:], folded(events[:50]))
    assert guard.findings == ()
    assert len(caplog.records) == 1
    assert "GuardObserver(lk.open_run(journal))" in caplog.text


def test_a_guard_of_ones_own():
    def hello(course):
        if len(course.censuses) == 2:
            yield Finding(name="hello", severity="note", text=f"{course.censuses[-1].size} members")

    guard = GuardObserver(guards=[hello])
    told(guard, simulate(machine(8, 10), luck))
    assert [str(finding) for finding in guard.findings] == ["8 members"]


def test_in_a_real_run(caplog):
    def train(worker):
        worker.track(x=(lambda: 0, lambda state: None))
        for interval in worker:
            interval.report(0.0)

    guard = GuardObserver()
    lk.run(train, Space(lr=Float(0.0, 1.0)), population_size=2, interval=5, generations=4, observers=[guard])
    assert [finding.name for finding in guard.findings][:2] == ["few_members", "few_generations"]
    assert sum("leaves little to choose from" in record.getMessage() for record in caplog.records) == 1
