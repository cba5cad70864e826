"""The vectorised engine: the Laws, processes, chunks, checkpoints now and then, kills."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import lamarck as lk
from lamarck.checkpoints.rows import whole
from lamarck.coordinator import events_of
from lamarck.engines import inline
from lamarck.guards.watch import findings_of
from lamarck.journal import open_journal
from lamarck.observers.guard import GuardObserver
from lamarck.testing.engine import ENGINE_LAWS, SPACE, VECTOR, decisions
from lamarck.testing.stacks import StackedNumbers
from lamarck.types import Reported

ENGINES = {
    "one stack": lk.Vectorised(),
    "chunks": lk.Vectorised(members_per_chunk=2),
    "processes": lk.Vectorised(processes=2),
    "processes and chunks": lk.Vectorised(processes=2, members_per_chunk=1),
    "one at a time": inline,
}


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize("law", ENGINE_LAWS, ids=lambda law: law.__name__)
def test_law(law, engine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    law(engine, tmp_path, VECTOR)


def settings(**more):
    return {"population_size": 6, "interval": 3, "generations": 7, "seed": 3, "exploit": lk.exploit.Truncation(bottom=0.4, top=0.4)} | more


def told(journal):
    with open_journal(journal, readonly=True) as book:
        return list(events_of(book, "main"))


@pytest.mark.parametrize("every", [2, 3, 100])
def test_checkpoints_now_and_then_change_no_decision(every, tmp_path):
    lk.run(StackedNumbers(), SPACE, journal=tmp_path / "often.db", engine=lk.Vectorised(), **settings())
    history = lk.run(StackedNumbers(), SPACE, journal=tmp_path / "seldom.db", engine=lk.Vectorised(checkpoint_every=every), **settings())
    plain = {key: (it.hparams, it.parent, it.seed) for key, it in decisions(told(tmp_path / "often.db")).items()}
    assert {key: (it.hparams, it.parent, it.seed) for key, it in decisions(told(tmp_path / "seldom.db")).items()} == plain
    assert history.ended == "generations"
    x, _ = StackedNumbers.written(lk.load(tmp_path / "seldom.db"))
    assert -abs(x) == history.best.value
    for member in range(6):
        x, _ = StackedNumbers.written(lk.load(tmp_path / "seldom.db", history.member(member)[-1].checkpoint))
        assert -abs(x) == history.member(member)[-1].value


def test_what_is_saved_now_and_then_is_swept(tmp_path):
    lk.run(StackedNumbers(), SPACE, journal=tmp_path / "run.db", engine=lk.Vectorised(checkpoint_every=3), **settings(generations=40))
    assert len(list((tmp_path / "run.checkpoints" / "main").iterdir())) <= 3


class Dies(lk.VectorTask):
    """Kills its process in the middle of a generation, once."""

    def __init__(self, generation, marker, numbers=None):
        self.generation, self.marker, self.numbers = generation, marker, numbers or StackedNumbers()

    def fit(self, state, intervals):
        state = self.numbers.fit(state, intervals)
        if self.generation in intervals.generations and not os.path.exists(self.marker):
            open(self.marker, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return state

    def init(self, seeds):
        return self.numbers.init(seeds)

    def evaluate(self, state, intervals):
        return self.numbers.evaluate(state, intervals)

    def gather(self, state, rows):
        return self.numbers.gather(state, rows)

    def scatter(self, state, rows, part):
        return self.numbers.scatter(state, rows, part)

    def save(self, state):
        return self.numbers.save(state)

    def load(self, saved):
        return self.numbers.load(saved)


KILLED = """
import sys
sys.path.insert(0, {folder!r})
import lamarck as lk
from test_engine_vectorised import SPACE, Dies, settings
lk.run(Dies({generation}, "died"), SPACE, journal="cut.db", engine=lk.Vectorised(checkpoint_every={every}), resume=True, **settings())
"""


@pytest.mark.parametrize(("every", "generation", "kept"), [(1, 4, 4), (3, 4, 3), (3, 1, 0), (100, 5, 0)])
def test_a_run_that_was_killed_goes_on_exactly(every, generation, kept, tmp_path):
    script = KILLED.format(folder=os.path.dirname(__file__), generation=generation, every=every)
    first = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, check=False)
    assert first.returncode == -signal.SIGKILL, first.stderr.decode()
    if (tmp_path / "cut.db").exists():
        assert len(lk.open_run(tmp_path / "cut.db").records) == 6 * kept  # what is acknowledged has its weights
    engine = lk.Vectorised(checkpoint_every=every)
    lk.resume(StackedNumbers(), tmp_path / "cut.db", engine=engine)
    lk.run(StackedNumbers(), SPACE, journal=tmp_path / "whole.db", engine=engine, **settings())
    # The first event names the training function, and that differs here.
    assert told(tmp_path / "cut.db")[1:] == told(tmp_path / "whole.db")[1:]


def test_a_run_goes_on_with_another_engine(tmp_path):
    class Stop(Exception):
        pass

    def stopping(event, population):
        if population.generations.min() >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lk.run(StackedNumbers(), SPACE, journal=tmp_path / "a.db", engine=lk.Vectorised(), observers=[stopping], **settings())
    lk.resume(StackedNumbers(), tmp_path / "a.db", engine="inline")
    with pytest.raises(KeyboardInterrupt):
        lk.run(StackedNumbers(), SPACE, journal=tmp_path / "b.db", engine="inline", observers=[stopping], **settings())
    lk.resume(StackedNumbers(), tmp_path / "b.db", engine=lk.Vectorised())
    assert decided(tmp_path / "a.db") == decided(tmp_path / "b.db")


def decided(journal):
    return {key: (it.hparams, it.parent, it.seed) for key, it in decisions(told(journal)).items()}


@pytest.mark.parametrize("journal", ["run.db", None])
def test_an_error_where_nothing_is_saved_goes_back_to_where_it_is(journal, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    history = lk.run(VECTOR.sometimes_raises, SPACE, journal=journal, engine=lk.Vectorised(checkpoint_every=5), **settings())
    assert "going back to the last checkpoint" in caplog.text
    assert [(failure.member, failure.generation, failure.kind) for failure in history.failures] == [
        (1, 1, "error"),
        (3, 1, "error"),
        (5, 1, "error"),
    ]
    assert history.ended == "generations"
    reference = lk.run(VECTOR.sometimes_raises, SPACE, engine=lk.Vectorised(), **settings())  # the markers are there: nothing raises
    assert plain(history) == plain(reference)


def plain(history):
    return {record.key: (record.value, record.hparams, record.parent) for record in history.records}


def test_what_goes_wrong_every_time_is_gone_back_for_once(tmp_path, monkeypatch, caplog):
    """Between checkpoints member 2 fails for good: it takes over other weights, fails again, and is retired; the others lose nothing."""

    class Broken(Dies):
        def fit(self, state, intervals):
            if (2, 4) in zip(intervals.members.tolist(), intervals.generations.tolist(), strict=True):
                raise ValueError("always")
            return self.numbers.fit(state, intervals)

    history = lk.run(Broken(0, ""), SPACE, journal=tmp_path / "run.db", engine=lk.Vectorised(checkpoint_every=100), **settings())
    assert caplog.text.count("going back to the last checkpoint") == 1
    assert {failure.member for failure in history.failures} == {2}
    assert history.ended == "generations"
    assert sorted(record.key for record in history.records) == [(m, g) for m in range(6) for g in range(7 if m != 2 else 4)]


def test_observers_hear_again_of_what_is_done_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = []

    def listening(event, population):
        if isinstance(event, Reported):
            told.append((event.report.key, event.report.value, population.generations.min()))

    guard = GuardObserver()
    engine = lk.Vectorised(checkpoint_every=5)
    history = lk.run(VECTOR.sometimes_raises, SPACE, journal="run.db", engine=engine, observers=[listening, guard], **settings())
    assert guard.findings == findings_of(history)
    keys = [key for key, _, _ in told]
    assert {key: keys.count(key) for key in keys} == {(m, g): 2 if g == 0 else 1 for m in range(6) for g in range(7)}
    assert len({(key, value) for key, value, _ in told}) == 42


def test_a_task_that_always_fails_ends_the_run_with_its_own_first_error():
    class Broken(Dies):
        def fit(self, state, intervals):
            raise ValueError("always")

    with pytest.raises(lk.PopulationLost, match=r"12 failed attempts.*last time: ValueError: always") as caught:
        lk.run(Broken(0, ""), SPACE, engine=lk.Vectorised(), **settings(max_failures=0))
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_damaged_stack_is_gone_for_all_its_members(tmp_path):
    def stopping(event, population):
        if population.generations.min() >= 3 and len(population.standing) == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lk.run(StackedNumbers(), SPACE, journal=tmp_path / "run.db", engine=lk.Vectorised(), observers=[stopping], **settings())
    with open_journal(tmp_path / "run.db", readonly=True) as book:
        newest = [event.interval.restore for event in events_of(book, "main") if hasattr(event, "interval")][-1]
    file = tmp_path / "run.checkpoints" / "main" / f"{whole(newest)}.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\xff")
    history = lk.resume(StackedNumbers(), tmp_path / "run.db", engine=lk.Vectorised())
    assert history.ended == "generations"


def test_the_target_ends_the_run_with_everything_saved(tmp_path):
    history = lk.run(
        StackedNumbers(noise=0.0),
        SPACE,
        journal=tmp_path / "run.db",
        engine=lk.Vectorised(checkpoint_every=100),
        target=-3.0,
        **settings(generations=50),
    )
    assert history.ended == "target"
    x, _ = StackedNumbers.written(lk.load(tmp_path / "run.db"))
    assert -abs(x) == history.best.value >= -3.0


def test_a_training_function_is_refused_with_the_way_out():
    with pytest.raises(lk.SettingsError, match=r"one member at a time.*VectorTask"):
        lk.run(lambda worker: None, SPACE, engine=lk.Vectorised(), **settings())


def test_a_task_that_cannot_travel_is_refused_if_processes_were_asked_for():
    task = Dies(9, "")
    task.open = lambda: None
    with pytest.raises(lk.SettingsError, match=r"processes: got 2.*top level of a module, or take processes=1"):
        lk.run(task, SPACE, engine=lk.Vectorised(processes=2), **settings())


@pytest.mark.parametrize(
    ("name", "value"), [("checkpoint_every", 0), ("checkpoint_every", None), ("processes", True), ("members_per_chunk", 0.5)]
)
def test_settings_are_checked(name, value):
    with pytest.raises(lk.SettingsError, match=name):
        lk.Vectorised(**{name: value})


def test_scores_must_be_one_for_each_member():
    class Half(Dies):
        def evaluate(self, state, intervals):
            return lk.Scores(values=state["x"][:2])

    with pytest.raises(lk.TrainingError, match="2 values for 6 members"):
        lk.run(Half(99, ""), SPACE, engine=lk.Vectorised(), **settings())
    with pytest.raises(lk.TrainingError, match="one number for each member"):
        lk.Scores(values=np.zeros((2, 2)))
    with pytest.raises(lk.TrainingError, match=r"samples.*2 members"):
        lk.Scores(values=[1, 2], samples=[[1, 2, 3]])


@pytest.mark.parametrize("engine", [lk.Vectorised(), "inline"])
@pytest.mark.parametrize(
    ("verb", "answer", "message"),
    [
        ("evaluate", lambda state: state["x"], r"evaluate returned a ndarray.*lamarck\.Scores"),
        ("evaluate", lambda state: None, r"evaluate returned None.*lamarck\.Scores"),
        ("fit", lambda state: None, "fit returned None"),
    ],
)
def test_what_a_task_returns_is_checked(verb, answer, message, engine):
    class Wrong(Dies):
        pass

    setattr(Wrong, verb, lambda self, state, intervals: answer(state))
    with pytest.raises(lk.TrainingError, match=message):
        lk.run(Wrong(99, ""), SPACE, engine=engine, **settings())


def test_columns_of_conditional_hyperparameters_say_where_they_are_not_active():
    def interval(member, **hparams):
        return lk.Interval(member=member, generation=0, hparams=hparams, start=0, until=2, restore=None, parent=None, seed=member)

    columns = lk.Intervals.of([interval(0, kind="sgd", momentum=0.9, n=3), interval(1, kind="adam", n=4)]).hparams
    assert columns["kind"].tolist() == ["sgd", "adam"]
    assert columns["n"].dtype == np.int64
    assert columns["momentum"][0] == 0.9
    assert np.isnan(columns["momentum"][1])
