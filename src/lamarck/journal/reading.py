"""Reading a SQLite file that others may write, and leaving nothing beside it.

A file in SQLite's write-ahead mode needs a log and an index beside it, which whoever opens it with ``mode=ro`` makes and cannot delete again;
``immutable=1`` needs neither, and reads nonsense if somebody writes meanwhile. So for each query it is asked which is right:

* There is a log: somebody has the file open, or was killed. It is read with ``mode=ro``, log and all.
* There is none: nobody has it open, and while the lock of the writers (`lamarck.journal.turns`) is held here, nobody can begin to. It is read
  with ``immutable=1``. Where there is no lock file either, nobody has written it in this place; if one appears meanwhile, it is read again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lamarck.journal.turns import shared

__all__ = ["read_rows"]

Connect = Callable[[str], sqlite3.Connection]
"""Opens a file with options of SQLite's, as ``"mode=ro"``."""

_IMMUTABLE = "mode=ro&immutable=1"


def read_rows(path: Path, lock: Path, connect: Connect, query: str, values: tuple[Any, ...], patience: float) -> list[Any]:
    """Returns what a query finds in a file.

    Args:
        path: The file.
        lock: The lock file of its writers, which need not be there.
        connect: Opens the file.
        query: The query.
        values: Its values.
        patience: Seconds to wait for a writer.

    Raises:
        sqlite3.Error: If the file cannot be read.
        JournalError: If a writer does not let it be read in time.
    """
    if not _used(path):
        with shared(lock, patience) as locked:
            if locked is not None and not _used(path):
                found = _rows(connect, _IMMUTABLE, query, values)
                if locked or not (lock.exists() or _used(path)):
                    return found
    try:
        return _rows(connect, "mode=ro", query, values)
    except sqlite3.OperationalError:
        if _used(path):
            raise
        return _rows(connect, _IMMUTABLE, query, values)  # nothing can be made beside it, by nobody: a folder that cannot be written


def _used(path: Path) -> bool:
    """Whether a writer has the file open, or has left something that belongs to it: a log, or what takes back a beginning."""
    return any(path.with_name(path.name + ending).exists() for ending in ("-wal", "-journal"))


def _rows(connect: Connect, options: str, query: str, values: tuple[Any, ...]) -> list[Any]:
    connection = connect(options)
    try:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        return connection.execute(query, values).fetchall()
    finally:
        connection.close()
