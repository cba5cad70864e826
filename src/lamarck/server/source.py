"""What viewers may ask: which runs there are, what has happened in them, what happens next, and who is at it."""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

__all__ = ["MemberState", "Source"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberState:
    """What a member is doing at this moment.

    Args:
        member: Which one, from 0.
        state: ``"training"``: a worker holds its interval and is heard of; ``"lost"``: its interval was handed out, and nobody trains it now;
            ``"waiting"``: its next interval is not handed out yet; ``"retired"``; ``"done"``: it has trained all its generations, or the run
            is over.
        worker: Who trains it, or ``None``.
    """

    member: int
    state: Literal["training", "waiting", "lost", "retired", "done"]
    worker: str | None = None


class Source(abc.ABC):
    """Where a page gets what it shows: a running service, or a journal file.

    Events are numbered 1, 2, 3 ... within a run, as in the journal, and are its bytes: `lamarck.codec.decode_event` reads them. Everything here
    may be called from the event loop.
    """

    __slots__ = ()

    @abc.abstractmethod
    def runs(self) -> list[str]:
        """Returns the names of all runs, sorted."""

    @abc.abstractmethod
    def events(self, run: str, after: int = 0, limit: int | None = None) -> list[bytes]:
        """Returns the events of a run that are safe by now, in order.

        Args:
            run: Name of the run.
            after: Number of the last event that is not wanted.
            limit: Most events that are wanted; ``None`` for all. No more are read.

        Raises:
            RunMissing: If there is no such run.
        """

    @abc.abstractmethod
    def follow(self, run: str, after: int = 0) -> AsyncIterator[tuple[int, bytes]]:
        """Yields the number and the bytes of each event: those that are there, and then each as soon as it is safe.

        It ends when the source is closed, not when the run is over.

        Args:
            run: Name of the run.
            after: Number of the last event that is not wanted.

        Raises:
            RunMissing: If there is no such run.
        """

    @abc.abstractmethod
    def members(self, run: str) -> list[MemberState]:
        """Returns what each member is doing, by its number.

        Raises:
            RunMissing: If there is no such run.
        """
