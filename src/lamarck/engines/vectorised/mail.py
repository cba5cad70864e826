"""Large things between processes of one machine: through a file without a name that all of them have open, past the pipes.

A pipe carries 64 KiB at a time and wakes both ends for each; weights are many megabytes. So they are written into a file (in memory, where the
system has such files), the pipe says where they are, and whoever needs them reads them from there. Nothing is left when the processes are gone,
however they end.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Callable
from multiprocessing.reduction import DupFd
from typing import Any, NamedTuple, final

import numpy as np

__all__ = ["Letter", "Mail", "nameless"]

_STRETCH = 1 << 40
"""Bytes of the file between two writers; only what is written takes memory."""


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
        self._end = number * _STRETCH

    def __reduce__(self) -> tuple[Any, ...]:
        return _joined, (DupFd(self._file), self._number)  # only to a process that is being started

    def write(self, value: Any, *, again: bool) -> Letter:
        """Writes a value down.

        Args:
            value: What can be pickled.
            again: Whether everything written before has been read, so that its place can be used again.

        Raises:
            OSError: If there is no room.
        """
        if again:
            self._end = self._number * _STRETCH
        start, sizes = self._end, list[int]()

        def beside(buffer: pickle.PickleBuffer) -> None:
            raw = buffer.raw()
            _whole(os.pwritev, self._file, raw, self._end)
            self._end += raw.nbytes
            sizes.append(raw.nbytes)

        return Letter(pickle.dumps(value, protocol=5, buffer_callback=beside), start, tuple(sizes))

    def read(self, letter: Letter) -> Any:
        """Returns what a letter stands for; its arrays have memory of their own."""
        at, buffers = letter.start, []
        for size in letter.sizes:
            buffer = np.empty(size, dtype=np.uint8).data
            _whole(os.preadv, self._file, buffer, at)
            buffers.append(buffer)
            at += size
        return pickle.loads(letter.pickled, buffers=buffers)  # noqa: S301 - written by our own parent or siblings, a moment ago


def nameless() -> int:
    """Returns the descriptor of a new file without a name, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("lamarck")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _joined(file: Any, number: int) -> Mail:
    return Mail(file.detach(), number)


def _whole(move: Callable[[int, list[memoryview], int], int], file: int, buffer: memoryview, at: int) -> None:
    """Reads or writes a whole buffer: one call moves at most 2 GiB."""
    while buffer.nbytes:
        moved = move(file, [buffer], at)
        if not moved:
            raise EOFError("a letter ends early")
        buffer, at = buffer[moved:], at + moved
