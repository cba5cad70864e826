"""Multiplying by a factor, now and then drawing anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from lamarck._checks import check_share
from lamarck.explore.perturb import checked_factors, nudged
from lamarck.population import Population
from lamarck.space import Space
from lamarck.types import Explore, HParams

__all__ = ["PerturbOrResample"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PerturbOrResample(Explore):
    """For each hyperparameter: draws it anew with some probability, otherwise moves it by a factor. The default.

    Small steps follow what works, and the draws keep a way open to values that many steps would not reach. With ``resample=0`` it is
    `Perturb`, with ``resample=1`` it is `Resample`.

    Args:
        factors: As for `Perturb`; 0.8 and 1.25 because they do not drift.
        resample: Probability that a hyperparameter is drawn anew, from 0 to 1. Ray Tune takes 0.25 too.
        categorical: Probability that an unordered choice that is not drawn anew becomes another one.

    Raises:
        SettingsError: If a factor is not positive and finite, or a probability not between 0 and 1.

    References:
        Jaderberg et al. 2017, arXiv 1711.09846, §4.1.1; the combination is that of Ray Tune's ``PopulationBasedTraining``.

    Example:
        >>> from lamarck._rng import generator
        >>> from lamarck.space import Float, Space
        >>> from lamarck.testing.populations import population
        >>> space = Space(lr=Float(1e-5, 1.0, log=True))
        >>> found = {
        ...     round(PerturbOrResample()({"lr": 0.1}, 0, population([[0.5]]), space, generator(i, 0, 1, "decide"))["lr"], 9)
        ...     for i in range(100)
        ... }
        >>> found > {0.08, 0.125}
        True
    """

    name: ClassVar[str] = "perturb_or_resample"

    factors: Sequence[float] = (0.8, 1.25)
    resample: float = 0.25
    categorical: float = 0.25

    def __post_init__(self) -> None:
        object.__setattr__(self, "factors", checked_factors(self.name, self.factors))
        check_share("perturb_or_resample: resample", self.resample)
        check_share("perturb_or_resample: categorical", self.categorical)

    def __call__(self, hparams: HParams, member: int, population: Population, space: Space, rng: np.random.Generator) -> dict[str, Any]:
        """Returns the changed configuration."""
        changed: dict[str, Any] = {}
        for name in sorted(hparams):
            parameter = space[name]
            if rng.random() < self.resample:
                changed[name] = parameter.sample(rng)
            else:
                changed[name] = nudged(parameter, hparams[name], self.factors, self.categorical, rng)
        return changed
