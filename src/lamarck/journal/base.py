"""What a journal is: two verbs over bytes."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from lamarck._errors import JournalConflict, JournalError

__all__ = ["Journal", "checked", "conflict"]


class Journal(abc.ABC):
    """A list of byte strings for each run, which only ever grows, and which has one writer at a time.

    A journal knows nothing of what the bytes mean. The events of a run are numbered 1, 2, 3 ... without a gap; whoever appends says after which
    number, so a second writer, who has not seen the first one's events, is refused instead of mixed in.

    Every implementation passes `lamarck.testing.journal.check_journal`. All of them may be used by several threads at once.
    """

    __slots__ = ()

    @abc.abstractmethod
    def append(self, run: str, after: int, events: Sequence[bytes]) -> int:
        """Adds events to the end of a run, all or none.

        When it returns, the events are as durable as the journal is; when it raises, none of them is in the journal for its readers.

        Args:
            run: Name of the run.
            after: Number of the run's last event as the caller knows it, 0 for a run that has none.
            events: What to add, in order. None at all is allowed and writes nothing.

        Returns:
            The number of the run's last event now.

        Raises:
            JournalConflict: If the run's last event is not ``after``: somebody else writes the same run.
            JournalError: If the events could not be written.
        """

    @abc.abstractmethod
    def read(self, run: str, after: int = 0) -> Iterator[bytes]:
        """Returns the events of a run that were acknowledged when this was called, in order.

        Args:
            run: Name of the run; a run that was never written has no events.
            after: Number of the last event that is not wanted.

        Raises:
            JournalError: If the journal cannot be read, here or while iterating.
        """

    @abc.abstractmethod
    def runs(self) -> list[str]:
        """Returns the names of all runs that have an event, sorted."""

    @abc.abstractmethod
    def close(self) -> None:
        """Lets go of files and connections; any other call afterwards raises `JournalError`. A second ``close`` does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def conflict(run: str, after: int, last: int) -> JournalConflict:
    """Returns the error for an append that does not continue the run."""
    return JournalConflict(
        f"somebody else writes run {run!r}: it has {last} events, and {after} were known here. Nothing was written. "
        "Let one process write a run: stop the other one, or resume from the journal"
    )


def checked(events: Sequence[bytes]) -> None:
    """Refuses what is not a sequence of bytes.

    Raises:
        JournalError: If it is not.
    """
    for event in events:
        if type(event) is not bytes:
            raise JournalError(f"got an event that is a {type(event).__name__}; events are bytes: encode them first. Nothing was written")
