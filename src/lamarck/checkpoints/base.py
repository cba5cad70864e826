"""What a store of checkpoints is."""

from __future__ import annotations

import abc
from collections.abc import Collection
from typing import Any, Protocol

__all__ = ["Checkpoints", "Weights"]


class Weights(Protocol):
    """What a worker needs of a store; see `Checkpoints`, which has more."""

    def put(self, member: int, generation: int, state: Any) -> str:
        """Keeps a state and returns its name."""

    def get(self, name: str) -> Any:
        """Returns a state that was put."""


class Checkpoints(abc.ABC):
    """A store of immutable states, each under the name that `put` gave it.

    A state consists of ``dict`` (keys: ``str`` or ``int``), ``list``, ``tuple``, ``None``, ``bool``, ``int``, ``float``, ``str``, ``bytes``,
    NumPy arrays and scalars, and PyTorch tensors; nothing in it is ever pickled. What `get` returns equals what was put, has memory of its own,
    may be changed, and lives on the CPU. Subclasses of ``dict`` come back as ``dict``; objects that were the same come back as equal ones.

    Every implementation passes `lamarck.testing.checkpoints.check_checkpoints`. All of them may be used by several threads at once.
    """

    __slots__ = ()

    @property
    @abc.abstractmethod
    def location(self) -> str | None:
        """What `lamarck.checkpoints.open_checkpoints` takes to open the same store in another process; ``None`` if no other process can."""

    @abc.abstractmethod
    def flushing(self, *, every: int = 1, overlap: bool = False) -> Checkpoints:
        """Returns the same store with another habit of flushing; a store that leaves nothing unflushed returns itself.

        Args:
            every: Of each member, every how many generations a state is flushed to the disk before `put` returns.
            overlap: Whether `put` returns while the flush still goes on, beside whatever comes next.
        """

    @abc.abstractmethod
    def settle(self, names: Collection[str]) -> None:
        """Flushes to the disk what was not flushed when it was put.

        Args:
            names: Of which states; a name that is not in the store is no error.

        Raises:
            CheckpointError: If the store refuses.
        """

    @abc.abstractmethod
    def put(self, member: int, generation: int, state: Any) -> str:
        """Keeps a state.

        When it returns, the state is kept whole, whatever happens to a process, and unless `flushing` says otherwise also if the power fails;
        when it raises, nothing has changed.

        Args:
            member: Whose state it is, from 0.
            generation: At the end of which interval, from 0.
            state: What to keep; it may be changed as soon as this returns.

        Returns:
            The name, which no other state has or will have.

        Raises:
            CheckpointError: If the state holds something that cannot be kept (the message names the path to it), or cannot be written.
        """

    @abc.abstractmethod
    def get(self, name: str) -> Any:
        """Returns a state that was put.

        Args:
            name: What `put` returned; with ``#7`` behind it, row 7 of a state that holds many members (`lamarck.checkpoints.rows`).

        Raises:
            CheckpointMissing: If there is no such name.
            CheckpointDamaged: If the bytes are not those that were saved.
            CheckpointError: If it cannot be read.
        """

    @abc.abstractmethod
    def names(self) -> list[str]:
        """Returns the names of all states in the store, sorted."""

    @abc.abstractmethod
    def size(self, name: str) -> int:
        """Returns the bytes that a state takes in the store.

        Args:
            name: What `put` returned.

        Raises:
            CheckpointMissing: If there is no such name.
        """

    @abc.abstractmethod
    def sweep(self, live: Collection[str], among: Collection[str] | None = None) -> list[str]:
        """Deletes states that nobody can name any more.

        Args:
            live: Names to keep, as `lamarck.population.Population.live` gives them. Names that are not in the store are no error. A state
                stays as long as any of its rows is named.
            among: Names that may be deleted at all; ``None``, the default, means everything in the store. A running coordinator passes the
                names that it has seen in reports: a state that was put but not yet reported is not live, and must stay. Without ``among``,
                what writers that died have left behind is removed, too.

        Returns:
            The names that were deleted, sorted.

        Raises:
            CheckpointError: If the store refuses.
        """
