"""Persistent sequences: immutable, and a changed copy shares all but a small part with what it was made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Generic, TypeVar, final

__all__ = ["Tail", "Vector"]

_T = TypeVar("_T")

_BITS = 6
_ROW = 1 << _BITS  # of a vector of 64**2 items as many rows: changing one copies twice 64 references


@final
class Vector(Generic[_T]):
    """A tuple, except that replacing an item costs next to nothing however long it is.

    Args:
        items: What it holds.

    Example:
        >>> before = Vector("abc")
        >>> after = before.replaced(1, "x")
        >>> list(before), list(after), after[1], len(after)
        (['a', 'b', 'c'], ['a', 'x', 'c'], 'x', 3)
    """

    __slots__ = ("_rows", "_size")

    def __init__(self, items: Iterable[_T]) -> None:
        every = list(items)
        self._rows = [every[first : first + _ROW] for first in range(0, len(every), _ROW)]  # shared between vectors, and never changed
        self._size = len(every)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> _T:
        if index < 0:
            raise IndexError(index)
        return self._rows[index >> _BITS][index & _ROW - 1]

    def __iter__(self) -> Iterator[_T]:
        return chain.from_iterable(self._rows)

    def __eq__(self, other: object) -> bool:
        return self._rows == other._rows if isinstance(other, Vector) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Vector({list(self)!r})"

    def replaced(self, index: int, item: _T) -> Vector[_T]:
        """Returns the vector with another item in one place.

        Args:
            index: The place, from 0.
            item: What is to be there.

        Raises:
            IndexError: If there is no such place.
        """
        if index < 0:
            raise IndexError(index)
        after: Vector[_T] = object.__new__(Vector)
        after._rows, after._size = self._rows.copy(), self._size
        row = after._rows[index >> _BITS] = self._rows[index >> _BITS].copy()
        row[index & _ROW - 1] = item
        return after


@final
class Tail(Generic[_T]):
    """The last items of an endless row: adding one costs next to nothing, and what is long past is forgotten.

    Args:
        room: How many it holds at the least once there were as many, at least 1; up to 64 more are kept, because they go by rows.

    Example:
        >>> tail = Tail(2)
        >>> for letter in "abc":
        ...     tail = tail.added(letter)
        >>> list(tail)
        ['a', 'b', 'c']
    """

    __slots__ = ("_newest", "_room", "_rows")

    def __init__(self, room: int) -> None:
        self._room = (room - 1 >> _BITS) + 1  # full rows
        self._rows: tuple[tuple[_T, ...], ...] = ()
        self._newest: tuple[_T, ...] = ()

    def __iter__(self) -> Iterator[_T]:
        return chain(chain.from_iterable(self._rows), self._newest)

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, Tail) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Tail({list(self)!r})"

    def added(self, item: _T) -> Tail[_T]:
        """Returns the row with another item at its end."""
        after: Tail[_T] = object.__new__(Tail)
        after._room, after._rows, after._newest = self._room, self._rows, (*self._newest, item)
        if len(after._newest) == _ROW:
            after._rows, after._newest = (*self._rows[-self._room + 1 or len(self._rows) :], after._newest), ()
        return after
