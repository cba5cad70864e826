"""The command as a process: interrupted, terminated, killed, on a terminal, into a pipe."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lamarck import codec
from lamarck._errors import JournalError
from lamarck.journal import open_journal
from lamarck.runs import open_run

TRAIN = """
import multiprocessing, os, signal, sys, time
from pathlib import Path
import numpy as np
import lamarck as lk

space = lk.Space(lr=lk.Float(1e-3, 1.0, log=True), drop=lk.Float(0.0, 0.5))

def train(worker):
    x = np.array([0.0])
    worker.track(x=x)
    for interval in worker:
        time.sleep(0.02)
        x += interval.hparams["lr"] + 0.01 * interval.rng.normal()
        interval.report(x[0])

def deaf(worker):
    worker.track(x=np.array([0.0]))
    for interval in worker:
        try:
            Path("ready").touch()
            time.sleep(300)
        except KeyboardInterrupt:
            Path("heard").touch()
            time.sleep(300)

def held(worker):
    x = np.array([0.0])
    worker.track(x=x)
    for interval in worker:
        if interval.generation == 1 and "HELD" in os.environ:
            Path("ready").touch()
            while not Path("go").exists():
                time.sleep(0.01)
        interval.report(interval.hparams["lr"])

def flaky(worker):
    x = np.array([0.0])
    worker.track(x=x)
    for interval in worker:
        if interval.member == 1 and interval.generation == 1:
            raise ValueError("a bad day")
        interval.report(interval.hparams["lr"])

def pools(worker):
    x = np.array([0.0])
    worker.track(x=x)
    for interval in worker:
        with multiprocessing.get_context("fork").Pool(1) as pool:  # ends its processes by SIGTERM
            interval.report(pool.apply(abs, [-1.0]), metrics={"ours": float(pool.apply(handled))})

def handled():
    return callable(signal.getsignal(signal.SIGTERM))

def chatty(worker):
    x = np.array([0.0])
    worker.track(x=x)
    for interval in worker:
        print("on stdout", interval.member, interval.generation)
        print("on stderr", interval.member, interval.generation, file=sys.stderr)
        time.sleep(0.02)
        interval.report(interval.hparams["lr"])
    raise RuntimeError("after the last report")
"""

LAMARCK = [sys.executable, "-m", "lamarck"]
RUN = [*LAMARCK, "run", "train.py:train", "-n", "4", "--interval", "5", "--generations", "6"]


@pytest.fixture(autouse=True)
def _script(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)


def until(condition, process):
    """Waits until a condition holds while a process is alive."""
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def events(path="train.db"):
    try:
        with open_journal(path, readonly=True) as journal:
            return list(journal.read("main"))
    except JournalError:  # it is only just being made
        return []


def reports(path="train.db"):
    return sum(b'"Reported"' in event for event in events(path))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The events of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("unbroken")
    (folder / "train.py").write_text(TRAIN)
    subprocess.run(RUN, cwd=folder, check=True, capture_output=True)
    return events(folder / "train.db")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_first_signal_stops_cleanly_and_says_how_to_go_on(number, status, unbroken):
    process = subprocess.Popen(RUN, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: reports() >= 5, process)
    process.send_signal(number)
    out, err = process.communicate()
    assert process.returncode == status
    assert out == ""
    assert "Traceback" not in err
    done = reports()
    assert 5 <= done < 24
    assert err.splitlines()[-1] == f"stopped after {done} of 24 intervals; go on with: lamarck resume train.db"
    resumed = subprocess.run([*LAMARCK, "resume", "train.db"], capture_output=True, text=True, check=True)
    assert "24 of 24 intervals" in resumed.stdout
    assert events() == unbroken


def test_killed_again_and_again_it_makes_the_same_decisions(unbroken):
    process = subprocess.Popen(RUN, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for target in (3, 8, 9, 17):
        until(lambda target=target: reports() >= target, process)
        process.kill()
        process.communicate()
        process = subprocess.Popen([*LAMARCK, "resume", "train.db"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "24 of 24 intervals" in out
    assert events() == unbroken


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_ends_it_at_once_whatever_training_does(number):
    process = subprocess.Popen([*RUN[:4], "train.py:deaf", *RUN[5:]], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    until(Path("ready").exists, process)
    process.send_signal(signal.SIGINT)
    until(Path("heard").exists, process)
    process.send_signal(number)
    process.communicate()
    assert process.returncode == -number
    assert [type(codec.decode(event)).__name__ for event in events("deaf.db")] == ["Started", "Assigned"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_was_ignored_from_the_start_stays_ignored(number, unbroken):
    """As SIGHUP is under nohup."""
    ignoring = ["bash", "-c", f'trap "" {number.name}; exec "$@"', "bash", *RUN]
    process = subprocess.Popen(ignoring, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    until(lambda: reports() >= 3, process)
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert events() == unbroken


def test_show_while_the_run_is_going_on():
    process = subprocess.Popen(RUN, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    until(lambda: reports() >= 5, process)
    shown = subprocess.run([*LAMARCK, "show", "train.db"], capture_output=True, text=True, check=True)
    assert process.wait() == 0, process.communicate()
    process.communicate()
    assert "of 24 intervals" in shown.stdout
    assert reports() == 24


def test_of_two_writers_one_is_refused_in_plain_words():
    command = [*RUN[:4], "train.py:held", *RUN[5:]]
    first = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "HELD": "1"})
    until(Path("ready").exists, first)
    second = subprocess.run([*LAMARCK, "resume", "held.db"], capture_output=True, text=True, check=False)
    Path("go").touch()
    _, err = first.communicate()
    assert sorted([first.returncode, second.returncode]) == [0, 2]
    refused = err if first.returncode else second.stderr
    assert refused.splitlines()[-1].startswith("lamarck: ")
    assert "Traceback" not in refused
    assert reports("held.db") == 24


def test_a_failure_that_is_overcome_is_a_warning_with_the_users_own_traceback():
    command = [*LAMARCK, "run", "train.py:flaky", "-n", "4", "--interval", "5", "--generations", "3"]
    err = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert err.count("Traceback (most recent call last)") == 1
    assert 'raise ValueError("a bad day")' in err
    assert f"{os.sep}lamarck{os.sep}" not in err


# ---- on a terminal -----------------------------------------------------------------------------------------------------------------------


def on_terminal(command, *, stop=None):
    """Runs a command with standard error on a terminal; returns exit status, standard output, and what the terminal got."""
    main, side = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=side, env=environment)
    os.close(side)
    if stop is not None:
        until(stop, process)
        process.send_signal(signal.SIGINT)
    seen = bytearray()
    while True:
        try:
            chunk = os.read(main, 65536)
        except OSError:  # the other side is closed
            break
        if not chunk:
            break
        seen += chunk
    os.close(main)
    out = process.communicate()[0].decode()
    return process.returncode, out, seen.decode()


def screen(seen, width=100, height=60):
    """What a terminal shows after all that: a small terminal that knows what rich writes."""
    import re

    lines, row, column = [""], 0, 0
    for escape, text in re.findall(r"(\x1b\[[0-9;?]*[A-Za-z])|([^\x1b]+)", seen):
        if escape:
            count = int(re.sub(r"\D", "", escape) or 1)
            match escape[-1]:
                case "A":
                    row = max(0, row - count)
                case "K":
                    lines[row] = ""
            continue
        for letter in text:
            if letter == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            elif letter == "\r":
                column = 0
            else:
                line = lines[row].ljust(column)
                lines[row] = line[:column] + letter + line[column + 1 :]
                column += 1
    return [line.rstrip() for line in lines]


def test_on_a_terminal_the_display_ends_with_the_last_state():
    status, out, seen = on_terminal(RUN)
    assert status == 0
    *_, first, second, last = screen(seen)
    assert "24/24 intervals" in first
    assert second.startswith("best ")
    assert "generation 6 of 6" in second
    assert last == ""
    assert out.startswith("population of 4, 24 of 24 intervals")


def test_on_a_terminal_ctrl_c_leaves_only_the_line_that_resumes():
    status, out, seen = on_terminal(RUN, stop=lambda: reports() >= 8)
    assert (status, out) == (130, "")
    lines = [line for line in screen(seen) if line]
    assert lines[0] == "journal train.db, weights in train.checkpoints/main"
    assert lines[-1] == f"stopped after {reports()} of 24 intervals; go on with: lamarck resume train.db"
    assert not any("elapsed" in line for line in lines)  # the display is gone
    assert seen.endswith("\x1b[?25h") or "\x1b[?25h" in seen  # the cursor is shown again


def test_processes_that_training_forks_are_ended_as_without_us():
    command = [word.replace("train.py:train", "train.py:pools") for word in RUN]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "Traceback" not in done.stderr
    assert {record.metrics["ours"] for record in open_run("pools.db").records} == {0.0}


def test_what_training_prints_is_not_garbled():
    command = [*LAMARCK, "run", "train.py:chatty", "-n", "3", "--interval", "5", "--generations", "4"]
    status, out, seen = on_terminal(command)
    printed = [line for line in out.splitlines() if line.startswith("on")]
    assert sorted(printed) == [f"on stdout {member} {generation}" for member in range(3) for generation in range(4)]
    lines = screen(seen)
    assert [line for line in lines if line.startswith("on")] == [line.replace("stdout", "stderr") for line in printed]
    assert status == 1
    at = next(i for i, line in enumerate(lines) if "12/12 intervals" in line)
    assert lines[at + 2].startswith("Traceback")
    assert any('raise RuntimeError("after the last report")' in line for line in lines[at:])


# ---- the rest ----------------------------------------------------------------------------------------------------------------------------


def test_where_the_terminal_knows_ascii_alone_there_are_no_stars():
    subprocess.run(RUN, check=True, capture_output=True)
    done = subprocess.run([*LAMARCK, "show", "train.db"], capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}, check=True)
    assert b"?" in done.stdout


def test_a_reader_that_has_seen_enough_ends_it_quietly():
    subprocess.run(RUN, check=True, capture_output=True)
    shell = f"{sys.executable} -m lamarck show train.db | exec 0<&-; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout == "141\n"


def test_help_imports_nothing_heavy():
    code = "import sys, json; from lamarck.cli import main; main(['--help']); print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"matplotlib", "torch", "sklearn", "scipy", "pandas", "fsspec", "safetensors"} & set(json.loads(done.stderr))


def test_show_imports_no_matplotlib():
    subprocess.run(RUN, check=True, capture_output=True)
    code = (
        "import sys; from lamarck.cli import main; main(['show', 'train.db']); sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


def test_the_installed_script_is_the_same_command():
    script = Path(sys.executable).parent / "lamarck"
    assert subprocess.run([script, "--version"], capture_output=True, check=True).stdout
