"""How fast one ancestor takes over, and how much variety is left: measured, and as theory expects it.

With truncation selection of the worst and best ``k`` of ``N`` members in each generation there are two limits. If fitness is fully heritable,
the best founder doubles inside the top group and then gains ``k`` places a generation. If fitness is noise, lineages meet like those of a
neutral population (Kingman 1982, "The coalescent"), where two lineages meet with probability ``c = (3k - 1) / (N (N - 1))`` a generation.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import final

from lamarck.history import History
from lamarck.space import Float, Int

__all__ = ["Diversity", "diversity", "expected_takeover", "takeover"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Diversity:
    """Variety of one generation.

    Args:
        generation: Which.
        founders: Number of founders that still have descendants.
        effective_founders: ``1 / sum p_i**2`` over the founders' shares: as many equal founders would give the same concentration.
        spread: For each numeric hyperparameter, the standard deviation in the unit cube relative to that of a uniform draw (``1 / sqrt 12``);
            below 0.05 the population has lost it.
    """

    generation: int
    founders: int
    effective_founders: float
    spread: dict[str, float]


def diversity(history: History, generation: int) -> Diversity:
    """Measures one generation.

    Args:
        history: The run.
        generation: A generation with at least one report.
    """
    records = history.generation(generation)
    shares = Counter(history.founders[record.key] for record in records)
    spread = {}
    for name, parameter in history.space.items():
        values = [record.hparams[name] for record in records if name in record.hparams]
        if len(values) > 1 and isinstance(parameter, Float | Int):
            spread[name] = float(parameter.to_units(values).std() * math.sqrt(12))  # type: ignore[arg-type]
    return Diversity(
        generation=generation,
        founders=len(shares),
        effective_founders=len(records) ** 2 / sum(count * count for count in shares.values()),
        spread=spread,
    )


def takeover(history: History) -> int | None:
    """Returns the first generation in which all members descend from one founder, or ``None``."""
    for generation in range(history.settings.generations):
        records = history.generation(generation)
        if len(records) < max(2, history.settings.population_size - len(history.retired)):
            continue
        if len({history.founders[record.key] for record in records}) == 1:
            return generation
    return None


def expected_takeover(size: int, copied: int, *, heritable: bool) -> float:
    """Returns the expected number of generations until one founder is the ancestor of all, under truncation selection.

    Args:
        size: Members, ``N``.
        copied: Members replaced in each generation, ``k``, from 1 to ``N // 2``.
        heritable: Whether fitness is a property of the founder (``log2 k + N / k - 1``) or pure noise (``2 (N - 1)**2 / (3k - 1)``).

    Example:
        >>> round(expected_takeover(20, 4, heritable=True)), round(expected_takeover(20, 4, heritable=False), 1)
        (6, 65.6)
    """
    if heritable:
        return math.log2(copied) + size / copied - 1
    return 2 * (size - 1) ** 2 / (3 * copied - 1)
