"""What the service takes: durable reports a second and how long each waits.

Beside it, in turn: a bare handler of the same framework, the loopback, the disk, and a population behind a multiprocessing manager. Each client
reports an interval and gets the next in one request; the training between is nothing at all. The load comes from one process with raw sockets,
the server is another. Weights are left out: they go elsewhere.

    python benchmarks/service.py [--quick]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop

from _common import machine, save, table
from _service_side import PATH, Shared, plan
from lamarck.checkpoints import MemoryCheckpoints
from lamarck.coordinator import Coordinator
from lamarck.journal import MemoryJournal, SqliteJournal
from lamarck.types import Interval, Report

CLIENTS = (1, 16, 256)
SIZES = (10, 100, 1000, 10_000)
LEASE, LENGTH = re.compile(rb"lamarck-lease: (\S+)", re.IGNORECASE), re.compile(rb"content-length: (\d+)", re.IGNORECASE)
KEY = re.compile(rb'"generation":(\d+).*?"member":(\d+).*?"until":(\d+)')
TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def server(kind: str, folder: Path, members: int = 256) -> Iterator[tuple[int, int]]:
    """A server in a process of its own: its port and its process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    journal = folder / f"{time.monotonic_ns()}.db"
    command = [sys.executable, str(Path(__file__).with_name("_service_side.py")), kind, str(port), str(members), str(journal)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert process.poll() is None, "the server did not start"
                time.sleep(0.05)
        try:
            yield port, process.pid
        finally:
            process.kill()


def cpu(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def client(number: int, port: int, end: float, pace: float, waits: list[float]) -> None:
    """Reports until the time is over."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    dice, lease, body = random.Random(number), b"", b""
    await asyncio.sleep(pace * dice.random())
    while time.perf_counter() < end:
        query = b"?worker=w%d&wait=20" % number + (b"&lease=" + lease if lease else b"")
        began = time.perf_counter()
        head = b"POST " + PATH.encode() + query + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
        writer.write(head + body)
        got = await reader.readuntil(b"\r\n\r\n")
        length, token = LENGTH.search(got), LEASE.search(got)
        assert got.startswith(b"HTTP/1.1 200"), got
        assert length is not None
        assert token is not None
        data = await reader.readexactly(int(length[1]))
        waits.append(time.perf_counter() - began)
        key = KEY.search(data)
        assert key is not None
        generation, member, until = map(int, key.groups())
        name = b"%04d-%05d-0123456789abcdef" % (member, generation)
        rest = b'"generation":%d,"member":%d,"step":%d,"value":%r}' % (generation, member, until, dice.random())
        lease, body = token[1], b'{"$type":"Report","v":1,"checkpoint":"' + name + b'",' + rest
        if pace:
            await asyncio.sleep(pace)
    writer.close()


async def load(port: int, clients: int, seconds: float, pace: float = 0.0) -> dict[str, Any]:
    """Reports by so many clients at once; each pauses for ``pace`` seconds after each."""
    waits: list[float] = []
    began = time.perf_counter()
    await asyncio.gather(*(client(number, port, began + seconds, pace, waits) for number in range(clients)))
    took = time.perf_counter() - began
    waits.sort()
    return {"rate": len(waits) / took, "p50": waits[len(waits) // 2], "p99": waits[int(len(waits) * 0.99)], "reports": len(waits)}


async def round_trips(port: int, seconds: float) -> float:
    """Median seconds of a round trip of 500 bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        writer.write(b"x" * 500)
        await reader.readexactly(500)
        times.append(time.perf_counter() - began)
    writer.close()
    return statistics.median(times)


def fsyncs(folder: Path, seconds: float) -> float:
    """Median seconds to append 500 bytes to a file and flush it."""
    times, end = [], time.perf_counter() + seconds
    handle = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while time.perf_counter() < end:
        began = time.perf_counter()
        os.write(handle, b"x" * 500)
        os.fsync(handle)
        times.append(time.perf_counter() - began)
    os.close(handle)
    return statistics.median(times)


def managed(port: int, clients: int, seconds: float) -> float:
    """Reports a second through a manager: a value saved, the question whether to copy, and if so the copy and the change."""
    done, end = [0] * clients, time.perf_counter() + seconds

    def train(number: int) -> None:
        shared = Shared(("127.0.0.1", port), b"benchmark")
        shared.connect()
        population, dice, member = shared.population(), random.Random(number), number  # type: ignore[attr-defined]
        while time.perf_counter() < end:
            population.save(member, dice.random())
            if population.should_exploit(member):
                population.exploit(member)
                population.explore(member)
            done[number] += 1

    threads = [threading.Thread(target=train, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / seconds


def alone(folder: Path, clients: int, seconds: float) -> dict[str, float]:
    """Seconds of a report in what can be measured by itself: deciding, and writing to the disk, in groups of as many as there are clients."""
    dice, (decided, written, groups) = random.Random(0), (0.0, 0.0, 0)
    with MemoryJournal() as kept, SqliteJournal(folder / f"{time.monotonic_ns()}.db") as journal:
        coordinator = Coordinator.start(plan(256).pbt, kept, "main", MemoryCheckpoints())
        given = {number: coordinator.exchange(number, None) for number in range(clients)}
        known, after, end = 1 + clients, 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            said = [(number, answer(interval, dice)) for number, interval in given.items() if interval is not None]
            began = time.perf_counter()
            with coordinator.batch():
                for number, report in said:
                    given[number] = coordinator.exchange(number, report)
            decided += time.perf_counter() - began
            events = list(kept.read("main", known))
            began = time.perf_counter()
            after = journal.append("main", after, events)
            written += time.perf_counter() - began
            known, groups = known + len(events), groups + 1
    return {"decided": decided / groups / clients, "written": written / groups / clients}


def answer(interval: Interval, dice: random.Random) -> Report:
    """What a client reports."""
    name = f"{interval.member:04d}-{interval.generation:05d}-0123456789abcdef"
    return Report(member=interval.member, generation=interval.generation, step=interval.until, value=dice.random(), checkpoint=name)


def measure(rounds: int, seconds: float) -> dict[str, list[Any]]:
    """Everything, in turn."""
    Shared.register("population")
    found: dict[str, list[Any]] = {}
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        for _ in range(rounds):
            for clients in CLIENTS:
                for kind in ("bare", "ours"):
                    with server(kind, folder) as (port, _):
                        asyncio.run(load(port, min(clients, 16), 0.3))
                        found.setdefault(f"{kind} {clients}", []).append(asyncio.run(load(port, clients, seconds)))
            with server("ours", folder) as (port, _):
                asyncio.run(load(port, 16, 0.3))
                found.setdefault("paced 256", []).append(asyncio.run(load(port, 256, 2 * seconds, pace=0.5)))
            with server("manager", folder) as (port, _):
                found.setdefault("manager 16", []).append(managed(port, 16, seconds))
            with server("echo", folder) as (port, _):
                found.setdefault("round trip", []).append(asyncio.run(round_trips(port, 0.3)))
            found.setdefault("fsync", []).append(fsyncs(folder, 0.3))
            found.setdefault("alone", []).append(alone(folder, 16, seconds / 2))
            for size in SIZES:
                with server("ours", folder, size) as (port, pid):
                    asyncio.run(load(port, 8, 0.5))
                    before = cpu(pid)
                    result = asyncio.run(load(port, 8, seconds))
                    found.setdefault(f"size {size}", []).append(result | {"cpu": (cpu(pid) - before) / result["reports"]})
    return found


def middle(found: dict[str, list[Any]], key: str, what: str = "") -> float:
    """The median over rounds."""
    return float(statistics.median(value[what] if what else value for value in found[key]))


def report(found: dict[str, list[Any]]) -> str:
    """The result, as Markdown."""
    rows = []
    for clients in CLIENTS:
        ours, bare = (middle(found, f"{kind} {clients}", "rate") for kind in ("ours", "bare"))
        waits = [f"{1e3 * middle(found, f'{kind} {clients}', what):.2f}" for kind in ("ours", "bare") for what in ("p50", "p99")]
        rows.append([str(clients), f"{ours:,.0f}", *waits[:2], f"{bare:,.0f}", *waits[2:], f"{ours / bare:.0%}"])
    load_table = table(["clients", "durable reports/s", "p50, ms", "p99, ms", "bare handler/s", "p50, ms", "p99, ms", "of the bare rate"], rows)
    sizes = [
        [f"{size:,}", f"{middle(found, f'size {size}', 'rate'):,.0f}", f"{1e6 * middle(found, f'size {size}', 'cpu'):.0f}"] for size in SIZES
    ]
    grown = middle(found, f"size {SIZES[-1]}", "cpu") / middle(found, f"size {SIZES[0]}", "cpu")
    share = middle(found, "ours 16", "rate") / middle(found, "bare 16", "rate")
    p99, times = middle(found, "paced 256", "p99"), middle(found, "ours 16", "rate") / middle(found, "manager 16")

    def verdict(met: bool) -> str:
        return "met" if met else "missed"

    whole, decided, written = 1 / middle(found, "ours 16", "rate"), middle(found, "alone", "decided"), middle(found, "alone", "written")
    parts: list[tuple[str, float]] = [
        ("deciding, the new state, encoding", decided),
        ("SQLite and the disk", written),
        ("HTTP, sockets, leases, waiting for clients", whole - decided - written),
        ("all", whole),
    ]
    parts_table = table(["part", "us", "share"], [[name, f"{1e6 * took:.0f}", f"{took / whole:.0%}"] for name, took in parts])

    return (
        f"As fast as they can: each client reports again as soon as it is answered.\n\n{load_table}\n\n"
        f"256 clients that train half a second between two reports ({middle(found, 'paced 256', 'rate'):,.0f} reports/s): "
        f"p50 {1e3 * middle(found, 'paced 256', 'p50'):.2f} ms, p99 {1e3 * p99:.2f} ms.\n\n"
        f"Eight clients, as the population grows:\n\n{table(['members', 'durable reports/s', 'processor time of a report, us'], sizes)}\n\n"
        f"Where the time of a report goes at 16 clients; the first two by themselves, in groups of 16, the third is the rest:\n\n"
        f"{parts_table}\n\n"
        f"The same machine: a round trip through the loopback {1e6 * middle(found, 'round trip'):.0f} us, 500 bytes appended and fsynced "
        f"{1e6 * middle(found, 'fsync'):.0f} us, a population behind a multiprocessing manager, in memory, 16 clients: "
        f"{middle(found, 'manager 16'):,.0f} reports/s.\n\n"
        f"Targets: 60 % of the bare handler's rate at 16 clients: {share:.0%}, {verdict(share >= 0.6)}. "
        f"p99 under 20 ms with 256 clients that train: {1e3 * p99:.1f} ms, {verdict(p99 < 0.02)}. "
        f"A report at 10,000 members at most twice as dear as at 10: {grown:.2f} times, {verdict(grown <= 2)}. "
        f"Three times the manager's rate, durably: {times:.1f} times, {verdict(times >= 3)}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small part of the work, to see that it runs; writes nothing")
    quick = parser.parse_args().quick
    facts = machine(("lamarck", "numpy", "starlette", "uvicorn", "uvloop"))
    uvloop.install()
    found = measure(1 if quick else 3, 0.5 if quick else 2.0)
    if quick:
        print(report(found))
        return
    save("service", "Durable reports over HTTP", report(found), {"rounds": found}, facts)


if __name__ == "__main__":
    main()
