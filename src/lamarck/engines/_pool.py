"""The loop of whoever provides workers: without threads, it waits until any of them says something, asks the coordinator, and answers.

A worker that dies is replaced; nothing ever restarts because of a decision. How a worker begins, what carries its words and how it ends is a
matter of each engine.
"""

from __future__ import annotations

import abc
import logging
import math
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Generic, Literal, TypeVar

from lamarck import _errors, codec
from lamarck._errors import ReportError, StaleReport, TrainingError
from lamarck._signals import STOPS, raise_for, say, stoppable
from lamarck.coordinator import Coordinator
from lamarck.engines import _talk as t
from lamarck.types import Failure, Report

__all__ = ["LOOK", "Pool", "Slot"]

logger = logging.getLogger("lamarck")

_STARTS = 3
"""How often in a row a worker may die before it is ready."""

_GRACE = 5.0
"""Seconds that intervals in progress get on SIGTERM or SIGHUP: those who send it kill soon, Docker after 10 seconds."""

LOOK = 0.5
"""Seconds after which somebody looks round though nothing is said."""


class Slot(abc.ABC):
    """A worker's place, and the worker that fills it now.

    Attributes:
        begun: Whether the worker has said anything.
        waiting: Whether it has been promised an answer that is not known yet.
        deadline: When its interval counts as hung, on the clock of the pool.
        deaths: How many workers in a row have died here before they had begun.
    """

    def __init__(self) -> None:
        self.begun = self.waiting = False
        self.deadline: float | None = None
        self.deaths = 0

    @property
    @abc.abstractmethod
    def filled(self) -> bool:
        """Whether there is a worker that we still talk to."""

    @abc.abstractmethod
    def tell(self, data: bytes) -> None:
        """Says something to the worker.

        Raises:
            OSError: If it is gone.
        """

    def fill(self) -> None:
        """Notes that another worker has just begun here."""
        self.begun = self.waiting = False
        self.deadline = None

    def hang_up(self) -> None:
        """Says and hears nothing any more."""
        self.waiting, self.deadline = False, None


_Place = TypeVar("_Place", bound=Slot)


class Pool(abc.ABC, Generic[_Place]):
    """The loop.

    Args:
        slots: The workers' places.
        coordinator: The run.
        time_limit: Seconds after which an interval counts as hung.
    """

    worker: ClassVar[str]
    """What a worker is called in messages."""

    cure: ClassVar[str]
    """What to do about workers that cannot begin."""

    def __init__(self, slots: Sequence[_Place], coordinator: Coordinator, time_limit: float | None) -> None:
        self.slots, self.coordinator, self.time_limit = slots, coordinator, time_limit
        self.answers: list[Callable[[], object]] = []
        self.stopping: int | None = None
        self.until = math.inf
        self.shown = False
        self.clock, self.looked = 0.0, time.monotonic()

    def run(self) -> None:
        """Trains until the run is over.

        Raises:
            TrainingError: If the training function breaks its contract, or workers cannot begin.
            KeyboardInterrupt: On Ctrl-C, after the intervals in progress have been reported; on a second one at once.
            SystemExit: Likewise on SIGTERM or SIGHUP, for which nobody waits longer than a few seconds.
        """
        try:
            with stoppable(STOPS, self._asked), stoppable((signal.SIGTSTP,), self.paused):
                for slot in self.slots:
                    self.start(slot)
                while any(slot.filled for slot in self.slots) and time.monotonic() < self.until:
                    self._turn()
        finally:
            self.end()
        if self.stopping is not None:
            raise_for(self.stopping)

    # ---- what each engine knows --------------------------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def start(self, slot: _Place) -> None:
        """Puts a new worker into a place."""

    @abc.abstractmethod
    def heard(self, timeout: float) -> Iterable[tuple[_Place, bytes | None]]:
        """Waits until somebody says something, or for some seconds; yields who says what, ``None`` for a worker that has died."""

    @abc.abstractmethod
    def bury(self, slot: _Place, *, hung: bool) -> str:
        """Ends what is left of a worker and hangs up; returns what it died of.

        Args:
            slot: Its place.
            hung: Whether it lives, and does not come to an end.
        """

    @abc.abstractmethod
    def end(self) -> None:
        """Leaves no worker behind: those that were told to end get a moment to do so."""

    def paused(self, number: int) -> None:
        """Answers Ctrl-Z: stands still until told to go on. Workers do so, too, when they next have something to say."""
        signal.raise_signal(signal.SIGSTOP)

    # ---- what all have in common -------------------------------------------------------------------------------------------------------------

    def _asked(self, number: int) -> None:
        """Answers what asks this process to stop; whoever does so twice wants no more to be waited for."""
        if self.stopping is not None:
            raise_for(number)
        self.stopping = number
        busy = f"{sum(slot.filled and slot.begun and not slot.waiting for slot in self.slots)} interval(s) in progress"
        if number == signal.SIGINT:
            say(f"\nstopping when {busy} are reported; Ctrl-C again stops at once")
        else:
            self.until = time.monotonic() + _GRACE
            say(f"\n{signal.Signals(number).name}: stopping when {busy} are reported, or in {_GRACE:g} seconds")

    def _turn(self) -> None:
        """Waits until somebody says something, dies or hangs, and answers."""
        deadlines = [slot.deadline for slot in self.slots if slot.deadline is not None]
        heard = list(self.heard(max(0.0, min([LOOK, *(deadline - self.clock for deadline in deadlines)]))))
        self._tick()
        with self.coordinator.batch() as self.answers:  # whoever speaks now is heard with one flush of the journal
            for slot, said in heard:
                if said is None:
                    self._died(slot, "lost")
                else:
                    slot.begun = True
                    self._listen(slot, said)
            for slot in self.slots:
                if slot.deadline is not None and self.clock > slot.deadline:
                    self._died(slot, "timeout")
            self._serve_waiting()

    def _tick(self) -> None:
        """Moves the clock of the deadlines on. It stands still while this process does, as after Ctrl-Z: the workers may have done so, too."""
        now = time.monotonic()
        self.clock, self.looked = self.clock + min(now - self.looked, 2 * LOOK), now

    def _listen(self, slot: _Place, data: bytes) -> None:
        kind, body = data[:1], data[1:]
        if kind == t.BROKEN:
            name, _, said = body.decode().partition("\n")
            raise getattr(_errors, name, TrainingError)(said)  # what ends the run is the same error as in one process
        slot.deadline = None
        message: Report | Failure | None = None
        if kind == t.MESSAGE:
            encoded, _, trace = body.partition(b"\n")
            message = codec.decode(encoded)  # type: ignore[assignment]
            if isinstance(message, Failure) and message.kind == "error":
                if self.stopping is None:  # later, whoever asked us to may have ended what it needs
                    if not self.shown:
                        self.shown = True
                        logger.warning("member %d failed; later failures are only counted\n%s", message.member, trace.decode())
                    self.coordinator.exchange(id(slot), message, claim=False)
                self._answer(slot, t.HEARD)
                return
        self._exchange(slot, message)

    def _exchange(self, slot: _Place, message: Report | Failure | None) -> None:
        try:
            interval = self.coordinator.exchange(id(slot), message, claim=self.stopping is None)
        except StaleReport as error:
            self._answer(slot, t.STALE + str(error).encode())
        except ReportError as error:
            self._answer(slot, t.REFUSED + str(error).encode())
        else:
            slot.waiting = interval is None
            if interval is not None:
                slot.deaths = 0
                slot.deadline = None if self.time_limit is None else self.clock + self.time_limit
                self._answer(slot, t.INTERVAL + codec.encode(interval))

    def _serve_waiting(self) -> None:
        ending = self.coordinator.over or self.stopping is not None
        for slot in self.slots:
            if slot.waiting and ending:
                self._answer(slot, t.OVER)
            elif slot.waiting:
                self._exchange(slot, None)
            elif ending and not slot.begun:
                slot.hang_up()  # nobody waits for one that has not begun

    def _answer(self, slot: _Place, data: bytes) -> None:
        """Says something to a worker as soon as the journal has what it stands on."""

        def send() -> None:
            try:
                if slot.filled:
                    slot.tell(data)
            except OSError:
                self._died(slot, "lost")
            if data == t.OVER:
                slot.hang_up()

        self.answers.append(send)

    def _died(self, slot: _Place, kind: Literal["lost", "timeout"]) -> None:
        """Replaces a worker that is gone; what it was doing is handed out again."""
        if not slot.filled:
            return
        cause = self.bury(slot, hung=kind == "timeout")
        member = self.coordinator.release(id(slot))
        if self.stopping is not None:  # by the one who asked us to: no fault of the member's
            return
        if member is not None:
            interval = self.coordinator.population.members[member].interval
            assert interval is not None
            message = f"no report within {self.time_limit:g} s" if kind == "timeout" else f"the {self.worker} died: {cause}"
            failure = Failure(member=member, generation=interval.generation, kind=kind, message=message)
            self.coordinator.exchange(id(slot), failure, claim=False)
        elif not slot.begun:
            slot.deaths += 1
            if slot.deaths >= _STARTS and not self.coordinator.over:
                raise TrainingError(f"a {self.worker} died {slot.deaths} times before its first interval ({cause}): {self.cure}")
        if not self.coordinator.over:
            self.start(slot)
