"""Populations that have lost what they had."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from lamarck.guards.finding import Finding
from lamarck.guards.guard import Course, Guard

__all__ = ["Collapse"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Collapse(Guard):
    """Sees a whole population that has fallen far below its best, and stays there.

    What had been gained is the way from the worst value of the first generation to the best value so far. In simulated runs of 25 generations
    with 4, 8 and 20 members it spoke in none of 120 whose quality rose or walked at random, and of 60 whose values were nothing but noise in 2,
    both of 4 members.

    Args:
        share: Share of that which the best member of each of the newest generations is short of.
        patience: How many generations in a row; with 3, noise alone was taken for it in half of the runs of 4 members.
    """

    share: float = 0.5
    patience: int = 5

    def __call__(self, course: Course) -> Iterator[Finding]:
        """Yields the finding."""
        first, now, newest = course.censuses[0], course.censuses[-1], course.censuses[-self.patience :]
        gained = now.best - first.bottom
        if len(newest) < self.patience or not math.isfinite(gained):
            return
        if any(now.best - census.top <= self.share * gained for census in newest):
            return
        best, top = (value if course.settings.mode == "max" else -value for value in (now.best, now.top))
        left = f"the best value is {top:.6g}" if math.isfinite(top) else "no value is finite"
        yield Finding(
            name="collapse",
            severity="warning",
            generation=now.generation,
            text=(
                f"The population has collapsed: it had reached {best:.6g}, but in generation {now.generation} {left}, and for {self.patience} "
                "generations nobody has been near. Copies come from what is alive. The best weights are kept: stop the run, and resume it with "
                "exploit=Backtracking(), which goes back to them (on the command line --exploit backtracking). Begin the next run with it, so "
                "that several are kept, and ask whether a hyperparameter has too wide a range."
            ),
        )
