"""One strategy after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from lamarck._checks import check_strategy
from lamarck._errors import SettingsError
from lamarck.population import Population
from lamarck.space import Space
from lamarck.types import Explore, HParams

__all__ = ["Chain"]


@final
@dataclass(frozen=True, slots=True, init=False)
class Chain(Explore):
    """Applies strategies in turn, each to what the one before made.

    Args:
        *strategies: The strategies, at least one.

    Raises:
        SettingsError: If there is none, or one of them is not an explore strategy.

    Example:
        >>> from lamarck._rng import generator
        >>> from lamarck.explore import Perturb, Resample
        >>> from lamarck.space import Float, Space
        >>> from lamarck.testing.populations import population
        >>> twice = Chain(Perturb(factors=(2.0,)), Perturb(factors=(2.0,)))
        >>> twice({"lr": 0.1}, 0, population([[0.5]]), Space(lr=Float(0.0, 1.0)), generator(0, 0, 1, "decide"))
        {'lr': 0.4}
    """

    name: ClassVar[str] = "chain"

    strategies: tuple[Explore, ...]

    def __init__(self, *strategies: Explore) -> None:
        if not strategies:
            raise SettingsError("chain: got no strategy; give at least one, e.g. Chain(Gaussian(0.1), Resample()), or use Keep()")
        for strategy in strategies:
            check_strategy("chain", strategy, Explore, "Perturb()")
        object.__setattr__(self, "strategies", strategies)

    def __call__(self, hparams: HParams, member: int, population: Population, space: Space, rng: np.random.Generator) -> dict[str, Any]:
        """Returns the configuration after the last strategy."""
        for strategy in self.strategies:
            hparams = strategy(hparams, member, population, space, rng)
        return dict(hparams)
