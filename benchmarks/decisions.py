"""From a report to the next interval: what a decision costs as the population grows, in memory and durably, beside what the disk can do.

python benchmarks/decisions.py [--quick]
"""

from __future__ import annotations

import argparse
import math
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from _common import RESULTS, machine, save, table
from lamarck import codec
from lamarck.checkpoints import MemoryCheckpoints
from lamarck.coordinator import Coordinator, events_of
from lamarck.history import History
from lamarck.journal import Journal, MemoryJournal, open_journal
from lamarck.pbt import PBT
from lamarck.population import apply, replay
from lamarck.space import Float, Space
from lamarck.testing.simulation import simulate
from lamarck.types import Interval, Report, Settings

SPACE = Space(lr=Float(1e-5, 1e-1, log=True), wd=Float(1e-6, 1e-2, log=True), dropout=Float(0.0, 0.6))


def machine_of(size: int, generations: int, lead: int | None) -> PBT:
    return PBT(space=SPACE, settings=Settings(population_size=size, interval=1, generations=generations, max_lead=lead))


def decide(size: int, lead: int | None, reports: int) -> list[float]:
    """Seconds from each report to the next interval, in the pure machine: report, apply, whose turn, decide, apply."""
    pbt = machine_of(size, reports // size + 3, lead)
    population = replay(pbt.init())
    assert population is not None
    rng = np.random.default_rng(0)
    member = pbt.next(population)
    assert member is not None
    for event in pbt.decide(population, member):
        population = apply(population, event)
    seconds = []
    for _ in range(size + reports):  # the first generation has nothing to compare, and does not count
        interval = population.members[member].interval
        assert interval is not None
        report = Report(member=member, generation=interval.generation, step=interval.until, value=rng.random(), checkpoint="x")
        began = time.perf_counter()
        for event in pbt.report(population, report):
            population = apply(population, event)
        member = pbt.next(population)
        assert member is not None
        for event in pbt.decide(population, member):
            population = apply(population, event)
        seconds.append(time.perf_counter() - began)
    return seconds[size:]


class Exchanges:
    """A coordinator with its journal, asked once at a time."""

    def __init__(self, size: int, journal: Journal, rounds: int) -> None:
        self.coordinator = Coordinator.start(machine_of(size, rounds // size + 3, 0), journal, "main", MemoryCheckpoints())
        self.rng = np.random.default_rng(0)
        interval = self.coordinator.exchange("w", None)
        assert interval is not None
        self.interval = interval
        for _ in range(min(size, rounds)):
            self()

    def __call__(self) -> None:
        interval = self.interval
        report = Report(member=interval.member, generation=interval.generation, step=interval.until, value=self.rng.random(), checkpoint="x")
        after = self.coordinator.exchange("w", report)
        assert after is not None
        self.interval = after


def commit(folder: Path, payload: bytes) -> Callable[[], None]:
    """One fsynced SQLite commit of as many bytes, by hand."""
    book = sqlite3.connect(folder / "bare.db", isolation_level=None)
    book.execute("PRAGMA journal_mode=WAL")
    book.execute("PRAGMA synchronous=FULL")
    book.execute("CREATE TABLE events (sequence INTEGER PRIMARY KEY, event BLOB)")

    def once() -> None:
        book.execute("BEGIN IMMEDIATE")
        book.execute("INSERT INTO events (event) VALUES (?)", (payload,))
        book.execute("COMMIT")

    return once


def in_turn(tasks: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            began = time.perf_counter()
            task()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def us(seconds: float) -> str:
    return f"{seconds * 1e6:.0f}"


def rate(interval: Interval, state: object) -> tuple[float, None]:
    """Stands for training: the value is a hyperparameter."""
    del state
    return float(str(interval.hparams["lr"])), None


def replay_journal(folder: Path, events: int) -> dict[str, Any]:
    """Seconds to read, decode and fold a journal of so many events, as `resume` and `open_run` do."""
    size = 100
    made = simulate(machine_of(size, math.ceil(events / (2 * size)) + 1, 0), rate)[:events]
    path = folder / "replay.db"
    with closing(open_journal(path)) as journal:
        for first in range(0, len(made), 1000):
            journal.append("main", first, [codec.encode(event) for event in made[first : first + 1000]])
    del made  # a process that resumes has no such list for the garbage collector to walk through
    with closing(open_journal(path, readonly=True)) as journal:
        began = time.perf_counter()
        rows = list(journal.read("main"))
        read = time.perf_counter() - began
        began = time.perf_counter()
        for row in rows:
            codec.decode(row)
        decoded = time.perf_counter() - began
        began = time.perf_counter()
        population = replay(events_of(journal, "main"))
        folded = time.perf_counter() - began
        began = time.perf_counter()
        history = History.of(events_of(journal, "main"))
        told = time.perf_counter() - began
    assert population is not None
    assert len(history.records) > events // 3
    return {"events": len(rows), "bytes": sum(map(len, rows)), "read": read, "decode": decoded, "population": folded, "history": told}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, to see that it runs; writes nothing")
    quick = parser.parse_args().quick
    facts = machine()
    sizes = (10, 100, 1000) if quick else (10, 100, 1000, 10_000)
    reports = 300 if quick else 3000
    memory = {(size, lead): decide(size, lead, reports) for size in sizes for lead in (0, None)}
    with tempfile.TemporaryDirectory(dir=RESULTS.parent) as name:
        folder = Path(name)
        bare = commit(folder, b"x" * 500)  # as a report and the interval after it take
        durable: dict[int, dict[str, list[float]]] = {}
        for size in sizes:
            tasks: dict[str, Callable[[], None]] = {
                "in memory": Exchanges(size, MemoryJournal(), reports + size),
                "durable": Exchanges(size, open_journal(folder / f"{size}.db"), reports + size),
                "bare commit": bare,
            }
            durable[size] = in_turn(tasks, reports)
        again = replay_journal(folder, 10_000 if quick else 100_000)
    rows = []
    for size in sizes:
        sync, free = (statistics.median(memory[size, lead]) for lead in (0, None))
        there = {key: statistics.median(value) for key, value in durable[size].items()}
        ratio = there["durable"] / there["bare commit"]
        times = (sync, free, there["in memory"], there["durable"], there["bare commit"])
        rows.append([str(size), *map(us, times), f"{ratio:.2f}"])
    text = table(
        ["members", "machine, sync", "machine, async", "with journal in memory", "durable", "one fsynced commit", "durable / commit"], rows
    )
    grew = statistics.median(memory[sizes[-1], 0]) / statistics.median(memory[sizes[0], 0])
    nlogn = sizes[-1] * math.log2(sizes[-1]) / (sizes[0] * math.log2(sizes[0]))
    text = (
        "Median microseconds from a report to the next interval. The machine alone decides and applies; with a journal it also encodes and\n"
        "appends both events in one transaction. The commit by hand writes 500 bytes to a SQLite file on the same disk, in turn with\n"
        "the others.\n\n"
        f"{text}\n\nFrom {sizes[0]} to {sizes[-1]} members the machine's cost grew {grew:.1f}-fold; N log N grows {nlogn:.0f}-fold.\n\n"
        f"Replay of {again['events']:,} events ({again['bytes'] / 1e6:.1f} MB, 100 members): read {again['read']:.2f} s, decode "
        f"{again['decode']:.2f} s, read + decode + fold into the state {again['population']:.2f} s, into the history {again['history']:.2f} s."
    )
    if quick:
        print(text)
        return
    data = {
        "machine_seconds": {f"{size}/{lead}": values for (size, lead), values in memory.items()},
        "exchange_seconds": {str(size): value for size, value in durable.items()},
        "replay": again,
    }
    save("decisions", "From a report to the next interval", text, data, facts)


if __name__ == "__main__":
    main()
