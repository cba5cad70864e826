"""Guards that watch a run while it goes on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import final

from lamarck.guards import GUARDS, Finding, Guard, Watch, settings_findings
from lamarck.history import History
from lamarck.population import Population
from lamarck.types import Event, Reported, Retired, Started

__all__ = ["GuardObserver"]

logger = logging.getLogger("lamarck")

_LEVELS = {"note": logging.INFO, "warning": logging.WARNING}


@final
class GuardObserver:
    """Asks the guards when a run begins and after each of its generations, and logs what they find: warnings as warnings, notes as info.

    Each thing is said once in a run. A resumed run has a past that the guards need: without it they say so and stay silent.

    Args:
        past: History of the run that is resumed. What it shows has been said, and is not logged again.
        guards: Whom to ask.

    Attributes:
        findings: Everything found until now, the past included.

    Example:
        >>> import lamarck as lk
        >>> def train(worker):
        ...     worker.track(x=(lambda: 0, lambda state: None))
        ...     for interval in worker:
        ...         interval.report(interval.hparams["lr"])
        >>> guard = GuardObserver()
        >>> history = lk.run(train, lk.Space(lr=lk.Float(0.0, 1.0)), population_size=2, interval=5, generations=3, observers=[guard])
        >>> [finding.name for finding in guard.findings][:2]
        ['few_members', 'few_generations']
    """

    def __init__(self, past: History | None = None, *, guards: Sequence[Guard] = GUARDS) -> None:
        self._guards = tuple(guards)
        self._watch: Watch | None = None
        self._lost = False
        self.findings: tuple[Finding, ...] = ()
        if past is not None:
            self._watch = Watch.of(past, guards=self._guards)
            self.findings = (*settings_findings(past.started), *self._watch.findings)

    def __call__(self, event: Event, population: Population) -> None:
        """Takes in an event."""
        if isinstance(event, Started):
            self._watch = Watch(event, self._guards)
            self._say(settings_findings(event))
        elif self._watch is not None:
            match event:
                case Reported():
                    record = population.members[event.report.member].last
                    assert record is not None
                    self._watch.add(record, event.report.metrics)
                    self._say(self._watch.close())
                case Retired():
                    self._watch.retire(event.member)
                    self._say(self._watch.close())
        elif not self._lost:
            self._lost = True
            logger.warning("the guards do not know this run's past and stay silent; give it by GuardObserver(lk.open_run(journal))")

    def _say(self, found: Sequence[Finding]) -> None:
        self.findings += tuple(found)
        for finding in found:
            logger.log(_LEVELS[finding.severity], "%s", finding)
