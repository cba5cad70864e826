"""A worker's place among the local processes."""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import final

from lamarck.engines._child import Assignment
from lamarck.engines._start import is_alive

__all__ = ["Slot"]


@final
@dataclass(slots=True)
class Slot:
    """A worker's place: what it was told, and the process that fills it now. Its deadline is on the clock of the pool."""

    assignment: Assignment
    process: BaseProcess | None = None
    pipe: Connection | None = None
    watched: bool = True
    waiting: bool = False
    deadline: float | None = None
    deaths: int = 0

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

    def fill(self, process: BaseProcess, pipe: Connection) -> None:
        """Puts a process that has just begun into the place."""
        self.process, self.pipe, self.watched, self.waiting, self.deadline = process, pipe, True, False, None

    def hang_up(self) -> None:
        """Says and hears nothing any more."""
        if self.pipe is not None:
            self.pipe.close()
        self.pipe, self.waiting, self.deadline = None, False, None
