"""What a checkpoint costs, where it lies, and when it is flushed.

A state of a given size is put and taken back, in turn: into a folder on the disk with the flush before `put` returns, with the flush beside
whatever comes next (which here is a pause long enough for it), without any flush, and into a folder in shared memory. Between the processes of
one machine a file that is not flushed passes through the system's cache, which is memory, too: the question is whether a file system that is
nothing but memory would be faster. By hand: the same bytes written to a new file and flushed, or only written, and read into new memory.

    python benchmarks/checkpoints.py [--quick]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from _common import machine, save, table
from lamarck.checkpoints import Checkpoints, FolderCheckpoints

SHARED = Path("/dev/shm")
SIZES = (4_000, 1_000_000, 10_000_000, 100_000_000)

Task = Callable[[NDArray[np.uint8]], tuple[float, float]]
"""Takes bytes, and says how long it took to keep them and to take them back."""


def store(checkpoints: Checkpoints) -> Task:
    """Keeps bytes as a checkpoint."""
    made = iter(range(10**9))

    def task(data: NDArray[np.uint8]) -> tuple[float, float]:
        began = time.perf_counter()
        name = checkpoints.put(0, next(made), {"data": data})
        kept = time.perf_counter()
        back = checkpoints.get(name)
        taken = time.perf_counter()
        assert len(back["data"]) == len(data)
        checkpoints.settle([name])
        checkpoints.sweep([], among=[name])
        return kept - began, taken - kept

    return task


def by_hand(path: Path, *, flush: bool) -> Task:
    """Keeps bytes in a file."""

    def task(data: NDArray[np.uint8]) -> tuple[float, float]:
        began = time.perf_counter()
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        view = data.data
        while view:
            view = view[os.write(handle, view) :]
        if flush:
            os.fsync(handle)
        os.close(handle)
        kept = time.perf_counter()
        memory = np.empty(len(data), dtype=np.uint8)
        with path.open("rb", buffering=0) as stream:
            assert stream.readinto(memory.data) == len(data)
        taken = time.perf_counter()
        path.unlink()
        return kept - began, taken - kept

    return task


def tasks(disk: Path, shared: Path) -> Mapping[str, Task]:
    """Everything that is compared."""
    return {
        "folder, flushed before": store(FolderCheckpoints(disk / "a")),
        "folder, flushed beside": store(FolderCheckpoints(disk / "b", overlap=True)),
        "folder, not flushed": store(FolderCheckpoints(disk / "c", every=10**9)),
        "folder in shared memory": store(FolderCheckpoints(shared / "d", every=10**9)),
        "by hand, flushed": by_hand(disk / "hand", flush=True),
        "by hand, not flushed": by_hand(disk / "hand", flush=False),
        "by hand, in shared memory": by_hand(shared / "hand", flush=False),
    }


def measure(size: int, rounds: int, disk: Path, shared: Path) -> dict[str, list[tuple[float, float]]]:
    """Seconds of everything, in turn."""
    data = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    seconds: dict[str, list[tuple[float, float]]] = {}
    compared = tasks(disk, shared)
    for number in range(rounds + 1):
        for name, task in compared.items():
            data += 1
            os.sync()  # what others have left to flush would be in the way
            took = task(data)
            if number:
                seconds.setdefault(name, []).append(took)
    return seconds


def report(results: Mapping[int, Mapping[str, Sequence[tuple[float, float]]]]) -> str:
    """The result, as Markdown."""
    rows = []
    for size, seconds in results.items():
        floor = statistics.median(sum(pair) for pair in seconds["by hand, flushed"])
        for name, pairs in seconds.items():
            put, get = (1e3 * statistics.median(pair[i] for pair in pairs) for i in (0, 1))
            rows.append([f"{size / 1e6:g} MB, {name}", f"{put:.2f}", f"{get:.2f}", f"{(put + get) / 1e3 / floor:.2f}"])
    return (
        "Median milliseconds to keep a state and to take it back, and both as a multiple of writing, flushing and reading the same bytes\n"
        "by hand. A checkpoint is packed, hashed, written, renamed, and checked when it is read.\n\n"
        + table(["", "put, ms", "get, ms", "times by hand, flushed"], rows)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small part of the work, to see that it runs; writes nothing")
    quick = parser.parse_args().quick
    facts = machine(("lamarck", "numpy", "blake3"))
    disk, shared = Path(tempfile.mkdtemp(dir=".")).absolute(), Path(tempfile.mkdtemp(dir=SHARED))
    try:
        results = {size: measure(size, 2 if quick else 15, disk, shared) for size in (SIZES[:2] if quick else SIZES)}
    finally:
        shutil.rmtree(disk)
        shutil.rmtree(shared)
    if quick:
        print(report(results))
        return
    data = {"seconds": {str(size): seconds for size, seconds in results.items()}}
    save("checkpoints", "What a checkpoint costs", report(results), data, facts)


if __name__ == "__main__":
    main()
