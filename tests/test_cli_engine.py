"""`lamarck run` and `lamarck resume` with worker processes, files and guards."""

from __future__ import annotations

import ast
import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lamarck as lk
from lamarck._errors import JournalError, SettingsError
from lamarck.cli import main
from lamarck.cli.app import SUMMARIES
from lamarck.cli.options import Files, Workers
from lamarck.engines import inline

pytestmark = pytest.mark.slow

TRAIN = """
import os, signal, time
from pathlib import Path
import numpy as np
import lamarck as lk

space = lk.Space(lr=lk.Float(1e-3, 1.0, log=True), drop=lk.Float(0.0, 0.5))

def train(worker):
    x = np.array([0.0])
    worker.track(x=x)
    for interval in worker:
        time.sleep(0.03)
        x += interval.hparams["lr"] + 0.01 * interval.rng.normal()
        gpu, threads = (int(os.environ.get(name, -1)) for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"))
        interval.report(x[0], metrics={"pid": os.getpid(), "gpu": gpu, "threads": threads})

def asleep(worker):
    worker.track(x=np.array([0.0]))
    for interval in worker:
        Path(f"ready-{os.getpid()}").touch()
        time.sleep(300)

def broken(worker):
    worker.track(x=np.array([0.0]))
    for interval in worker:
        nobody_defined_this
"""

TASK = """
import torch
import lamarck as lk

space = lk.Space(lr=lk.Float(1e-3, 1.0, log=True))

def loss(model, batch, hparams):
    return (model(batch[0]) - batch[1]).square().mean()

def model():
    return torch.nn.Linear(1, 1)

data = torch.ones(8, 1), torch.ones(8, 1)
train = lk.Supervised(model, loss, train=data, test=data, optimizer="sgd")
"""

MODULE = [sys.executable, "-m", "lamarck"]
SCRIPT = [str(Path(sys.executable).parent / "lamarck")]
RUN = ["run", "train.py:train", "-n", "4", "--interval", "5", "--generations", "8"]


@pytest.fixture(autouse=True)
def _script(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)


def begin(command):
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def until(condition, process):
    """Waits until a condition holds while a process is alive."""
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def reported(journal="train.db"):
    try:
        return len(lk.open_run(journal).records)
    except (JournalError, lk.ReportError):  # it is only just being made
        return 0


def session(leader):
    """Processes that are alive in a session."""
    rows = subprocess.run(["ps", "-eo", "pid,sess,stat"], capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    return {int(pid) for pid, its, state in map(str.split, rows) if int(its) == leader and not state.startswith("Z")}


def gone(leader):
    deadline = time.monotonic() + 60
    while session(leader) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not session(leader)


def decisions(history):
    return {record.key: (record.value, record.hparams, record.parent, record.step) for record in history.records}


# ---- worker processes --------------------------------------------------------------------------------------------------------------------


def test_killed_with_workers_and_resumed_with_others_it_decides_as_one_process(tmp_path):
    process = begin([*SCRIPT, *RUN, "--workers", "2", "--jsonl", "train.jsonl"])
    until(lambda: reported() >= 6, process)
    process.kill()
    process.communicate()
    assert gone(process.pid)

    (tmp_path / "elsewhere").mkdir()  # function, weights, workers and files are found again from anywhere
    process = subprocess.Popen([*MODULE, "resume", "../train.db"], cwd="elsewhere", stderr=subprocess.PIPE, start_new_session=True)
    until(lambda: reported() >= 14, process)
    process.kill()
    process.communicate()
    assert gone(process.pid)
    assert not list(tmp_path.glob("elsewhere/*"))

    done = subprocess.run([*SCRIPT, "resume", "train.db", "--workers", "3"], check=True, capture_output=True, text=True)
    assert "32 of 32 intervals" in done.stdout
    killed = lk.open_run("train.db")
    assert killed.failures == killed.damaged == ()
    rows = [json.loads(line) for line in Path("train.jsonl").read_text().splitlines()]
    assert sorted((row["member"], row["generation"]) for row in rows) == sorted(record.key for record in killed.records)
    assert len({record.metrics["pid"] for record in killed.records}) >= 3

    assert main([*RUN, "--journal", "whole.db"]) == 0
    assert {record.metrics["pid"] for record in lk.open_run("whole.db").records} == {os.getpid()}
    assert decisions(killed) == decisions(lk.open_run("whole.db"))
    assert main(["verify", "train.db"]) == 0


def test_gpus_and_threads_reach_the_workers_of_a_module(tmp_path, six_gpus):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "job.py").write_text(TRAIN)
    options = ["--gpus", "3,5", "--threads", "1", "--csv", "job.csv"]
    assert main(["run", "package.job:train", *RUN[2:], *options, "--journal", "job.db"]) == 0
    metrics = [record.metrics for record in lk.open_run("job.db").records]
    assert {(one["gpu"], one["threads"]) for one in metrics} <= {(3.0, 1.0), (5.0, 1.0)}
    assert os.getpid() not in {one["pid"] for one in metrics}
    assert len(list(csv.DictReader(Path("job.csv").read_text().splitlines()))) == 32


def test_a_run_that_fails_in_workers_shows_the_users_traceback_and_is_lost(capfd, caplog):
    assert main([*RUN[:1], "train.py:broken", *RUN[2:], "--workers", "2", "--max-failures", "0"]) == 1
    assert "every member failed for good" in capfd.readouterr().err
    (trace,) = (message for message in caplog.messages if "Traceback" in message)
    assert "in broken" in trace
    assert "_child.py" not in trace
    assert "nobody_defined_this" in lk.open_run("broken.db").failures[0].message


def test_resume_uses_the_workers_and_files_of_the_run_unless_told_otherwise(monkeypatch, six_gpus):
    used = []

    def called(self, train, coordinator):
        used.append(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(lk.Processes, "__call__", called)
    options = ["--gpus", "0,1", "--per-gpu", "2", "--time-limit", "60", "--csv", "a.csv", "--tensorboard", "curves"]
    assert main([*RUN, *options]) == 130
    info = lk.open_run("train.db").started.info
    assert info["workers"] == {"engine": "processes", "gpus": "0,1", "per_gpu": 2, "time_limit": 60.0}
    assert info["files"] == {"csv": "a.csv", "tensorboard": "curves"}
    assert main(["resume", "train.db"]) == 130
    assert main(["resume", "train.db", "--workers", "5", "--gpus", "2"]) == 130
    first, same, other = used
    assert first == same == lk.Processes(gpus=("0", "1"), per_gpu=2, time_limit=60.0)
    assert other == lk.Processes(workers=5, gpus=("2",), per_gpu=2, time_limit=60.0)
    assert main(["resume", "train.db", "--engine", "inline"]) == 0
    assert len(used) == 3
    assert len(list(csv.DictReader(Path("a.csv").read_text().splitlines()))) == 32
    assert {path.name for path in Path("curves").glob("member-*")} == {f"member-{member:03d}" for member in range(4)}


# ---- signals -----------------------------------------------------------------------------------------------------------------------------


def test_ctrl_c_lets_intervals_finish_and_says_how_to_go_on():
    process = begin([*SCRIPT, *RUN, "--workers", "2"])
    until(lambda: reported() >= 5, process)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    *_, stopping, last = filter(None, err.splitlines())
    assert stopping.endswith("interval(s) in progress are reported; Ctrl-C again stops at once")
    assert last == f"stopped after {reported()} of 32 intervals; go on with: lamarck resume train.db"
    assert gone(process.pid)


@pytest.mark.parametrize("engine", ["processes", "vectorised"])
def test_ctrl_c_while_workers_start(engine, tmp_path):
    (tmp_path / "task.py").write_text(TASK)
    process = begin([*MODULE, RUN[0], "task.py:train", *RUN[2:], "--engine", engine, "--workers", "2"])
    until(Path("train.db").exists, process)
    time.sleep(0.3)  # the server that workers are forked from imports PyTorch now
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "stopped after 0 of 32 intervals; go on with: lamarck resume train.db"
    assert gone(process.pid)


@pytest.mark.parametrize(("numbers", "status"), [([signal.SIGINT, signal.SIGINT], 130), ([signal.SIGTERM], 143)])
def test_a_second_ctrl_c_or_a_sigterm_does_not_wait_for_training(numbers, status):
    process = begin([*MODULE, RUN[0], "train.py:asleep", *RUN[2:], "--workers", "2"])
    until(lambda: len(list(Path().glob("ready-*"))) == 2, process)
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.3)
    _, err = process.communicate()
    assert process.returncode == status
    assert err.splitlines()[-1] == "stopped after 0 of 32 intervals; go on with: lamarck resume asleep.db"
    assert gone(process.pid)


def test_a_ctrl_c_that_was_ignored_from_the_start_stays_ignored():
    process = begin(["bash", "-c", 'trap "" INT; exec "$@"', "bash", *SCRIPT, *RUN, "--workers", "2"])
    until(lambda: reported() >= 3, process)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "32 of 32 intervals" in out


# ---- options -----------------------------------------------------------------------------------------------------------------------------


def test_without_options_this_process_trains():
    assert Workers().make() is Workers(engine="inline").make() is inline
    assert Workers().kept == Workers(engine="inline").kept == {}
    assert Files().kept == {}


def test_any_option_means_processes():
    assert Workers(engine="processes").make() == lk.Processes()
    assert Workers(workers=3).make() == lk.Processes(workers=3)
    assert Workers(gpus=" 0, MIG-1 ", per_gpu=2).make() == lk.Processes(gpus=("0", "MIG-1"), per_gpu=2)
    assert Workers(gpus="none", threads=2).make() == lk.Processes(threads=2)


def test_a_cluster_is_asked_for_by_name():
    assert Workers(engine="ray").make() == lk.Ray()
    given = Workers(engine="ray", workers=8, cpus_per_worker=2.0, gpus_per_worker=0.5, time_limit=60.0)
    assert given.make() == lk.Ray(workers=8, cpus_per_worker=2.0, gpus_per_worker=0.5, time_limit=60.0)
    assert Workers().after({"workers": given.kept}) == given


def test_a_script_does_not_train_on_a_cluster(capsys):
    Path("script.py").write_text("import lamarck")
    assert main([RUN[0], "script.py", *RUN[2:], "--engine", "ray"]) == 2
    assert "--engine ray trains functions, and 'script.py' is a script; name a function" in capsys.readouterr().err


def test_what_a_journal_has_kept_comes_after_what_was_given():
    kept = {"workers": {"engine": "processes", "workers": 2, "gpus": "0", "of_the_future": 1}, "files": {"csv": "a.csv", "jsonl": "/b/b.jsonl"}}
    assert Workers(gpus="none").after(kept) == Workers(engine="processes", workers=2, gpus="none")
    assert Workers(engine="inline").after(kept) == Workers(engine="inline")
    assert Files(csv=Path("c.csv")).after(kept, Path("/begun")) == Files(csv=Path("c.csv"), jsonl=Path("/b/b.jsonl"))
    assert Files().after(kept, Path("/begun")).csv == Path("/begun/a.csv")
    for other in ({}, {"workers": "many", "files": ["a.csv"]}):  # what somebody's own info says
        assert Workers(threads=1).after(other) == Workers(threads=1)
        assert Files().after(other, Path("/begun")) == Files()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (dict(engine="inline", per_gpu=2), "--per-gpu is for processes"),
        (dict(per_gpu=2), "which GPUs as well: --gpus 0,1"),
        (dict(gpus="0,,1"), "--gpus: got '0,,1'"),
        (dict(gpus=""), "or say none"),
        (dict(workers=0), "workers: got 0"),
        (
            dict(engine="ray", gpus="0,1"),
            "--gpus is for processes on this machine; with --engine ray say --cpus-per-worker and --gpus-per-worker",
        ),
        (dict(engine="ray", threads=2), "--threads is for processes on this machine"),
        (dict(engine="ray", gpus_per_worker=1.5), "gpus_per_worker: got 1.5"),
        (dict(workers=2, gpus_per_worker=0.5), "--gpus-per-worker is for a cluster: add --engine ray"),
        (dict(time_limit=-1.0), "time_limit: got -1.0"),
    ],
)
def test_what_does_not_go_together_is_said(wrong, says):
    with pytest.raises(SettingsError, match=says):
        Workers(**wrong).make()


def test_wrong_options_change_nothing(tmp_path, capsys):
    for options, says in [
        (["--csv", "no/such/a.csv"], "--csv: got 'no/such/a.csv'; it must be a file in a folder that exists"),
        (["--tensorboard", "train.py"], "--tensorboard: got 'train.py', which is a file"),
        (["--engine", "inline", "--workers", "2"], "--workers is for processes"),
        (["--engine", "threads"], "processes"),
    ]:
        assert main([*RUN, *options]) == 2
        assert says in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir() if path.name != "__pycache__"] == ["train.py"]


def test_without_tensorboard_it_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.record_writer", None)
    assert main([*RUN, "--tensorboard", "curves"]) == 2
    assert "pip install 'lamarck[tensorboard]'" in capsys.readouterr().err


# ---- guards ------------------------------------------------------------------------------------------------------------------------------


def test_findings_stand_in_the_summary_and_in_show(capsys, caplog):
    assert main(RUN) == 0
    out = capsys.readouterr().out
    few = "warning  A population of 4 leaves little to choose from"
    history, *findings, more = out.splitlines()
    assert history == str(lk.open_run("train.db"))
    assert findings[0].startswith(few)
    assert more == "see more: lamarck show train.db"
    assert caplog.messages[0].startswith(few.removeprefix("warning  "))  # and during the run
    assert main(["show", "train.db"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[(at := shown.index(findings[0])) : at + len(findings)] == findings
    caplog.clear()
    assert main(["resume", "train.db"]) == 0
    assert capsys.readouterr().out == out
    assert main([*RUN, "--resume"]) == 0
    assert capsys.readouterr().out == out
    assert caplog.messages == []  # it has been said


# ---- help --------------------------------------------------------------------------------------------------------------------------------


def test_the_summaries_are_the_first_lines_of_the_commands(capsys):
    for name, summary in SUMMARIES.items():
        assert main([name, "--help"]) == 0
        usage, _, first, *_ = capsys.readouterr().out.splitlines()
        assert usage.startswith(f"Usage: lamarck {name}")
        assert first == summary


def test_help_loads_no_command_and_no_numpy():
    code = "import sys; from lamarck.cli import main; main(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    loaded = ast.literal_eval(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr)
    assert {name for name in loaded if name.startswith("lamarck.")} == {
        "lamarck._errors",
        "lamarck.cli",
        "lamarck.cli.app",
    }
    assert "numpy" not in loaded
