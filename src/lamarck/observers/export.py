"""Telling observers of a run that is on file."""

from __future__ import annotations

import os

from lamarck._errors import SettingsError
from lamarck.audience import Observer
from lamarck.coordinator import events_of
from lamarck.history import History
from lamarck.journal import SqliteJournal
from lamarck.observers.tracker import Tracker
from lamarck.population import Population, apply
from lamarck.types import Reported

__all__ = ["export"]


def export(journal: str | os.PathLike[str], *observers: Observer, name: str = "main") -> None:
    """Tells observers of a run that is on file, also while it is going on.

    A tracking service is sent what it lacks: of a run that it was told of before, the rest. A file is written anew.

    Args:
        journal: The run's journal.
        *observers: Who is told.
        name: Name of the run.

    Raises:
        SettingsError: If the journal has no such run.
        JournalError: If there is no such journal.
        ServiceError: If a tracking service did not take all.

    Example:
        >>> from pathlib import Path
        >>> import lamarck as lk
        >>> from lamarck.observers.table import CsvObserver
        >>> def train(worker):
        ...     worker.track(x=(lambda: 0, lambda state: None))
        ...     for interval in worker:
        ...         interval.report(0.5)
        >>> history = lk.run(train, lk.Space(n=lk.Int(1, 2)), population_size=2, interval=5, generations=1, journal="run.db")
        >>> export("run.db", CsvObserver("run.csv"))
        >>> len(Path("run.csv").read_text().splitlines())
        3
    """
    with SqliteJournal(journal, readonly=True) as book:
        if name not in (runs := book.runs()):
            raise SettingsError(f"the journal {str(journal)!r} has no run {name!r}; it has {', '.join(map(repr, runs)) or 'none yet'}")
        events = list(events_of(book, name))
        at = [moment for moment, event in zip(book.times(name), events, strict=False) if isinstance(event, Reported)]
    for observer in observers:
        if isinstance(observer, Tracker):
            observer.recall(History.of(events), at)
            observer.settle()
            continue
        population: Population | None = None
        for event in events:
            population = apply(population, event)
            observer(event, population)
