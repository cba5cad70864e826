"""Checkpoints of a run whose workers outlive the server: what they have saved and not yet reported must survive a sweep."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Any, final

from lamarck._errors import CheckpointError
from lamarck.checkpoints import Checkpoints

__all__ = ["InFlight", "key_of"]

logger = logging.getLogger("lamarck.server")


@final
class InFlight(Checkpoints):
    """A store that keeps, in every sweep, what a worker may be about to report.

    A member's generations only rise, and its newest report is always live. So what is not newer than that can never be named any more, and
    what is newer may be on its way here, if the run waits for such a report at all. If a sweep fails, that is only logged: what is left is
    swept the next time.

    Args:
        inner: The store, whose names begin with member and generation.
        awaited: Whether a member may still report a generation.

    Example:
        >>> from lamarck.checkpoints import RemoteCheckpoints
        >>> store = InFlight(RemoteCheckpoints("memory://in-flight"))
        >>> old, newest, coming = (store.put(3, generation, {}) for generation in (6, 7, 8))
        >>> store.sweep([newest]) == [old], store.names() == [newest, coming]
        (True, True)
    """

    __slots__ = ("_awaited", "_inner")

    def __init__(self, inner: Checkpoints, awaited: Callable[[int, int], bool] = lambda member, generation: True) -> None:
        self._inner, self._awaited = inner, awaited

    @property
    def location(self) -> str | None:
        """See `Checkpoints.location`."""
        return self._inner.location

    def flushing(self, *, every: int = 1, overlap: bool = False) -> InFlight:
        """Returns the same store with another habit of flushing; see `Checkpoints.flushing`."""
        return InFlight(self._inner.flushing(every=every, overlap=overlap), self._awaited)

    def settle(self, names: Collection[str]) -> None:
        """Flushes what was not flushed; see `Checkpoints.settle`."""
        self._inner.settle(names)

    def put(self, member: int, generation: int, state: Any) -> str:
        """Keeps a state; see `Checkpoints.put`."""
        return self._inner.put(member, generation, state)

    def get(self, name: str) -> Any:
        """Returns a state; see `Checkpoints.get`."""
        return self._inner.get(name)

    def names(self) -> list[str]:
        """Returns the names in the store; see `Checkpoints.names`."""
        return self._inner.names()

    def size(self, name: str) -> int:
        """Returns the bytes of a state; see `Checkpoints.size`."""
        return self._inner.size(name)

    def sweep(self, live: Collection[str], among: Collection[str] | None = None) -> list[str]:
        """Deletes what nobody can name any more; see `Checkpoints.sweep`."""
        try:
            if among is None:
                newest: dict[int, int] = {}
                for member, generation in map(key_of, live):
                    newest[member] = max(generation, newest.get(member, -1))
                among = [
                    name
                    for name in self._inner.names()
                    if key_of(name)[1] <= newest.get(key_of(name)[0], -1) or not self._awaited(*key_of(name))
                ]
            return self._inner.sweep(live, among)
        except CheckpointError as error:
            logger.warning("old checkpoints could not be deleted, which is tried again later: %s", error)
            return []


def key_of(name: str) -> tuple[int, int]:
    """Returns whose checkpoint it is: member and generation."""
    member, generation = name.split("-")[:2]
    return int(member), int(generation)
