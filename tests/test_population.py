"""The state of a population: what is kept up to date equals what is counted anew, and asking disturbs nothing."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from lamarck._errors import ReportError
from lamarck._rng import generator
from lamarck.population import apply, replay
from lamarck.testing.populations import generated, population
from lamarck.types import Ended, Reported, Started


def columns(cohort):
    return cohort.fitness.tobytes(), cohort.generation.tobytes(), cohort.donor.tobytes()


def forgetful(state):
    """The same state without what it remembers of its cohorts."""
    return dataclasses.replace(state, _cohorts={})


def by_hand(state, member):
    """A cohort as `Population.cohort` describes it, from the records of all reports."""
    age = int(state.generations[member]) - 1 if state.settings.compare == "age" else math.inf
    fitness, generation, donor = [], [], []
    for other in state.members:
        known = [record for record in other.records if record.generation <= age and not other.retired]
        last = known[-1] if known else None
        fitness.append(math.nan if last is None else last.fitness)
        generation.append(-1 if last is None else last.generation)
        donor.append(last is not None and last.sound)
    return np.array(fitness).tobytes(), np.array(generation, dtype=np.int64).tobytes(), np.array(donor, dtype=bool).tobytes()


@pytest.mark.parametrize("curiosity", [0.0, 0.1, 0.5, 1.0])
def test_cohorts_are_the_same_however_seldom_they_are_asked_for(curiosity):
    rng = generator(0, -1, 0, f"curiosity {curiosity}")
    for events in generated(120, seed=5):
        now = None
        for event in events:
            now = apply(now, event)
            active = [member.id for member in now.members if not member.retired]
            if active and rng.random() < curiosity:
                member = active[rng.integers(len(active))]
                assert columns(now.cohort(member)) == columns(forgetful(now).cohort(member)) == by_hand(now, member)
        assert now == replay(events)
        for member in (member.id for member in now.members if not member.retired):
            assert columns(now.cohort(member)) == columns(forgetful(now).cohort(member)) == by_hand(now, member)


def test_a_rank_is_a_place_in_the_order_whether_or_not_everybody_has_been_sorted():
    for events in generated(120, seed=8):
        now = replay(events)
        for asking in (member.id for member in now.members if not member.retired):
            cohort = forgetful(now).cohort(asking)
            comparable = np.flatnonzero(cohort.generation >= 0).tolist()
            counted = {member: cohort.rank(member) for member in comparable}
            assert cohort.order.tolist() == sorted(comparable, key=counted.__getitem__)
            assert counted == {member: cohort.rank(member) for member in comparable}
            for member in set(range(len(now))) - set(comparable):
                with pytest.raises(KeyError):
                    cohort.rank(member)


def test_a_state_stays_what_it_was():
    """Also its cohorts, and also if they are asked for only after later events have been applied."""
    for events in generated(40, seed=6):
        states = []
        for event in events:
            states.append(apply(states[-1] if states else None, event))
        for count, state in enumerate(states, 1):
            again = replay(events[:count])
            assert state == again
            assert state.generations.tobytes() == again.generations.tobytes()
            for member in (member.id for member in state.members if not member.retired):
                assert columns(state.cohort(member)) == columns(again.cohort(member))


def test_a_member_of_a_large_population_is_replaced_in_its_place_alone():
    values = [[float(i)] for i in range(200)]
    before = population(values)
    after = population([*values[:130], [130.0, 7.0], *values[131:]])
    assert [member.id for member in after.members] == list(range(200))
    assert [i for i in range(200) if before.members[i] != after.members[i]] == [130]
    assert after.members[130].last.value == 7.0


def test_a_journal_begins_with_its_beginning_and_has_one():
    (started, *_), *_ = generated(1, seed=7)
    assert isinstance(started, Started)
    with pytest.raises(ReportError, match="begin with a 'Started' event; this one begins with 'Ended'"):
        apply(None, Ended(reason="lost"))
    with pytest.raises(ReportError, match="start only once"):
        apply(apply(None, started), started)
    reported = next(event for events in generated(20, seed=7) for event in events if isinstance(event, Reported))
    with pytest.raises(ReportError, match="which was not assigned"):
        apply(population([[0.5]] * 9), reported)
