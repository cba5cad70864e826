"""What is in a journal file, for viewers: a run that is over, or one that another process writes at this moment."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path
from typing import final

from lamarck import codec
from lamarck._errors import RunMissing
from lamarck.journal import Journal, open_journal
from lamarck.population import Population, apply
from lamarck.server.source import MemberState, Source
from lamarck.web.data import member_states

__all__ = ["JournalSource"]


@final
class JournalSource(Source):
    """Reads a journal file and looks at it again from time to time. The file may still be missing: then there is no run yet.

    Args:
        journal: The file.
        every: Seconds between two looks at a file that may grow.

    Raises:
        JournalError: If there is a file, and it is not a journal.

    Example:
        >>> from pathlib import Path
        >>> import tempfile
        >>> from lamarck.journal import open_journal
        >>> path = Path(tempfile.mkdtemp()) / "run.db"
        >>> source = JournalSource(path)
        >>> source.runs()
        []
        >>> with open_journal(path) as journal:
        ...     journal.append("main", 0, [b"one", b"two"])
        2
        >>> source.runs(), source.events("main", 1)
        (['main'], [b'two'])
        >>> source.close()
    """

    __slots__ = ("_book", "_every", "_known", "_stop", "journal")

    def __init__(self, journal: str | os.PathLike[str], *, every: float = 0.5) -> None:
        self.journal, self._every = Path(journal), every
        self._book: Journal | None = None
        self._known: dict[str, tuple[int, Population | None]] = {}
        self._stop = asyncio.Event()
        self._open()

    def runs(self) -> list[str]:
        """Returns the names of all runs; see `Source.runs`."""
        book = self._open()
        return [] if book is None else book.runs()

    def events(self, run: str, after: int = 0, limit: int | None = None) -> list[bytes]:
        """Returns the events of a run; see `Source.events`."""
        book = self._open()
        found = [] if book is None else list(islice(book.read(run, after), limit))
        if not found and (book is None or run not in book.runs()):
            known = ", ".join(map(repr, self.runs()[:20])) or "none yet"
            raise RunMissing(f"there is no run {run!r} in {self.journal}; there is {known}")
        return found

    async def follow(self, run: str, after: int = 0) -> AsyncIterator[tuple[int, bytes]]:
        """Yields the events of a run as they are found; see `Source.follow`."""
        while not self._stop.is_set():
            for event in await asyncio.to_thread(self.events, run, after):
                after += 1
                yield after, event
            try:
                await asyncio.wait_for(self._stop.wait(), self._every)
            except TimeoutError:
                continue

    def members(self, run: str) -> list[MemberState]:
        """Returns what each member is doing, as far as the journal tells: who trains it, and whether he lives, is not in there."""
        after, population = self._known.get(run, (0, None))
        for event in self.events(run, after):
            population = apply(population, codec.decode_event(event))
            after += 1
        self._known[run] = (after, population)
        assert population is not None
        return [MemberState(member=member, state=state) for member, state in enumerate(member_states(population))]

    def stop(self) -> None:
        """Ends every `follow`; to be called in the thread of the event loop."""
        self._stop.set()

    def close(self) -> None:
        """Lets go of the file."""
        book, self._book = self._book, None
        if book is not None:
            book.close()

    def _open(self) -> Journal | None:
        if self._book is None and self.journal.exists() and self.journal.stat().st_size:
            self._book = open_journal(self.journal, readonly=True)
        return self._book
