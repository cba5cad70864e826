"""Replays: the schedule alone, from scratch. With the lineage's own seeds its value comes back to the last bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import lamarck as lk
from lamarck import Piece, Schedule
from lamarck.coordinator import events_of
from lamarck.demos.toy import OPTIMUM, Toy
from lamarck.follow import Follower, machine_of
from lamarck.integrations.torch import set_hparams
from lamarck.journal import open_journal
from lamarck.population import replay as fold
from lamarck.replays import Replay, Replayed
from lamarck.testing.engine import SPACE, sometimes_raises, train
from lamarck.testing.simulation import simulate
from lamarck.types import Ended, Settings
from lamarck.verify import verify

TOY = lk.Space(h0=lk.Float(0.0, 1.0), h1=lk.Float(0.0, 1.0))


@pytest.fixture(scope="module")
def found():
    """A run whose winner has ancestors in several members."""
    history = lk.run(train, SPACE, population_size=6, interval=3, generations=10, seed=12)
    assert len({record.member for record in history.lineage()}) > 1
    assert len(history.schedule()) > 3
    return history


# ---- exactly the winner's value ----------------------------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(st.integers(0, 1000), st.sampled_from([lk.exploit.Truncation(), lk.exploit.Tournament(), lk.exploit.Itself()]))
def test_the_toy_gives_the_winners_value_exactly(seed, exploit):
    toy = Toy()
    history = lk.run(toy.train, TOY, population_size=5, interval=10, steps=120, seed=seed, exploit=exploit)
    result = lk.replay(toy.train, history, seeds=0)
    assert result.exact is True
    assert result.again.value == history.best.value
    assert [record.value for record in result.again.history.records] == [record.value for record in history.lineage()]


def test_the_demos_toy_gives_the_papers_value_exactly():
    """Figure 2 itself: weights copied between the two members that start blind to one weight each."""
    from lamarck.demos.figure2 import settings as cases

    for case in cases(10):
        history = case.run(0)
        assert lk.replay(case.toy.train, history, seeds=0).again.value == history.best.value
    assert history.best.value < OPTIMUM


@settings(max_examples=20)
@given(st.integers(0, 1000), st.sampled_from(["age", "latest"]), st.sampled_from([0, 1, None]))
def test_a_lineage_that_jumps_between_generations_is_followed_exactly(seed, compare, max_lead):
    """Asynchronous, with a fast and a slow worker: a member of generation 3 copies one of generation 6, and its steps go on from there."""

    def step(interval, state):
        x = (1.0 if state is None else state) * interval.hparams["h"] + np.random.default_rng(interval.seed).normal()
        return x, x

    def same(worker):
        x = np.array([1.0])
        worker.track(x=x)
        for interval in worker:
            x *= interval.hparams["h"]
            x += interval.rng.normal()
            interval.report(float(x[0]))

    rules = Settings(population_size=5, interval=4, generations=8, seed=seed, compare=compare, max_lead=max_lead)
    machine = lk.PBT(space=lk.Space(h=lk.Float(0.1, 2.0)), settings=rules, exploit=lk.exploit.Truncation(bottom=0.4, top=0.4))
    history = lk.History.of(simulate(machine, step, speeds=(1.0, 0.3)))
    for member in range(5):
        result = lk.replay(same, history, member=member, seeds=0)
        assert result.exact
        assert [r.hparams for r in result.again.history.records] == [r.hparams for r in history.lineage(result.target)]


def learns(worker):
    """A network with dropout, momentum, batches from PyTorch's global generator, and first weights of its own for each member."""
    torch.set_num_threads(1)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters())
    worker.track(model=model, optimizer=optimizer)
    worker.on_fresh(lambda _: [layer.reset_parameters() for layer in model if isinstance(layer, nn.Linear)])
    x = torch.linspace(-1, 1, 64)[:, None] ** torch.arange(4)
    y = x.sin().sum(dim=1, keepdim=True)
    for interval in worker:
        set_hparams(optimizer, lr=interval.hparams["lr"], weight_decay=interval.hparams["wd"])
        model.train()
        for _ in interval.steps:
            rows = torch.randperm(64)[:16]
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
            optimizer.step()
        model.eval()
        interval.report(nn.functional.mse_loss(model(x), y).item())


def test_a_network_gives_the_winners_value_exactly():
    space = lk.Space(lr=lk.Float(1e-4, 1e-1, log=True), wd=lk.Float(1e-6, 1e-1, log=True))
    history = lk.run(
        learns, space, population_size=6, interval=10, generations=8, mode="min", seed=3, exploit=lk.exploit.Truncation(top=0.4, bottom=0.4)
    )
    assert len({record.member for record in history.lineage()}) > 1
    result = lk.replay(learns, history, seeds=2)
    assert result.exact
    assert [record.value for record in result.again.history.records] == [record.value for record in history.lineage()]
    assert len({*result.values, result.again.value}) == 3  # fresh seeds are other trainings


def test_training_that_depends_on_more_is_found_out(found):
    calls = []

    def forgetful(worker):
        x = np.array([5.0])
        worker.track(x=x)
        for interval in worker:
            calls.append(interval)
            x *= 1 - 0.1 * interval.hparams["h"]
            interval.report(float(x[0]) + len(calls))

    history = lk.run(forgetful, SPACE, population_size=4, interval=3, generations=5)
    result = lk.replay(forgetful, history, seeds=1)
    assert result.exact is False
    assert "and not the lineage's" in str(result)
    assert "lamarck check" in str(result)


# ---- what is followed --------------------------------------------------------------------------------------------------------------------


def test_every_interval_gets_what_the_schedule_says_and_fresh_seeds_differ(found):
    result = lk.replay(train, found, seeds=3)
    assert [one.seed for one in result.fresh] == [13, 14, 15]
    for one in (result.again, *result.fresh):
        starts = [0, *(record.step for record in one.history.records)]
        assert [dict(record.hparams) for record in one.history.records] == [dict(result.schedule(start)) for start in starts[:-1]]
        assert one.history.schedule() == result.schedule == found.schedule()
        assert one.history.ended == "generations"
    assert len(set(result.values)) == 3


def test_another_schedule_is_followed_without_the_lineages_own_seeds(found):
    simple = found.schedule().simplified(0.02, found.space)
    assert len(simple) < len(found.schedule())
    result = lk.replay(train, found, schedule=simple, seeds=[7])
    assert result.again is None
    assert result.exact is None
    assert result.fresh[0].history.schedule() == simple
    assert lk.replay(train, found, schedule=found.schedule(), seeds=0).exact


def test_a_schedule_from_elsewhere_needs_no_run():
    schedule = Schedule((Piece(0, 4, {"h": 0.5}), Piece(4, 10, {"h": 0.1})))
    result = lk.replay(train, schedule, seeds=[1, 2], mode="max")
    assert [record.step for record in result.fresh[0].history.records] == [2, 4, 6, 8, 10]
    assert (result.found, result.median, result.exact) == (None, None, None)
    assert "Two seeds or more, and the run" in result.verdict
    assert len(lk.replay(train, schedule, seeds=1, interval=10).fresh[0].history.records) == 1


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"seeds": -1}, "seeds: got -1"),
        ({"seeds": True}, "seeds: got True"),
        ({"seeds": [3, 3]}, "the same seed twice"),
        ({"seeds": 0, "own": False}, "give at least one"),
        ({"workers": 0}, "workers: got 0"),
        ({"workers": 2}, "give one, as in journal="),
        ({"interval": 7}, r"interval: got 7 for a schedule of 30 steps; it must divide them, or stretch the schedule: schedule.scaled\(28\)"),
    ],
)
def test_settings_that_cannot_be_are_refused(found, given_, message):
    with pytest.raises(lk.SettingsError, match=message):
        lk.replay(train, found, **given_)


# ---- the answer --------------------------------------------------------------------------------------------------------------------------


def judged(found, values, *, mode="max", median=0.5, best=1.0):
    """A result with these values, beside a population with that median and best."""
    sign = 1.0 if mode == "max" else -1.0
    start = replace(found.started, settings=replace(found.settings, mode=mode, population_size=3, generations=1))
    record = found.records[0]
    population = [
        replace(record, member=member, generation=0, value=sign * value, fitness=value, parent=None)
        for member, value in enumerate((median, best, median))
    ]
    original = lk.History(started=start, records=tuple(population))
    alone = replace(start, settings=replace(start.settings, population_size=1))
    fresh = []
    for seed, value in enumerate(values):
        last = replace(record, member=0, generation=0, value=sign * value, fitness=value if np.isfinite(value) else -np.inf, parent=None)
        fresh.append(Replayed(name="x", seed=seed, until=3, history=lk.History(started=alone, records=(last,))))
    return Replay(schedule=found.schedule(), original=original, target=(1, 0), fresh=tuple(fresh))


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize(
    ("values", "answer"),
    [
        ([0.98, 1.02, 1.01], "alone is enough"),
        ([1.2, 1.2, 1.2], "alone is enough"),
        ([0.8, 0.81, 0.79], "carries much of the gain"),
        ([0.4, 0.6, 0.5], "is not enough"),
        ([0.98, float("nan"), 1.0], "not reliable: 1 of 3 trainings diverged"),
        ([0.98], "Two seeds or more"),
        ([0.2, 1.8, 0.4], "3 seeds do not decide"),
    ],
)
def test_the_answer_claims_no_more_than_the_seeds_show(found, mode, values, answer):
    result = judged(found, values, mode=mode)
    assert answer in result.verdict
    assert answer in str(result)
    assert (result.mode, result.found, result.median) == (mode, 1.0 if mode == "max" else -1.0, 0.5 if mode == "max" else -0.5)


def test_a_training_that_diverges_ends_there_and_counts(tmp_path):
    def diverges(worker):
        x = np.array([1.0])
        worker.track(x=x)
        for interval in worker:
            x += len(interval.steps)
            interval.report(float("nan") if x[0] > 15 else float(x[0]))

    schedule = Schedule((Piece(0, 5, {"h": 1.0}), Piece(5, 30, {"h": 0.5})))
    for _ in range(2):  # the second time nothing is left to train
        result = lk.replay(diverges, schedule, seeds=2, journal="r.db")
        assert np.isnan(result.values).all()
        assert [len(one.history.records) for one in result.fresh] == [3, 3]
        assert [one.history.ended for one in result.fresh] == ["lost", "lost"]
        assert "2 of 2 trainings diverged" in str(result)
    np.testing.assert_equal(result.fresh[0].values, [[5, 6], [10, 11], [15, np.nan]])


# ---- files, processes, failures ----------------------------------------------------------------------------------------------------------


def test_a_journal_is_written_gone_on_with_and_verified(found, tmp_path):
    told = []
    first = lk.replay(train, found, seeds=2, journal="r.db", on_progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 30) for done in range(31)]
    told.clear()
    again = lk.replay(train, found, seeds=3, journal="r.db", on_progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 40) for done in range(30, 41)]
    assert again.fresh[:2] == first.fresh
    assert again.again == first.again
    with open_journal("r.db") as journal:
        assert sorted(journal.runs()) == sorted(one.name for one in (again.again, *again.fresh))
        for name in journal.runs():
            events = list(events_of(journal, name))
            assert verify(events) is None
            for place in (1, 5):
                forged = replace(events[place], interval=replace(events[place].interval, hparams={"h": 0.123}))
                assert verify([*events[:place], forged, *events[place + 1 :]]).sequence == place + 1
    other = lk.replay(train, found, schedule=found.schedule().simplified(0.3, found.space), seeds=2, journal="r.db")
    assert not np.array_equal(other.values, first.values)
    model = lk.load("r.db", first.fresh[0].checkpoint, name=first.fresh[0].name)
    assert -abs(model["x"][0]) == first.values[0]


@pytest.mark.slow
def test_processes_give_the_same(found):
    one = lk.replay(train, found, seeds=3, journal="one.db")
    two = lk.replay(train, found, seeds=3, journal="two.db", workers=2)
    assert two == replace(one, original=found)


def test_a_failing_interval_is_tried_again_with_the_same_hyperparameters_and_seed(tmp_path, monkeypatch):
    history = lk.run(sometimes_raises, SPACE, population_size=4, interval=3, generations=5)
    assert lk.replay(sometimes_raises, history, seeds=0).exact
    seen = []

    def fails(worker):
        worker.track(x=np.zeros(1))
        for interval in worker:
            seen.append((interval.start, interval.seed, dict(interval.hparams)))
            raise ValueError("as always")

    with pytest.raises(lk.PopulationLost, match="failed for good"):
        lk.replay(fails, history, seeds=1, own=False)
    assert len(seen) == 6
    assert seen == seen[:1] * 6


KILLED = """
import os, signal, sys
import lamarck as lk
from lamarck.replays import Replay, Replayed
from lamarck.testing.engine import SPACE, train

history = lk.run(train, SPACE, population_size=6, interval=3, generations=10, seed=12)
def tell(done, total):
    if done == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
lk.replay(train, history, seeds=1, journal="killed.db", on_progress=tell)
"""


def test_a_replay_that_is_killed_goes_on_as_if_unbroken(found):
    for reports in (3, 9, 14):
        assert subprocess.run([sys.executable, "-c", KILLED, str(reports)], check=False).returncode == -signal.SIGKILL
    killed = lk.replay(train, found, seeds=1, journal="killed.db")
    assert killed.exact
    lk.replay(train, found, seeds=1, journal="whole.db")
    for name in (killed.again.name, killed.fresh[0].name):
        journals = []
        for file in ("killed.db", "whole.db"):
            with open_journal(file) as journal:
                journals.append(list(events_of(journal, name))[1:])
        assert journals[0] == journals[1]


def test_a_lost_checkpoint_does_not_end_in_another_schedule(found, tmp_path):
    """The member goes back to what is left, which is nothing, and trains by the schedule from there."""
    assert subprocess.run([sys.executable, "-c", KILLED, "4"], check=False).returncode == -signal.SIGKILL
    for file in (tmp_path / "killed.checkpoints").rglob("*"):
        if file.is_file():
            os.truncate(file, 10)
    result = lk.replay(train, found, seeds=0, journal="killed.db")
    starts = {record.key: (0 if record.parent is None else result.again.history[record.parent].step) for record in result.again.history.records}
    for record in result.again.history.records:
        assert record.hparams == found.schedule()(starts[record.key])
    assert not result.exact
    assert not result.again.complete
    assert "its checkpoint was lost" in str(result)


def test_a_follower_is_one_member_with_a_seed_for_each_generation():
    schedule = Schedule((Piece(0, 4, {"h": 0.5}),))
    with pytest.raises(lk.SettingsError, match="population_size: got 2; a schedule is followed by 1"):
        Follower(settings=Settings(population_size=2, interval=2, generations=2), schedule=schedule)
    with pytest.raises(lk.SettingsError, match="seeds: got 1 for 2 generations; give one for each, or none"):
        Follower(settings=Settings(population_size=1, interval=2, generations=2), schedule=schedule, seeds=(7,))


def test_a_replays_machine_comes_from_its_journal_and_cannot_be_changed(found):
    started = lk.replay(train, found, seeds=1, own=False).fresh[0].history.started
    machine = machine_of(started)
    assert isinstance(machine, Follower)
    assert machine.schedule == found.schedule()
    assert isinstance(machine_of(found.started), lk.PBT)
    with pytest.raises(lk.SettingsError, match=r"got \['explore'\]; a run that follows a schedule has nothing"):
        machine_of(started, explore=lk.explore.Keep())


def test_reports_that_come_twice_or_late_change_nothing():
    """After the end by a value that is not finite, too."""
    follower = Follower(settings=Settings(population_size=1, interval=2, generations=3), schedule=Schedule((Piece(0, 6, {"h": 0.5}),)))
    events = list(follower.init())
    events += follower.decide(fold(events), 0)
    report = lk.Report(member=0, generation=0, step=2, value=1.0, checkpoint="a")
    events += follower.report(fold(events), report)
    assert follower.report(fold(events), report) == ()
    assert follower.next(fold(events)) == 0
    events += follower.decide(fold(events), 0)
    with pytest.raises(lk.StaleReport):
        follower.report(fold(events), lk.Report(member=0, generation=2, step=6, value=1.0, checkpoint="c"))
    events += follower.report(fold(events), lk.Report(member=0, generation=1, step=4, value=float("inf"), checkpoint="b"))
    assert events[-1] == Ended(reason="lost")
    assert follower.next(fold(events)) is None


def test_the_journal_holds_the_schedule_as_it_is_written_elsewhere(found):
    (one,) = lk.replay(train, found, seeds=1, own=False, journal="r.db").fresh
    with open_journal("r.db") as journal:
        first = json.loads(next(iter(journal.read(one.name))))
    assert Schedule.from_list(first["strategies"]["follow"]["schedule"]) == found.schedule()
    assert first["space"] == found.started.space


@pytest.mark.parametrize("interval", [0, -3, 1.5, True])
def test_impossible_intervals_are_refused(found, interval):
    for source in (found, found.schedule()):
        with pytest.raises(lk.SettingsError, match=f"interval: got {interval}; it must be a whole number of steps"):
            lk.replay(train, source, seeds=1, interval=interval)


def test_a_source_or_member_that_is_none_is_refused(found):
    with pytest.raises(lk.SettingsError, match=r"source: got 'run.db'; it must be .* lamarck.open_run"):
        lk.replay(train, "run.db")
    for member in (-1, 6):
        with pytest.raises(lk.ReportError, match=f"member {member} has not reported anything; members are 0 to 5"):
            lk.replay(train, found, member=member)


def test_a_lineage_that_ended_in_no_number_is_replayed_exactly_and_claims_nothing():
    seen = []

    def diverging(worker):
        x = np.zeros(1)
        worker.track(x=x)
        for interval in worker:
            x += interval.hparams["h"]
            seen.append(interval.key)
            diverged = interval.until == 6 and len(seen) <= 8  # in the run and once more, but not with fresh seeds
            interval.report(float("nan") if diverged else float(x[0]))

    history = lk.run(diverging, lk.Space(h=lk.Float(0.0, 1.0)), population_size=2, interval=2, generations=3)
    assert len(seen) == 6
    seen.clear()
    seen.extend([None] * 5)
    result = lk.replay(diverging, history, member=0, seeds=2)
    assert np.isnan(result.found)
    assert result.exact is True
    assert "exactly the lineage's value" in str(result)
    assert "lamarck check" not in str(result)
    assert "was not finite: there is nothing to hold the trainings against" in result.verdict
