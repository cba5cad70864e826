"""Runs a command with all its descendants under watch: seconds, peak memory, bytes written; and leaves none of them behind. Linux only."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import final

__all__ = ["Watched", "watched"]

_SUBREAPER = 36  # prctl: orphans among the descendants come to this process, so none escapes the count


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What a command took.

    Args:
        code: Exit code of the command.
        seconds: From its start to its end.
        pss: Peak of the proportional set sizes of all processes together, bytes: what is shared counts once.
        rss: Resident set sizes at that moment, bytes: what is shared counts for each.
        processes: Processes at that moment.
        written: Bytes that all of them sent to the disk, as the kernel counts them, in pages.
    """

    code: int
    seconds: float
    pss: int
    rss: int
    processes: int
    written: int


def watched(command: Sequence[str], *, limit: float, folder: Path, environment: Mapping[str, str] | None = None) -> Watched:
    """Runs a command to its end and all its descendants to theirs.

    Args:
        command: What to run.
        limit: Seconds after which everything is killed.
        folder: Where its output goes, as ``out`` and ``err``, and its working directory.
        environment: Variables to set.
    """
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    before = _written()
    peak = (0, 0, 0)
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, cwd=folder, env={**os.environ, **(environment or {})})
        took = 0.0
        while process.poll() is None and time.perf_counter() - began < limit:
            with suppress(subprocess.TimeoutExpired):
                process.wait(min(0.25, max(0.02, 30 * took)))  # looking takes 3 % of a core, or happens four times a second
            looked = time.perf_counter()
            peak = max(peak, _memory())
            took = time.perf_counter() - looked
        seconds = time.perf_counter() - began
    _end_all(process)
    return Watched(code=process.returncode, seconds=seconds, pss=peak[0], rss=peak[1], processes=peak[2], written=_written() - before)


def _end_all(process: subprocess.Popen[bytes]) -> None:
    while pids := _descendants():
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)


def _descendants() -> list[int]:
    """Process numbers of all descendants, ended ones that nobody has waited for included."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, new = [], [os.getpid()]
    while new:
        new = [child for pid in new for child in children.get(pid, ())]
        found += new
    return found


def _memory() -> tuple[int, int, int]:
    pss = rss = count = 0
    for pid in _descendants():
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            sizes = {line.split()[0]: int(line.split()[1]) * 1024 for line in lines[1:3]}
            pss, rss, count = pss + sizes["Pss:"], rss + sizes["Rss:"], count + 1
    return pss, rss, count


def _written() -> int:
    """Bytes sent to the disk by this process and by all its descendants that have ended and were waited for."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["write_bytes"]) - int(lines["cancelled_write_bytes"])
