"""The commands, run in this process: what they print, what they write down, and how they end."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import lamarck as lk
from lamarck.cli import main
from lamarck.coordinator import events_of
from lamarck.journal import open_journal
from lamarck.runs import open_run
from lamarck.types import Assigned

TRAIN = """
import numpy as np
import lamarck as lk

space = lk.Space(lr=lk.Float(1e-3, 1.0, log=True), drop=lk.Float(0.0, 0.5), opt=["sgd", "adam"], width=64)

def train(worker):
    x = np.array([0.0])
    worker.track(x=x)
    for interval in worker:
        x += interval.hparams["lr"] * len(interval.steps) + 0.01 * interval.rng.normal()
        interval.report(x[0])

def broken(worker):
    worker.track(x=np.array([0.0]))
    for interval in worker:
        nobody_defined_this

def lonely():
    pass

def fails_early(worker):
    open("no/such/file")

def flaky(worker):
    x = np.array([0.0])
    worker.track(x=x)
    for interval in worker:
        if interval.member == 1 and interval.generation == 1:
            raise ValueError("a bad day\\nwith two lines")
        interval.report(interval.hparams["lr"])

def silent(worker):
    worker.track(x=np.array([0.0]))
    for interval in worker:
        interval.report(float("nan"))
"""

RUN = ["run", "train.py:train", "-n", "4", "--interval", "5", "--generations", "4"]


@pytest.fixture(autouse=True)
def _script(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)


@pytest.fixture
def done(tmp_path, capsys):
    assert main(RUN) == 0
    capsys.readouterr()
    return open_run("train.db")


# ---- run ---------------------------------------------------------------------------------------------------------------------------------


def test_run_trains_and_says_where_everything_is(tmp_path, capsys):
    assert main(RUN) == 0
    out, err = capsys.readouterr()
    history = open_run("train.db")
    assert history.ended == "generations"
    assert len(history.records) == 16
    first, *findings, last = out.splitlines()
    assert (first, last) == (str(history), "see more: lamarck show train.db")
    assert all(line.startswith(("warning  ", "note     ")) for line in findings)
    assert err == "journal train.db, weights in train.checkpoints/main\n"
    assert (tmp_path / "train.checkpoints" / "main").is_dir()


def test_run_writes_down_how_it_was_started(done):
    info = done.started.info
    assert info["train"] == "train.py:train"
    assert info["space"] == "train.py:space"
    assert info["folder"] == "."
    assert info["command"] == "lamarck run train.py:train -n 4 --interval 5 --generations 4"
    assert info["versions"]["lamarck"] == lk.__version__


def test_run_passes_on_every_setting(tmp_path):
    (tmp_path / "space.toml").write_text("[lr]\nlow = 0.001\nhigh = 1.0\nlog = true\n")
    options = "--space space.toml --interval 5 --steps 15 --mode min --seed 7 --max-lead none --target -100 --max-failures 1 --name first"
    strategies = ["--exploit", "truncation:bottom=0.5,top=0.5", "--explore", "resample"]
    assert main(["run", "train.py:train", "--population", "2", *options.split(), *strategies, "--journal", "other.db"]) == 0
    started = open_run("other.db", name="first").started
    assert started.settings == lk.Settings(
        population_size=2, interval=5, generations=3, mode="min", seed=7, max_lead=None, target=-100.0, max_failures=1
    )
    assert started.strategies["exploit"] == {"name": "truncation", "bottom": 0.5, "top": 0.5}
    assert started.strategies["explore"]["name"] == "resample"
    assert list(started.space["hyperparameters"]) == ["lr"]


def test_run_puts_weights_where_it_is_told(tmp_path):
    assert main([*RUN, "--checkpoints", "elsewhere"]) == 0
    assert any((tmp_path / "elsewhere").rglob("*"))
    assert not (tmp_path / "train.checkpoints").exists()


def test_run_does_not_touch_a_run_that_is_there(done, capsys):
    assert main(RUN) == 2
    assert "already has a run 'main'" in capsys.readouterr().err
    assert open_run("train.db") == done


def test_run_with_resume_is_what_a_job_that_is_started_again_wants(done, capsys):
    assert main([*RUN, "--resume"]) == 0
    assert capsys.readouterr().out.startswith(str(done))
    assert main([*RUN, "--resume", "--seed", "1"]) == 2
    assert "was begun with seed=0; got seed=1. Go on with the same" in capsys.readouterr().err


def test_target_ends_the_run(capsys):
    assert main([*RUN, "--target", "0.001"]) == 0
    assert "target reached" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "tarin.py:train", "--interval", "5", "--steps", "5"], ["no file 'tarin.py'", "did you mean 'train.py'"]),
        (["run", "train.py:trian", "--interval", "5", "--steps", "5"], ["train.py has no 'trian'", "did you mean 'train'"]),
        (["run", "train.py", "--interval", "5", "--steps", "5"], ["a script needs the search space", "name it as well: train.py:train"]),
        (["run", "train.py:lonely", "--interval", "5", "--steps", "5"], ["train.py:lonely", "arguments ()", "def train(worker)"]),
        (["run", "nothing.here:train", "--interval", "5", "--steps", "5"], ["no module 'nothing.here'"]),
        ([*RUN, "--space", "none.toml"], ["no file 'none.toml'"]),
        ([*RUN, "--exploit", "truncatoin"], ["unknown strategy 'truncatoin'", "Did you mean 'truncation'?"]),
        ([*RUN, "--explore", "perturb:factor=2"], ["unknown setting 'factor'", "'factors'"]),
        ([*RUN, "--steps", "20"], ["steps=20 and generations=4", "give one of them"]),
        ([*RUN, "--max-lead", "-1"], ["max_lead: got -1", "0 (synchronous)"]),
        (["run", "train.py:train", "-n", "0", "--interval", "5", "--generations", "4"], ["population_size: got 0", "at least 1"]),
        (["run", "train.py:train", "--steps", "5"], ["--interval", "lamarck run --help"]),
        ([*RUN, "--mode", "best"], ['"best"', '"max", "min"', "lamarck run --help"]),
        (["run", "train.py:train", "--interval", "often"], ["--interval", '"often"', "lamarck run --help"]),
        ([*RUN, "--interval", "6"], ["--interval", "multiple times", "lamarck run --help"]),
        ([*RUN, "--colour", "red"], ["--colour", "lamarck run --help"]),
        (["shwo", "train.db"], ['"shwo"', '"show"', "lamarck --help"]),
        (["show", "none.db"], ["no journal 'none.db'", "`lamarck run` begins one"]),
        (["resume", "none.db"], ["no journal 'none.db'"]),
        (["plot", "none.db"], ["no journal 'none.db'"]),
        (["schedule", "none.db"], ["no journal 'none.db'"]),
        (["demo", "figure3"], ['"figure3"', '"figure2"', "lamarck demo --help"]),
    ],
)
def test_mistakes_are_said_in_plain_words(tmp_path, capsys, arguments, said):
    assert main(arguments) == 2
    err = capsys.readouterr().err
    *_, last = err.splitlines()
    assert last.startswith("lamarck: ")
    assert all(words in last for words in said), last
    assert "Traceback" not in err
    assert not (tmp_path / "train.db").exists()


def test_when_every_member_fails_the_users_own_traceback_is_shown_once():
    arguments = ["run", "train.py:broken", "-n", "2", "--interval", "5", "--generations", "2", "--max-failures", "0"]
    done = subprocess.run([sys.executable, "-m", "lamarck", *arguments], check=False, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (1, "")
    err = done.stderr
    assert "in broken\n    nobody_defined_this" in err
    assert "NameError: name 'nobody_defined_this' is not defined" in err
    assert f"{os.sep}lamarck{os.sep}engines" not in err
    assert err.count("nobody_defined_this\n") == 1
    assert err.splitlines()[-1] == (
        "lamarck: every member failed for good, after 4 failed attempts; the last was member 1: generation 0 failed 2 times, the last time: "
        "NameError: name 'nobody_defined_this' is not defined. Correct it, and resume the run: those who failed last try again"
    )


def test_when_training_fails_before_the_first_interval_the_users_own_traceback_is_shown(capsys):
    assert main(["run", "train.py:fails_early", "--interval", "5", "--generations", "2"]) == 1
    err = capsys.readouterr().err
    assert 'open("no/such/file")' in err
    assert f"{os.sep}lamarck{os.sep}" not in err
    assert err.splitlines()[-1].startswith("lamarck: the training function failed before its first interval")


def test_when_the_users_file_fails_its_own_traceback_is_shown(tmp_path, capsys):
    (tmp_path / "wrong.py").write_text("import lamarck as lk\n\nspace = lk.Space(lr=lk.Float(1.0, 0.0))\n")
    assert main(["run", "wrong.py:train", "--interval", "5", "--generations", "2"]) == 1
    err = capsys.readouterr().err
    assert 'wrong.py", line 3' in err
    assert f"{os.sep}lamarck{os.sep}" not in err
    assert "importlib" not in err
    assert err.splitlines()[-1].startswith("lamarck: wrong.py could not be imported: SpaceError")


# ---- resume ------------------------------------------------------------------------------------------------------------------------------


def test_resume_leaves_a_run_that_has_ended(done, tmp_path, capsys):
    (tmp_path / "train.py").unlink()  # nothing is left to train, so nothing is imported
    assert main(["resume", "train.db"]) == 0
    assert capsys.readouterr().out.startswith(str(done))


def test_resume_of_a_run_that_is_lost_again_says_why(capsys):
    main(["run", "train.py:broken", "-n", "2", "--interval", "5", "--generations", "2", "--max-failures", "0"])
    capsys.readouterr()
    assert main(["resume", "broken.db"]) == 1
    assert "generation 0 failed 2 times, the last time: NameError" in capsys.readouterr().err


def half(monkeypatch, arguments, reports=5):
    """Runs a command until that many reports are in, then interrupts it."""
    import lamarck.training

    count = 0
    finish = lamarck.training.Worker._finish

    def counted(self, report):
        nonlocal count
        finish(self, report)
        count += 1
        if count == reports:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(lamarck.training.Worker, "_finish", counted)
        assert main(arguments) == 130


def test_an_interrupted_run_goes_on_to_the_same_end(tmp_path, monkeypatch, capsys):
    half(monkeypatch, RUN)
    assert "lamarck resume train.db" in capsys.readouterr().err
    assert len(open_run("train.db").records) == 5
    assert main(["resume", "train.db"]) == 0
    resumed = open_run("train.db")
    (tmp_path / "whole").mkdir()
    monkeypatch.chdir(tmp_path / "whole")
    (tmp_path / "whole" / "train.py").write_text(TRAIN)
    assert main(RUN) == 0
    assert open_run("train.db") == resumed


def test_resume_with_another_way_to_copy(monkeypatch, capsys):
    half(monkeypatch, RUN, reports=8)
    assert main(["resume", "train.db", "--exploit", "trunctation"]) == 2
    assert "Did you mean 'truncation'?" in capsys.readouterr().err
    assert len(open_run("train.db").records) == 8
    assert main(["resume", "train.db", "--exploit", "itself"]) == 0
    with open_journal("train.db", readonly=True) as book:
        told = [event.interval for event in events_of(book, "main") if isinstance(event, Assigned)]
    assert {interval.info["reason"] for interval in told if interval.generation == 3} == {"goes on from its own weights"}


def test_resume_finds_the_function_and_the_weights_from_anywhere(tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    half(monkeypatch, [*RUN, "--journal", "runs/a.db", "--checkpoints", "weights"])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["resume", "../runs/a.db"]) == 0
    history = open_run("../runs/a.db")
    assert history.ended == "generations"
    assert history.damaged == ()
    assert not (tmp_path / "elsewhere" / "weights").exists()


def test_a_moved_folder_can_be_resumed(tmp_path, monkeypatch):
    half(monkeypatch, RUN)
    (tmp_path / "new").mkdir()
    for name in ("train.py", "train.db", "train.checkpoints"):
        (tmp_path / name).rename(tmp_path / "new" / name)
    del sys.modules["train"]
    assert main(["resume", "new/train.db"]) == 0
    assert open_run("new/train.db").damaged == ()


def test_resume_when_the_function_is_gone(tmp_path, monkeypatch, capsys):
    half(monkeypatch, RUN)
    del sys.modules["train"]
    (tmp_path / "train.py").rename(tmp_path / "moved.py")
    capsys.readouterr()
    assert main(["resume", "train.db"]) == 2
    err = capsys.readouterr().err
    assert "there is no file 'train.py'" in err
    assert "lamarck resume train.db --train file.py:function" in err
    assert main(["resume", "train.db", "--train", "moved.py:trian"]) == 2
    assert "did you mean 'train'?" in capsys.readouterr().err
    assert main(["resume", "train.db", "--train", "moved.py:train"]) == 0


def test_a_run_begun_from_python_can_be_resumed_with_its_function(tmp_path, capsys):
    def train(worker):
        worker.track(x=[0])
        for interval in worker:
            if interval.generation == 2:
                raise KeyboardInterrupt
            interval.report(1.0)

    with pytest.raises(KeyboardInterrupt):
        lk.run(train, lk.Space(lr=lk.Float(0.0, 1.0)), population_size=2, interval=5, generations=3, journal="python.db")
    capsys.readouterr()
    assert main(["resume", "python.db"]) == 2
    assert "--train file.py:function" in capsys.readouterr().err
    (tmp_path / "job.py").write_text("def train(worker):\n    worker.track(x=[0])\n    for interval in worker:\n        interval.report(1.0)\n")
    assert main(["resume", "python.db", "--train", "job.py:train"]) == 0
    assert open_run("python.db").ended == "generations"


CONSTRAINED = TRAIN.replace("width=64)", 'width=64).where(lambda h: h["drop"] <= 0.4)')


def test_a_space_with_a_python_function_is_found_again(tmp_path, monkeypatch):
    (tmp_path / "train.py").write_text(CONSTRAINED)
    half(monkeypatch, RUN)
    assert main(["resume", "train.db"]) == 0
    history = open_run("train.db")
    assert history.ended == "generations"
    assert all(record.hparams["drop"] <= 0.4 for record in history.records)


def test_a_space_that_has_changed_meanwhile_is_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / "train.py").write_text(CONSTRAINED)
    half(monkeypatch, RUN)
    (tmp_path / "train.py").write_text(CONSTRAINED.replace("lk.Float(0.0, 0.5)", "lk.Float(0.0, 0.45)"))
    del sys.modules["train"]
    assert main(["resume", "train.db"]) == 2
    assert "train.py:space is not the one that the run was begun with" in capsys.readouterr().err


# ---- show --------------------------------------------------------------------------------------------------------------------------------


def test_show_has_everything(done, capsys):
    assert main(["show", "train.db"]) == 0
    out = capsys.readouterr().out
    best = done.best
    assert out.startswith("train.py:train  population of 4, 4 generations of 5 steps, higher is better\n")
    assert f"16 of 16 intervals, {len(done.copies)} copies, 0 failures, all generations done" in out
    assert f"best {best.value:.6g} by member {best.member}, generation {best.generation}, step {best.step}: lr" in out
    lines = out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.split()[:2] == ["member", "value"])
    assert lines[at].split() == ["member", "value", "over", "time", "generations", "from", "founder", "lr", "drop", "opt"]
    rows = [line.replace("★", "").split() for line in lines[at + 1 : at + 5]]
    last = sorted(done.generation(3), key=lambda record: -record.value)
    assert [(int(row[0]), row[1]) for row in rows] == [(record.member, f"{record.value:.5g}") for record in last]
    assert all(row[3:5] == ["4/4", "done"] for row in rows)
    assert [f"{record.hparams['lr']:.4g}" for record in last] == [row[-3] for row in rows]
    assert "Ancestry of the best" in out
    assert "Variety in generation 3: " in out
    assert f"member {done.copies[-1].member}, generation {done.copies[-1].generation}: {done.copies[-1].reason}" in out
    assert "width" not in lines[at]  # a constant says nothing


def test_the_ancestry_is_the_lineage(done, capsys):
    main(["show", "train.db"])
    lines = capsys.readouterr().out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("Ancestry")) + 2
    rows = lines[at : lines.index("", at)]
    line = done.lineage()
    carriers = [record.member for i, record in enumerate(line) if i == 0 or record.member != line[i - 1].member]
    shown = [int(row.replace("└", "").split()[3]) for row in rows]
    assert [member for i, member in enumerate(shown) if i == 0 or member != shown[i - 1]] == carriers
    assert rows[-1].split()[2] == str(line[-1].step)


def test_the_course_of_the_best_is_that_of_its_ancestry(done, capsys):
    main(["show", "train.db"])
    lines = capsys.readouterr().out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("Course of the best"))
    best, lr, drop = (line.split() for line in lines[at + 2 : at + 5])
    line = done.lineage()
    assert best[:3] == ["best", "so", "far"]
    assert best[4:] == [f"{max(r.value for r in done.generation(0)):.4g}", "to", f"{done.best.value:.4g}"]
    assert len(best[3]) == 24
    assert best[3][-1] == "▇"
    assert lr[2:] == [f"{line[0].hparams['lr']:.4g}", "to", f"{line[-1].hparams['lr']:.4g},", "log", "scale"]
    assert (drop[0], len(drop[1])) == ("drop", len(line))


def test_of_a_large_population_the_best_are_shown_unless_all_are_asked_for(capsys):
    main(["run", "train.py:train", "-n", "50", "--interval", "1", "--generations", "2", "--journal", "large.db"])
    capsys.readouterr()
    assert main(["show", "large.db"]) == 0
    out = capsys.readouterr().out
    assert out.count("2/2 done") == 30
    values = sorted((record.value for record in open_run("large.db").generation(1)), reverse=True)
    assert f"and 20 more, {values[30]:.5g} to {values[-1]:.5g}; see all of them with --all" in out
    assert main(["show", "large.db", "--all"]) == 0
    assert capsys.readouterr().out.count("2/2 done") == 50


def test_show_in_the_middle_of_a_run(monkeypatch, capsys):
    half(monkeypatch, RUN, reports=6)
    capsys.readouterr()
    assert main(["show", "train.db"]) == 0
    out = capsys.readouterr().out
    assert "6 of 16 intervals" in out
    assert re.search(r"not ended; last written \d+:\d\d:\d\d ago", out)
    assert out.count("2/4 waiting") + out.count("2/4 training") == 2
    assert out.count("1/4 waiting") + out.count("1/4 training") == 2
    assert "Variety in generation 0" in out  # the newest one that everybody has reported


def test_show_before_the_first_report(monkeypatch, capsys):
    from lamarck.pbt import PBT

    pbt = PBT(space=lk.Space(lr=lk.Float(0.0, 1.0)), settings=lk.Settings(population_size=2, interval=5, generations=2))
    with open_journal("begun.db") as journal:
        journal.append("main", 0, [lk.codec.encode(event) for event in pbt.init()])
    assert main(["show", "begun.db"]) == 0
    out = capsys.readouterr().out
    assert "no finite value yet" in out
    assert out.count("0/2 waiting") == 2
    assert main(["schedule", "begun.db"]) == 2
    assert "nothing to follow" in capsys.readouterr().err
    assert main(["plot", "begun.db"]) == 0


def test_show_failures_and_retired_members(capsys):
    main(["run", "train.py:broken", "-n", "2", "--interval", "5", "--generations", "2", "--max-failures", "0"])
    capsys.readouterr()
    assert main(["show", "broken.db"]) == 0
    out = capsys.readouterr().out
    assert "4 failures, every member lost" in out
    assert "member 1, generation 0: NameError: name 'nobody_defined_this' is not defined" in out
    assert out.count("0/2 retired") == 2


def test_a_failure_is_shown_in_one_line(capsys):
    main(["run", "train.py:flaky", "-n", "4", "--interval", "5", "--generations", "3", "--max-failures", "0"])
    capsys.readouterr()
    main(["show", "flaky.db"])
    assert "member 1, generation 1: ValueError: a bad day\n" in capsys.readouterr().out


def test_what_runs_say_is_shown_as_text_and_does_nothing_to_the_terminal(capsys):
    def train(worker):
        worker.track(x=np.zeros(1))
        for interval in worker:
            if interval.key == (1, 1):
                raise ValueError("\x1b[31mred [bold]loud[/bold]\x1b]0;a title\x07\u202e [/]")
            interval.report(0.5)

    space = lk.Space(z=lk.Float(0.0, 1.0), kind=lk.Categorical(["[relu]", "[/]", "\x1b[2J"]))
    lk.run(train, space, population_size=4, interval=1, generations=3, journal="odd.db")
    assert main(["show", "odd.db"]) == 0
    out = capsys.readouterr().out
    assert "ValueError: [31mred [bold]loud[/bold] ]0;a title [/]" in out
    assert all(letter.isprintable() for line in out.split("\n") for letter in line)
    assert {"[relu]", "[/]", r"'\x1b[2J'"} <= set(out.split())
    best = next(line for line in out.splitlines() if line.startswith("best "))
    assert best.index(" z ") < best.index(" kind "), "in the order of the space"


def test_show_values_that_are_not_finite(capsys):
    main(["run", "train.py:silent", "-n", "2", "--interval", "5", "--generations", "2"])
    capsys.readouterr()
    assert main(["show", "silent.db"]) == 0
    out = capsys.readouterr().out
    assert "no finite value yet" in out
    assert out.count("··") == 2


def test_nothing_is_cut_off_on_a_narrow_terminal(done, monkeypatch, capsys):
    main(["show", "train.db"])
    wide = capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setattr("lamarck.cli._text._WIDE", 50)
    assert main(["show", "train.db"]) == 0
    narrow = capsys.readouterr().out
    assert "…" not in narrow
    assert all(len(line) <= 50 for line in narrow.splitlines())
    assert set(wide.split()) <= set(narrow.split())


def test_an_unknown_run_of_a_journal(done, capsys):
    assert main(["show", "train.db", "--name", "other"]) == 2
    assert "has no run 'other'; it has 'main'" in capsys.readouterr().err


def test_journals_that_are_here_are_named(done, capsys):
    assert main(["show", "trian.db"]) == 2
    assert "here are 'train.db'" in capsys.readouterr().err


def test_a_file_that_is_not_a_journal(tmp_path, capsys):
    (tmp_path / "text.db").write_text("this is no journal at all, but it is long enough to look like one\n" * 100)
    assert main(["show", "text.db"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("lamarck: ")
    assert "text.db" in err
    assert "Traceback" not in err


# ---- schedule, plot, demo, version, help -----------------------------------------------------------------------------------------------


def test_schedule_as_json_is_the_schedule(done, capsys):
    assert main(["schedule", "train.db", "--json"]) == 0
    pieces = json.loads(capsys.readouterr().out)
    assert pieces == [{"start": p.start, "until": p.until, "hparams": dict(p.hparams)} for p in done.schedule()]


def test_schedule_as_a_table(done, capsys):
    assert main(["schedule", "train.db", "--member", "2"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["steps", "lr", "drop", "opt", "width"]
    assert [row.split()[:4] for row in rows] == [[str(p.start), "to", str(p.until), f"{p.hparams['lr']:.4g}"] for p in done.schedule(2)]


def test_schedule_of_nobody(done, capsys):
    assert main(["schedule", "train.db", "--member", "4"]) == 2
    assert "this run has members 0 to 3" in capsys.readouterr().err


def test_plot_draws_what_is_asked_for(done, capsys):
    assert main(["plot", "train.db", "-o", "dark", "--style", "dark", "--only", "paths", "values", "-x", "drop", "-y", "value"]) == 0
    assert capsys.readouterr().out.split() == [f"dark{os.sep}paths.png", f"dark{os.sep}values.png"]
    assert main(["plot", "train.db", "--only", "tree"]) == 2
    assert "the figures are values, hyperparameters, lineage, takeover, coordinates, paths" in capsys.readouterr().err
    assert main(["plot", "train.db", "--only", "paths", "-x", "theta0", "-y", "value"]) == 2
    assert "got 'theta0'; a path can be drawn through 'value', 'lr', 'drop'" in capsys.readouterr().err


def test_plot_writes_and_names_the_figures(done, tmp_path, capsys):
    assert main(["plot", "train.db", "-o", "pictures", "--format", "svg"]) == 0
    names = capsys.readouterr().out.split()
    assert names == [f"pictures{os.sep}{name}.svg" for name in lk.plots.FIGURES]
    assert all((tmp_path / name).stat().st_size > 1000 for name in names)


def test_demo_figure2_writes_its_pictures_and_prints_its_table(tmp_path, capsys):
    assert main(["demo", "figure2", "--out", "two", "--seeds", "2"]) == 0
    out = capsys.readouterr().out
    assert "grid search" in out
    assert "0.389" in out  # 0.39 - 0.81 * 0.98**400
    assert out.splitlines()[-1].startswith(f"two{os.sep}figure2")
    assert all((tmp_path / line).stat().st_size for line in out.splitlines() if line.startswith(f"two{os.sep}"))


def test_demo_digits_passes_on_what_it_is_given(monkeypatch, capsys):
    from pathlib import Path
    from types import SimpleNamespace

    from lamarck.demos import digits

    asked = []

    def train(out, seeds, *, on_progress):
        asked.append((out, seeds))
        on_progress(1, 2)
        return SimpleNamespace(files=(Path("a.png"), Path("b.csv")))

    monkeypatch.setattr(digits, "digits", train)
    monkeypatch.setattr(digits, "render", lambda result: "a table\n")
    assert main(["demo", "digits", "-o", "there", "--seeds", "3"]) == 0
    assert asked == [(Path("there"), 3)]
    assert capsys.readouterr().out == "a table\n\na.png\nb.csv\n"


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{lk.__version__}\n"


@pytest.mark.parametrize("command", [[], ["run"], ["resume"], ["show"], ["schedule"], ["plot"], ["demo"], ["demo", "digits"]])
def test_help_has_examples(command, capsys):
    assert main([*command, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Examples:" in out
    assert f"lamarck {' '.join(command)}".strip() in out.partition("Examples:")[2]


def test_help_names_the_strategies_there_are(capsys):
    main(["run", "--help"])
    words = re.findall(r"\w+", capsys.readouterr().out)
    assert {*lk.exploit.STRATEGIES, *lk.explore.STRATEGIES} <= set(words)


def test_without_arguments_there_is_help(capsys):
    assert main([]) == 0
    assert "Usage: lamarck COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["cyclopts", "rich"])
def test_without_its_libraries_the_command_says_how_to_install_them(missing, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["--help"]) == 2
    assert capsys.readouterr().err == (
        f"lamarck: The lamarck command needs the package {missing!r}, which is not installed: pip install 'lamarck[cli]'\n"
    )


def test_without_matplotlib_plot_says_how_to_install_it(done, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["plot", "train.db"]) == 2
    assert "pip install 'lamarck[plot]'" in capsys.readouterr().err
    assert not (tmp_path / "train.figures").exists()


def test_animate_writes_a_film_and_names_it(done, tmp_path, capsys):
    assert main(["animate", "train.db", "--frames", "3"]) == 0
    assert capsys.readouterr().out == "train.gif\n"
    assert (tmp_path / "train.gif").read_bytes().startswith(b"GIF89a")
    assert main(["animate", "train.db", "-o", "run.avi"]) == 2
    assert "an animation is written as .gif or .mp4" in capsys.readouterr().err


def test_what_is_written_beside_a_journal_belongs_to_one_run(done, tmp_path, capsys):
    assert main([*RUN, "--name", "second"]) == 0
    assert main([*RUN, "--journal", "lr0.1"]) == 0
    for words in (["train.db"], ["train.db", "--name", "second"], ["lr0.1"]):
        assert main(["report", *words]) == 0
    assert sorted(path.name for path in tmp_path.glob("*.html")) == ["lr0.1.html", "train.html", "train.second.html"]


@pytest.mark.parametrize(
    "words",
    [["plot", "train.db"], ["animate", "train.db", "--frames", "2"], ["compare", "train.db"], ["report", "train.db"], ["fetch", "train.db"]],
)
def test_where_nothing_can_be_written_that_is_said_in_a_line(words, done, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    ending = {"animate": ".gif", "compare": ".png"}.get(words[0], "")
    assert main([*words, "-o", f"file/out{ending}"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert re.search(r"^lamarck: .*file.*(Not a directory|File exists|cannot be written).*;", err)


def test_a_full_disk_is_said_in_a_line(done, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as it comes when a file is closed, without a name

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    assert main(["plot", "train.db"]) == 2
    assert capsys.readouterr().err.startswith("lamarck: No space left on device; make room")


def test_commands_that_only_read_leave_nothing_beside_the_journal(tmp_path, capsys):
    (tmp_path / "train.py").write_text(TRAIN)
    assert main(RUN) == 0
    before = sorted(path.name for path in tmp_path.iterdir())
    for command in ("show", "verify", "schedule"):
        assert main([command, "train.db"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == before
