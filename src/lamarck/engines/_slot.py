"""A worker's place among the local processes."""

from __future__ import annotations

from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import final

from lamarck.engines._child import Assignment
from lamarck.engines._pool import Slot
from lamarck.engines._start import is_alive

__all__ = ["ProcessSlot"]


@final
class ProcessSlot(Slot):
    """A place for a process.

    Args:
        assignment: What each process in it is told.
    """

    def __init__(self, assignment: Assignment) -> None:
        super().__init__()
        self.assignment = assignment
        self.process: BaseProcess | None = None
        self.pipe: Connection | None = None
        self.watched = True

    @property
    def filled(self) -> bool:
        """Whether there is a pipe; see `Slot.filled`."""
        return self.pipe is not None

    def ends(self) -> list[Connection | int]:
        """What to wait at for its words and its end: a dead worker's pipe stays open for as long as a process lives that it has forked."""
        if self.pipe is None or self.process is None:
            return []
        return [self.pipe, self.process.sentinel] if self.watched else [self.pipe]

    def said(self) -> bytes | None:
        """Returns what it says; nothing if it is only the fork server that has died, ``None`` if it has itself."""
        assert self.pipe is not None
        assert self.process is not None
        try:
            if self.pipe.poll():
                return self.pipe.recv_bytes()
        except (EOFError, OSError):
            return None
        self.watched = False
        return b"" if is_alive(self.process) else None

    def tell(self, data: bytes) -> None:
        """Sends it through the pipe; see `Slot.tell`."""
        assert self.pipe is not None
        self.pipe.send_bytes(data)

    def hang_up(self) -> None:
        """Closes the pipe; see `Slot.hang_up`."""
        super().hang_up()
        if self.pipe is not None:
            self.pipe.close()
        self.pipe = None
