"""This library's side of the comparison with Ray Tune, and the bare loop; each runs in a process of its own, to be watched.

    python _our_side.py '{"size": 8, "steps": 100, "how": "processes", "megabytes": 0, "folder": "..."}'

Writes its result as JSON to `result` in the folder.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

INTERVAL = 4


def stepped(theta: Any, h0: float, h1: float) -> float:
    """One step on the toy, in place; returns the score."""
    theta += 0.01 * -2.0 * np.array([h0, h1]) * theta
    return 1.2 - float((theta**2).sum())


def toy(worker: Any) -> None:
    """The toy."""
    theta = np.array([0.9, 0.9])
    worker.track(theta=theta)
    for interval in worker:
        for _ in interval.steps:
            score = stepped(theta, **interval.hparams)
        interval.report(score)


def heavy(worker: Any) -> None:
    """The toy with ballast, which measures how long the way from report to next interval takes, and the same bytes by hand in turn."""
    asked = json.loads(os.environ["ASKED"])
    theta, ballast = np.array([0.9, 0.9]), np.random.default_rng(0).integers(0, 256, asked["megabytes"] * 1_000_000, dtype=np.uint8)
    worker.track(theta=theta, ballast=ballast)
    began = 0.0
    for interval in worker:
        metrics = {"seconds": time.perf_counter() - began, "copied": float(interval.copied)} if began else {}
        ballast += 1  # new bytes for each checkpoint
        os.sync()  # what was flushed beside would be in the way of what is measured by hand
        metrics |= by_hand(Path(asked["folder"]) / f"hand-{os.getpid()}", ballast)
        score = stepped(theta, **interval.hparams)
        began = time.perf_counter()
        interval.report(score, metrics=metrics)


def by_hand(path: Path, data: Any) -> dict[str, float]:
    """Seconds to write the bytes to a new file and flush them, and to read them into new memory."""
    began = time.perf_counter()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
    os.fsync(handle)
    os.close(handle)
    written = time.perf_counter()
    with path.open("rb", buffering=0) as stream:
        memory = np.empty(len(data), dtype=np.uint8)
        assert stream.readinto(memory.data) == len(data)
    read = time.perf_counter()
    path.unlink()
    return {"write": written - began, "read": read - written}


def bare(size: int, steps: int) -> None:
    """The population in a loop with pickled states, without decisions: the training itself."""
    states = [pickle.dumps(np.array([0.9, 0.9])) for _ in range(size)]
    for _ in range(steps // INTERVAL):
        for member in range(size):
            theta = pickle.loads(states[member])
            for _ in range(INTERVAL):
                stepped(theta, 0.5, 0.5)
            states[member] = pickle.dumps(theta)


def ours(asked: dict[str, Any]) -> dict[str, Any]:
    """Runs the population and tells when each report was in the journal, and what heavy training measured."""
    import lamarck as lk

    times: list[float] = []
    metrics: list[Any] = []

    def note(event: Any, _: object) -> None:
        if type(event).__name__ == "Reported":
            times.append(time.perf_counter() - began)
            metrics.append(event.report.metrics)

    heavily = asked["megabytes"] > 0
    space = lk.Space(h0=lk.Float(0.0, 1.0), h1=lk.Float(0.0, 1.0))
    run = lk.run  # a name loads its module: as Ray's, before the clock
    how = asked["how"]
    engine = "inline" if how == "inline" else lk.Processes(workers=1 if how == "alone" else 2, overlap=how != "flushed")
    began = time.perf_counter()
    run(
        heavy if heavily else toy,
        space,
        population_size=asked["size"],
        interval=1 if heavily else INTERVAL,
        steps=asked["steps"],
        max_lead=None if heavily else 0,
        exploit=lk.exploit.Truncation(bottom=0.5, top=0.5) if heavily else None,
        engine=engine,
        journal=Path(asked["folder"]) / "toy.db",
        observers=[note],
    )
    return {"fit": time.perf_counter() - began, "times": times, "metrics": metrics}


def main() -> None:
    os.environ["ASKED"] = sys.argv[1]
    asked = json.loads(sys.argv[1])
    began = time.perf_counter()
    if asked["how"] == "bare":
        bare(asked["size"], asked["steps"])
        result: dict[str, Any] = {"fit": time.perf_counter() - began}
        time.sleep(0.3)  # it is over before anybody could look at its memory
    else:
        result = ours(asked)
    Path(asked["folder"], "result").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
