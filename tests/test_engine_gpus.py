"""GPUs that are asked for and not there are said at once: otherwise a run would train on the processors, and nobody would be told."""

from pathlib import Path

import pytest

import lamarck as lk
from lamarck.cli import main
from lamarck.engines import gpus
from lamarck.engines.gpus import check_gpus

TRAIN = """
import numpy as np
import lamarck as lk

space = lk.Space(h=lk.Float(0.01, 1.0))

def train(worker):
    x = np.ones(1)
    worker.track(x=x)
    for interval in worker:
        interval.report(float(x[0]))
"""


@pytest.fixture
def devices(tmp_path, monkeypatch):
    """A folder for devices, in which there is none yet."""
    folder = tmp_path / "dev"
    folder.mkdir()
    for name in ("null", "nvidiactl", "nvidia-uvm"):
        (folder / name).touch()
    monkeypatch.setattr(gpus, "_DEVICES", folder)
    return folder


def shown(devices, *names):
    for name in names:
        (devices / name).touch()


def test_where_there_is_none(devices):
    with pytest.raises(lk.SettingsError, match=r"gpus: got '0', 'MIG-1'; this machine shows no GPU\. .*none to train on the processors"):
        check_gpus(["0", "MIG-1"])
    check_gpus([])


def test_numbers_and_names(devices):
    shown(devices, "nvidia0")
    check_gpus(["0", "0", "GPU-8f3a", "MIG-1"])
    with pytest.raises(lk.SettingsError, match="gpus: got '1'; this machine shows one GPU, '0'"):
        check_gpus(["0", "1"])
    shown(devices, "nvidia1", "nvidia2")
    check_gpus(["2"])
    with pytest.raises(lk.SettingsError, match="got '3', '7'; this machine shows 3 GPUs, '0' to '2'"):
        check_gpus(["3", "2", "7"])


@pytest.mark.parametrize("name", ["kfd", "dxg", "nvmap"])
def test_what_cannot_be_counted_is_taken_to_be_there(devices, name):
    shown(devices, name)
    check_gpus(["0", "5"])


def test_other_systems_are_not_asked(devices, monkeypatch):
    monkeypatch.setattr(gpus.sys, "platform", "darwin")
    check_gpus(["0"])


@pytest.mark.parametrize("more", [[], ["--per-gpu", "2"]])
def test_a_command_says_it_plainly_and_begins_nothing(devices, capsys, more):
    Path("train.py").write_text(TRAIN)
    assert main(["run", "train.py:train", "-n", "8", "--interval", "1", "--generations", "20", "--gpus", "0,1", *more]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("lamarck: gpus: got '0', '1'; this machine shows no GPU. Name others, or none to train on the")
    assert not list(Path().glob("*.db*"))


def test_a_run_that_goes_on_elsewhere_says_it_too(devices, capsys, monkeypatch):
    def cut(self, train, coordinator):
        raise KeyboardInterrupt

    Path("train.py").write_text(TRAIN)
    shown(devices, "nvidia0")
    with monkeypatch.context() as stopping:
        stopping.setattr(lk.Processes, "__call__", cut)
        assert main(["run", "train.py:train", "-n", "2", "--interval", "1", "--generations", "2", "--gpus", "0"]) == 130
    (devices / "nvidia0").unlink()
    assert main(["resume", "train.db"]) == 2
    assert "lamarck: gpus: got '0'; this machine shows no GPU" in capsys.readouterr().err
    assert main(["resume", "train.db", "--gpus", "none", "--workers", "1"]) == 0
