"""Hyperparameters that want to leave their range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from lamarck.guards.census import Census
from lamarck.guards.finding import Finding
from lamarck.guards.guard import Course, Guard
from lamarck.space import Int

__all__ = ["AtBound"]

_COARSE = 4
"""Whole numbers with fewer values than this are at a bound by chance too often."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AtBound(Guard):
    """Sees a hyperparameter that most members hold at one of its bounds, for some generations in a row.

    Args:
        share: Share of the members that is exceeded.
        generations: How many generations in a row; 3, because one is chance and two are one decision.
    """

    share: float = 0.5
    generations: int = 3

    def __call__(self, course: Course) -> Iterator[Finding]:
        """Yields a finding for each such hyperparameter."""
        window = course.censuses[-self.generations :]
        if len(window) < self.generations:
            return
        now = window[-1]
        for name in now.columns:
            parameter = course.space[name]
            if isinstance(parameter, Int) and parameter.high - parameter.low + 1 < _COARSE:
                continue
            for side in ("low", "high"):
                if all(_at(census, name, side) > self.share for census in window):
                    which, how = ("lower", "Lower") if side == "low" else ("upper", "Raise")
                    bound, first = getattr(parameter, side), window[0].generation
                    yield Finding(
                        name=f"at_{side}_bound",
                        severity="warning",
                        subject=name,
                        generation=now.generation,
                        text=(
                            f"{_at(now, name, side):.0%} of the members hold {name} at its {which} bound, {bound:.6g}; most have since "
                            f"generation {first}. What works best may lie beyond it, and then nothing is tuned here. {how} the bound in "
                            f"the next run, or make {name} a constant if nothing beyond makes sense."
                        ),
                    )


def _at(census: Census, name: str, side: str) -> float:
    column = census.columns.get(name)
    return 0.0 if column is None else column.low if side == "low" else column.high
