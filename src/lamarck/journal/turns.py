"""Taking turns between processes: a lock on a file of its own, which the operating system takes back from the dead."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

from lamarck._errors import JournalError

__all__ = ["Turns"]


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
        end = time.monotonic() + self._patience
        while not self._taken():
            if time.monotonic() > end:
                raise JournalError(
                    f"{self._path}: another process has been writing for more than {self._patience:g} s. Nothing was written here, and nothing "
                    "that was acknowledged is lost; try again when it is done"
                )
            time.sleep(0.001)
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
