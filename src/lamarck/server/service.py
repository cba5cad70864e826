"""All runs of one journal, ready to be trained by whoever joins."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import final

from lamarck._errors import JournalConflict, LamarckError, RunMissing, SettingsError
from lamarck.checkpoints import open_checkpoints
from lamarck.coordinator import Coordinator, Observer, events_of
from lamarck.journal import open_journal
from lamarck.runs import checkpoints_of
from lamarck.server.in_flight import InFlight
from lamarck.server.plan import Plan, is_run_name
from lamarck.server.run import Run
from lamarck.server.source import MemberState, Source
from lamarck.space import Space
from lamarck.types import Started

__all__ = ["Service"]

logger = logging.getLogger("lamarck.server")


@final
class Service(Source):
    """Serves the runs of a journal; those that are in it already go on from exactly what it holds.

    Args:
        journal: The journal's file; it is made if it is not there.
        shared: Folder or URL that all workers reach themselves and that holds a folder of checkpoints for each run. ``None``: checkpoints go
            through the server, into a folder beside the journal.
        lease: Seconds without a word after which a worker counts as lost and its interval is handed on.
        observers: Are told of the events of each run that is begun or resumed here.

    Raises:
        JournalError: If the journal cannot be opened.
    """

    __slots__ = ("_creating", "_journal", "_observers", "_reader", "_runs", "_stop", "journal", "lease", "refused", "shared")

    def __init__(
        self, journal: str | os.PathLike[str], *, shared: str | None = None, lease: float = 60.0, observers: Sequence[Observer] = ()
    ) -> None:
        if not lease > 0:
            raise SettingsError(f"lease: got {lease!r}; it must be a positive number of seconds")
        self.journal, self.shared, self.lease = Path(journal), shared, lease
        self._observers = tuple(observers)
        self._journal = open_journal(journal)
        self._reader = open_journal(journal, readonly=True)
        self._runs: dict[str, Run] = {}
        self._creating = asyncio.Lock()
        self._stop = asyncio.Event()
        self.refused: dict[str, str] = {}
        for name in self._journal.runs():
            try:
                coordinator = Coordinator.resume(self._journal, name, self._store(name), observers=self._observers)
                if isinstance(space := coordinator.pbt.space, Space) and not space.resolved:
                    raise SettingsError("its search space has a Python function, which a journal cannot hold")
                self.add(name, coordinator, direct=shared is not None)
                if coordinator.over:  # now that it is known, what workers had saved when it ended goes, too
                    coordinator.checkpoints.sweep(coordinator.population.live())
            except LamarckError as error:  # it has a Python function in it, say: the others go on without it
                self.refused[name] = str(error)
                logger.error("run %r cannot go on here: %s", name, error)

    def add(self, name: str, coordinator: Coordinator, *, direct: bool, reserve: bool = True) -> Run:
        """Serves a run that is there already.

        Args:
            name: What workers call it.
            coordinator: The run; nobody else may use it from now on.
            direct: Whether workers reach its checkpoints themselves; otherwise they go through the server, which keeps them in a folder.
            reserve: Whether somebody may still be training what was handed out before; see `Run`.

        Raises:
            SettingsError: If the name is taken, or is none.
        """
        if not is_run_name(name) or name in self._runs:
            raise SettingsError(f"name: got {name!r}, which is {'taken' if name in self._runs else 'not a plain name'}; give another one")
        location = coordinator.checkpoints.location if direct else None
        self._runs[name] = run = Run(coordinator, location=location, lease=self.lease, reserve=reserve)
        return run

    async def create(self, plan: Plan) -> bool:
        """Begins a run.

        Args:
            plan: What it is to be.

        Returns:
            Whether it was begun now; ``False`` if the same run, with the same settings, is there already.

        Raises:
            SettingsError: If there is another run of that name.
            JournalError: If it cannot be written; then there is no such run.
        """
        async with self._creating:
            if plan.name not in self._runs and plan.name not in self.refused:
                with suppress(JournalConflict):
                    coordinator = await asyncio.to_thread(self._begun, plan)
                    self.add(plan.name, coordinator, direct=self.shared is not None)
                    return True
            if not await asyncio.to_thread(self._is_same, plan):
                raise SettingsError(f"there is a run {plan.name!r} with other settings; give another name, or the same settings to join it")
            return False

    def run(self, name: str) -> Run:
        """Returns a run.

        Raises:
            RunMissing: If there is none of that name.
        """
        try:
            return self._runs[name]
        except KeyError:
            known = ", ".join(map(repr, self.runs()[:20])) or "none yet"
            raise RunMissing(f"there is no run {name!r} here; there is {known}") from None

    def runs(self) -> list[str]:
        """Returns the names of all runs; see `Source.runs`."""
        return sorted(self._runs)

    def events(self, run: str, after: int = 0, limit: int | None = None) -> list[bytes]:
        """Returns the events of a run; see `Source.events`."""
        self.run(run)
        return list(islice(self._reader.read(run, after), limit))

    async def follow(self, run: str, after: int = 0) -> AsyncIterator[tuple[int, bytes]]:
        """Yields the events of a run as they become safe; see `Source.follow`."""
        followed = self.run(run)
        while not self._stop.is_set():
            changed = followed.changed
            for event in await asyncio.to_thread(self.events, run, after):
                after += 1
                yield after, event
            waiting = [asyncio.ensure_future(changed.wait()), asyncio.ensure_future(self._stop.wait())]
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waiting:
                    task.cancel()

    def members(self, run: str) -> list[MemberState]:
        """Returns what each member is doing; see `Source.members`."""
        return self.run(run).members()

    def folder(self, run: str) -> Path | None:
        """Returns the server's own folder for the checkpoints of a run, or ``None`` if workers reach them themselves."""
        found = self.run(run)
        location = found.coordinator.checkpoints.location
        return None if found.location is not None or location is None else Path(location)

    def stop(self) -> None:
        """Lets go of all who wait: for an interval, or for what happens next. In the event loop."""
        self._stop.set()
        for run in self._runs.values():
            run.stop()

    def close(self) -> None:
        """Lets go of the journal, when the event loop has ended."""
        for run in self._runs.values():
            run.coordinator.rest()
        self._reader.close()
        self._journal.close()

    def _store(self, run: str) -> InFlight:
        store = open_checkpoints(checkpoints_of(self.journal, run) if self.shared is None else f"{self.shared.rstrip('/')}/{run}")

        def awaited(member: int, generation: int) -> bool:
            known = self._runs.get(run)  # until it is, nobody knows what is to come
            return known is None or (known.has(member, generation) and not known.coordinator.over)

        return InFlight(store, awaited)

    def _begun(self, plan: Plan) -> Coordinator:
        return Coordinator.start(plan.pbt, self._journal, plan.name, self._store(plan.name), info=dict(plan.info), observers=self._observers)

    def _is_same(self, plan: Plan) -> bool:
        (asked,) = plan.pbt.init()
        there = next(iter(events_of(self._reader, plan.name)))
        assert isinstance(asked, Started)
        assert isinstance(there, Started)
        return all(getattr(asked, name) == getattr(there, name) for name in ("settings", "space", "strategies", "initial"))
