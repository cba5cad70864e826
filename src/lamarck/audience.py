"""Who is told what happens in a run."""

from __future__ import annotations

import abc
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import final

from lamarck._checks import one_line
from lamarck.history import History
from lamarck.population import Population
from lamarck.types import Assigned, Ended, Event, Failed, Reported, Retired, Started

__all__ = ["Audience", "LastingObserver", "Observer"]

Observer = Callable[[Event, Population], None]
"""Is told each event after it is safe, with the state after it. What it raises is logged and goes no further."""

logger = logging.getLogger("lamarck")

_ORDINARY = (Started, Assigned, Reported, Ended)
"""Events that are no warning."""


class LastingObserver(abc.ABC):
    """An observer that wants to know the past of a run that goes on, and may have work left when training is over."""

    @abc.abstractmethod
    def __call__(self, event: Event, population: Population) -> None:
        """Takes in an event."""

    @abc.abstractmethod
    def recall(self, history: History) -> None:
        """Takes in all that has happened to a run that goes on, before anything new."""

    @abc.abstractmethod
    def close(self) -> None:
        """Finishes what is left to do: the run is over, or this process stops training it."""


@final
class Audience:
    """All observers of a run; the log hears of everything as well.

    What an observer raises is logged once, and neither the run nor another observer is any the worse for it.

    Args:
        observers: Who is told.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)
        self._broken: list[Observer] = []

    def tell(self, entries: Sequence[tuple[Event, Population]]) -> None:
        """Tells everybody some events, each with the state after it."""
        quiet = not logger.isEnabledFor(logging.INFO)
        for event, _ in entries:
            if not (quiet and isinstance(event, _ORDINARY)):
                _log(event)
        for observer in self._observers:
            self._guarded(observer, partial(_tell, observer, entries))

    def recall(self, past: Callable[[], History]) -> None:
        """Tells those who ask for it what has happened; nothing is read if nobody does."""
        lasting = [observer for observer in self._observers if isinstance(observer, LastingObserver)]
        if lasting:
            history = past()
            for observer in lasting:
                self._guarded(observer, partial(observer.recall, history))

    def close(self) -> None:
        """Lets everybody finish."""
        for observer in self._observers:
            if isinstance(observer, LastingObserver):
                self._guarded(observer, observer.close)

    def _guarded(self, observer: Observer, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception:
            if not any(observer is broken for broken in self._broken):
                self._broken.append(observer)
                logger.exception("an observer failed; the run goes on, and this is said only once: %r", observer)


def _tell(observer: Observer, entries: Sequence[tuple[Event, Population]]) -> None:
    for event, population in entries:
        observer(event, population)


def _log(event: Event) -> None:
    """Writes one line about an event."""
    match event:
        case Started():
            settings = event.settings
            logger.info(
                "started: population of %d, %d generations of %d steps", settings.population_size, settings.generations, settings.interval
            )
        case Assigned():
            it = event.interval
            logger.info("member %d, generation %d: %s; %s", it.member, it.generation, it.info.get("reason", ""), dict(it.hparams))
        case Reported():
            report = event.report
            logger.info("member %d, generation %d: value %g at step %d", report.member, report.generation, report.value, report.step)
        case Failed():
            failure = event.failure
            level = logging.INFO if failure.kind == "error" else logging.WARNING  # the first error has been shown by whoever met it
            where, said = (failure.member, failure.generation, failure.kind), one_line(failure.message)
            logger.log(level, "member %d, generation %d failed (%s): %s", *where, said)
        case Retired():
            logger.warning("member %d retired: %s", event.member, one_line(event.reason))
        case Ended():
            logger.info("ended: %s", event.reason)
        case _:
            logger.warning("checkpoint %s of member %d is damaged and will not be used", one_line(event.checkpoint), event.member)
