"""A run that has lost every member, because something failed that they all need: when that is mended, it goes on as if nothing had been."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

import lamarck as lk
from http_engine import served
from lamarck.checkpoints import MemoryCheckpoints
from lamarck.cli import main
from lamarck.client import Remote, work
from lamarck.coordinator import Coordinator, events_of
from lamarck.journal import open_journal
from lamarck.population import apply, replay, risen
from lamarck.server.plan import Plan
from lamarck.testing.engine import SPACE
from lamarck.types import Assigned, Ended, Failed, Failure, Report, Reported, Retired
from lamarck.verify import verify

RULES = {"population_size": 5, "interval": 3, "generations": 6, "seed": 4}


def training(fails):
    """A training function in which some intervals raise."""

    def train(worker):
        x = np.array([5.0])
        worker.track(x=x)
        for interval in worker:
            if fails(interval):
                raise OSError("the data is not there")
            for _ in interval.steps:
                x *= 1 - 0.1 * interval.hparams["h"]
            interval.report(-abs(float(x[0])))

    return train


calm = training(lambda interval: False)


def facts(history):
    return {record.key: (record.value, record.hparams, record.parent, record.step) for record in history.records}


def events(journal="run.db"):
    with open_journal(journal, readonly=True) as book:
        return list(events_of(book, "main"))


@pytest.mark.parametrize("generation", [0, 1, 4])
def test_it_goes_on_as_if_nothing_had_been(generation):
    away = training(lambda interval: interval.generation == generation)
    with pytest.raises(lk.PopulationLost, match="the data is not there.*resume the run: those who failed last try again"):
        lk.run(away, SPACE, journal="run.db", **RULES)
    lost = lk.open_run("run.db")
    assert (lost.ended, len(lost.retired), len(lost.records)) == ("lost", 5, 5 * generation)
    history = lk.resume(calm, "run.db")
    assert facts(history) == facts(lk.run(calm, SPACE, **RULES))
    assert (history.ended, history.retired, len(history.failures)) == ("generations", {}, 5 * 6)
    assert verify(events()) is None


def test_it_may_be_lost_again_and_again():
    for generation in (1, 1, 3):
        away = training(lambda interval, generation=generation: interval.generation == generation)
        with pytest.raises(lk.PopulationLost):
            lk.run(away, SPACE, journal="run.db", resume=True, **RULES)
    history = lk.run(calm, SPACE, journal="run.db", resume=True, **RULES)
    assert facts(history) == facts(lk.run(calm, SPACE, **RULES))
    assert [event.reason for event in events() if isinstance(event, Ended)] == ["lost"] * 3 + ["generations"]
    assert verify(events()) is None


def test_who_was_given_up_long_before_stays_so():
    away = training(lambda interval: interval.member == 2 or interval.generation == 3)
    with pytest.raises(lk.PopulationLost):
        lk.run(away, SPACE, journal="run.db", **RULES)
    history = lk.resume(training(lambda interval: interval.member == 2), "run.db")
    assert (history.ended, set(history.retired)) == ("generations", {2})
    assert {len(history.member(member)) for member in (0, 1, 3, 4)} == {6}


def test_who_was_given_up_just_before_others_reported_stands_again_too():
    """The first has failed for good when the report of the second comes, who had begun before the fault; then the others fail as well."""
    pbt = lk.PBT(space=SPACE, settings=lk.Settings(population_size=3, interval=3, generations=3, max_failures=0))
    coordinator = Coordinator.start(pbt, None, "main", MemoryCheckpoints())

    def fails(member, generation):
        failure = Failure(member=member, generation=generation, kind="error", message="the data is not there")
        while not coordinator.population.members[member].retired:
            coordinator.exchange(member, failure, claim=False)

    for member in range(3):
        coordinator.exchange(member, None)
    fails(0, 0)
    coordinator.exchange(1, Report(member=1, generation=0, step=3, value=1.0, checkpoint="1-0"), claim=False)
    assert risen(coordinator.population) is coordinator.population, "a run that is not lost"
    fails(2, 0)
    coordinator.exchange(1, None)
    fails(1, 1)
    assert (coordinator.population.ended, coordinator.population.fallen) == ("lost", {1, 2})
    again = risen(coordinator.population)
    assert again.generations.tolist() == [0, 1, 0]
    assert [member.retired for member in again.members] == [False] * 3
    assert [pbt.next(again), pbt.next(again, {0}), pbt.next(again, {0, 2})] == [0, 2, None]


@pytest.mark.parametrize("cut", range(1, 7))
def test_a_kill_while_it_begins_again_changes_nothing(cut):
    away = training(lambda interval: interval.generation == 2)
    with pytest.raises(lk.PopulationLost):
        lk.run(away, SPACE, journal="run.db", **RULES)
    before = len(events())
    seen = []

    def killed(event, population):
        seen.append(event)
        if len(seen) == cut:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lk.resume(calm, "run.db", observers=[killed])
    assert isinstance(seen[0], Assigned)
    half = lk.open_run("run.db")
    assert half.ended is None
    assert replay(events()).ended is None
    assert len(events()) >= before + cut
    history = lk.resume(calm, "run.db")
    assert facts(history) == facts(lk.run(calm, SPACE, **RULES))
    assert verify(events()) is None


@pytest.mark.parametrize("engine", ["inline", "processes"])
def test_on_the_command_line(engine, tmp_path, capfd):
    (tmp_path / "script.py").write_text(
        "from pathlib import Path\n"
        "import numpy as np\n"
        "import lamarck as lk\n"
        "space = lk.Space(h=lk.Float(0.1, 1.0))\n"
        "def train(worker):\n"
        "    x = np.array([5.0])\n"
        "    worker.track(x=x)\n"
        "    for interval in worker:\n"
        "        if interval.generation == 2 and not Path('mended').exists():\n"
        "            raise OSError('the data is not there')\n"
        "        x *= 1 - 0.1 * interval.hparams['h']\n"
        "        interval.report(-abs(float(x[0])))\n"
    )
    command = ["run", "script.py:train", "-n", "4", "--interval", "1", "--generations", "5", "--engine", engine]
    assert main([*command, *(["--workers", "2"] if engine == "processes" else [])]) == 1
    assert "resume the run" in capfd.readouterr().err
    assert main(["resume", "train.db"]) == 1, "nothing is mended yet"
    assert main(["run", "script.py:train", "--journal", "train.db", "-n", "4", "--interval", "1", "--generations", "5"]) == 2
    assert "every member failed for good; correct what failed: go on with it by" in capfd.readouterr().err
    (tmp_path / "mended").touch()
    assert main(["resume", "train.db"]) == 0
    assert main(["verify", "train.db"]) == 0
    history = lk.open_run("train.db")
    assert (history.ended, len(history.records), history.retired) == ("generations", 20, {})


def test_a_server_that_is_started_again_lets_workers_try_again():
    away = training(lambda interval: interval.generation == 1)
    with served("s.db") as (service, url):
        asyncio.run(service.create(Plan.of({"name": "a", "space": SPACE.to_dict(), **RULES})))
        with pytest.raises(lk.PopulationLost):
            work(away, Remote(url, run="a", patience=5))
    with served("s.db") as (service, url):
        work(calm, Remote(url, run="a", patience=5))
    assert facts(lk.open_run("s.db", name="a")) == facts(lk.run(calm, SPACE, **RULES))


def test_nobody_tries_again_where_the_values_are_to_blame():
    """A schedule that diverges: nobody had failed."""
    history = lk.run(calm, SPACE, **RULES)

    def nan(worker):
        worker.track(x=np.zeros(1))
        for interval in worker:
            interval.report(float("nan"))

    result = lk.replay(nan, history, seeds=1, journal="replay.db", own=False)
    assert [one.history.ended for one in result.fresh] == ["lost"]
    again = lk.replay(calm, history, seeds=1, journal="replay.db", own=False)
    assert [one.history.ended for one in again.fresh] == ["lost"]


def test_in_memory_nothing_is_left_to_resume():
    with pytest.raises(lk.PopulationLost) as error:
        lk.run(training(lambda interval: True), SPACE, **RULES)
    assert "resume" not in str(error.value)


def test_the_fold_says_who_has_fallen_since_the_newest_report():
    away = training(lambda interval: interval.generation == 1)
    with pytest.raises(lk.PopulationLost):
        lk.run(away, SPACE, journal="run.db", **RULES)
    fallen = set()
    state = None
    for event in events():
        state = apply(state, event)
        fallen = set() if isinstance(event, Reported) else fallen | ({event.member} if isinstance(event, Retired) else set())
        assert state.fallen == fallen
    assert fallen == {0, 1, 2, 3, 4}
    assert sum(isinstance(event, Failed) for event in events()) == 30
