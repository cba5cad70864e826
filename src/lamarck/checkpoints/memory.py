"""Checkpoints in memory, for tests, toys and whatever is trained in one process."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, final

from lamarck._errors import CheckpointMissing
from lamarck.checkpoints.base import Checkpoints
from lamarck.checkpoints.rows import parted, row_of, whole
from lamarck.checkpoints.tree import copy, flatten

__all__ = ["MemoryCheckpoints"]


@final
class MemoryCheckpoints(Checkpoints):
    """Keeps copies, as long as the process lives.

    Names are ``"member-generation"``; a second state of the same interval gets a name of its own, ``"member-generation+1"`` and so on.

    Example:
        >>> checkpoints = MemoryCheckpoints()
        >>> state = {"theta": [0.9, 0.9]}
        >>> name = checkpoints.put(3, 7, state)
        >>> state["theta"][0] = 0.0
        >>> name, checkpoints.get(name)
        ('3-7', {'theta': [0.9, 0.9]})
        >>> checkpoints.sweep(live=[])
        ['3-7']
    """

    __slots__ = ("_states",)

    def __init__(self) -> None:
        self._states: dict[str, Any] = {}

    @property
    def location(self) -> None:
        """No other process sees this memory; see `Checkpoints.location`."""
        return

    def adopt(self, states: Mapping[str, Any]) -> None:
        """Takes over states from another store, under the names that they have there.

        Args:
            states: States by name; they are not copied and must not be changed afterwards.
        """
        self._states.update(states)

    def flushing(self, *, every: int = 1, overlap: bool = False) -> MemoryCheckpoints:
        """Memory has nothing to flush; see `Checkpoints.flushing`."""
        return self

    def settle(self, names: Collection[str]) -> None:
        """Memory has nothing to flush; see `Checkpoints.settle`."""

    def put(self, member: int, generation: int, state: Any) -> str:
        """Keeps a copy of a state; see `Checkpoints.put`."""
        mine = copy(state)
        name, tries = f"{member}-{generation}", 0
        while self._states.setdefault(name, mine) is not mine:  # one step, so that two threads never share a name
            tries += 1
            name = f"{member}-{generation}+{tries}"
        return name

    def get(self, name: str) -> Any:
        """Returns a copy of the state; see `Checkpoints.get`."""
        name, row = parted(name)
        return copy(self._state(name)) if row is None else row_of(self._state(name), row)

    def names(self) -> list[str]:
        """Returns the names in the store; see `Checkpoints.names`."""
        return sorted(self._states)

    def size(self, name: str) -> int:
        """Returns the bytes of a state's arrays; see `Checkpoints.size`."""
        return sum(leaf.data.nbytes for leaf in flatten(self._state(whole(name)))[1].values())

    def sweep(self, live: Collection[str], among: Collection[str] | None = None) -> list[str]:
        """Forgets states; see `Checkpoints.sweep`."""
        keep = frozenset(map(whole, live))
        candidates = self.names() if among is None else set(map(whole, among))
        gone = object()
        return sorted(name for name in candidates if name not in keep and self._states.pop(name, gone) is not gone)

    def _state(self, name: str) -> Any:
        try:
            return self._states[name]
        except KeyError:
            raise CheckpointMissing(f"no checkpoint {name!r} is in memory; it was never put here, or it was swept") from None
