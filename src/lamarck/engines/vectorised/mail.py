"""Large things between processes of one machine: through a file without a name that all of them have open, past the pipes.

A pipe carries 64 KiB at a time and wakes both ends for each; weights are many megabytes. So they are written into a file (in memory, where the
system has such files), the pipe says where they are, and whoever needs them reads them from there. Nothing is left when the processes are gone,
however they end.
"""

from __future__ import annotations

import mmap
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing.reduction import DupFd
from typing import Any, NamedTuple, final

import numpy as np

__all__ = ["Letter", "Mail", "nameless"]

_STRETCH = 1 << 40
"""Bytes of the file between two writers; only what is written takes memory."""
_ALIGNED = 64
"""Every buffer begins at a multiple of this, as vector units like it."""


class Letter(NamedTuple):
    """Says where in the file something is; small enough for a pipe.

    Args:
        pickled: The thing without its buffers.
        start: Where its buffers begin.
        sizes: Bytes of each.
    """

    pickled: bytes
    start: int
    sizes: tuple[int, ...]


@final
class Mail:
    """The file, and a stretch of it that this alone writes into; all of it can be read.

    Args:
        file: Descriptor of the file.
        number: Which stretch, from 0.
    """

    def __init__(self, file: int, number: int) -> None:
        self._file, self._number = file, number
        self.clear()

    def __reduce__(self) -> tuple[Any, ...]:
        return _joined, (DupFd(self._file), self._number)  # only to a process that is being started

    def clear(self) -> None:
        """Says that everything written so far has been read: its place is used again."""
        self._end = self._number * _STRETCH

    def write(self, value: Any) -> Letter:
        """Writes a value down.

        Args:
            value: What can be pickled.

        Raises:
            OSError: If there is no room.
        """
        start = self._end = _aligned(self._end)
        sizes = list[int]()

        def beside(buffer: pickle.PickleBuffer) -> None:
            raw = buffer.raw()
            _whole(os.pwritev, self._file, raw, self._end)
            self._end = _aligned(self._end + raw.nbytes)
            sizes.append(raw.nbytes)

        return Letter(pickle.dumps(value, protocol=5, buffer_callback=beside), start, tuple(sizes))

    def read(self, letter: Letter) -> Any:
        """Returns what a letter stands for; its arrays have memory of their own."""
        buffers = [np.empty(size, dtype=np.uint8).data for size in letter.sizes]
        for buffer, at in zip(buffers, _places(letter), strict=True):
            _whole(os.preadv, self._file, buffer, at)
        return pickle.loads(letter.pickled, buffers=buffers)  # noqa: S301 - written by our own parent or siblings, a moment ago

    def map(self, letter: Letter) -> Any:
        """Returns what a letter stands for, in memory that all share who do so; whoever writes into it gets a copy of that page.

        The letter's place must not be used again.
        """
        begin = letter.start - letter.start % mmap.ALLOCATIONGRANULARITY
        places = list(_places(letter))
        end = max(at + size for at, size in zip(places, letter.sizes, strict=True))
        whole = memoryview(mmap.mmap(self._file, end - begin, access=mmap.ACCESS_COPY, offset=begin))
        buffers = [whole[at - begin : at - begin + size] for at, size in zip(places, letter.sizes, strict=True)]
        return pickle.loads(letter.pickled, buffers=buffers)  # noqa: S301 - written by our own parent, a moment ago


def nameless() -> int:
    """Returns the descriptor of a new file without a name, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("lamarck")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _aligned(at: int) -> int:
    return -(-at // _ALIGNED) * _ALIGNED


def _places(letter: Letter) -> Iterator[int]:
    at = letter.start
    for size in letter.sizes:
        yield at
        at = _aligned(at + size)


def _joined(file: Any, number: int) -> Mail:
    return Mail(file.detach(), number)


def _whole(move: Callable[[int, list[memoryview], int], int], file: int, buffer: memoryview, at: int) -> None:
    """Reads or writes a whole buffer: one call moves at most 2 GiB."""
    while buffer.nbytes:
        moved = move(file, [buffer], at)
        if not moved:
            raise EOFError("a letter ends early")
        buffer, at = buffer[moved:], at + moved
