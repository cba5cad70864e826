"""What observers for tracking services have in common: training never waits for them, and what they have missed they make up for.

What is reported goes into a list, and a thread takes it from there to the service. If the service is slow, more is sent at once; if it does not
answer, the thread tries again, later and later, and whatever has piled up meanwhile follows when it is back. Where a run goes on after a kill,
the service is asked what it has, and is sent what it lacks.
"""

from __future__ import annotations

import abc
import logging
import math
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import repeat
from typing import final

from lamarck._errors import ReportError, ServiceError, first_line
from lamarck.audience import LastingObserver
from lamarck.history import History
from lamarck.observers.account import Account, Point
from lamarck.population import Population
from lamarck.record import Record
from lamarck.types import Ended, Event, Reported, Started

__all__ = ["Session", "Tracker", "told"]

logger = logging.getLogger("lamarck")

_BATCH = 10_000
"""Reports that are taken to a service before it is looked what has come in meanwhile."""

_LONGEST_PAUSE = 60.0
"""Seconds between two tries, at most."""

_NOTICED = 2.0
"""Seconds at the end after which somebody who waits is told for what."""


class Session(abc.ABC):
    """A population at a service: found again, or begun. Only the thread of its tracker calls it, and what raises is called again."""

    @abc.abstractmethod
    def known(self, member: int) -> int:
        """Returns the first generation of a member that the service has not.

        It goes by generations because steps may go back: a member whose weights are of no use begins again with older ones.
        """

    @abc.abstractmethod
    def improvements(self) -> int:
        """Returns how many improvements of the best value the service has."""

    @abc.abstractmethod
    def report(self, member: int, points: Sequence[Point]) -> None:
        """Adds reports of a member, by generation."""

    @abc.abstractmethod
    def improve(self, first: int, points: Sequence[Point]) -> None:
        """Adds reports that were better than all before them.

        Args:
            first: How many improvements were before these.
            points: The reports.
        """

    @abc.abstractmethod
    def finish(self, history: History) -> None:
        """Adds what there is to say at the end of the run, and closes it."""

    @abc.abstractmethod
    def leave(self) -> None:
        """Lets go of a run that is not over."""


class Tracker(LastingObserver):
    """An observer that tells a tracking service.

    Args:
        service: What to call the service in messages.
        cure: What to do when the service has not got all, as a command.
        patience: Seconds to wait, when training is over, for the service to take what it has not yet taken; ``None`` for ever.
        clock: Seconds since 1970.
    """

    def __init__(self, *, service: str, cure: str, patience: float | None = 30.0, clock: Callable[[], float] = time.time) -> None:
        self.service, self.cure, self.patience, self.clock = service, cure, patience, clock
        self._courier: _Courier | None = None

    @final
    def __call__(self, event: Event, population: Population) -> None:
        """Takes in an event; this never waits."""
        match event:
            case Started():
                self._begin(Account(event, fresh=True))
            case Reported():
                record = population.members[event.report.member].last
                assert record is not None
                self._working.add(replace(record, metrics=event.report.metrics, trail=()))
            case Ended():
                self._working.end(event.reason)

    @final
    def recall(self, history: History, at: Sequence[float] = ()) -> None:
        """Takes in the past of a run that goes on, or of one on file, and sends of it what the service lacks.

        Args:
            history: The past.
            at: When each of its reports was written, in seconds since 1970; by default now.
        """
        account = Account(history.started, fresh=False, ended=history.ended)
        for record, moment in zip(history.records, at or repeat(self.clock()), strict=False):
            account.add(record, moment)
        self._begin(account)

    @final
    def close(self) -> None:
        """Sends what is left, as long as the patience lasts, and says what could not be sent and what to do."""
        try:
            self.settle()
        except ServiceError as error:
            logger.warning("%s", error)

    @final
    def settle(self) -> None:
        """Sends what is left, as long as the patience lasts.

        Raises:
            ServiceError: If the service has not got all.
        """
        courier, self._courier = self._courier, None
        if courier is not None:
            courier.stop(self.patience)

    @abc.abstractmethod
    def open(self, account: Account) -> Session:
        """Begins a run at the service, or finds it again."""

    def _begin(self, account: Account) -> None:
        self.close()
        self._courier = _Courier(self, account)

    @property
    def _working(self) -> _Courier:
        if self._courier is None:
            raise ReportError(f"the observer for {self.service} has not heard how the run began; give it to `run` or `resume`")
        return self._courier


@final
class _Courier:
    """Takes a run to a service, in a thread of its own.

    Args:
        tracker: Whose.
        account: The run.
    """

    def __init__(self, tracker: Tracker, account: Account) -> None:
        self._tracker, self._account = tracker, account
        self._session: Session | None = None
        self._known: dict[int, int] = {}
        self._sent, self._best, self._improved = 0, -math.inf, 0
        self._over = False
        self._outages = 0
        self._stopping = False
        self._error: Exception | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=f"lamarck-{tracker.service}", daemon=True)
        self._thread.start()

    def add(self, record: Record) -> None:
        """Takes in a report."""
        with self._changed:
            self._account.add(record, self._tracker.clock())
            self._account.ended, self._over = None, False
            self._changed.notify()

    def end(self, reason: str) -> None:
        """Takes in that the run is over."""
        with self._changed:
            self._account.ended = reason
            self._changed.notify()

    def stop(self, patience: float | None) -> None:
        """Sends what is left, and ends the thread.

        Raises:
            ServiceError: If not all could be sent.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(_NOTICED if patience is None else min(_NOTICED, patience))
        if self._thread.is_alive() and (patience is None or patience > _NOTICED):
            logger.warning("waiting for %s to take %s; Ctrl-C leaves it", self._tracker.service, self._left)
            self._thread.join(None if patience is None else patience - _NOTICED)
        if self._thread.is_alive() or self._pending:
            why = "it does not answer" if self._error is None else told(self._error)
            raise ServiceError(
                f"{self._tracker.service} has not got {self._left} of this run ({why}). A journal has all of it, and {self._tracker.cure} "
                "sends what is missing"
            ) from self._error

    @property
    def _left(self) -> str:
        count = len(self._account.points) - self._sent
        return f"{count} reports" if count > 1 else "1 report" if count else "the end"

    @property
    def _pending(self) -> bool:
        return self._session is None or self._sent < len(self._account.points) or (self._account.ended is not None and not self._over)

    def _work(self) -> None:
        pause = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, pause)
                self._changed.wait_for(lambda: self._stopping or self._pending)
                stopping = self._stopping
            try:
                while self._pending:
                    self._deliver()
                if stopping:
                    if self._session is not None and not self._over:
                        self._session.leave()
                    return
            except Exception as error:
                if self._error is None and not stopping:
                    self._outages += 1
                    logger.log(
                        logging.WARNING if self._outages == 1 else logging.INFO,  # one that comes and goes shall not fill the log
                        "%s did not take what it was sent (%s); nothing waits for it, and it is tried again until it does",
                        *(self._tracker.service, told(error)),
                    )
                self._error, pause = error, min(_LONGEST_PAUSE, 2 * pause or 1.0)
                if stopping:
                    return
            else:
                if self._error is not None:
                    level = logging.WARNING if self._outages == 1 else logging.INFO
                    logger.log(level, "%s answers again, and has got everything until now", self._tracker.service)
                self._error, pause = None, 0.0

    def _deliver(self) -> None:
        """Takes some reports, and the end if it has come. What has arrived is not sent again, whatever fails after it."""
        if self._session is None:
            self._session = self._tracker.open(self._account)
        session, account = self._session, self._account
        points = account.points[self._sent : self._sent + _BATCH]
        groups: dict[int, list[Point]] = {}
        for point in points:
            groups.setdefault(point.record.member, []).append(point)
        for member, group in groups.items():
            if member not in self._known:
                self._known[member] = session.known(member)
            if new := [point for point in group if point.record.generation >= self._known[member]]:
                session.report(member, new)
                self._known[member] = new[-1].record.generation + 1
        best, better = self._best, []
        for point in points:
            if point.record.fitness > best:
                best = point.record.fitness
                better.append(point)
        there = session.improvements() - self._improved if better else 0
        if better[max(0, there) :]:
            session.improve(self._improved + max(0, there), better[max(0, there) :])
        self._sent, self._best, self._improved = self._sent + len(points), best, self._improved + len(better)
        if account.ended is not None and self._sent == len(account.points):
            session.finish(account.history())
            self._over = True


def told(error: Exception) -> str:
    """Returns what a service's client says of an error, without the name and password that an address may have in it.

    Example:
        >>> told(OSError("http://me:secret@host:5000/api does not answer"))
        'OSError: http://host:5000/api does not answer'
    """
    return f"{type(error).__name__}: {re.sub(r'//[^/@ ]+@', '//', first_line(error))}"
