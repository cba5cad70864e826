"""The archive of the best reports: what is in it, whatever the order in which reports came, and that its weights are kept."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamarck._errors import ReportError
from lamarck._rng import generator
from lamarck.elites import Elites
from lamarck.population import apply, replay
from lamarck.record import Record
from lamarck.testing.populations import generated, population
from lamarck.types import Damaged, Reported, Retired, Settings, Started


def record(member, generation, fitness, *, checkpoint=True):
    return Record(
        member=member,
        generation=generation,
        step=generation + 1,
        value=fitness,
        fitness=fitness,
        checkpoint=f"{member}-{generation}" if checkpoint else None,
        hparams={},
        parent=None,
        trail=(fitness,),
    )


def ranked(records):
    return sorted((each for each in records if each.sound), key=lambda each: (-each.fitness, each.generation, each.member))


@st.composite
def arrivals(draw):
    """Reports of a population, each member's in order, members in any order that a lead allows; and how many are wanted."""
    size, lead, room = draw(st.integers(1, 5)), draw(st.integers(0, 4)), draw(st.integers(1, 4))
    done, reports = [0] * size, []
    for _ in range(draw(st.integers(0, 40))):
        ready = [member for member in range(size) if done[member] <= min(done) + lead]
        member = draw(st.sampled_from(ready))
        fitness = draw(st.sampled_from([-math.inf, -1.0, 0.0, 1.0, 2.0]))
        reports.append(record(member, done[member], fitness, checkpoint=draw(st.booleans()) or draw(st.booleans())))
        done[member] += 1
    return size, lead, room, reports


@given(arrivals())
def test_what_an_age_is_told_is_the_best_of_all_that_were_reported(case):
    """Against sorting all of it, at every moment and for every age that somebody may still have."""
    size, lead, room, reports = case
    elites, done = Elites(room=room), [0] * size
    for i, report in enumerate(reports):
        done[report.member] += 1
        lowest = min(done) - 1
        elites = elites.added(report, lowest)
        for age in range(lowest, max(done)):
            assert list(elites.known(age)) == ranked(each for each in reports[: i + 1] if each.generation <= age)[:room]
        assert len(elites.records) <= room * (lead + 2)
        assert list(elites.records) == ranked(elites.records)


@given(arrivals(), st.randoms())
def test_what_a_generation_is_told_does_not_depend_on_the_order_of_arrival(case, random):
    _, _, room, reports = case
    generation = sorted(reports, key=lambda each: each.generation)
    shuffled = sorted(reports, key=lambda each: (each.generation, random.random()))
    for order in (generation, shuffled):
        elites = Elites(room=room)
        for report in order:
            elites = elites.added(report, report.generation - 1)
        assert elites.known(99) == tuple(ranked(reports)[:room])


@pytest.mark.parametrize(
    ("strategies", "room"),
    [
        ({}, 1),
        ({"exploit": {"name": "truncation", "bottom": 0.2}, "rescue": None}, 1),
        ({"exploit": {"name": "backtracking", "elites": 4}}, 4),
        ({"exploit": {"name": "margin", "inner": {"name": "backtracking", "elites": 6}}, "rescue": {"name": "backtracking", "elites": 2}}, 6),
        ({"exploit": {"name": "first_of", "strategies": [{"name": "best"}, {"name": "backtracking", "elites": 3}]}}, 3),
        # What somebody else's strategy means by the word is no reason not to read a journal.
        ({"exploit": {"name": "theirs", "elites": "many"}}, 1),
        ({"exploit": {"name": "theirs", "elites": True}}, 1),
        ({"exploit": {"name": "theirs", "elites": 2.5}}, 1),
        ({"exploit": {"name": "theirs", "elites": -3}}, 1),
        ({"exploit": {"name": "theirs", "elites": [7, {"elites": 5}]}}, 5),
        ({"explore": {"name": "per_key", "rules": {"elites": {"name": "keep"}}}}, 1),  # a hyperparameter of that name
    ],
)
def test_there_is_as_much_room_as_the_strategies_of_the_run_ask_for(strategies, room):
    assert Elites.wanted(strategies).room == room
    started = Started(settings=Settings(population_size=2, interval=1, generations=1), space={}, strategies=strategies, initial=({}, {}))
    assert apply(None, started).archive == Elites(room=room)


def test_a_population_knows_its_elites_and_keeps_their_weights():
    now = population([[0.1, 0.9, 0.2, 0.3, 0.4], [0.8, 0.7, 0.1, 0.2, 0.3]], elites=3)
    assert [elite.key for elite in now.elites(0)] == [(0, 1), (1, 0), (1, 1)]
    assert {"0-1", "1-0", "1-1"} <= now.live()
    assert now.record((1, 0)).value == 0.8
    with pytest.raises(ReportError, match="no record of member 0, generation 0, is kept"):
        now.record((0, 0))


def test_lower_is_better_too():
    now = population([[-0.1, -0.9, 5.0], [-0.8, -0.7, math.nan]], mode="min", elites=2)
    assert [elite.value for elite in now.elites(1)] == [-0.9, -0.8]


def test_what_is_not_finite_or_not_saved_is_no_elite():
    now = population([[math.nan, math.inf, 0.5], [9.0, 0.1, -math.inf]], unsaved={(1, 0)}, elites=4)
    assert [elite.key for elite in now.elites(0)] == [(0, 2), (1, 1)]


def test_a_slow_member_goes_back_to_nothing_of_a_greater_age():
    slow = [[0.5], [0.1, 0.9, 0.2], [0.2, 0.8, 0.1]]
    assert [elite.key for elite in population(slow, elites=2).elites(0)] == [(0, 0), (2, 0)]
    assert [elite.key for elite in population(slow, elites=2).elites(1)] == [(1, 1), (2, 1)]
    assert [elite.key for elite in population(slow, elites=2, compare="latest").elites(0)] == [(1, 1), (2, 1)]


def test_a_damaged_elite_is_none_and_a_retired_members_stays():
    now = population([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]], elites=2)
    now = apply(now, Damaged(member=1, checkpoint="0-0"))
    assert [elite.key for elite in now.elites(1)] == [(1, 0)]
    assert "0-0" not in now.live()
    now = apply(now, Retired(member=1, reason="failed for good"))
    assert [elite.key for elite in now.elites(0)] == [(1, 0)]


def test_elites_are_live_and_sound_and_within_bounds_in_every_condition():
    for events in generated(120, seed=11):
        now, reports = None, 0
        for event in events:
            now = apply(now, event)
            reports += isinstance(event, Reported)
            names = now.live()
            for member in (member.id for member in now.members if not member.retired):
                age = int(now.generations[member]) - 1 if now.settings.compare == "age" else math.inf
                for elite in now.elites(member):
                    assert elite.sound
                    assert elite.checkpoint in names
                    assert elite.generation <= age
                    assert now.record(elite.key) == elite
        assert now == replay(events)
        assert len(now.archive.records) <= reports


def test_who_asks_for_no_elites_keeps_the_best_report_of_those_that_count():
    """One for everybody of the slowest one's age, and one more for each generation that somebody is ahead and was better."""
    for events in generated(60, seed=12):
        archive, done = Elites(), dict.fromkeys(range(len(replay(events).members)), 0)
        for event in events:
            if isinstance(event, Reported):
                report = event.report
                done[report.member] += 1
                archive = archive.added(record(report.member, report.generation, report.value), min(done.values()) - 1)
        ages = [each.generation for each in archive.records]
        assert ages == sorted(set(ages), reverse=True)
        assert all(age >= min(done.values()) for age in ages[:-1])


def test_many_reports_cost_no_memory():
    rng = generator(0, -1, 0, "elites")
    elites = Elites(room=4)
    for generation in range(500):
        for member in range(8):
            elites = elites.added(record(member, generation, float(rng.normal())), generation - (member < 7))
        assert len(elites.records) == min(4, 8 * (generation + 1))
