"""``lamarck schedule`` in all its forms, and ``lamarck replay``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lamarck as lk
from lamarck.cli import main
from lamarck.journal import open_journal
from lamarck.runs import open_run

TRAIN = """
import os, time
import numpy as np
import lamarck as lk

space = lk.Space(lr=lk.Float(1e-3, 1.0, log=True), drop=lk.Float(0.0, 0.5), opt=["sgd", "adam"])

def train(worker):
    x = np.array([3.0])
    worker.track(x=x)
    for interval in worker:
        time.sleep(0.1 if os.path.exists("slow") else 0.0)
        x -= interval.hparams["lr"] * x * 0.1 * len(interval.steps)
        x += 0.02 * interval.hparams["lr"] * interval.rng.normal()
        interval.report(-abs(float(x[0])))
"""

RUN = ["run", "train.py:train", "-n", "6", "--interval", "5", "--generations", "8", "--seed", "3"]


@pytest.fixture
def history(tmp_path, capsys):
    Path("train.py").write_text(TRAIN)
    assert main(RUN) == 0
    capsys.readouterr()
    return open_run("train.db")


# ---- schedule ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["json", "toml", "csv"])
def test_schedule_is_written_in_forms_that_are_read_back(history, capsys, form):
    assert main(["schedule", "train.db", f"--{form}"]) == 0
    assert lk.Schedule.from_text(capsys.readouterr().out, form) == history.schedule()


def test_schedule_is_written_as_python(history, capsys):
    assert main(["schedule", "train.db", "--python", "--member", "2"]) == 0
    made: dict[str, object] = {}
    exec(capsys.readouterr().out, made)
    assert made["schedule"] == history.schedule(2)


def test_schedule_is_simplified(history, capsys):
    assert main(["schedule", "train.db", "--simplify", "0.3", "--json"]) == 0
    assert lk.Schedule.from_text(capsys.readouterr().out) == history.schedule().simplified(0.3, history.space)
    assert main(["schedule", "train.db", "--simplify", "0.3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(history.schedule().simplified(0.3, history.space))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--json", "--csv"], "got --json and --csv; one form can be written at a time"),
        (["--simplify", "2"], "tolerance: got 2.0"),
        (["--member", "6"], "member: got 6; this run has members 0 to 5"),
    ],
)
def test_schedule_refuses_what_cannot_be(history, capsys, options, message):
    assert main(["schedule", "train.db", *options]) == 2
    assert message in capsys.readouterr().err


# ---- replay ------------------------------------------------------------------------------------------------------------------------------


def test_replay_trains_by_the_schedule_and_answers(history, capsys):
    assert main(["replay", "train.db", "--seeds", "3"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split() == ["seed", "steps", "value"]
    assert [line.split()[0] for line in lines[1:5]] == ["own", "4", "5", "6"]
    assert lines[5] == f"with the lineage's own seeds: {history.best.value:.6g}, exactly the lineage's value"
    assert "The schedule alone" in out or "do not decide" in out
    assert lines[-2:] == ["picture in train.replay.png", "see the schedule: lamarck schedule train.db"]
    assert err == "trainings in train.replay.db\n"
    assert Path("train.replay.png").stat().st_size > 10_000
    with open_journal("train.replay.db") as journal:
        names = journal.runs()
    assert len(names) == 4
    for name in names:  # each is a run like any other
        assert open_run("train.replay.db", name=name).started.info["train"] == "train.py:train"
        for command in ("verify", "show", "resume"):
            assert main([command, "train.replay.db", "--name", name]) == 0


def test_replay_goes_on_with_what_is_there_and_with_another_schedule(history, capsys):
    assert main(["replay", "train.db", "--seeds", "1"]) == 0
    first = capsys.readouterr().out.splitlines()[1:3]
    Path("train.py").write_text(TRAIN + "raise SystemExit('nobody trains again')\n".replace("raise", "#"))
    assert main(["replay", "train.db", "--seeds", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[1:3] == first
    assert main(["replay", "train.db", "--seeds", "1", "--simplify", "0.3"]) == 0
    assert capsys.readouterr().out.splitlines()[1:2] != first[1:]


@pytest.mark.parametrize("form", ["json", "toml", "csv"])
def test_replay_follows_an_edited_schedule(history, capsys, form):
    edited = lk.Schedule((lk.Piece(0, 10, {"lr": 0.5, "drop": 0.1, "opt": "sgd"}), lk.Piece(10, 20, {"lr": 0.1, "drop": 0.1, "opt": "sgd"})))
    Path(f"edited.{form}").write_text(edited.to_text(form))
    assert main(["replay", "train.db", "--schedule", f"edited.{form}", "--seeds", "2", "--journal", "edited.db", "-o", "p.png"]) == 0
    out = capsys.readouterr().out
    assert "own" not in out
    assert "picture in p.png" in out
    with open_journal("edited.db") as journal:
        names = journal.runs()
    assert [open_run("edited.db", name=name).schedule() for name in names] == [edited, edited]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--schedule", "no.json"], "--schedule: there is no file 'no.json'"),
        (["--schedule", "train.py"], "--schedule: got 'train.py'; it must end in .json, .toml, .csv"),
        (["--schedule", "bad.json"], "bad.json: the schedule is not JSON"),
        (["--schedule", "good.json", "--simplify", "0.1"], "leave one of them out"),
        (["--schedule", "good.json"], "interval: got 5 for a schedule of 12 steps"),
        (["--journal", "train.db"], "holds the run that is replayed"),
        (["--member", "9"], "member: got 9"),
        (["--seeds", "-1"], "seeds: got -1"),
        (["--workers", "0"], "workers: got 0"),
        (["other.py:train"], "there is no file 'other.py'"),
    ],
)
def test_replay_refuses_what_cannot_be(history, capsys, options, message):
    Path("bad.json").write_text("{")
    Path("good.json").write_text('[{"start": 0, "until": 12, "hparams": {"lr": 0.1, "drop": 0.1, "opt": "sgd"}}]')
    assert main(["replay", "train.db", *options]) == 2
    assert message in capsys.readouterr().err
    assert open_run("train.db") == history


def test_replay_says_how_to_name_a_function_that_has_moved(history, capsys):
    Path("train.py").rename("moved.py")
    for name in ("train",):
        sys.modules.pop(name, None)
    assert main(["replay", "train.db", "--seeds", "1"]) == 2
    assert "Say where it is: lamarck replay train.db file.py:function" in capsys.readouterr().err
    assert main(["replay", "train.db", "moved.py:train", "--seeds", "1"]) == 0


def test_without_a_report_there_is_nothing_to_follow(history, capsys):
    with open_journal("train.db") as journal, open_journal("young.db") as young:
        young.append("main", 0, [next(iter(journal.read("main")))])
    assert main(["replay", "young.db"]) == 2
    assert "nothing to follow has been reported yet" in capsys.readouterr().err


@pytest.mark.slow
def test_replay_with_workers_that_is_stopped_goes_on_where_it_was(history, capsys, tmp_path):
    Path("slow").touch()
    command = [sys.executable, "-m", "lamarck", "replay", "train.db", "--seeds", "3", "--workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})
    end = time.monotonic() + 60
    while time.monotonic() < end and reports() < 6:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert "stopped; what was reported is kept, and the same command goes on from there" in err
    assert "Traceback" not in err
    before = reports()
    assert 6 <= before < 32
    Path("slow").unlink()
    assert main(["replay", "train.db", "--seeds", "3", "--workers", "2"]) == 0
    assert "exactly the lineage's value" in capsys.readouterr().out
    assert reports() == 4 * len(history.lineage())


def reports() -> int:
    try:
        with open_journal("train.replay.db", readonly=True) as journal:
            return sum(json.loads(event)["$type"] == "Reported" for name in journal.runs() for event in journal.read(name))
    except lk.JournalError:  # not yet
        return 0


def test_a_run_that_a_script_began_is_replayed_by_naming_the_script(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(
        TRAIN + "\nif __name__ == '__main__':\n    lk.run(train, space, population_size=3, interval=5, generations=3, journal='own.db')\n"
    )
    subprocess.run([sys.executable, "own.py"], check=True, timeout=120)
    assert open_run("own.db").started.info["train"] == "own.py:train"
    assert main(["replay", "own.db", "--seeds", "0"]) == 2
    says = "the run was begun in the script own.py; say where its training function is: lamarck replay own.db own.py:train. A script"
    assert says in capsys.readouterr().err
    assert main(["replay", "own.db", "own.py:train", "--seeds", "0"]) == 0
    assert "exactly the lineage's value" in capsys.readouterr().out
