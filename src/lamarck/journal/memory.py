"""A journal in memory, for tests, toys and benchmarks."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import final

from lamarck._errors import JournalError
from lamarck.journal.base import Journal, checked, conflict

__all__ = ["MemoryJournal"]


@final
class MemoryJournal(Journal):
    """Keeps events in lists, as long as the process lives.

    Example:
        >>> with MemoryJournal() as journal:
        ...     journal.append("a", 0, [b"one", b"two"])
        ...     journal.append("a", 2, [b"three"])
        ...     list(journal.read("a", after=1))
        2
        3
        [b'two', b'three']
    """

    __slots__ = ("_closed", "_lock", "_runs")

    def __init__(self) -> None:
        self._runs: dict[str, list[bytes]] = {}
        self._lock = threading.Lock()
        self._closed = False

    def append(self, run: str, after: int, events: Sequence[bytes]) -> int:
        """Adds events, all or none; see `Journal.append`."""
        checked(events)
        with self._lock:
            log = self._log(run)
            if len(log) != after:
                raise conflict(run, after, len(log))
            if events:
                log.extend(events)
                self._runs[run] = log
            return len(log)

    def read(self, run: str, after: int = 0) -> Iterator[bytes]:
        """Returns the events so far; see `Journal.read`."""
        with self._lock:
            log = self._log(run)
            return islice(log, after, len(log))

    def runs(self) -> list[str]:
        """Returns the names of all runs; see `Journal.runs`."""
        with self._lock:
            self._log("")
            return sorted(self._runs)

    def close(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._closed = True
            self._runs.clear()

    def _log(self, run: str) -> list[bytes]:
        if self._closed:
            raise JournalError("this journal is closed: open it again")
        return self._runs.get(run) or []
