"""What an interval costs in a worker process: from the report to the next interval, with journal and checkpoints on the disk.

The training is nothing at all, so that only the overhead is left: the state is packed, hashed and written, the report goes
to the parent, the parent decides and commits, the answer comes back, and the next member's state is read, checked and put in place. With 16
members on 2 workers every interval belongs to another member than the one before, so nothing is left out.

In turn with the runs the same machine does by hand, in one process, what an interval cannot do without: a round trip through a pipe to another
process, a flushed commit to SQLite, and a small file written under a temporary name, flushed and renamed.

    python benchmarks/intervals.py [--quick]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

import lamarck as lk
from _common import machine, save, table
from lamarck.types import Report, Reported

MEMBERS, WORKERS, NUMBERS = 16, 2, 1000
MODES: Mapping[str, Mapping[str, Any]] = {
    "synchronous": {},
    "never waiting (max_lead=None)": {"max_lead": None},
    "synchronous, flushed before it is acknowledged (overlap=False)": {"overlap": False},
}
PAYLOAD = b"x" * 500
"""As much as a report and the interval after it take in the journal."""


def train(worker: lk.Worker) -> None:
    """Trains nothing, and tells with each report how long the way from the last one took."""
    weights = np.zeros(NUMBERS, dtype=np.float32)
    worker.track(weights=weights)
    began: float | None = None
    for interval in worker:
        seconds: dict[str, float] = {} if began is None else {"seconds": time.perf_counter() - began}
        weights += 1
        began = time.perf_counter()
        interval.report(interval.hparams["lr"], metrics=seconds)


def overheads(folder: Path, generations: int, *, max_lead: int | None = 0, overlap: bool = True) -> list[float]:
    """Seconds from each report to the next interval of the same worker, in one run."""
    reported: list[Report] = []
    lk.run(
        train,
        lk.Space(lr=lk.Float(1e-5, 1e-1, log=True)),
        population_size=MEMBERS,
        interval=1,
        generations=generations,
        max_lead=max_lead,
        engine=lk.Processes(workers=WORKERS, overlap=overlap),
        journal=folder / f"{time.monotonic_ns()}.db",
        observers=[lambda event, _: reported.append(event.report) if isinstance(event, Reported) else None],
    )
    return [report.metrics["seconds"] for report in reported if report.metrics]


def echo(pipe: Connection) -> None:
    """Sends back what comes, until nothing does."""
    while data := pipe.recv_bytes():
        pipe.send_bytes(data)


@contextmanager
def by_hand(folder: Path) -> Iterator[Mapping[str, Callable[[], object]]]:
    """What an interval cannot do without, each on its own."""
    ours, theirs = multiprocessing.Pipe()
    other = multiprocessing.get_context("fork").Process(target=echo, args=(theirs,), daemon=True)
    other.start()
    state = os.urandom(4 * NUMBERS)
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as book:
        book.execute("PRAGMA journal_mode=WAL")
        book.execute("PRAGMA synchronous=FULL")
        book.execute("CREATE TABLE events (sequence INTEGER PRIMARY KEY, event BLOB)")

        def round_trip() -> None:
            ours.send_bytes(PAYLOAD)
            ours.recv_bytes()

        def fsync() -> None:
            os.write(log, PAYLOAD)
            os.fsync(log)

        def commit() -> None:
            book.execute("BEGIN IMMEDIATE")
            book.execute("INSERT INTO events (event) VALUES (?)", (PAYLOAD,))
            book.execute("COMMIT")

        def file() -> None:
            with (folder / "unfinished").open("wb") as stream:
                stream.write(state)
                stream.flush()
                os.fsync(stream.fileno())
            (folder / "unfinished").rename(folder / str(time.monotonic_ns()))
            handle = os.open(folder, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)

        yield {
            "round trip through a pipe": round_trip,
            "500 bytes appended and fsynced": fsync,
            "commit to SQLite, fsynced": commit,
            "new file of 4 kB, fsynced, renamed, folder fsynced": file,
        }
    os.close(log)
    ours.send_bytes(b"")
    other.join()


def measure(rounds: int, generations: int) -> dict[str, list[float]]:
    """Seconds of everything, in turn."""
    seconds: dict[str, list[float]] = {mode: [] for mode in MODES}
    with tempfile.TemporaryDirectory(dir=".") as name:
        for _ in range(rounds):
            for mode, settings in MODES.items():
                seconds[mode] += overheads(Path(name), generations, **settings)
            with tempfile.TemporaryDirectory(dir=name) as inner, by_hand(Path(inner)) as tasks:
                for _ in range(200):
                    for task, action in tasks.items():
                        began = time.perf_counter()
                        action()
                        seconds.setdefault(task, []).append(time.perf_counter() - began)
    return seconds


def ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3f}"


def report(seconds: Mapping[str, Sequence[float]]) -> str:
    """The result, as Markdown."""
    rows = [
        (name, ms(statistics.median(values)), ms(statistics.quantiles(values, n=20)[-1]), ms(min(values)), f"{len(values):,}")
        for name, values in seconds.items()
    ]
    hand = list(seconds)[len(MODES) :]
    floor = sum(statistics.median(seconds[task]) for task in (hand[0], hand[2], hand[3]))
    medians = [statistics.median(seconds[mode]) for mode in MODES]
    return (
        f"From a report to the next interval in a worker process: {MEMBERS} members on {WORKERS} workers, a state of {4 * NUMBERS:,} bytes\n"
        "that is saved with each report and restored for each interval, journal and checkpoints on the disk. Below, the same machine by\n"
        "hand, in turn.\n\n"
        f"{table(['', 'median, ms', '95th percentile', 'least', 'measured'], rows)}\n\n"
        f"The round trip, the commit and the file together take {ms(floor)} ms at the median; "
        f"the intervals take {', '.join(f'{median / floor:.1f}' for median in medians)} times that.\n"
        f"Target: under 2 ms at the median: {', '.join('met' if median < 2e-3 else 'missed' for median in medians)}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small part of the work, to see that it runs; writes nothing")
    quick = parser.parse_args().quick
    facts = machine(("lamarck", "numpy", "blake3"))
    seconds = measure(1 if quick else 8, 6 if quick else 40)
    if quick:
        print(report(seconds))
        return
    save("intervals", "From a report to the next interval, in a worker process", report(seconds), {"seconds": seconds}, facts)


if __name__ == "__main__":
    main()
