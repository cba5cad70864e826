"""Intervals that are too short for what they cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from lamarck.guards.finding import Finding
from lamarck.guards.guard import Course, Guard

__all__ = ["Overhead"]

_MOST = 1e15
"""Steps that nobody will ever train."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead(Guard):
    """Sees intervals that spend much of their time on saving, restoring and reporting instead of training.

    It knows from the reports' metrics: ``seconds.train``, and every other one whose name begins with ``seconds.``.

    Args:
        share: Share of an interval's time that is exceeded.
        aim: Share that the advice aims at.
        window: Newest generations that are pooled. Generation 0 does not count: compilers and caches warm up in it.
    """

    share: float = 0.1
    aim: float = 0.05
    window: int = 3

    def __call__(self, course: Course) -> Iterator[Finding]:
        """Yields the finding."""
        window = [census for census in course.censuses[-self.window :] if census.generation > 0 and census.train > 0]
        if len(window) < self.window:
            return
        train, overhead = (sum(getattr(census, name) for census in window) for name in ("train", "overhead"))
        share = overhead / (train + overhead)
        if share <= self.share:
            return
        settings = course.settings
        longer = _rounded_up(min(settings.interval * (1 - self.aim) / self.aim * overhead / train, _MOST))
        generations = settings.interval * settings.generations // longer
        yield Finding(
            name="overhead",
            severity="warning",
            generation=window[-1].generation,
            text=(
                f"{share:.0%} of the time goes into saving, restoring and reporting instead of training. interval={longer} instead of "
                f"{settings.interval} would bring that to {self.aim:.0%}"
                + (
                    f", with {generations} generations in as many steps."
                    if generations >= 8
                    else ", but leave too few generations in as many steps: save less or to a faster place, or train longer in all."
                )
            ),
        )


def _rounded_up(number: float) -> int:
    """A number of steps with two digits."""
    unit = int(10 ** max(0, math.floor(math.log10(number)) - 1))
    return math.ceil(number / unit) * unit
