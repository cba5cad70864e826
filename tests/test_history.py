"""History: folded by hand."""

import math

import numpy as np
import pandas
import polars
import pytest

from lamarck import exploit, explore
from lamarck._errors import ReportError, SettingsError
from lamarck.diversity import diversity, expected_takeover, takeover
from lamarck.history import History
from lamarck.pbt import PBT
from lamarck.population import apply, replay
from lamarck.schedule import Piece, Schedule
from lamarck.space import Float, Space
from lamarck.testing.simulation import simulate
from lamarck.types import Assigned, Damaged, Failed, Failure, Interval, Report, Reported, Retired, Settings, Started

SPACE = Space(h=Float(0.0, 1.0))


def started(size=2, generations=3, **settings):
    rules = Settings(population_size=size, interval=10, generations=generations, **settings)
    return Started(settings=rules, space=SPACE.to_dict(), strategies={}, initial=({"h": 0.1},) * size)


def done(member, generation, value, h, parent=None, start=None, checkpoint="auto"):
    """An interval and its report."""
    start = generation * 10 if start is None else start
    parent = (member, generation - 1) if parent is None and generation else parent
    interval = Interval(
        member=member,
        generation=generation,
        hparams={"h": h},
        start=start,
        until=start + 10,
        restore=None,
        parent=parent,
        seed=0,
        info={"reason": "because"},
    )
    name = f"{member}-{generation}" if checkpoint == "auto" else checkpoint
    return [
        Assigned(interval=interval),
        Reported(report=Report(member=member, generation=generation, step=start + 10, value=value, checkpoint=name)),
    ]


#  member 0: 0.1 -> 0.1 ----------> 0.3 (copy of 1)
#  member 1: 0.2 -> 0.2 (copy of 0) -> 0.4
STORY = [
    started(),
    *done(0, 0, 1.0, 0.1),
    *done(1, 0, 0.5, 0.2),
    *done(0, 1, 2.0, 0.1),
    *done(1, 1, 3.0, 0.2, parent=(0, 0)),
    *done(0, 2, 5.0, 0.3, parent=(1, 1)),
    *done(1, 2, 4.0, 0.4),
]


def test_best_lineage_and_schedule():
    history = History.of(STORY)
    assert history.best.key == (0, 2)
    assert [r.key for r in history.lineage()] == [(0, 0), (1, 1), (0, 2)]
    assert [r.key for r in history.lineage((0, 1))] == [(0, 0), (0, 1)]
    assert history.schedule() == Schedule((Piece(0, 10, {"h": 0.1}), Piece(10, 20, {"h": 0.2}), Piece(20, 30, {"h": 0.3})))
    assert [(p.until, p.hparams["h"]) for p in history.schedule(1)] == [(10, 0.1), (20, 0.2), (30, 0.4)]
    assert [(c.member, c.generation, c.donor, c.reason) for c in history.copies] == [(1, 1, (0, 0), "because"), (0, 2, (1, 1), "because")]
    assert [r.key for r in history.member(1)] == [(1, 0), (1, 1), (1, 2)]
    assert (0, 2) in history
    assert (0, 3) not in history
    assert str(history) == "population of 2, 6 of 6 intervals, 2 copies, not ended; best 5 by member 0, generation 2"


def test_neighbours_with_the_same_hyperparameters_are_one_piece():
    history = History.of([started(1), *done(0, 0, 1.0, 0.1), *done(0, 1, 1.0, 0.1), *done(0, 2, 2.0, 0.3)])
    assert [(p.start, p.until) for p in history.schedule()] == [(0, 20), (20, 30)]


def test_founders_takeover_and_diversity():
    history = History.of(STORY)
    assert history.founders[1, 2] == history.founders[0, 2] == (0, 0)
    assert takeover(history) == 1
    first, last = diversity(history, 0), diversity(history, 2)
    assert (first.founders, first.effective_founders) == (2, 2.0)
    assert (last.founders, last.effective_founders) == (1, 1.0)
    assert set(last.spread) == {"h"}
    assert last.spread["h"] == pytest.approx(np.std([0.3, 0.4]) * math.sqrt(12))
    assert takeover(History.of(STORY[:5])) is None


def test_the_table_is_one_row_a_report():
    table = History.of(STORY).table()
    frame = pandas.DataFrame(table)
    assert frame.shape == (6, 9)
    assert frame.loc[frame["value"].idxmax(), "hparams.h"] == 0.3
    assert frame["parent_member"].isna().sum() == 2
    assert polars.DataFrame(table)["founder"].to_list() == [0, 1, 0, 0, 0, 0]


def test_mode_min_and_values_that_are_not_finite():
    history = History.of(
        [started(mode="min"), *done(0, 0, -math.inf, 0.1), *done(1, 0, 3.0, 0.2), *done(0, 1, 2.0, 0.1), *done(1, 1, math.nan, 0.2)]
    )
    assert history.best.key == (0, 1)
    assert not history[0, 0].finite
    nothing = History.of([started(), *done(0, 0, math.nan, 0.1)])
    with pytest.raises(ReportError, match="no finite value"):
        _ = nothing.best
    assert str(nothing).endswith("not ended")


def test_what_went_wrong_is_kept():
    failure = Failure(member=0, generation=0, kind="lost")
    history = History.of([*STORY, Failed(failure=failure), Damaged(member=1, checkpoint="x"), Retired(member=1, reason="r")])
    assert (history.failures, history.damaged, history.retired) == ((failure,), ("x",), {1: "r"})


def test_a_journal_must_begin_at_the_beginning():
    with pytest.raises(ReportError, match="empty"):
        History.of([])
    with pytest.raises(ReportError, match="Started"):
        History.of(STORY[1:])
    with pytest.raises(ReportError, match="Started"):
        replay(STORY[1:])
    with pytest.raises(ReportError, match="only once"):
        apply(replay(STORY), STORY[0])
    with pytest.raises(ReportError, match="not assigned"):
        replay([STORY[0], STORY[2]])
    assert replay([]) is None


def test_history_agrees_with_the_population():
    settings = Settings(population_size=8, interval=10, generations=12, mode="min", seed=5)
    events = simulate(PBT(space=SPACE, settings=settings), lambda i, s: ((s or 1.0) * i.hparams["h"], (s or 1.0) * i.hparams["h"]))
    history, population = History.of(events), replay(events)
    assert history.best.key == population.best.key
    for member in population.members:
        last = history[member.last.key]
        assert (last.hparams, last.parent, last.fitness, last.checkpoint) == (
            member.last.hparams,
            member.last.parent,
            member.last.fitness,
            member.last.checkpoint,
        )
        product = 1.0
        for piece in history.schedule(member.id):
            product *= piece.hparams["h"] ** ((piece.until - piece.start) // 10)
        assert product == pytest.approx(last.value, rel=1e-9)  # the schedule really is what the weights saw


@pytest.mark.slow
def test_takeover_of_a_neutral_population_follows_the_coalescent():
    """T = 2 (N - 1)**2 / (3k - 1) within 10 %, over 200 runs in which the value is pure noise."""
    size, generations = 10, 120
    rng, waits = np.random.default_rng(0), []
    for seed in range(200):
        settings = Settings(population_size=size, interval=1, generations=generations, seed=seed)
        pbt = PBT(space=SPACE, settings=settings, exploit=exploit.Truncation(bottom=0.3, top=0.3), explore=explore.Keep())
        founders = list(range(size))
        population = replay(pbt.init())
        noise = rng.normal(size=(generations, size))
        for generation in range(generations):
            before = list(founders)
            for member in range(size):
                for event in pbt.decide(population, member):
                    population = apply(population, event)
                parent = population.members[member].interval.parent
                founders[member] = member if parent is None else before[parent[0]]
            if len(set(founders)) == 1:
                waits.append(generation)
                break
            for member in range(size):
                report = Report(
                    member=member, generation=generation, step=generation + 1, value=float(noise[generation, member]), checkpoint="c"
                )
                for event in pbt.report(population, report):
                    population = apply(population, event)
    assert len(waits) == 200
    assert np.mean(waits) == pytest.approx(expected_takeover(size, 3, heritable=False), rel=0.1)


def test_schedules_are_checked():
    with pytest.raises(SettingsError, match="at least one"):
        Schedule(())
    with pytest.raises(SettingsError, match="must begin at step 10"):
        Schedule((Piece(0, 10, {}), Piece(11, 12, {})))
    with pytest.raises(SettingsError, match="end after it"):
        Schedule((Piece(0, 0, {}),))
    with pytest.raises(SettingsError, match="count from 0"):
        Schedule((Piece(0, 1, {}),))(-1)
    assert len(Schedule((Piece(0, 7, {}),))) == 1
    assert Schedule((Piece(0, 7, {}),)).until == 7


@pytest.mark.parametrize("drop", [1, 3, 5])
def test_a_report_of_what_was_not_assigned_is_refused(drop):
    with pytest.raises(ReportError, match=r"reports member \d, generation \d, which was not assigned"):
        History.of([*STORY[:drop], *STORY[drop + 1 :]])


def test_a_report_of_another_generation_than_was_assigned_is_refused():
    with pytest.raises(ReportError, match="reports member 0, generation 2, which was not assigned"):
        History.of([STORY[0], done(0, 1, 1.0, 0.1)[0], done(0, 2, 1.0, 0.1)[1]])
