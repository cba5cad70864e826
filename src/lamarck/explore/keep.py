"""No change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from lamarck.population import Population
from lamarck.space import Space
from lamarck.types import Explore, HParams

__all__ = ["Keep"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Keep(Explore):
    """Leaves the hyperparameters as they are: "exploit only".

    With fixed hyperparameters and copying alone, a population shows how much of a gain is the choice of lucky weights and how much is the
    schedule.

    References:
        Jaderberg et al. 2017, arXiv 1711.09846, Figure 2, "exploit only".

    Example:
        >>> from lamarck._rng import generator
        >>> from lamarck.space import Float, Space
        >>> from lamarck.testing.populations import population
        >>> Keep()({"lr": 0.1}, 0, population([[0.5]]), Space(lr=Float(0.0, 1.0)), generator(0, 0, 1, "decide"))
        {'lr': 0.1}
    """

    name: ClassVar[str] = "keep"

    def __call__(self, hparams: HParams, member: int, population: Population, space: Space, rng: np.random.Generator) -> dict[str, Any]:
        """Returns the same configuration."""
        return dict(hparams)
