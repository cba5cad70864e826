"""A folder in memory, for weights that pass between processes and need not outlive them."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["memory_folder"]

_PREFIX = "lamarck-weights-"

_YOUNG = 60.0
"""Seconds in which a folder that nobody keeps may only just have been made."""


@contextmanager
def memory_folder() -> Iterator[str]:
    """Gives a folder for as long as the block lasts, in memory where the system has such a place.

    Whoever uses one keeps it locked. So what a killed process has left in memory is known by its lock, and removed by the next one who asks.
    """
    root = Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir())  # noqa: S108
    for left in root.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # somebody else's, or still in use
            _remove(left)
    folder = tempfile.mkdtemp(prefix=_PREFIX, dir=root)
    handle = _locked(folder)
    try:
        yield folder
    finally:
        os.close(handle)
        shutil.rmtree(folder, ignore_errors=True)


def _remove(folder: Path) -> None:
    if folder.lstat().st_mtime < time.time() - _YOUNG:
        handle = _locked(folder)
        try:
            shutil.rmtree(folder)
        finally:
            os.close(handle)


def _locked(folder: str | Path) -> int:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle
