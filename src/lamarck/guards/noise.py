"""Values that say more about luck than about members."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

from lamarck.guards.census import Census
from lamarck.guards.finding import Finding
from lamarck.guards.guard import Course, Guard

__all__ = ["Noise", "wrong_choice"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Noise(Guard):
    """Sees values whose noise is larger than what really differs between members.

    The variance between members is that of their quality plus that of the noise. The noise is taken from the samples behind the values, if they
    are reported, and otherwise from the zigzag of values along lineages without a copy (`Zigzag`).

    Args:
        share: Share of the variance between members from which noise outweighs quality: a half.
        window: Newest generations that are pooled.
        fewest: Zigzags, or values with samples, below which nothing is said. With 30, an estimate that should be 0 passes a half in about one of
            200 cases even if quality changes by as much in a generation as it differs between members.
    """

    share: float = 0.5
    window: int = 10
    fewest: int = 30

    def __call__(self, course: Course) -> Iterator[Finding]:
        """Yields the finding."""
        window = course.censuses[-self.window :]
        now, (noise, spread, source) = window[-1], self._measured(window)
        if noise <= self.share * spread:
            return
        share = min(1.0, noise / spread)
        yield Finding(
            name="noise",
            severity="warning",
            generation=now.generation,
            text=(
                f"About {share:.0%} of the variance between members' values is noise, as {source} of generations {window[0].generation} to "
                f"{now.generation} show. When two members are compared, the worse one wins {wrong_choice(share):.0%} of the time: the population "
                "selects luck. Measure each value on more data or more episodes, or train longer between decisions; or copy only clear "
                "winners, with exploit=Welch() if samples are reported and exploit=Margin(Truncation(), absolute=...) if not."
            ),
        )

    def _measured(self, window: Sequence[Census]) -> tuple[float, float, str]:
        """Noise and spread in the same unit, both 0 if too little is known, and what shows it."""
        sampled = [census for census in window if not math.isnan(census.evaluation + census.spread)]
        if sum(census.size for census in sampled) >= self.fewest:
            return sum(census.evaluation for census in sampled), sum(census.spread for census in sampled), "the samples"
        zigzags = [census.zigzag for census in window]
        if sampled or sum(zigzag.freedom for zigzag in zigzags) < self.fewest:
            return 0.0, 0.0, ""
        return sum(zigzag.noise for zigzag in zigzags), sum(zigzag.spread for zigzag in zigzags), "the ups and downs"


def wrong_choice(share: float) -> float:
    """Returns how often the worse of two members has the better value, for normally distributed quality and noise.

    The true gap and the measured one then correlate by sqrt(1 - share), and two normal variables with correlation r have opposite signs with
    probability arccos(r) / pi (Sheppard 1899).

    Args:
        share: Share of noise in the variance between members, 0 to 1.

    Example:
        >>> wrong_choice(0.0), round(wrong_choice(0.5), 9), round(wrong_choice(1.0), 9)
        (0.0, 0.25, 0.5)
    """
    return math.acos(math.sqrt(1 - share)) / math.pi
