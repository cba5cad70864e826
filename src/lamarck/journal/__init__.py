"""Journals: where the events of a run are kept, in order and for good."""

from __future__ import annotations

import os

from lamarck.journal.base import Journal
from lamarck.journal.memory import MemoryJournal
from lamarck.journal.sqlite import SqliteJournal

__all__ = ["Journal", "MemoryJournal", "SqliteJournal", "open_journal"]


def open_journal(path: str | os.PathLike[str] | None, *, readonly: bool = False) -> Journal:
    """Opens a journal.

    Args:
        path: File of a `SqliteJournal`, or ``None`` for a `MemoryJournal`.
        readonly: Whether only to read the file.

    Raises:
        JournalError: As `SqliteJournal`.

    Example:
        >>> with open_journal(None) as journal:
        ...     journal.append("main", 0, [b"one"])
        1
    """
    return MemoryJournal() if path is None else SqliteJournal(path, readonly=readonly)
