"""run and resume: what is promised when things go wrong."""

import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import lamarck as lk
from lamarck._errors import CheckpointError, JournalError, SettingsError
from lamarck.checkpoints import FolderCheckpoints, open_checkpoints
from lamarck.coordinator import events_of
from lamarck.journal import MemoryJournal, open_journal
from lamarck.observers.progress import PlainProgress
from lamarck.runs import checkpoints_of
from lamarck.testing.engine import SPACE, train
from lamarck.types import Assigned, Reported

SETTINGS = {"population_size": 4, "interval": 3, "generations": 6, "seed": 2}


def events(path, name="main"):
    with open_journal(path, readonly=True) as journal:
        return list(journal.read(name))


def ends_the_process(worker):
    worker.track(x=np.zeros(1))
    for _ in worker:
        sys.exit(3)


def test_the_ten_lines_of_a_user():
    history = lk.run(train, SPACE, population_size=4, interval=5, steps=30, mode="max", seed=0)
    assert history.ended == "generations"
    assert len(history.records) == 24
    assert history.schedule().until == 30


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (dict(steps=10), "give one of them"),
        (dict(generations=None), "give one of them"),
        (dict(generations=None, steps=10), "steps must be a whole number of intervals, e.g. 9"),
        (dict(generations=None, steps=2), "e.g. 3"),
        (dict(exploit="truncation"), "exploit: got 'truncation'; it must be an Exploit strategy"),
        (dict(exploit=lk.exploit.Truncation), "exploit: got <class"),
        (dict(explore=lk.exploit.Truncation()), "explore: got Truncation"),
        (dict(rescue=3), "rescue: got 3"),
        (dict(target="1"), "target: got '1'"),
        (dict(target=float("nan")), "target: got nan"),
        (dict(interval=0), "interval: got 0; it must be a whole number of at least 1"),
        (dict(interval="5", generations=None, steps=20), "interval: got '5'"),
        (dict(generations=None, steps=4.5), "steps: got 4.5"),
        (dict(engine="warp"), "engine: got 'warp'; it must be one of 'inline', 'processes', 'ray', 'vectorised'"),
        (dict(engine=2), "engine: got 2"),
        (dict(name="a/b"), "plain name"),
        (dict(name=""), "plain name"),
        (dict(name=".."), "plain name"),
        (dict(name="a\0b"), "plain name"),
        (dict(name="n" * 201), "at most 200 bytes"),
        (dict(name=3), "plain name"),
    ],
)
def test_settings_that_cannot_be(wrong, says):
    with pytest.raises(SettingsError, match=says):
        lk.run(train, SPACE, **(SETTINGS | wrong))


@pytest.mark.parametrize(
    ("function", "engine", "says"),
    [
        (lambda worker: None, lk.Processes(workers=1), "top level of a module"),
        (train, lk.Vectorised(), "give it a lamarck.VectorTask"),
        (train, "warp", "engine: got 'warp'"),
        (lambda worker, more: None, "inline", r"train: got a function with the arguments \(worker, more\)"),
        (None, "inline", "train: got None"),
    ],
)
def test_what_cannot_be_trained_begins_no_run(function, engine, says):
    with pytest.raises(SettingsError, match=says):
        lk.run(function, SPACE, journal="a.db", engine=engine, **SETTINGS)
    assert not Path("a.db").exists()


def test_a_space_is_a_space():
    with pytest.raises(SettingsError, match="space: got {'lr': .*; it must be a lamarck.Space"):
        lk.run(train, {"lr": lk.Float(0.0, 1.0)}, **SETTINGS)


def test_numbers_of_numpy_are_numbers():
    plain = {"population_size": 4, "interval": 3, "steps": 15, "seed": 2, "target": 100.0}
    numpy = {key: np.float32(it) if key == "target" else np.int64(it) for key, it in plain.items()}
    lk.run(train, SPACE, journal="a.db", **numpy)
    assert lk.open_run("a.db").settings == lk.run(train, SPACE, **plain).settings


def test_a_history_fits_into_a_line_and_knows_its_members():
    history = lk.run(train, SPACE, **SETTINGS)
    assert repr(history) == f"<History: {history}>"
    with pytest.raises(lk.ReportError, match="member 4 has not reported anything; members are 0 to 3"):
        history.schedule(4)


def test_engines_go_by_their_names_too():
    inline, processes = (lk.run(train, SPACE, engine=engine, **SETTINGS) for engine in ("inline", "processes"))
    assert {record.key: record.value for record in processes.records} == {record.key: record.value for record in inline.records}


def test_a_training_function_that_ends_the_process_says_how_to_go_on(capsys):
    with pytest.raises(SystemExit):
        lk.run(ends_the_process, SPACE, journal="a.db", **SETTINGS)
    assert "go on with: lamarck resume a.db" in capsys.readouterr().err


def interrupted(worker):
    worker.track(x=np.zeros(1))
    for _ in worker:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("module", "name", "says"),
    [
        (__name__, "interrupted", "lamarck resume 'a b.db' --name second"),
        ("__main__", "interrupted", "lamarck.resume(interrupted, 'a b.db', name='second')"),
        (__name__, "made.<locals>.<lambda>", "lamarck.resume(..., 'a b.db', name='second')"),
    ],
)
def test_an_interrupted_run_says_what_will_find_its_function(module, name, says, monkeypatch, capsys):
    monkeypatch.setattr(interrupted, "__module__", module)
    monkeypatch.setattr(interrupted, "__qualname__", name)
    with pytest.raises(KeyboardInterrupt):
        lk.run(interrupted, SPACE, journal="a b.db", name="second", **SETTINGS)
    assert capsys.readouterr().err.splitlines()[-1] == f"stopped after 0 of 24 intervals; go on with: {says}"


def test_a_run_is_not_begun_twice():
    lk.run(train, SPACE, journal="a.db", **SETTINGS)
    before = events("a.db")
    with pytest.raises(SettingsError, match="already has a run 'main'"):
        lk.run(train, SPACE, journal="a.db", **SETTINGS)
    assert events("a.db") == before
    assert "x" in lk.load("a.db"), "nor are its weights touched"
    lk.run(train, SPACE, journal="a.db", name="second", **SETTINGS)
    with open_journal("a.db", readonly=True) as journal:
        assert sorted(journal.runs()) == ["main", "second"]


def test_who_would_begin_a_run_that_is_there_is_told_what_became_of_it(capsys):
    def fails(worker):
        worker.track(x=[0])
        for interval in worker:
            raise KeyError(interval.hparams["learning_rate"])

    def stops(worker):
        worker.track(x=[0])
        for _ in worker:
            raise KeyboardInterrupt

    with pytest.raises(lk.PopulationLost, match="resume the run: those who failed last try again"):
        lk.run(fails, SPACE, journal="a.db", **SETTINGS)
    with pytest.raises(SettingsError, match="and every member failed for good; correct what failed: go on with it by"):
        lk.run(train, SPACE, journal="a.db", **SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        lk.run(stops, SPACE, journal="b.db", **SETTINGS)
    with pytest.raises(
        SettingsError, match=r"of which nothing was reported yet: go on with it by resume=True.* a false start, delete the file"
    ):
        lk.run(train, SPACE, journal="b.db", **SETTINGS)
    assert lk.run(train, SPACE, journal="b.db", resume=True, **SETTINGS).ended == "generations"


def test_a_run_says_how_far_it_is(monkeypatch, capsys):
    monkeypatch.setattr("lamarck.runs.PlainProgress", partial(PlainProgress, every=0.0))
    lk.run(train, SPACE, journal="a.db", **SETTINGS)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("1 of 24 intervals, generation 1 of 6, best ")
    assert lines[-1].startswith("23 of 24 intervals")
    lk.run(train, SPACE, progress=False, **SETTINGS)
    assert not capsys.readouterr().err


def test_a_run_that_goes_on_counts_what_was_before(monkeypatch, capsys):
    monkeypatch.setattr("lamarck.runs.PlainProgress", partial(PlainProgress, every=0.0))
    tries = []

    def breaks(worker):
        worker.track(x=[0])
        for interval in worker:
            tries.append(interval)
            if len(tries) == 16:
                raise KeyboardInterrupt
            interval.report(float(interval.hparams["x"] if "x" in interval.hparams else len(tries)))

    with pytest.raises(KeyboardInterrupt):
        lk.run(breaks, SPACE, journal="a.db", **SETTINGS)
    before = len(lk.open_run("a.db").copies)
    assert before
    capsys.readouterr()
    history = lk.resume(breaks, "a.db")
    assert f" {len(history.copies)} copies" in capsys.readouterr().err.splitlines()[-1]


def test_journals_without_the_usual_ending_have_weights_of_their_own():
    for journal in ("lr0.1", "lr0.5"):
        lk.run(train, SPACE, journal=journal, **SETTINGS)
    assert lk.load("lr0.1") == lk.load("lr0.5")


def test_a_run_is_not_resumed_with_other_hyperparameters():
    with pytest.raises(KeyboardInterrupt):
        lk.run(interrupted, SPACE, journal="a.db", **SETTINGS)
    before = events("a.db")
    with pytest.raises(SettingsError, match=r"space: got \['z'\]; the run was begun with \['h'\]"):
        lk.resume(train, "a.db", space=lk.Space(z=lk.Float(0.0, 1.0)))
    assert events("a.db") == before


def test_a_place_with_weights_of_another_run_is_not_taken():
    lk.run(train, SPACE, journal="a.db", checkpoints="shared", **SETTINGS)
    kept = open_checkpoints("shared").names()
    with pytest.raises(SettingsError, match="'shared' holds weights of another run"):
        lk.run(train, SPACE, journal="b.db", checkpoints="shared", **SETTINGS)
    assert open_checkpoints("shared").names() == kept
    lk.run(train, SPACE, journal="a.db", checkpoints="shared", resume=True, **SETTINGS)


def test_resume_of_what_is_not_there():
    with pytest.raises(SettingsError, match="no journal 'b.db'"):
        lk.resume(train, "b.db")
    lk.run(train, SPACE, journal="b.db", **SETTINGS)
    with pytest.raises(JournalError, match="no run 'other'"):
        lk.resume(train, "b.db", name="other")


def test_resume_of_what_has_ended_returns_it():
    history = lk.run(train, SPACE, journal="c.db", **SETTINGS)
    assert lk.resume(train, "c.db") == history


def test_run_or_resume():
    class Stop(Exception):
        pass

    def stopping(event, population):
        if len(seen) < 9:
            seen.append(event)

    seen = []
    whole = lk.run(train, SPACE, journal="d.db", **SETTINGS)
    assert lk.run(train, SPACE, journal="d.db", resume=True, **SETTINGS) == whole
    assert lk.run(train, SPACE, journal="e.db", resume=True, observers=[stopping], **SETTINGS).records == whole.records
    with pytest.raises(SettingsError, match="generations"):
        lk.run(train, SPACE, journal="d.db", resume=True, **(SETTINGS | {"generations": 9}))
    with pytest.raises(SettingsError, match="space"):
        lk.run(train, lk.Space(h=lk.Float(0.01, 2.0)), journal="d.db", resume=True, **SETTINGS)


def test_the_best_weights_can_be_loaded():
    history = lk.run(train, SPACE, journal="f.db", **SETTINGS)
    assert -abs(lk.load("f.db")["x"][0]) == history.best.value
    assert lk.open_run("f.db") == history
    with pytest.raises(CheckpointError):
        lk.load("f.db", "0000-00000-0123456789abcdef")


def test_a_run_goes_on_by_a_link_to_its_journal():
    whole = lk.run(train, SPACE, journal="whole.db", **SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        lk.run(interrupted, SPACE, journal="a.db", **SETTINGS)
    Path("links").mkdir()
    Path("links/run.db").symlink_to(Path("../a.db"))
    history = lk.resume(train, "links/run.db")
    assert (history.records, history.failures) == (whole.records, whole.failures)
    assert lk.load("links/run.db") == lk.load("whole.db")
    assert [path.name for path in Path("links").iterdir()] == ["run.db"]


def test_an_open_journal_and_store_are_left_open():
    journal, store = MemoryJournal(), open_checkpoints(None)
    history = lk.run(train, SPACE, journal=journal, checkpoints=store, **SETTINGS)
    assert history.best.checkpoint in store.names()
    assert journal.runs() == ["main"]


def test_ctrl_c_says_how_to_go_on_and_the_resumed_run_is_the_unbroken_one(capsys):
    whole = lk.run(train, SPACE, journal="whole.db", **SETTINGS)
    calls = []

    def interrupted(event, population):
        calls.append(event)

    def impatient(worker):
        x, log = np.array([5.0]), []
        worker.track(x=x, log=log)
        for interval in worker:
            if (interval.member, interval.generation) == (2, 3):
                raise KeyboardInterrupt
            noise = interval.rng.normal(0.0, 0.01, len(interval.steps))
            for i in range(len(interval.steps)):
                x *= 1 - 0.1 * interval.hparams["h"]
                x += noise[i]
            log.append([interval.member, interval.generation, interval.hparams["h"], interval.seed])
            interval.report(-abs(float(x[0])))

    with pytest.raises(KeyboardInterrupt):
        lk.run(impatient, SPACE, journal="cut.db", observers=[interrupted], **SETTINGS)
    assert "stopped after 15 of 24 intervals; go on with: lamarck.resume(impatient, 'cut.db')" in capsys.readouterr().err
    assert lk.resume(train, "cut.db").records == whole.records
    assert events("cut.db")[1:] == events("whole.db")[1:]  # the first names another training function
    with pytest.raises(KeyboardInterrupt):
        lk.run(impatient, SPACE, **SETTINGS)
    assert "give journal=" in capsys.readouterr().err


SCRIPT = """
import sys, time
import lamarck as lk
from lamarck.testing.engine import SPACE, train
from lamarck.types import Assigned, Reported

def slow(worker):
    report = lk.Worker._save
    def save(self, interval):
        time.sleep(0.015)  # however fast the machine is, 120 of these outlast all the moments before the kills
        return report(self, interval)
    lk.Worker._save = save
    try:
        train(worker)
    finally:
        lk.Worker._save = report

journal, lead = sys.argv[1], {"0": 0, "none": None}[sys.argv[2]]
print("ready", flush=True)
lk.run(slow, SPACE, population_size=4, interval=3, generations=30, seed=2, max_lead=lead, journal=journal, resume=True)
print("done", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("lead", ["0", "none"])
def test_kill_9_at_20_random_points(lead, tmp_path):
    """Law 8: the journal of the run that was killed twenty times equals that of the run never killed, event for event."""
    dice = random.Random(7)
    command = [sys.executable, "-c", SCRIPT]
    kills = 0
    while kills < 20:
        process = subprocess.Popen([*command, "killed.db", lead], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        time.sleep(dice.uniform(0.005, 0.08))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed 20 times"
        process.stdout.close()
        kills += 1
    for name in ("killed.db", "whole.db"):
        assert "done" in subprocess.run([*command, name, lead], check=True, capture_output=True, text=True).stdout
    killed, whole = events("killed.db"), events("whole.db")
    assert len(whole) == 1 + 2 * 120 + 1
    assert killed == whole
    kept = [sorted(open_checkpoints(checkpoints_of(name)).names()) for name in ("killed.db", "whole.db")]
    assert set(lk.open_run("killed.db").best.checkpoint.split()) <= set(kept[0])
    assert len(kept[0]) <= 4 * 3 + 1
    files = [path.name for path in Path("killed.checkpoints/main").iterdir()]
    assert len(files) == len(kept[0]), "no temporary file is left"


def test_one_damaged_byte_is_noticed_named_and_survived(caplog):
    """The run goes on from the newest sound checkpoint."""
    seen = []

    def damage(event, population):
        if population.generations.min() == 3 and not seen:
            victim = population.members[1].last.checkpoint
            path = next(checkpoints_of("g.db").glob(f"{victim}*"))
            data = bytearray(path.read_bytes())
            data[-3] ^= 1
            path.chmod(0o644)
            path.write_bytes(data)
            seen.append(victim)

    history = lk.run(train, SPACE, journal="g.db", observers=[damage], exploit=lk.exploit.Never(), **SETTINGS)
    assert history.ended == "generations"
    assert history.damaged == tuple(seen)
    assert seen[0] in caplog.text
    assert history[1, 3].parent == (1, 1)
    assert len(history.records) == 24


FULL = """
import resource, signal, sys
import lamarck as lk
from lamarck.testing.engine import SPACE, train
from lamarck.types import Assigned, Reported

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
acknowledged = []
try:
    lk.run(train, SPACE, population_size=4, interval=3, generations=200, seed=2, journal=sys.argv[1],
           observers=[lambda event, population: print(type(event).__name__, flush=True)])
except lk.LamarckError as error:
    print("error", type(error).__name__, error)
"""


@pytest.mark.slow
def test_a_full_disk_loses_nothing_acknowledged_and_says_so():
    done = subprocess.run([sys.executable, "-c", FULL, "h.db", str(1_000_000)], check=True, capture_output=True, text=True).stdout.splitlines()
    assert done[-1].startswith("error JournalError")
    with open_journal("h.db") as journal:
        kept = [type(event).__name__ for event in events_of(journal, "main")]
    assert kept == done[:-1]
    assert len(kept) > 100
    history = lk.resume(train, "h.db")  # with room again
    assert history.ended == "generations"
    assert len(history.records) == 800


def test_a_checkpoint_that_cannot_be_written_stops_the_run_cleanly(monkeypatch):
    store = open_checkpoints("i.checkpoints/main")
    put, calls = store.put, []

    def full(member, generation, state):
        calls.append(1)
        if len(calls) == 10:
            raise CheckpointError("no space left on device")
        return put(member, generation, state)

    with monkeypatch.context() as patch, pytest.raises(CheckpointError, match="no space"):
        patch.setattr(type(store), "put", lambda self, *args: full(*args))
        lk.run(train, SPACE, journal="i.db", **SETTINGS)
    assert len(lk.open_run("i.db").records) == 9
    assert lk.resume(train, "i.db").records == lk.run(train, SPACE, journal="j.db", **SETTINGS).records


def test_an_observer_that_fails_is_named_once_and_the_run_goes_on(caplog):
    def broken(event, population):
        raise ValueError("observer")

    history = lk.run(train, SPACE, observers=[broken], **SETTINGS)
    assert history.ended == "generations"
    assert sum("the run goes on" in record.message for record in caplog.records) == 1


def test_one_line_a_decision_is_logged(caplog):
    with caplog.at_level("INFO", logger="lamarck"):
        history = lk.run(train, SPACE, **SETTINGS)
    lines = [record.message for record in caplog.records]
    assert sum("copied member" in line for line in lines) == len(history.copies)
    assert lines[0].startswith("started: population of 4")
    assert lines[-1] == "ended: generations"


# ---- power cuts ----------------------------------------------------------------------------------------------------------------------


def test_a_power_cut_costs_what_was_not_flushed_and_nothing_else(monkeypatch):
    """With every third generation flushed: the files that were never flushed are gone, and each member goes on from its last flushed one."""
    lasting, fsync = set(), os.fsync

    def flushed(handle):
        lasting.add(os.path.basename(os.readlink(f"/proc/self/fd/{handle}")))
        fsync(handle)

    def cut(event, population):
        if isinstance(event, Reported) and event.report.key == (2, 7):
            raise SystemExit  # no Exception: nobody handles it, as nobody handles a power cut

    with monkeypatch.context() as watched:
        watched.setattr(os, "fsync", flushed)
        watched.setattr(FolderCheckpoints, "settle", lambda self, names: None)
        with pytest.raises(SystemExit):
            settings = SETTINGS | {"generations": 12, "durable_every": 3, "exploit": lk.exploit.Never()}
            lk.run(train, SPACE, journal="cut.db", observers=[cut], **settings)
    folder = checkpoints_of("cut.db")
    for file in list(folder.iterdir()):
        if file.name not in lasting:
            file.unlink()
    assert {"00005"} <= {name.split("-")[1] for name in open_checkpoints(folder).names()} <= {"00002", "00005"}
    history = lk.resume(train, "cut.db")
    with open_journal("cut.db", readonly=True) as journal:
        told = [event.interval for event in events_of(journal, "main") if isinstance(event, Assigned)]
    back = [interval for interval in told if "back to its own" in interval.info["reason"]]
    assert {interval.member: interval.parent for interval in back} == {member: (member, 5) for member in range(4)}
    assert history.ended == "generations"
    assert all(record.finite for record in history.records)
    assert len(history.records) == 4 * 12


def test_a_run_that_ends_or_is_stopped_is_all_on_the_disk(monkeypatch):
    """Also what was not to be flushed: nobody would do it later."""
    settled = []
    monkeypatch.setattr(FolderCheckpoints, "settle", lambda self, names: settled.append(set(names)))

    def stopping(event, population):
        if isinstance(event, Reported) and event.report.key == (2, 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lk.run(train, SPACE, journal="k.db", observers=[stopping], durable_every=10, **SETTINGS)
    history = lk.resume(train, "k.db")
    ((stopped), (ended)) = settled
    assert {history[member, 3 - (member > 2)].checkpoint for member in range(4)} <= stopped
    assert {history.member(member)[-1].checkpoint for member in range(4)} | {history.best.checkpoint} <= ended


@pytest.mark.parametrize("journal", ["", ".", "/", "a\0b.db", "a\ud800.db"])
def test_a_journal_that_cannot_be_a_file_is_refused(journal):
    with pytest.raises(lk.SettingsError, match="journal: got .* it must be the path of a file"):
        lk.run(lambda worker: None, lk.Space(h=lk.Float(0.0, 1.0)), population_size=1, interval=1, generations=1, journal=journal)
