"""``lamarck report`` and ``lamarck fetch``."""

from __future__ import annotations

import subprocess
import sys
from urllib.request import urlopen

import numpy as np
import pytest
from safetensors.numpy import load_file

import lamarck as lk
from lamarck.cli import main

SPACE = lk.Space(rate=lk.Float(0.1, 0.5))


def train(worker):
    x = np.array([1.0, 2.0])
    worker.track(x=x)
    for interval in worker:
        x *= 1 - interval.hparams["rate"]
        interval.report(float(x.sum()))


@pytest.fixture
def history():
    return lk.run(train, SPACE, population_size=4, interval=1, generations=3, mode="min", journal="run.db")


def test_a_report_is_written_beside_the_journal_or_where_one_says(history, tmp_path, capsys):
    assert main(["report", "run.db"]) == 0
    assert capsys.readouterr().out == "run.html\n"
    assert main(["report", "run.db", "-o", "there.html"]) == 0
    assert (tmp_path / "there.html").read_text() == (tmp_path / "run.html").read_text()
    assert not list(tmp_path.glob(".*.html*"))


def test_a_report_that_cannot_be_written_says_so(history, capsys):
    assert main(["report", "run.db", "-o", "no/such/folder.html"]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_report_of_nothing_says_what_there_is(capsys):
    assert main(["report", "none.db"]) == 2
    assert "there is no journal 'none.db'" in capsys.readouterr().err


def test_fetching_gives_the_best_weights_to_any_safetensors_library(history, capsys):
    assert main(["fetch", "run.db", "-o", "best.safetensors"]) == 0
    (array,) = load_file("best.safetensors").values()
    assert array.tolist() == lk.load("run.db")["x"].tolist()
    assert float(array.sum()) == history.best.value
    assert f"member {history.best.member}, generation 2" in capsys.readouterr().out


def test_fetching_a_member_gives_its_newest_weights(history):
    assert main(["fetch", "run.db", "--member", "3", "-o", "third.safetensors"]) == 0
    (array,) = load_file("third.safetensors").values()
    assert float(array.sum()) == history.member(3)[-1].value


@pytest.mark.parametrize(("member", "said"), [("9", "members are 0 to 3"), ("-1", "members are 0 to 3")])
def test_fetching_nobody_says_who_there_is(history, capsys, member, said):
    assert main(["fetch", "run.db", f"--member={member}"]) == 2
    assert said in capsys.readouterr().err


def test_fetching_what_was_damaged_writes_nothing(history, tmp_path, capsys):
    file = tmp_path / "run.checkpoints" / "main" / f"{history.best.checkpoint}.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    (tmp_path / "best.safetensors").write_text("an older one")
    assert main(["fetch", "run.db"]) == 2
    assert "the bytes are not those that were saved" in capsys.readouterr().err
    assert (tmp_path / "best.safetensors").read_text() == "an older one"


def test_fetching_finds_weights_that_the_journal_says_are_elsewhere(tmp_path):
    (tmp_path / "train.py").write_text(
        "import numpy as np, lamarck as lk\nspace = lk.Space(rate=lk.Float(0.1, 0.5))\n"
        "def train(worker):\n    x = np.ones(1)\n    worker.track(x=x)\n    for interval in worker:\n        interval.report(float(x[0]))\n"
    )
    (tmp_path / "runs").mkdir()
    command = "run train.py:train -n 2 --interval 1 --generations 2 --journal runs/a.db --checkpoints weights"
    assert main(command.split()) == 0
    assert main(["fetch", "runs/a.db"]) == 0
    assert (tmp_path / "best.safetensors").is_file()


SLOW = """
import time
import numpy as np, lamarck as lk
space = lk.Space(rate=lk.Float(0.1, 0.5))

def train(worker):
    x = np.ones(1)
    worker.track(x=x)
    for interval in worker:
        time.sleep(0.02)
        interval.report(float(x[0]))
"""


@pytest.mark.parametrize("name", ["main", "the second"])
def test_a_run_with_a_dashboard_says_where_and_serves_it_until_it_is_over(tmp_path, name):
    (tmp_path / "train.py").write_text(SLOW)
    words = ["run", "train.py:train", "-n", "4", "--interval", "1", "--generations", "12", "--dashboard", "--name", name]
    command = [sys.executable, "-m", "lamarck", *words]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        url = next(line for line in running.stderr if line.startswith("live page: ")).split()[-1]
        assert url.startswith("http://127.0.0.1:")
        assert ("?run=" in url) == (name != "main")
        assert "Value over time" in urlopen(url, timeout=10).read().decode()
        running.communicate()
    assert running.returncode == 0
    with pytest.raises(OSError, match="refused"):
        urlopen(url, timeout=5)
    assert lk.open_run(tmp_path / "train.db", name=name).ended == "generations"
