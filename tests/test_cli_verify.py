"""`lamarck verify`: true journals pass, forged ones are named, what cannot be told is said."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest

import lamarck as lk
from lamarck import codec
from lamarck.cli import main
from lamarck.journal import open_journal
from lamarck.testing.simulation import simulate
from lamarck.types import Assigned, Ended, Reported, Retired

PBT = lk.PBT(space=lk.Space(lr=lk.Float(0.0, 1.0)), settings=lk.Settings(population_size=6, interval=2, generations=6, seed=3))


def measured(interval, _):
    return interval.hparams["lr"], None


TRUE = simulate(PBT, measured, speeds=(1.0, 0.7))


def write(events, name="main"):
    with open_journal("run.db") as journal:
        journal.append(name, 0, [codec.encode(event) for event in events])


def index_of(kind, condition=lambda event: True):
    return next(i for i, event in enumerate(TRUE) if isinstance(event, kind) and condition(event))


def train(worker):
    worker.track(x=[0])
    for interval in worker:
        interval.report(interval.hparams["lr"])


def test_a_true_journal_passes_whole_or_in_progress(capsys):
    write(TRUE)
    write(TRUE[:17], "half")
    write(TRUE[:1], "begun")
    assert main(["verify", "run.db"]) == 0
    assert capsys.readouterr().out == f"every decision follows ({len(TRUE)} events)\n"
    assert main(["verify", "run.db", "--name", "half"]) == 0
    assert main(["verify", "run.db", "--name", "begun"]) == 0
    assert capsys.readouterr().out == "every decision follows (17 events)\nevery decision follows (1 event)\n"


def test_a_run_in_processes_with_failures_passes(capsys, tmp_path):
    (tmp_path / "flaky.py").write_text(
        "import lamarck as lk\n"
        "space = lk.Space(lr=lk.Float(0.0, 1.0))\n"
        "def train(worker):\n"
        "    worker.track(x=[0])\n"
        "    for interval in worker:\n"
        "        if interval.key == (1, 2):\n"
        "            raise ValueError('a bad day')\n"
        "        interval.report(interval.hparams['lr'])\n"
    )
    options = ["-n", "4", "--interval", "5", "--generations", "6", "--max-lead", "none", "--workers", "2"]
    assert main(["run", "flaky.py:train", *options]) == 0
    assert lk.open_run("train.db").failures
    assert main(["verify", "train.db"]) == 0
    assert "every decision follows" in capsys.readouterr().out


def test_a_changed_hyperparameter_is_named(capsys):
    i = index_of(Assigned, lambda event: event.interval.copied)
    it = TRUE[i].interval
    write([*TRUE[:i], Assigned(interval=replace(it, hparams={"lr": 0.125})), *TRUE[i + 1 :]])
    assert main(["verify", "run.db"]) == 1
    first, found, expected, difference, perhaps = capsys.readouterr().out.splitlines()
    assert first.startswith(f"event {i + 1} does not follow from what was known before it")
    begins = f"member {it.member} begins generation {it.generation} from member {it.parent[0]}, generation {it.parent[1]}, with lr"
    assert found == f"found     {begins} 0.125"
    assert expected == f"expected  {begins} {it.hparams['lr']:.4g}"
    assert difference == f"          interval.hparams.lr: 0.125 instead of {it.hparams['lr']!r}"
    assert perhaps.startswith("perhaps   somebody resumed the run here with another space, exploit or explore")


def test_a_run_that_was_resumed_with_another_strategy_is_not_called_forged(capsys):
    def stopping(worker):
        worker.track(x=[0])
        for interval in worker:
            if interval.generation == 3:
                raise KeyboardInterrupt
            interval.report(interval.hparams["lr"])

    with pytest.raises(KeyboardInterrupt):
        lk.run(stopping, PBT.space, population_size=4, interval=5, generations=6, journal="run.db", explore=lk.explore.Perturb())
    before = len(lk.open_run("run.db").records)
    lk.resume(train, "run.db", explore=lk.explore.Resample(), exploit=lk.exploit.Truncation(bottom=0.5, top=0.25))
    assert before < len(lk.open_run("run.db").records)
    assert main(["verify", "run.db"]) == 1
    *_, perhaps = capsys.readouterr().out.splitlines()
    assert perhaps.startswith("perhaps   somebody resumed the run here with another space, exploit or explore")


def test_what_no_strategy_decides_is_not_excused_by_one(capsys):
    i = index_of(Assigned, lambda event: event.interval.copied)
    write([*TRUE[:i], Assigned(interval=replace(TRUE[i].interval, seed=1)), *TRUE[i + 1 :]])
    assert main(["verify", "run.db"]) == 1
    assert "perhaps" not in capsys.readouterr().out


def test_a_version_that_may_have_decided_otherwise_is_named(capsys):
    i = index_of(Assigned, lambda event: event.interval.copied)
    begun = replace(TRUE[0], info={"versions": {"lamarck": "0.0.9"}})
    write([begun, *TRUE[1:i], Assigned(interval=replace(TRUE[i].interval, hparams={"lr": 0.125})), *TRUE[i + 1 :]])
    assert main(["verify", "run.db"]) == 1
    assert "or lamarck 0.0.9, which began the run, decides this otherwise than" in capsys.readouterr().out


def test_a_value_changed_in_the_file_shows_at_the_decision_that_it_would_have_changed(capsys):
    write(TRUE)
    i = index_of(Reported, lambda event: event.report.generation == 2)
    value = 99.0 if TRUE[i].report.value < 0.5 else -99.0
    changed = codec.encode(Reported(report=replace(TRUE[i].report, value=value)))
    connection = sqlite3.connect("run.db")
    with connection:
        connection.execute("UPDATE events SET event = ? WHERE sequence = ?", (changed, i + 1))
    connection.close()
    assert main(["verify", "run.db"]) == 1
    sequence = int(capsys.readouterr().out.split()[1])
    assert sequence > i + 1
    assert not isinstance(TRUE[sequence - 1], Reported)


@pytest.mark.parametrize(
    ("forged", "says"),
    [
        (Ended(reason="target"), "the run ends: target"),
        (Retired(member=3, reason="because"), "member 3 retires: because"),
        (TRUE[index_of(Reported)], "member 0 reports generation 0, value "),
    ],
)
def test_what_should_not_be_there_is_named(forged, says, capsys):
    write([*TRUE[:1], forged, *TRUE[1:]])
    assert main(["verify", "run.db"]) == 1
    first, found, expected, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("event 2 does not follow")
    assert found.startswith(f"found     {says}")
    assert expected == "expected  nothing"


@pytest.mark.parametrize(
    ("space", "settings", "says"),
    [
        (PBT.space.where(lambda h: h["lr"] < 0.9), {}, "search space has a Python function"),
        (PBT.space, {"explore": lk.explore.Function(lambda hparams, rng: hparams)}, "the Python function"),
    ],
)
def test_what_has_python_functions_cannot_be_verified_here(space, settings, says, capsys):
    lk.run(train, space, population_size=4, interval=5, generations=3, journal="run.db", **settings)
    assert main(["verify", "run.db"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lamarck: this run cannot be verified from its journal alone; verify it from Python")
    assert says in err


def test_a_journal_that_is_not_there(capsys):
    assert main(["verify", "run.db"]) == 2
    assert "there is no journal 'run.db'" in capsys.readouterr().err
