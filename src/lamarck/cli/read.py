"""Reading a run back from its journal, also while it is going on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lamarck._errors import SettingsError
from lamarck.coordinator import events_of
from lamarck.history import History
from lamarck.journal import Journal, open_journal
from lamarck.population import Population, replay
from lamarck.types import Event

__all__ = ["JournalFile", "RunName", "checked", "past", "read", "read_events", "read_runs"]

JournalFile = Annotated[Path, Parameter(help="The journal: the .db file of the run.")]
"""How commands ask for a journal."""

RunName = Annotated[str, Parameter(help="Name of the run in the journal.")]
"""How commands ask for one of several runs."""


def read(journal: Path, name: str) -> tuple[History, Population]:
    """Reads a run: what happened, and the state that it has led to; see `read_events`."""
    events = read_events(journal, name)
    population = replay(events)
    assert population is not None
    return History.of(events), population


def past(journal: Path, name: str) -> History | None:
    """Reads what has happened to a run, or ``None`` if it has not begun."""
    if not journal.is_file():
        return None
    with open_journal(journal, readonly=True) as book:
        return History.of(events_of(book, name)) if name in book.runs() else None


def read_events(journal: Path, name: str) -> list[Event]:
    """Reads the events of a run.

    Args:
        journal: The journal.
        name: Name of the run.

    Returns:
        At least one event.

    Raises:
        SettingsError: If there is no such file or run.
        JournalError: If the file is not a journal.
    """
    with _opened(journal) as book:
        runs = book.runs()
        if name not in runs:
            raise SettingsError(
                f"the journal {str(journal)!r} has no run {name!r}; it has {', '.join(map(repr, runs)) or 'none yet'}: choose by --name"
            )
        return list(events_of(book, name))


def read_runs(journal: Path) -> list[History]:
    """Reads what has happened to every run in a journal, in the order of their names; see `read_events`."""
    with _opened(journal) as book:
        names = sorted(book.runs())
        if not names:
            raise SettingsError(f"the journal {str(journal)!r} has no run yet")
        return [History.of(events_of(book, name)) for name in names]


def checked(journal: Path) -> Path:
    """Returns a journal's path, or says which journals there are.

    Raises:
        SettingsError: If there is no such file.
    """
    if not journal.is_file():
        near = ", ".join(repr(str(path)) for path in [path for path in sorted(journal.parent.glob("*.db")) if path.is_file()][:5])
        raise SettingsError(f"there is no journal {str(journal)!r}; " + (f"here are {near}" if near else "`lamarck run` begins one"))
    return journal


def _opened(journal: Path) -> Journal:
    return open_journal(checked(journal), readonly=True)
