"""One script in three places: alone, under ``lamarck run``, joined to a server, by its environment alone; the decisions are the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lamarck as lk
from http_engine import served
from lamarck.cli import main
from lamarck.coordinator import events_of
from lamarck.engines.processes import Processes
from lamarck.journal import open_journal
from lamarck.scripts import Scripts
from lamarck.server.plan import Plan
from lamarck.testing.engine import SPACE, train
from lamarck.verify import verify

RULES = {"population_size": 5, "interval": 3, "generations": 6, "seed": 4}

SCRIPT = """
import lamarck as lk
from lamarck.testing.engine import SPACE, train

worker = lk.worker(SPACE, population_size=5, interval=3, generations=6, seed=4)
train(worker)
assert worker.over
"""


@pytest.fixture(scope="module")
def expected():
    return lk.run(train, SPACE, **RULES)


def plan(name="main", **more):
    return Plan.of({"name": name, "space": SPACE.to_dict(), **RULES, **more})


def script(text=SCRIPT, name="script.py"):
    Path(name).write_text(text)
    return [sys.executable, name]


def environment(**names):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LAMARCK_")}
    return {**clean, **names}


def run_of(journal, name="main"):
    return lk.open_run(journal, name=name)


def told(history):
    """What was decided and what came of it; names of checkpoints differ between stores."""
    return sorted((r.key, r.value, r.step, sorted(r.hparams.items()), r.parent or ()) for r in history.records)


def reports(journal):
    try:
        with open_journal(journal, readonly=True) as book:
            return sum(b'"Reported"' in event for event in book.read("main"))
    except lk.JournalError:  # not yet
        return 0


# ---- alone -------------------------------------------------------------------------------------------------------------------------------


def test_alone_a_script_trains_what_run_would():
    def alone():
        worker = lk.worker(SPACE, **RULES, journal="alone.db")
        train(worker)
        assert worker.over

    alone()
    history = run_of("alone.db")
    assert history.records == lk.run(train, SPACE, **RULES, journal="run.db").records
    assert history.started.info["train"] == Path(sys.argv[0]).name
    alone()  # it is over, and stays so
    assert run_of("alone.db") == history


def test_alone_a_population_of_one_is_plain_training(monkeypatch):
    worker = lk.worker(SPACE, interval=3, steps=12, initial=[{"h": 0.5}], journal="one.db")
    train(worker)
    history = run_of("one.db")
    assert [(record.step, dict(record.hparams)) for record in history.records] == [(step, {"h": 0.5}) for step in (3, 6, 9, 12)]


def test_alone_the_environment_comes_before_what_the_script_says(monkeypatch):
    monkeypatch.setenv("LAMARCK_POPULATION", "3")
    monkeypatch.setenv("LAMARCK_JOURNAL", "asked.db")
    train(lk.worker(SPACE, interval=3, generations=2, initial=[{"h": 0.5}] * 5, population_size=5, journal="other.db"))
    assert run_of("asked.db").settings.population_size == 3
    assert not Path("other.db").exists()


def test_alone_a_space_can_be_a_file(monkeypatch):
    Path("space.toml").write_text("[h]\nlow = 0.01\nhigh = 1.0\nlog = true\n")
    Path("space.csv").write_text("name,min,max,scale\nh,0.01,1.0,log\n")
    for file in ("space.toml", "space.csv"):
        train(lk.worker(file, interval=1, generations=2, journal=f"{file}.db"))
        assert run_of(f"{file}.db").space == SPACE


@pytest.mark.parametrize(
    ("given", "environment_", "message"),
    [
        ({}, {}, "there is no server to ask, since LAMARCK_URL is not set"),
        ({"space": SPACE}, {}, "got steps=None and generations=None; give one of them"),
        ({"space": "no.toml", "generations": 2}, {}, "space: 'no.toml' cannot be read"),
        ({"space": SPACE, "generations": 2}, {"LAMARCK_POPULATION": "many"}, "LAMARCK_POPULATION: got 'many'"),
        ({"space": SPACE, "generations": 2}, {"LAMARCK_POPULATION": "0"}, "population_size: got 0"),
        ({}, {"LAMARCK_URL": "ftp://x"}, "url: got 'ftp://x'"),
        ({}, {"LAMARCK_URL": "http://127.0.0.1:1", "LAMARCK_PATIENCE": "long"}, "LAMARCK_PATIENCE: got 'long'"),
    ],
)
def test_what_is_missing_is_said(monkeypatch, given, environment_, message):
    for name, value in environment_.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(lk.SettingsError, match=message):
        lk.worker(**given)


def test_a_server_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setenv("LAMARCK_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("LAMARCK_PATIENCE", "0.2")
    with pytest.raises(lk.ServiceError):
        lk.worker()


KILLED = """
import os, signal, sys
import lamarck as lk
from lamarck.testing.engine import SPACE, train

reports = [0]
report = lk.ActiveInterval.report
def dying(self, value, **more):
    report(self, value, **more)
    reports[0] += 1
    if reports[0] == 7:
        os.kill(os.getpid(), signal.SIGKILL)
lk.ActiveInterval.report = dying
train(lk.worker(SPACE, population_size=5, interval=3, generations=6, seed=4, journal="killed.db"))
"""


def test_alone_a_script_that_is_killed_goes_on_when_it_is_started_again(expected):
    command = script(KILLED)
    codes = [subprocess.run(command, check=False, env=environment()).returncode for _ in range(5)]
    assert codes == [-signal.SIGKILL] * 4 + [0]
    assert told(run_of("killed.db")) == told(expected)


# ---- under `lamarck run` -----------------------------------------------------------------------------------------------------------------


def test_under_run_the_same_script_makes_the_same_decisions(expected, capsys):
    script()
    Path("space.toml").write_text("[h]\nlow = 0.01\nhigh = 1.0\nlog = true\n")
    rules = ["--space", "space.toml", "-n", "5", "--interval", "3", "--generations", "6", "--seed", "4", "--workers", "2"]
    assert main(["run", "script.py", *rules]) == 0
    out, err = capsys.readouterr()
    history = run_of("script.db")
    assert told(history) == told(expected)
    assert out.splitlines()[0] == str(history)
    assert err.splitlines()[0] == "journal script.db, weights in script.checkpoints/main"
    assert history.started.info["train"] == "script.py"
    assert history.started.info["workers"] == {"workers": 2, "engine": "processes"}
    with open_journal("script.db") as journal:
        assert verify(events_of(journal, "main")) is None


ARGUMENTS = """
import json, os, sys
import lamarck as lk
from lamarck.testing.engine import train

train(lk.worker())
with open(f"said-{os.getpid()}", "w") as file:
    json.dump([sys.argv[1:], os.environ["OMP_NUM_THREADS"], os.environ.get("CUDA_VISIBLE_DEVICES"), os.getcwd()], file)
"""


def test_scripts_get_their_arguments_and_their_share_of_the_machine(tmp_path, six_gpus):
    script(ARGUMENTS)
    Path("space.csv").write_text("name,min,max,scale\nh,0.01,1.0,log\n")
    rules = ["--space", "space.csv", "-n", "4", "--interval", "3", "--generations", "2", "--gpus", "0,1", "--threads", "1"]
    assert main(["run", "script.py --depth 18 'two words'", *rules]) == 0
    said = [eval(path.read_text().replace("null", "None")) for path in tmp_path.glob("said-*")]
    assert sorted(gpu for _, _, gpu, _ in said) == ["0", "1"]
    assert all([arguments, threads, folder] == [["--depth", "18", "two words"], "1", str(tmp_path)] for arguments, threads, _, folder in said)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["run", "script.py"], "a script needs the search space in a file: --space space.toml. If a training function was meant"),
        (["run", "skript.py", "--space", "space.toml"], "there is no script 'skript.py'; did you mean 'script.py'?"),
        (["run", "script.py", "--space", "space.toml", "--time-limit", "5"], "time_limit: scripts have none"),
        (["replay", "done.db", "script.py"], "'script.py' is a script, and a replay needs a training function"),
    ],
)
def test_what_scripts_cannot_do_is_said(command, message, capsys):
    script()
    Path("space.toml").write_text("[h]\nlow = 0.01\nhigh = 1.0\nlog = true\n")
    lk.run(train, SPACE, population_size=2, interval=3, generations=2, journal="done.db")
    more = ["--interval", "3", "--generations", "2"] if command[0] == "run" else []
    assert main([*command, *more]) == 2
    assert message in capsys.readouterr().err


FAILS_ONCE = """
import os
import numpy as np
import lamarck as lk

x = np.array([1.0])
worker = lk.worker()
worker.track(x=x)
for interval in worker:
    marker = f"failed-{interval.member}"
    if interval.key == (1, 1) and not os.path.exists(marker):
        open(marker, "w").close()
        raise ValueError("a bad day")
    x *= 0.9
    interval.report(float(x[0]))
"""


def test_a_script_that_fails_is_heard_and_started_again(capfd):
    command = script(FAILS_ONCE)
    history = lk.run(train, SPACE, population_size=3, interval=3, generations=3, engine=Scripts(command=command, places=Processes(workers=2)))
    assert history.ended == "generations"
    assert [(f.member, f.generation, f.kind, f.message) for f in history.failures] == [(1, 1, "error", "ValueError: a bad day")]
    assert "ValueError: a bad day" in capfd.readouterr().err


def test_a_script_of_which_nothing_comes_ends_the_run_with_its_status():
    started = time.monotonic()
    command = script("import sys\nopen('count', 'a').write('x')\nsys.exit(7)\n")
    with pytest.raises(lk.TrainingError, match=r"script.py ended 3 times in a row without a report, the last time with status 7"):
        lk.run(train, SPACE, population_size=3, interval=3, generations=3, engine=Scripts(command=command))
    assert Path("count").read_text() == "xxx"
    assert time.monotonic() - started < 60


def test_a_script_that_always_fails_loses_its_population():
    command = script(FAILS_ONCE.replace("if interval.key == (1, 1) and not os.path.exists(marker):", "if True:"))
    with pytest.raises(lk.PopulationLost, match="after 2 failed attempts; the last was member 0: .* ValueError: a bad day"):
        lk.run(train, SPACE, population_size=1, interval=3, generations=3, max_failures=0, engine=Scripts(command=command))


def test_a_program_that_is_not_there_is_said():
    with pytest.raises(lk.TrainingError, match="'no-such-program' cannot be started"):
        lk.run(train, SPACE, population_size=1, interval=3, generations=3, engine=Scripts(command=("no-such-program",)))


SLOW = """
import os, time
import numpy as np
import lamarck as lk

x = np.array([1.0])
worker = lk.worker()
worker.track(x=x)
for interval in worker:
    open(f"pid-{os.getpid()}", "w").close()
    time.sleep(0.1 if os.path.exists("slow") else 0.0)
    x *= 0.9
    interval.report(float(x[0]))
"""


@pytest.mark.slow
def test_run_that_is_interrupted_ends_its_scripts_and_goes_on_where_it_was(tmp_path, capsys):
    script(SLOW)
    Path("slow").touch()
    Path("space.toml").write_text("[h]\nlow = 0.01\nhigh = 1.0\nlog = true\n")
    command = [sys.executable, "-m", "lamarck", "run", "script.py", "--space", "space.toml", "-n", "4", "--interval", "3"]
    command += ["--generations", "10", "--workers", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()) as process:
        try:
            wait_for(lambda: reports("script.db") >= 4)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert "go on with: lamarck resume script.db" in err
    assert "Traceback" not in err
    assert not [path for path in tmp_path.glob("pid-*") if alive(int(path.name.removeprefix("pid-")))]
    done = len(run_of("script.db").records)
    assert 4 <= done < 40
    Path("slow").unlink()
    assert main(["resume", "script.db"]) == 0
    history = run_of("script.db")
    assert history.ended == "generations"
    assert len(history.records) == 40
    with open_journal("script.db") as journal:
        assert verify(events_of(journal, "main")) is None


@pytest.mark.slow
def test_a_script_that_is_killed_is_missed_and_its_member_trained_by_another(tmp_path):
    script(SLOW)
    Path("slow").touch()
    killed = []

    def kill_one(event, population):
        pids = [int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*")]
        if not killed and len(pids) == 2 and population.floor >= 2:
            os.kill(pids[0], signal.SIGKILL)
            killed.append(pids[0])
            Path("slow").unlink()

    engine = Scripts(command=[sys.executable, "script.py"], places=Processes(workers=2))
    history = lk.run(train, SPACE, population_size=4, interval=3, generations=8, engine=engine, observers=[kill_one])
    assert killed
    assert history.ended == "generations"
    assert len(history.records) == 32
    assert [(failure.kind, failure.message) for failure in history.failures] == [("lost", "the script died")]


def alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


# ---- joined to a server ------------------------------------------------------------------------------------------------------------------


def test_joined_the_same_script_makes_the_same_decisions(expected):
    import asyncio

    command = script()
    with served("served.db") as (service, url):
        asyncio.run(service.create(plan("cifar")))
        processes = [subprocess.Popen(command, env=environment(LAMARCK_URL=url, LAMARCK_RUN="cifar")) for _ in range(2)]
        assert [process.wait(120) for process in processes] == [0, 0]
    assert told(run_of("served.db", "cifar")) == told(expected)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_script_that_is_asked_to_end_gives_its_interval_back_at_once(number):
    """What a batch system does before it takes a machine away. The lease is an hour: only a word can have freed the member."""
    import asyncio

    Path("slow").touch()
    command = script(SLOW.replace("0.1 if", "60 if"))
    with served("served.db", lease=3600.0) as (service, url):
        asyncio.run(service.create(Plan.of({"name": "main", "space": SPACE.to_dict(), **RULES, "population_size": 1})))
        first = subprocess.Popen(command, env=environment(LAMARCK_URL=url))
        wait_for(lambda: list(Path().glob("pid-*")))
        first.send_signal(number)
        assert first.wait(30) == 128 + number
        Path("slow").unlink()
        assert subprocess.run(command, env=environment(LAMARCK_URL=url), timeout=60, check=False).returncode == 0
    history = run_of("served.db")
    assert (history.ended, history.failures) == ("generations", ())
