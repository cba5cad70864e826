"""More than a minute of murder: workers and parents killed at random, checkpoints truncated, a full disk. Nothing acknowledged may be lost."""

import os
import random
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

import lamarck as lk
from lamarck.coordinator import events_of
from lamarck.journal import open_journal
from lamarck.population import replay
from lamarck.runs import checkpoints_of
from lamarck.types import Assigned, Ended, Reported
from lamarck.verify import verify

SCRIPT = """
import os, resource, signal, sys, time
import numpy as np
import lamarck as lk
from lamarck.types import Reported

def train(worker):
    x, story = np.array([5.0]), []
    worker.track(x=x, story=story)
    for interval in worker:
        time.sleep(0.12 if os.path.exists("slow") else 0.0)
        x *= 1 - 0.2 * interval.hparams["h"]
        story.append([interval.member, interval.generation])
        interval.report(-abs(float(x[0])))

def acknowledged(event, population):
    if isinstance(event, Reported):
        print(event.report.member, event.report.generation, event.report.value, flush=True)

if __name__ == "__main__":
    if len(sys.argv) > 1:  # a disk with so much room
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
    try:
        lk.run(train, lk.Space(h=lk.Float(0.01, 1.0)), population_size=8, interval=1, generations=110, seed=1, max_lead=None, max_failures=5,
               journal="chaos.db", resume=True, engine=lk.Processes(workers=2), observers=[acknowledged])
    except lk.LamarckError as error:
        print("stopped:", error, flush=True)
"""


def family(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    parents = {int(child): int(parent) for child, parent in (line.split() for line in listed)}
    found = [pid]
    for member in found:
        found += [child for child, parent in parents.items() if parent == member]
    return found[1:]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@pytest.mark.slow
def test_a_minute_of_murder():
    dice = random.Random(3)
    Path("script.py").write_text(SCRIPT)
    Path("slow").touch()
    kills = workers_killed = parents_killed = truncated = filled = 0
    said, seen = Path("said.txt"), set()
    begin = time.monotonic()
    folder = checkpoints_of("chaos.db")

    def start(*room: str) -> subprocess.Popen[str]:
        with said.open("a") as out:
            return subprocess.Popen([sys.executable, "script.py", *room], stdout=out, stderr=subprocess.DEVNULL, text=True)

    process = start()
    while time.monotonic() - begin < 60 or kills < 30:
        assert time.monotonic() - begin < 240, "it takes too long to kill so many"
        time.sleep(dice.uniform(0.1, 1.0))
        children = family(process.pid)
        seen |= set(children)
        choice = dice.random()
        workers = children[2:]  # the first two are the fork server and the tracker of its resources
        if not workers:
            continue  # still starting
        if choice < 0.6:
            os.kill(dice.choice(workers), signal.SIGKILL)
            kills, workers_killed = kills + 1, workers_killed + 1
        elif choice < 0.85:
            process.kill()
            process.wait()
            kills, parents_killed = kills + 1, parents_killed + 1
            process = start()
        elif choice < 0.95 and folder.exists():
            files = sorted(folder.glob("*.safetensors"))
            if files:
                victim = dice.choice(files)
                if victim.exists():
                    os.truncate(victim, victim.stat().st_size // 2)
                    truncated += 1
        elif Path("chaos.db").exists():
            process.kill()
            process.wait()
            size = max(path.stat().st_size for path in Path().glob("chaos.db*"))
            process = start(str(size + 20_000))
            time.sleep(3)
            process.kill()
            process.wait()
            filled += 1
            process = start()
    Path("slow").unlink()
    assert process.wait(timeout=120) == 0
    assert min(workers_killed, parents_killed, truncated, filled) >= 1, "a weak chaos"

    with open_journal("chaos.db", readonly=True) as journal:
        events = list(events_of(journal, "main"))
    reports = [event.report for event in events if isinstance(event, Reported)]
    told = [tuple(line.split()) for line in said.read_text().splitlines() if not line.startswith("stopped")]
    kept = {(str(r.member), str(r.generation)): str(r.value) for r in reports}
    assert all(kept.get(line[:2]) == line[2] for line in told if len(line) == 3), "an acknowledged report is lost"
    assert len(kept) == len(reports) == 8 * 110, "counted twice, or not at all"
    assert isinstance(events[-1], Ended)
    assert verify(events) is None, "a decision does not follow from the journal before it"

    history = lk.open_run("chaos.db")
    for member in range(8):
        line = history.lineage(history.member(member)[-1].key)
        assert line[0].parent is None
        assert all(child.parent == parent.key for parent, child in pairwise(line))
    restored = [event.interval for event in events if isinstance(event, Assigned) and event.interval.restore]
    assert all(history[interval.parent].checkpoint == interval.restore for interval in restored)
    state = lk.load("chaos.db")
    assert state["story"] == [list(record.key) for record in history.lineage()]

    live = {f"{name}.safetensors" for name in replay(events).live()}
    assert {path.name for path in folder.iterdir()} <= live, "a file is left behind"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and any("script.py" in command_of(pid) or "forkserver" in command_of(pid) for pid in seen):
        time.sleep(0.1)
    assert not [pid for pid in seen if "forkserver" in command_of(pid)], "a process is left behind"
