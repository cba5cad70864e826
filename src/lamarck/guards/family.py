"""One ancestor of everybody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from lamarck.diversity import expected_takeover
from lamarck.guards.finding import Finding, generations_text
from lamarck.guards.guard import Course, Guard

__all__ = ["OneFamily"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class OneFamily(Guard):
    """Sees the generation in which all members descend from one founder.

    It happens in most runs. Early on it is a warning, because the rest of the budget then goes into the neighbourhood of one line; towards the
    end it is a note, because a population is meant to agree by then.

    Args:
        early: Share of the run before which it is a warning.
    """

    early: float = 0.5

    def __call__(self, course: Course) -> Iterator[Finding]:
        """Yields the finding."""
        now, settings = course.censuses[-1], course.settings
        if now.founders > 1 or now.size < 2 or any(census.founders == 1 for census in course.censuses[-2:-1]):
            return
        copied = sum(census.copies for census in course.censuses) / max(1, now.generation)
        k = min(max(1, round(copied)), max(1, now.size // 2))
        heritable, noise = (expected_takeover(now.size, k, heritable=it) for it in (True, False))
        warn = now.generation + 1 <= self.early * settings.generations
        yield Finding(
            name="one_family",
            severity="warning" if warn else "note",
            generation=now.generation,
            text=(
                f"Since generation {now.generation} of {settings.generations} all members descend from one founder. With {copied:.1f} copies "
                f"a generation among {now.size} members this is expected after about {generations_text(heritable)} if one founder is better "
                f"for good, after about {noise:.0f} if values are pure noise. From here on the run looks only near one line of weights"
                + (
                    ". If that is too early: a larger population, exploit=Truncation(bottom=0.1, top=0.2), or exploit=Grace(Truncation(), "
                    "generations=2)."
                    if warn
                    else ", which is how a run should end."
                )
            ),
        )
