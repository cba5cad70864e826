"""What there is of a machine for us: cores and memory. A container, or a job of a cluster, is often given less than the machine has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["cores", "memory"]

_ROOT = Path("/")


def cores(root: Path = _ROOT) -> int:
    """Returns how many cores this process may keep busy, at least 1.

    Args:
        root: Where the files are in which Linux says so.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [share for folder in _groups(root, "cpu") for share in _shares(folder)]
    return max(1, int(min([allowed, *shares])))


def memory(root: Path = _ROOT) -> int | None:
    """Returns the bytes that are free, or ``None`` if nobody says.

    Args:
        root: Where the files are in which Linux says so.
    """
    left = [rest for folder in _groups(root, "memory") for rest in _rests(folder)]
    with suppress(OSError):
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
        return min([*(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), *left], default=None)
    pages, size = "SC_AVPHYS_PAGES", "SC_PAGE_SIZE"
    return os.sysconf(pages) * os.sysconf(size) if pages in os.sysconf_names else None


def _groups(root: Path, kind: str) -> Iterator[Path]:
    """Yields the control groups that this process is in, as far as they can be seen, from the innermost one."""
    with suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds and kind not in kinds.split(","):
                continue
            home = root / "sys/fs/cgroup" / (kind if kinds else "")  # of the first version each kind has a tree of its own
            place = home / path.lstrip("/")
            yield from (folder for folder in (place, *place.parents) if folder.is_relative_to(home))


def _shares(group: Path) -> Iterator[float]:
    """Yields how many cores a group may keep busy, if that is limited."""
    with suppress(OSError, ValueError):
        quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        yield int(quota) / int(period)
    with suppress(OSError, ValueError):
        quota, period = ((group / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period"))
        if int(quota) > 0:
            yield int(quota) / int(period)


def _rests(group: Path) -> Iterator[int]:
    """Yields the bytes that a group has left, if they are limited; what is kept of files can be had any time."""
    for limit, used, kept in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        with suppress(OSError, ValueError):
            most, now = (int((group / name).read_text(encoding="ascii")) for name in (limit, used))
            stat = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
            yield max(0, most - now + int(stat.get(kept, 0)))
