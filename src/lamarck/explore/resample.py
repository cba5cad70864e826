"""Drawing anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from lamarck._checks import check_share
from lamarck.population import Population
from lamarck.space import Space
from lamarck.types import Explore, HParams

__all__ = ["Resample"]


@final
@dataclass(frozen=True, slots=True)
class Resample(Explore):
    """Draws each hyperparameter anew with some probability, each independently, from its whole range and on its scale.

    Args:
        probability: Probability that a hyperparameter is drawn anew, from 0 to 1.

    Raises:
        SettingsError: If the probability is not one.

    References:
        Jaderberg et al. 2017, arXiv 1711.09846, §4.1.1, "resample".

    Example:
        >>> from lamarck._rng import generator
        >>> from lamarck.space import Float, Space
        >>> from lamarck.testing.populations import population
        >>> space = Space(dropout=Float(0.0, 0.6))
        >>> changed = Resample(1.0)({"dropout": 0.3}, 0, population([[0.5]]), space, generator(0, 0, 1, "decide"))
        >>> changed["dropout"] != 0.3 and 0.0 <= changed["dropout"] <= 0.6
        True
    """

    name: ClassVar[str] = "resample"

    probability: float = 0.25

    def __post_init__(self) -> None:
        check_share("resample: probability", self.probability)

    def __call__(self, hparams: HParams, member: int, population: Population, space: Space, rng: np.random.Generator) -> dict[str, Any]:
        """Returns the changed configuration."""
        return {name: space[name].sample(rng) if rng.random() < self.probability else hparams[name] for name in sorted(hparams)}
