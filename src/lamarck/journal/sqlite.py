"""The journal that lasts: one SQLite file.

What is promised: an event that `SqliteJournal.append` acknowledged is on the disk (write-ahead log, ``synchronous=FULL``: one ``fsync`` for
each append), whatever happens to the process or the machine afterwards.

How the promise is kept where SQLite has edges:

* Appends, checkpoints of the log and ``close`` of all writers of a file take turns (`lamarck.journal.turns`). SQLite itself lets one connection
  write while another moves the log into the main file, and in its versions 3.7.0 to 3.51.2 that can, very rarely, damage the file.
* Readers never move the log, so they change nothing that a writer wrote, and they leave nothing beside the file (`lamarck.journal.reading`).
* A file is looked at before SQLite opens it, because opening alone can change a foreign database.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, final

from lamarck._errors import JournalError
from lamarck.journal.base import Journal, checked, conflict
from lamarck.journal.reading import read_rows
from lamarck.journal.turns import Turns

__all__ = ["SqliteJournal"]

_APPLICATION = int.from_bytes(b"Lmrk", "big")
_VERSION = 1
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE events(
    run TEXT NOT NULL, sequence INTEGER NOT NULL, at REAL NOT NULL, event BLOB NOT NULL, PRIMARY KEY(run, sequence)
) WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
COMMIT;
"""
_DURABLE = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;"
_PAGE = 1000
_CURES = {
    "SQLITE_FULL": "the disk is full, or a limit on the size of files is reached; make room, then go on with `resume`",
    "SQLITE_IOERR": "the disk could not be written or read; check the disk, then go on with `resume`",
    "SQLITE_READONLY": "the file cannot be written; check its permissions and those of its folder",
    "SQLITE_BUSY": "another program keeps the file locked; end it or wait, then try again",
    "SQLITE_CORRUPT": "the file is damaged; copy it, and save what can be read with the command `sqlite3 FILE .recover`",
    "SQLITE_NOTADB": "the file is damaged: it is no SQLite database any more; restore it from a copy",
    "SQLITE_CANTOPEN": "the file, or the log beside it, cannot be opened; check its permissions and those of its folder",
}

_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
"""What SQLite says of a file whose content is not what was written."""


@final
class SqliteJournal(Journal):
    """Keeps events in one SQLite file.

    Beside the file stands ``-lock``, which is empty, and while the journal is in use SQLite's ``-wal`` and ``-shm``. Whoever copies a journal
    that is in use copies the ``-wal`` as well.

    Args:
        path: The file; it is made if it is not there. It may hold any number of runs.
        readonly: Whether only to read; then the file must be there.
        patience: Seconds that a call waits for another process that writes the same file. An append takes milliseconds.

    Raises:
        JournalError: If there is no such folder or (read-only) no such file, or the file is not a journal, is a newer Lamarck's, or cannot be
            opened. A file that is not a journal is not changed.

    Example:
        >>> from pathlib import Path
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "run.db"
        >>> with SqliteJournal(path) as journal:
        ...     journal.append("main", 0, [b"one", b"two"])
        2
        >>> with SqliteJournal(path, readonly=True) as journal:
        ...     journal.runs(), list(journal.read("main")), len(journal.times("main"))
        (['main'], [b'one', b'two'], 2)
        >>> with SqliteJournal(path) as journal:
        ...     journal.append("main", 1, [b"three"])
        Traceback (most recent call last):
            ...
        lamarck._errors.JournalConflict: somebody else writes run 'main': it has 2 events, and 1 were known here. Nothing was written. ...
    """

    __slots__ = ("_closed", "_connection", "_file", "_lock", "_path", "_patience", "_turn_file", "_turns")

    def __init__(self, path: str | os.PathLike[str], *, readonly: bool = False, patience: float = 10.0) -> None:
        # SQLite's log is beside the file itself, and all who use it share one lock, under whatever name they know it.
        self._path, self._patience = Path(os.path.realpath(path)), patience
        self._lock = threading.Lock()
        self._turn_file = self._path.with_name(self._path.name + "-lock")
        self._turns: Turns | None = None
        self._closed = False
        self._file: tuple[int, int] | None = None
        self._connection: sqlite3.Connection | None = None
        if not self._path.parent.is_dir():
            raise JournalError(f"{self._path}: there is no folder {self._path.parent}; make it, or give another path")
        if readonly:
            if self._empty():
                found = "the file is empty: no run was begun in it" if self._path.exists() else "there is no journal of that name"
                raise JournalError(f"{self._path}: {found}")
            self._looked("opened", "SELECT 1 FROM events LIMIT 1", ())
        else:
            self._empty()
            self._turns = Turns(self._turn_file, patience)
            try:
                with self._turns.turn(), self._explained("opened"):
                    self._connection = self._writing()
                    self._file = self._there()
            except JournalError:
                self._turns.close()
                raise

    def append(self, run: str, after: int, events: Sequence[bytes]) -> int:
        """Adds events, all or none, and returns when they are on the disk; see `Journal.append`."""
        checked(events)
        with self._lock:
            self._ready()
            if self._turns is None or self._connection is None:
                raise JournalError(f"{self._path}: this journal was opened to be read only")
            connection = self._connection
            with self._turns.turn(), self._explained("written"):
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    ((last,),) = connection.execute("SELECT coalesce(max(sequence), 0) FROM events WHERE run = ?", (run,))
                    if last != after:
                        raise conflict(run, after, last)
                    at = time.time()
                    rows = ((run, sequence, at, event) for sequence, event in enumerate(events, after + 1))
                    connection.executemany("INSERT INTO events(run, sequence, at, event) VALUES (?, ?, ?, ?)", rows)
                    connection.execute("COMMIT")
                    if self._there() != self._file:  # written into a file that nobody can open any more
                        raise JournalError(
                            f"{self._path}: the journal's file is gone: it was deleted, moved or replaced while it was written. What came last "
                            "is not kept. Put the file back, with its -wal beside it, and go on with `resume`"
                        )
                finally:
                    if connection.in_transaction:
                        with suppress(sqlite3.Error):  # the first error is the one to hear about
                            connection.execute("ROLLBACK")
        return after + len(events)

    def read(self, run: str, after: int = 0) -> Iterator[bytes]:
        """Returns the events so far, a thousand at a time in memory; see `Journal.read`."""
        ((last,),) = self._rows("SELECT coalesce(max(sequence), 0) FROM events WHERE run = ?", (run,))
        return self._stream(run, after, last)

    def times(self, run: str) -> list[float]:
        """Returns when each event of a run was written, in seconds since 1970: not part of the event, and never part of a decision.

        Args:
            run: Name of the run.

        Raises:
            JournalError: If the journal cannot be read.
        """
        return [at for (at,) in self._rows("SELECT at FROM events WHERE run = ? ORDER BY sequence", (run,))]

    def runs(self) -> list[str]:
        """Returns the names of all runs; see `Journal.runs`."""
        return [run for (run,) in self._rows("SELECT DISTINCT run FROM events ORDER BY run", ())]

    def close(self) -> None:
        """Moves the log into the file, if nobody else has it open, and lets go of it."""
        with self._lock:
            connection, self._connection, self._closed = self._connection, None, True
            if connection is None or self._turns is None:
                return
            try:
                with self._turns.turn(), self._explained("closed"):
                    connection.close()
            finally:
                self._turns.close()

    def _ready(self) -> None:
        if self._closed:
            raise JournalError(f"{self._path}: this journal is closed: open it again")

    def _rows(self, query: str, values: tuple[Any, ...]) -> list[Any]:
        with self._lock:
            self._ready()
            if self._connection is None:
                return self._looked("read", query, values)
            with self._explained("read"):
                return self._connection.execute(query, values).fetchall()

    def _looked(self, what: str, query: str, values: tuple[Any, ...]) -> list[Any]:
        """Asks a file that somebody else may be writing."""
        with self._explained(what):
            return read_rows(self._path, self._turn_file, self._connect, query, values, self._patience)

    def _stream(self, run: str, after: int, last: int) -> Iterator[bytes]:
        query = "SELECT sequence, event FROM events WHERE run = ? AND sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?"
        while after < last:
            for sequence, event in self._rows(query, (run, after, last, _PAGE)):
                after += 1
                if sequence != after:
                    raise JournalError(f"{self._path}: event {after} of run {run!r} is missing: the file is damaged; restore it from a copy")
                yield event

    def _there(self) -> tuple[int, int] | None:
        """Which file has the name now."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _empty(self) -> bool:
        """Whether there is no file yet. Looks without SQLite, so that a file that is somebody else's stays as it is."""
        try:
            with self._path.open("rb") as file:
                head = file.read(100)
        except FileNotFoundError:
            return True
        except OSError as error:
            raise JournalError(f"{self._path}: the journal cannot be opened: {error.strerror}") from None
        if not head:
            return True
        version, application = int.from_bytes(head[60:64], "big"), int.from_bytes(head[68:72], "big")
        if head[:16] != b"SQLite format 3\0" or application != _APPLICATION:
            raise JournalError(f"{self._path}: this file is not a journal of Lamarck; it was not touched. Give another path")
        if version > _VERSION:
            raise JournalError(
                f"{self._path}: this journal has version {version}, and {_VERSION} is known here: written by a newer Lamarck: upgrade"
            )
        return False

    def _connect(self, options: str) -> sqlite3.Connection:
        uri = f"{self._path.as_uri()}?{options}"
        return sqlite3.connect(uri, uri=True, timeout=self._patience, isolation_level=None, check_same_thread=False)

    def _writing(self) -> sqlite3.Connection:
        connection = self._connect("mode=rwc")
        try:
            # Asked of SQLite, not of the file's head: if a process was killed while it made the file, this is where SQLite takes that back.
            new = connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None
            if new:
                connection.executescript(_SCHEMA)
            connection.executescript(_DURABLE)
            if new:
                _sync_folder(self._path.parent)
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            name = getattr(error, "sqlite_errorname", type(error).__name__)
            cure = next((cure for prefix, cure in _CURES.items() if name.startswith(prefix)), "see the error above")
            kept = "" if name.startswith(_DAMAGE) else " Nothing that was acknowledged is lost."
            raise JournalError(f"{self._path}: the journal could not be {what} ({name}: {error}).{kept} What to do: {cure}") from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
