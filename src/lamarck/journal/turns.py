"""Taking turns between processes: a lock on a file of its own, which the operating system takes back from the dead."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

from lamarck._errors import JournalError

__all__ = ["Turns", "shared"]


@final
class Turns:
    """Lets one process at a time do something with a file.

    Args:
        path: The lock file; it is made if it is not there, stays empty, and is never deleted, because a deleted lock locks nobody out.
        patience: Seconds to wait for a turn.

    Raises:
        JournalError: If the lock file cannot be made.
    """

    __slots__ = ("_file", "_path", "_patience")

    def __init__(self, path: Path, patience: float) -> None:
        self._path, self._patience = path, patience
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise JournalError(
                f"{path}: the journal's lock file cannot be opened ({error.strerror}); writing needs a folder that can be written"
            ) from None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Waits for a turn, and ends it with the block.

        Raises:
            JournalError: If it did not come in time.
        """
        _wait(self._taken, self._path, self._patience, "Nothing was written here, and nothing that was acknowledged is lost")
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Lets go of the lock file."""
        os.close(self._file)

    def _taken(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:  # some network file systems have no locks
            raise JournalError(
                f"{self._path}: this file system does not lock files ({error.strerror}), and a journal that two processes may write at once is "
                "not safe. Nothing was written; keep the journal on a disk of this machine"
            ) from None
        return True


@contextmanager
def shared(path: Path, patience: float) -> Iterator[bool | None]:
    """Keeps writers from taking turns while a block only reads; it makes no file.

    Args:
        path: The lock file.
        patience: Seconds to wait for a turn to end.

    Yields:
        Whether writers are kept out: ``False`` if there is no lock file, and so no writer yet; ``None`` if it cannot be locked.

    Raises:
        JournalError: If a turn did not end in time.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    except OSError:
        yield None
        return
    try:
        try:
            _wait(lambda: _locked(file), path, patience, "Nothing was read")
        except OSError:
            yield None
        else:
            yield True
    finally:
        os.close(file)  # and with it goes the lock


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait(taken: Callable[[], bool], path: Path, patience: float, said: str) -> None:
    end = time.monotonic() + patience
    while not taken():
        if time.monotonic() > end:
            raise JournalError(f"{path}: another process has been writing for more than {patience:g} s. {said}; try again when it is done")
        time.sleep(0.001)
