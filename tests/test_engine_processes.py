"""Worker processes: the Laws, and every way in which a process can go wrong."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import lamarck as lk
from lamarck._errors import PopulationLost, SettingsError, TrainingError
from lamarck.checkpoints import MemoryCheckpoints
from lamarck.coordinator import events_of
from lamarck.engines import _start
from lamarck.engines._memory import memory_folder
from lamarck.engines.processes import Processes
from lamarck.journal import open_journal
from lamarck.testing.engine import ENGINE_LAWS, SPACE, train
from lamarck.types import Reported
from trainers import (
    always_raises,
    breaks_a_pipe,
    counts_loads,
    dies_before_its_child,
    dies_once,
    exits_early,
    fails_early,
    hangs_once,
    has_children,
    kills_the_fork_server,
    reports_nothing,
    reports_words,
    returns_early,
    tells,
    tells_how_processes_start,
)

pytestmark = pytest.mark.slow

SETTINGS = {"population_size": 4, "interval": 3, "generations": 5, "seed": 2}


def alive() -> list[int]:
    return [process.pid for process in multiprocessing.active_children()]


@pytest.mark.parametrize("law", ENGINE_LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_law(law, workers, tmp_path):
    law(Processes(workers=workers), tmp_path)
    assert alive() == []


def test_decisions_equal_the_inline_engines_and_memory_is_given_back(monkeypatch):
    folders, make = [], tempfile.mkdtemp
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **given: folders.append(make(**given)) or folders[-1])
    inline = lk.run(train, SPACE, **SETTINGS)
    store = MemoryCheckpoints()
    history = lk.run(train, SPACE, engine=Processes(workers=2), checkpoints=store, **SETTINGS)
    by_key = {record.key: (record.value, record.hparams, record.parent) for record in inline.records}
    assert {record.key: (record.value, record.hparams, record.parent) for record in history.records} == by_key
    assert -abs(float(store.get(history.best.checkpoint)["x"][0])) == history.best.value
    assert [Path(folder).exists() for folder in folders] == [False]


def test_a_worker_that_dies_is_replaced_and_its_interval_repeated():
    history = lk.run(dies_once, SPACE, engine=Processes(workers=2), journal="d.db", **SETTINGS)
    assert history.ended == "generations"
    assert len(history.records) == 20
    said = {failure.member: (failure.kind, failure.message) for failure in history.failures}
    assert said == {1: ("lost", "the worker process died: killed by SIGKILL"), 2: ("lost", "the worker process died: exit code 7")}


def test_a_worker_that_hangs_is_killed_at_its_time_limit():
    history = lk.run(hangs_once, SPACE, engine=Processes(workers=2, time_limit=1.0), **SETTINGS)
    assert [(failure.kind, failure.message) for failure in history.failures] == [("timeout", "no report within 1 s")]
    assert len(history.records) == 20


def test_a_worker_that_dies_is_noticed_though_its_child_lives_and_takes_it_along():
    history = lk.run(dies_before_its_child, SPACE, engine=Processes(workers=2), **SETTINGS)
    assert [(failure.kind, failure.message) for failure in history.failures] == [("lost", "the worker process died: killed by SIGKILL")]
    assert gone([int(Path("child").read_text())])


def test_the_death_of_the_fork_server_ends_no_interval_and_hinders_no_beginning():
    history = lk.run(kills_the_fork_server, SPACE, engine=Processes(workers=2), **SETTINGS)
    assert Path("killed").exists()
    assert [failure.kind for failure in history.failures] == ["lost"], "the worker that ended, and no other"
    assert len(history.records) == 20


def test_nobody_waits_for_a_worker_that_cannot_be_killed(monkeypatch, caplog):
    """One that hangs in a driver: here, one that nobody kills at first."""
    spared, kill = [], _start.kill
    monkeypatch.setattr(_start, "kill", lambda process: kill(process) if spared else spared.append(process))
    monkeypatch.setattr(_start, "_GRACE", 0.2)
    history = lk.run(hangs_once, SPACE, engine=Processes(workers=2, time_limit=1.0), **SETTINGS)
    assert len(history.records) == 20
    assert [failure.kind for failure in history.failures] == ["timeout"]
    assert f"process {spared[0].pid} cannot be killed" in caplog.text
    kill(spared[0])
    spared[0].join()


def test_a_pipe_of_the_users_own_is_not_taken_for_ours():
    history = lk.run(breaks_a_pipe, SPACE, engine=Processes(workers=2), **SETTINGS)
    assert [(failure.kind, failure.message) for failure in history.failures] == [("error", "BrokenPipeError: the data loader's own pipe")]
    assert len(history.records) == 20


def test_a_worker_may_have_processes_of_its_own():
    history = lk.run(has_children, SPACE, engine=Processes(workers=2), **(SETTINGS | {"generations": 2}))
    assert {record.value for record in history.records} == {9.0}


def test_the_first_traceback_is_shown_and_the_population_is_lost(caplog):
    with pytest.raises(PopulationLost):
        lk.run(always_raises, SPACE, engine=Processes(workers=2), max_failures=0, **SETTINGS)
    shown = [record.getMessage() for record in caplog.records if "Traceback" in record.getMessage()]
    assert len(shown) == 1
    assert 'raise ValueError("as always")' in shown[0]


@pytest.mark.parametrize(
    ("function", "says"),
    [(fails_early, "FileNotFoundError: data.csv"), (returns_early, "returned before the run was over"), (exits_early, r"exit code 3")],
)
def test_a_function_that_cannot_begin_ends_the_run(function, says):
    with pytest.raises(TrainingError, match=says):
        lk.run(function, SPACE, engine=Processes(workers=2), **SETTINGS)
    assert alive() == []


@pytest.mark.parametrize("function", [reports_nothing, reports_words, returns_early, fails_early])
def test_a_fault_of_the_function_is_told_as_in_one_process(function):
    with pytest.raises(lk.LamarckError) as inline:
        lk.run(function, SPACE, **SETTINGS)
    with pytest.raises(lk.LamarckError) as processes:
        lk.run(function, SPACE, engine=Processes(workers=1), **SETTINGS)
    assert type(processes.value) is type(inline.value)
    said, *below = str(processes.value).splitlines()
    assert said == str(inline.value)
    package = str(Path(lk.__file__).parent)  # of which the traceback of the user's own code shows nothing
    assert all(package not in line for line in below)
    assert bool(below) == (inline.value.__cause__ is not None)


def test_a_function_of_a_session_is_explained():
    function = type(train)(train.__code__, {}, "train")
    function.__module__, function.__qualname__ = "__main__", "train"
    sys.modules["__main__"].train = function
    try:
        with pytest.raises(TrainingError, match="cannot be loaded in a worker process.*top level of a module that can be imported"):
            lk.run(function, SPACE, engine=Processes(workers=1), **SETTINGS)
    finally:
        del sys.modules["__main__"].train


def test_a_function_that_cannot_be_sent_is_explained():
    with pytest.raises(SettingsError, match="top level of a module"):
        lk.run(lambda worker: None, SPACE, engine=Processes(workers=1), **SETTINGS)


@pytest.mark.parametrize("wrong", [dict(workers=0), dict(per_gpu=1.5), dict(threads=-1), dict(time_limit=0)])
def test_settings(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Processes(**wrong)


def test_each_worker_has_its_device_and_its_share_of_threads(six_gpus):
    seen = []

    def watch(event, population):
        if isinstance(event, Reported):
            seen.append(event.report.metrics)

    lk.run(tells, SPACE, engine=Processes(gpus=["3", "5"], per_gpu=2, threads=1), observers=[watch], **SETTINGS)
    assert {metrics["gpu"] for metrics in seen} == {3.0, 5.0}
    assert {(metrics["omp"], metrics["torch"]) for metrics in seen} == {(1.0, 1.0)}


def test_a_worker_starts_processes_as_any_process_does():
    history = lk.run(tells_how_processes_start, SPACE, engine=Processes(workers=1), **SETTINGS)
    assert {record.value for record in history.records} == {1.0}


def test_with_as_many_workers_as_members_nothing_is_reloaded_but_at_a_copy():
    history = lk.run(counts_loads, SPACE, engine=Processes(workers=4), exploit=lk.exploit.Never(), **SETTINGS)
    assert {record.value for record in history.records if record.generation == 4} == {5.0}


SCRIPT = """
import sys, time
import lamarck as lk
from lamarck.engines.processes import Processes
from lamarck.testing.engine import SPACE
import numpy as np

def train(worker):
    x = np.array([5.0])
    worker.track(x=x)
    for interval in worker:
        time.sleep(0.1)
        x *= 0.9
        interval.report(float(x[0]))

if __name__ == "__main__":
    seen = lambda event, population: print(type(event).__name__, flush=True)
    engine = Processes(workers=2, time_limit=4)
    lk.run(train, SPACE, population_size=4, interval=3, generations=20, engine=engine, journal="run.db", observers=[seen])
"""


def children_of(pid):
    listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    table = {int(line.split()[0]): int(line.split()[1]) for line in listed.splitlines()[1:]}
    family = {pid}
    while True:
        more = {child for child, parent in table.items() if parent in family} - family
        if not more:
            return family - {pid}
        family |= more


def state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]
    except OSError:
        return "gone"


def running(pids):
    return {pid for pid in pids if state(pid) not in ("gone", "Z")}


def gone(pids):
    deadline = time.monotonic() + 60
    while running(pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not running(pids)


def begin():
    Path("script.py").write_text(SCRIPT)
    process = subprocess.Popen([sys.executable, "script.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    for line in process.stdout:
        if line == "Reported\n":
            return process, children_of(process.pid)
    raise AssertionError(process.stderr.read())


def test_ctrl_c_lets_intervals_finish_and_a_second_one_does_not_wait():
    process, family = begin()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert "in progress" in err
    assert "go on with: lamarck.resume(train, 'run.db')" in err
    assert gone(family)
    with open_journal("run.db", readonly=True) as journal:
        kept = [type(event).__name__ for event in events_of(journal, "main")]
    printed = ["Started", "Assigned", "Assigned", "Reported", *out.split()]
    assert kept.count("Reported") >= printed.count("Reported") >= 2


def test_ctrl_z_stops_the_workers_too_and_does_not_count_against_their_time():
    process, _ = begin()
    workers = [pid for pid in children_of(process.pid) if os.getpgid(pid) == pid]
    assert len(workers) == 2
    os.killpg(process.pid, signal.SIGTSTP)
    deadline = time.monotonic() + 60
    while any(state(pid) != "T" for pid in (process.pid, *workers)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert {state(pid) for pid in (process.pid, *workers)} == {"T"}
    time.sleep(4.5)  # longer than the time limit
    os.killpg(process.pid, signal.SIGCONT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    history = lk.open_run("run.db")
    assert (len(history.records), history.failures) == (80, ())


MEMORY = """
import sys
from lamarck.engines._memory import memory_folder
with memory_folder() as folder:
    open(f"{folder}/weights", "w").close()
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_weights_that_a_killed_process_left_in_memory_are_removed_by_the_next():
    def begin():
        process = subprocess.Popen([sys.executable, "-c", MEMORY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        folder = Path(process.stdout.readline().strip())
        assert [file.name for file in folder.iterdir()] == ["weights"]
        return process, folder

    (living, kept), (killed, left), (late, young) = begin(), begin(), begin()
    for process in (killed, late):
        process.kill()
        process.communicate()
    for folder in (kept, left):
        os.utime(folder, (0, 0))
    with memory_folder() as mine:
        assert (kept.exists(), left.exists(), young.exists(), Path(mine).exists()) == (True, False, True, True)
    assert not Path(mine).exists()
    living.communicate("")
    assert not kept.exists()
    shutil.rmtree(young)


def test_the_death_of_the_parent_takes_the_workers_with_it():
    process, family = begin()
    assert len(family) >= 2
    process.kill()
    process.communicate()
    assert gone(family)
    code = (
        "import script, lamarck as lk; from lamarck.engines.processes import Processes\n"
        "if __name__ == '__main__': print(lk.resume(script.train, 'run.db', engine=Processes(workers=3)))"
    )
    Path("again.py").write_text(code)
    done = subprocess.run([sys.executable, "again.py"], capture_output=True, text=True, check=True)
    assert "80 of 80 intervals" in done.stdout
