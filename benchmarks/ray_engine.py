"""What an interval costs on a Ray cluster, beside local processes and beside what Ray itself cannot do without.

The training is nothing at all, so that only the overhead is left: 8 members on 2 workers, synchronous, journal and checkpoints on the disk.
Once with a state of two numbers, once with one of 10 MB. In turn: `lamarck.Processes`; `lamarck.Ray` with workers that write into the driver's
folder; and the same with all weights through the driver. Ray's floor is a call of an actor that does nothing, and one that returns 10 MB. What
starting takes is left out: time counts from the first report of a run to its last. Ray Tune is measured by ray_tune.py.

    python benchmarks/ray_engine.py [--rounds 5] [--quick]
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import ray

import lamarck as lk
from _common import machine, median, save, table

SIZE, WORKERS = 8, 2
STATES = {"two numbers": (16, 40), "10 MB": (10_000_000, 8)}
"""Bytes of a state, and generations of a run."""

ENGINES: dict[str, Callable[[], Any]] = {
    "processes": lambda: lk.Processes(workers=WORKERS),
    "ray, same folder": lambda: lk.Ray(workers=WORKERS, cpus_per_worker=0.5),
    "ray, through the driver": lambda: lk.Ray(workers=WORKERS, cpus_per_worker=0.5, through_driver=True),
}


def trainer(size: int) -> Callable[[Any], None]:
    """Trains nothing, and changes all of a state of so many bytes."""

    def train(worker: Any) -> None:
        weights = np.zeros(size, dtype=np.uint8)
        worker.track(weights=weights)
        for interval in worker:
            weights += 1
            interval.report(interval.hparams["h"])

    return train


def two_numbers(worker: Any) -> None:
    """At the top level, because worker processes are given a name."""
    trainer(STATES["two numbers"][0])(worker)


def ten_megabytes(worker: Any) -> None:
    """Likewise."""
    trainer(STATES["10 MB"][0])(worker)


TRAIN = {"two numbers": two_numbers, "10 MB": ten_megabytes}


def interval(engine: Any, state: str, generations: int) -> float:
    """Returns the seconds that an interval takes, once a run has begun."""
    times: list[float] = []

    def note(event: Any, _: object) -> None:
        if type(event).__name__ == "Reported":
            times.append(time.perf_counter())

    with tempfile.TemporaryDirectory(dir=".") as folder:
        lk.run(
            TRAIN[state],
            lk.Space(h=lk.Float(0.0, 1.0)),
            population_size=SIZE,
            interval=1,
            generations=generations,
            engine=engine,
            journal=Path(folder) / "run.db",
            observers=[note],
        )
    skipped = 2 * SIZE  # until all workers are there
    return (times[-1] - times[skipped]) / (len(times) - 1 - skipped)


class Nothing:
    """An actor that does nothing."""

    def __init__(self, size: int) -> None:
        self.data = np.zeros(size, dtype=np.uint8)

    def call(self, answer: bytes) -> Any:
        """Returns what it holds, if that is much."""
        return self.data if len(self.data) > 100 else answer


def floor(actor: Any, calls: int) -> float:
    """Returns the seconds of a call."""
    began = time.perf_counter()
    for _ in range(calls):
        ray.get(actor.call.remote(b"x" * 300))
    return (time.perf_counter() - began) / calls


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it runs; nothing is saved")
    given = parser.parse_args()
    facts = machine(("lamarck", "ray", "numpy"))
    ray.init(address="local", num_cpus=4, include_dashboard=False, logging_level=logging.ERROR)
    seconds: dict[str, dict[str, list[float]]] = {state: {} for state in STATES}
    for state, (size, generations) in STATES.items():
        actor = ray.remote(Nothing).options(num_cpus=0).remote(size)
        floor(actor, 20)
        for _ in range(1 if given.quick else given.rounds):
            seconds[state].setdefault("a call of an actor", []).append(floor(actor, 500 if size < 100 else 30))
            for name, engine in ENGINES.items():
                seconds[state].setdefault(name, []).append(interval(engine(), state, 4 if given.quick else generations))
        ray.kill(actor)
    ray.shutdown()
    rows = []
    for name in next(iter(seconds.values())):
        cells = [median(taken[name]) for taken in seconds.values()]
        base = [median(taken["processes"]) for taken in seconds.values()]
        rows.append(
            [name, *(f"{1e3 * cell:.2f} ms" for cell in cells), *(f"{cell / other:.2f}" for cell, other in zip(cells, base, strict=True))]
        )
    header = ["an interval", *STATES, *(f"against processes, {state}" for state in STATES)]
    text = f"Medians of {len(next(iter(seconds['10 MB'].values())))} runs; {SIZE} members on {WORKERS} workers.\n\n{table(header, rows)}"
    if given.quick:
        print(text)
    else:
        save("ray-engine", "What an interval costs on a Ray cluster", text, {"seconds": seconds}, facts)


if __name__ == "__main__":
    main()
