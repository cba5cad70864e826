"""Runs that are asked to stop by a batch system or a closing terminal: they end in order, lose nothing, and leave nobody behind."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import lamarck as lk
from lamarck._signals import BATCH, STOPS, Terminated, hush, say, stoppable

SCRIPT = """
import os, sys, tempfile, time
from pathlib import Path
import numpy as np
import lamarck as lk
from lamarck.engines import processes
from lamarck.testing.engine import SPACE

def train(worker):
    x = np.array([5.0])
    worker.track(x=x)
    for interval in worker:
        open(f"trained-{os.getpid()}", "w").close()
        print("training", interval.key, flush=True)
        time.sleep(float(os.environ["SLEEP"]))
        x *= 0.9
        interval.report(float(x[0]))

def noted(make=tempfile.mkdtemp, **given):
    folder = make(**given)
    Path("folders").write_text(folder)
    return folder

if __name__ == "__main__":
    how, tempfile.mkdtemp = sys.argv[1], noted
    engine = processes.Processes(workers=2) if how == "processes" else "inline"
    journal = None if "memory" in sys.argv else "run.db"
    lk.run(train, SPACE, population_size=4, interval=3, generations=8, engine=engine, journal=journal, resume=True)
    print("done")
"""


@pytest.fixture(autouse=True)
def _script():
    Path("script.py").write_text(SCRIPT, encoding="utf-8")


def wait_for(condition, what, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def begin(how, *, sleep, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True} | options
    return subprocess.Popen([sys.executable, "script.py", *how.split()], env={**os.environ, "SLEEP": str(sleep)}, **options)


def workers():
    """Those that have trained."""
    return {int(path.name.removeprefix("trained-")) for path in Path().glob("trained-*")}


def session(pid):
    """All processes of a session that live."""
    listed = subprocess.run(["ps", "-o", "pid=,stat=", "-s", str(pid)], capture_output=True, text=True, check=False).stdout
    return {int(line.split()[0]) for line in listed.splitlines() if not line.split()[1].startswith("Z")}


def reports():
    try:
        return len(lk.open_run("run.db").records)
    except lk.LamarckError:
        return 0


@pytest.mark.parametrize("number", BATCH)
@pytest.mark.parametrize("how", ["processes", "inline"])
def test_a_batch_system_that_asks_every_process_at_once_costs_no_member_anything(how, number):
    process = begin(how, sleep=0.3)
    wait_for(lambda: reports() >= 3, "reports")
    everybody = session(process.pid)
    assert everybody >= workers() | {process.pid}
    assert len(workers()) == (2 if how == "processes" else 1)
    for pid in everybody:
        os.kill(pid, number)
    _, err = process.communicate(timeout=30)
    history = lk.open_run("run.db")
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith(f"stopped after {len(history.records)} of 32 intervals; go on with: lamarck")
    assert history.failures == ()
    wait_for(lambda: not session(process.pid), "the end of all processes", 10)
    again = begin(how, sleep=0)
    out, err = again.communicate(timeout=60)
    assert out.endswith("done\n"), err
    assert len(lk.open_run("run.db").records) == 32


@pytest.mark.parametrize("twice", [False, True])
def test_an_interval_that_takes_long_is_not_waited_for(twice):
    process = begin("processes", sleep=600)
    wait_for(lambda: len(workers()) == 2, "workers")
    process.send_signal(signal.SIGTERM)
    if twice:
        assert process.stderr.readline() == "\n"
        assert process.stderr.readline().startswith("SIGTERM: stopping when 2 interval(s) in progress are reported, or in 5 seconds")
        process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "stopped after 0 of 32 intervals; go on with: lamarck" in err
    wait_for(lambda: not session(process.pid), "the end of all processes", 10)


def test_a_run_in_memory_leaves_no_files_in_memory():
    process = begin("processes memory", sleep=600)
    wait_for(lambda: len(workers()) == 2, "workers")
    process.send_signal(signal.SIGTERM)
    assert process.stderr.readline() == "\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "the run was in memory and is gone" in err
    assert [Path(folder).exists() for folder in Path("folders").read_text().split()] == [False]


def on_terminal(how, before="", **options):
    """Runs the script on a terminal of its own, in the foreground, as a shell in a secure shell does."""
    main, side = pty.openpty()
    code = f"import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); {before}os.execv(sys.executable, sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", code, sys.executable, "script.py", how],
        stdin=side,
        stdout=side,
        stderr=side,
        start_new_session=True,
        env={**os.environ, **options},
    )
    os.close(side)
    return process, main


def drained(main):
    """Reads what a terminal is sent, for as long as it is there."""
    closing = threading.Event()

    def read():
        os.set_blocking(main, False)
        while not closing.wait(0.01):
            try:
                os.read(main, 65536)
            except BlockingIOError:
                continue
            except OSError:
                return

    reader = threading.Thread(target=read)
    reader.start()

    def close():
        closing.set()
        reader.join()
        os.close(main)

    return close


@pytest.mark.parametrize("how", ["processes", "inline"])
def test_a_terminal_that_goes_away_ends_the_run_in_order(how):
    process, main = on_terminal(how, SLEEP="0.2")
    close = drained(main)
    wait_for(lambda: reports() >= 3, "reports")
    close()
    assert process.wait(30) == 128 + signal.SIGHUP
    wait_for(lambda: not session(process.pid), "the end of all processes", 10)
    history = lk.open_run("run.db")
    assert history.ended is None
    assert history.failures == ()


@pytest.mark.parametrize("how", ["processes", "inline"])
def test_a_run_that_outlives_its_terminal_goes_on_although_training_prints(how):
    process, main = on_terminal(how, "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); ", SLEEP="0.1")
    close = drained(main)
    wait_for(lambda: reports() >= 3, "reports")
    close()
    process.wait(60)
    history = lk.open_run("run.db")
    assert (history.ended, len(history.records)) == ("generations", 32)
    assert len(history.failures) <= 2  # the first line of each process that nobody could read
    wait_for(lambda: not session(process.pid), "the end of all processes", 10)


# ---- by themselves -------------------------------------------------------------------------------------------------------------------------


def test_signals_are_answered_by_the_innermost_block_and_given_back():
    before = {number: signal.getsignal(number) for number in STOPS}
    heard = []
    with stoppable(BATCH, lambda number: heard.append(("outer", number))):
        with stoppable(STOPS, lambda number: heard.append(("inner", number))):
            for number in STOPS:
                signal.raise_signal(number)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert heard == [*(("inner", number) for number in STOPS), ("outer", signal.SIGTERM)]
    assert {number: signal.getsignal(number) for number in STOPS} == before


def test_who_answers_or_ignores_a_signal_already_goes_on_doing_so():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number)), signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable(BATCH):
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGHUP, before[1])
    assert heard == [signal.SIGTERM]


def test_the_first_signal_raises_and_leaves_the_second_to_the_system():
    with stoppable(BATCH), pytest.raises(Terminated) as ended:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            assert {signal.getsignal(number) for number in BATCH} == {signal.SIG_DFL}
    assert ended.value.code == 143


AGAIN = """
import signal
from lamarck._signals import BATCH, Terminated, listen, stoppable
listen(BATCH)  # as a script does that has joined a server
try:
    with stoppable(BATCH):
        signal.raise_signal(signal.SIGTERM)
except Terminated:
    pass
heard, before = [], signal.getsignal(signal.SIGTERM)
with stoppable(BATCH, heard.append):
    signal.raise_signal(signal.SIGTERM)
assert heard == [signal.SIGTERM]
assert before == signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
"""


def test_who_goes_on_after_all_is_heard_again():
    subprocess.run([sys.executable, "-c", AGAIN], check=True)


FORKS = """
import os, signal
from lamarck._signals import BATCH, stoppable
with stoppable(BATCH, lambda _: None):
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == signal.SIGTERM
    os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_fork_is_ended_by_signals_as_ever():
    subprocess.run([sys.executable, "-c", FORKS], check=True)


def test_other_threads_change_nothing():
    """Not even what the main thread begins to answer meanwhile."""
    before = signal.getsignal(signal.SIGTERM)
    seen, inside, go_on = [], threading.Event(), threading.Event()

    def elsewhere():
        with stoppable(STOPS):
            seen.append(signal.getsignal(signal.SIGTERM))
            inside.set()
            go_on.wait(20)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    assert inside.wait(20)
    with stoppable(BATCH, seen.append):
        go_on.set()
        thread.join(20)
        signal.raise_signal(signal.SIGTERM)
    assert seen == [before, signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_line_that_nobody_reads_is_no_error():
    code = f"import sys; sys.path[:] = {sys.path!r}; from lamarck._signals import hush, say; {{}}"
    reader, writer = os.pipe()
    os.close(reader)
    program = "say('a'); assert hush(); assert not hush(); print('b', flush=True); print('c', file=sys.stderr, flush=True)"
    assert subprocess.run([sys.executable, "-c", code.format(program)], stdout=writer, stderr=writer, check=False).returncode == 0
    os.close(writer)
    assert not hush()
    say("")
