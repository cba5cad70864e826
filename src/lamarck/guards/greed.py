"""Learning rates that fall to the floor."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from lamarck.guards.finding import Finding
from lamarck.guards.guard import Course, Guard
from lamarck.space import Float, Parameter

__all__ = ["Greed"]

_RATE = re.compile(r"(^|[^a-z])(lr|learning_?rate|step_?size)([^a-z]|$)")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Greed(Guard):
    """Sees a learning rate that the whole population lowers at once, because who cools down first looks best for the moment.

    Looks at every hyperparameter on a logarithmic scale, and at every other real number whose name says that it is a learning rate.

    Args:
        fall: How many times smaller than in the first generation the population's median has become; 10 is more than a schedule needs so early.
        budget: Share of the run in which that counts as early.
        floor: Place on the scale below which three quarters of the members have to be. With a uniform first population over four decades, a
            tenfold fall of the median ends here.
    """

    fall: float = 10.0
    budget: float = 0.25
    floor: float = 0.25

    def __call__(self, course: Course) -> Iterator[Finding]:
        """Yields a finding for each such hyperparameter."""
        settings, first, now = course.settings, course.censuses[0], course.censuses[-1]
        if now.generation + 1 > self.budget * settings.generations or not now.best > course.censuses[len(course.censuses) // 2 - 1].best:
            return
        for name, column in now.columns.items():
            before = first.columns.get(name)
            if before is None or not _is_rate(name, course.space[name]):
                continue
            if column.upper <= self.floor and 0 <= column.median * self.fall < before.median:
                yield Finding(
                    name="greed",
                    severity="warning",
                    subject=name,
                    generation=now.generation,
                    text=(
                        f"The median {name} of the population has fallen from {before.median:.3g} to {column.median:.3g} by generation "
                        f"{now.generation} of {settings.generations}, and most are near the lower bound, while values improve. A low one may "
                        "look best for the moment only and slow everybody down later (greediness). Decide less often, with a longer interval; "
                        "let copies prove themselves, with exploit=Grace(Truncation(), generations=2); or raise the lower bound of "
                        f"{name}."
                    ),
                )


def _is_rate(name: str, parameter: Parameter) -> bool:
    return isinstance(parameter, Float) and (parameter.log or _RATE.search(name.lower()) is not None)
