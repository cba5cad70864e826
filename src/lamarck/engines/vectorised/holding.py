"""Reports whose weights are not saved yet are not acknowledged yet: a journal and a store that wait for each other.

Between two checkpoints of the stack, the weights that a report names exist on the device alone. If such a report were in the journal, a kill
would leave it naming nothing. So its events wait here until the next checkpoint is safe, and are written after it; what the journal on the disk
still names is not swept meanwhile. A kill takes the run back to the last checkpoint, from where it makes the same decisions again; so does a
failure, in the same process.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, final

from lamarck.checkpoints import Checkpoints
from lamarck.coordinator import Coordinator
from lamarck.journal import Journal

__all__ = ["Gate", "gated"]


@final
class Gate:
    """Open: everything goes through. Closed: it waits.

    Attributes:
        closed: Which of the two.
        waiting: Events that wait.
    """

    def __init__(self) -> None:
        self.closed = False
        self.waiting: list[bytes] = []

    def reopen(self) -> None:
        """Throws away what waits."""
        self.waiting.clear()
        self.closed = False


@contextmanager
def gated(coordinator: Coordinator) -> Iterator[Gate]:
    """Puts a gate before the coordinator's journal and store for as long as the engine runs."""
    gate, journal, checkpoints = Gate(), coordinator.journal, coordinator.checkpoints
    if journal is not None:  # without one nothing outlives the process, so no event has to wait
        coordinator.journal = _Waiting(journal, gate)
    coordinator.checkpoints = _Unswept(checkpoints, gate)
    try:
        yield gate
    finally:
        coordinator.rest()
        coordinator.journal, coordinator.checkpoints = journal, checkpoints


@final
class _Waiting(Journal):
    """A journal whose newest events may still be in memory."""

    __slots__ = ("_gate", "_journal")

    def __init__(self, journal: Journal, gate: Gate) -> None:
        self._journal, self._gate = journal, gate

    def append(self, run: str, after: int, events: Sequence[bytes]) -> int:
        waiting = self._gate.waiting
        if self._gate.closed:
            waiting.extend(events)
            return after + len(events)
        last = self._journal.append(run, after - len(waiting), [*waiting, *events])
        waiting.clear()
        return last

    def read(self, run: str, after: int = 0) -> Iterator[bytes]:
        kept = 0
        for event in self._journal.read(run):
            kept += 1
            if kept > after:
                yield event
        yield from islice(self._gate.waiting, max(0, after - kept), None)

    def runs(self) -> list[str]:
        return self._journal.runs()

    def close(self) -> None:
        self._journal.close()


@final
class _Unswept(Checkpoints):
    """A store that keeps what the journal on the disk may still name."""

    __slots__ = ("_checkpoints", "_gate", "_later")

    def __init__(self, checkpoints: Checkpoints, gate: Gate) -> None:
        self._checkpoints, self._gate = checkpoints, gate
        self._later: set[str] = set()

    @property
    def location(self) -> str | None:
        return self._checkpoints.location

    def flushing(self, *, every: int = 1, overlap: bool = False) -> Checkpoints:
        return _Unswept(self._checkpoints.flushing(every=every, overlap=overlap), self._gate)

    def settle(self, names: Collection[str]) -> None:
        self._checkpoints.settle(names)

    def put(self, member: int, generation: int, state: Any) -> str:
        return self._checkpoints.put(member, generation, state)

    def get(self, name: str) -> Any:
        return self._checkpoints.get(name)

    def names(self) -> list[str]:
        return self._checkpoints.names()

    def size(self, name: str) -> int:
        return self._checkpoints.size(name)

    def sweep(self, live: Collection[str], among: Collection[str] | None = None) -> list[str]:
        if self._gate.closed:
            self._later.update(among or ())
            return []
        swept = self._checkpoints.sweep(live, among if among is None else {*among, *self._later})
        self._later.clear()
        return swept
