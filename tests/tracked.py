"""Runs to be tracked, told to an observer event by event; and a run that is killed."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import textwrap
import time

from lamarck.history import History
from lamarck.pbt import PBT
from lamarck.population import apply
from lamarck.space import Categorical, Float, Int, Space
from lamarck.testing.simulation import simulate
from lamarck.types import Settings

SPACE = Space(lr=Float(1e-5, 1e-1, log=True), layers=Int(1, 4), optimizer=Categorical(["sgd", "adam"]))


def journal(size=3, generations=5, seed=0, max_lead=0):
    """The events of a run in which some values are not finite."""
    pbt = PBT(space=SPACE, settings=Settings(population_size=size, interval=10, generations=generations, seed=seed, max_lead=max_lead))
    return simulate(pbt, lambda interval, state: (math.nan if interval.seed % 5 == 0 else interval.hparams["lr"], None))


def told(observer, events, population=None):
    """Tells events; returns the state after them."""
    for event in events:
        population = apply(population, event)
        observer(event, population)
    return population


def resumed(make, events, cuts):
    """Tells a run in several lives: at each cut the observer is closed, and another one recalls what was before it."""
    population, before = None, 0
    for cut in (*cuts, len(events)):
        observer = make()
        if before:
            observer.recall(History.of(events[:before]))
        population, before = told(observer, events[before:cut], population), cut
        observer.settle()


def improvements(history):
    """The reports that were better than all before them."""
    best, found = -math.inf, []
    for record in history.records:
        if record.fitness > best:
            best = record.fitness
            found.append(record)
    return found


def values(history, member):
    """(step, value) of each report of a member."""
    return [(record.step, record.value) for record in history.member(member)]


def same(found, expected):
    """Whether two lists of (step, value) are equal, NaN and infinity included."""
    return [step for step, _ in found] == [step for step, _ in expected] and all(
        a == b or (math.isnan(a) and math.isnan(b)) for (_, a), (_, b) in zip(found, expected, strict=True)
    )


SCRIPT = """
import os, sys
import lamarck as lk

def train(worker):
    worker.track(x=(lambda: 0, lambda state: None))
    for interval in worker:
        if interval.generation == 6 and interval.member == 1 and "kill" in sys.argv:
            os.kill(os.getpid(), 9)
        interval.report(interval.hparams["lr"] + 0.001 * interval.generation)

space = lk.Space(lr=lk.Float(0.0, 1.0))
{observer}
lk.run(train, space, population_size=3, interval=10, generations=10, journal="run.db", resume=True, observers=[observer])
"""


def killed_and_resumed(observer, env=()):
    """Begins a run that kills its own process in the seventh generation, and goes on with it in another process.

    Args:
        observer: Python lines that make an `observer`.
        env: What the processes find in their environment besides.
    """
    with open("script.py", "w") as file:
        file.write(SCRIPT.format(observer=textwrap.dedent(observer)))
    given = {**os.environ, **dict(env)}
    first = subprocess.run([sys.executable, "script.py", "kill"], env=given, capture_output=True, text=True, timeout=120, check=False)
    assert first.returncode == -signal.SIGKILL, first.stderr
    second = subprocess.run([sys.executable, "script.py"], env=given, capture_output=True, text=True, timeout=120, check=False)
    assert second.returncode == 0, second.stderr


def until(condition, what, seconds=30.0):
    """Waits for something that a thread does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"after {seconds} s still not: {what}"
        time.sleep(0.01)
