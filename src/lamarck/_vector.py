"""A persistent vector: immutable, and a copy with one item changed shares all but a small part of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Generic, TypeVar, final

__all__ = ["Vector"]

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
