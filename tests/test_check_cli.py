"""``lamarck check``: what is printed, and the exit status."""

import sys
import types
from pathlib import Path

import pytest

from lamarck.cli import main

pytestmark = pytest.mark.slow

GOOD = """
import numpy as np
import lamarck as lk

space = lk.Space(lr=lk.Float(0.001, 0.1, log=True), kind=["a", "b"], fixed=3)

def train(worker):
    print("as always")
    x = np.array([1.0, 2.0])
    worker.track(x=x)
    for interval in worker:
        for _ in interval.steps:
            x -= interval.hparams["lr"] * 2 * x * (1 if interval.hparams["kind"] == "a" else 1.5)
        interval.report(-float(x @ x))
"""
BAD = GOOD.replace("worker.track(x=x)", "worker.track(x=x); y = np.zeros(2)").replace("x -= ", "y += x; x -= 0.01 * y + ")
BROKEN = GOOD.replace("for _ in interval.steps:", "for _ in interval.hparams['steps']:")


def checked(text, capsys, *options):
    Path("train.py").write_text(text)
    status = main(["check", "train.py:train", "--interval", "5", *options])
    return status, *capsys.readouterr()


def test_a_fit_function(capsys, tmp_path):
    # It takes enough time to be told beside saving.
    slow = GOOD.replace("x -= ", "time.sleep(0.01); x -= ").replace("import numpy", "import time\nimport numpy")
    status, out, err = checked(slow, capsys)
    assert status == 0
    assert err == ""
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[1:5] == [
        "the same again, in a new process identical",
        "restored in a new process identical",
        "from nothing, after another member identical",
        "restored, after another member identical",
    ]
    assert "lr 0.01 0.0631 or 0.001585 changes what is trained" in lines
    assert "kind b a changes what is trained" in lines
    assert "fixed 3 not tested: one value only, or not to be changed alone" in lines
    assert "5 steps take" in out
    assert "15 to 30 generations" in out
    assert "as always" not in out
    assert out.splitlines()[-1] == "train.py:train is fit for population training"
    assert {path.name for path in tmp_path.iterdir()} <= {"train.py", "__pycache__"}


def test_an_unfit_function(capsys):
    status, out, err = checked(BAD, capsys)
    assert status == 1
    assert "fault    Going on from a saved state in a new process is not the same as going on." in out
    assert "not put back by a restore: y in train(), an array (ndarray)" in out
    assert "What to do: track y." in out
    assert err == "lamarck: train.py:train is not fit for population training: 2 faults\n"


def test_a_function_that_raises_is_shown_with_its_own_traceback(capsys):
    status, out, err = checked(BROKEN, capsys)
    assert status == 1
    assert "The training function raises: KeyError: 'steps'" in out
    assert "for _ in interval.hparams['steps']:" in out
    assert "lamarck/training.py" not in out
    assert "1 fault" in err


def test_a_file_with_the_name_of_a_module_that_is_loaded(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "train", types.ModuleType("train"))
    assert checked(GOOD, capsys)[0] == 0


def test_the_space_may_be_elsewhere(capsys):
    Path("space.json").write_text('{"lr": {"low": 0.01, "high": 0.02}, "kind": "a"}')
    status, out, _ = checked(GOOD, capsys, "--space", "space.json")
    assert status == 0
    assert "0.015" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["other.py:train"], "there is no file 'other.py'"),
        (["train.py:trian"], "did you mean 'train'"),
        (["train.py:train", "--interval", "0"], "interval: got 0"),
        (["train.py:train", "--intervals", "1"], "intervals: got 1"),
        (["train.py:train", "--space", "none.toml"], "there is no file 'none.toml'"),
        (["train.py:train", "--steps", "7"], "lamarck check --help"),
    ],
)
def test_mistakes(capsys, arguments, says):
    Path("train.py").write_text(GOOD)
    assert main(["check", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lamarck: ")
    assert says in err


def test_the_help_names_the_command(capsys):
    assert main(["--help"]) == 0
    assert "Find out whether a training function is fit" in capsys.readouterr().out
