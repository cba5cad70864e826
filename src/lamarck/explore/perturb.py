"""Multiplying by a factor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from lamarck._checks import check_number, check_share
from lamarck._errors import SettingsError
from lamarck.population import Population
from lamarck.space import Categorical, Parameter, Space
from lamarck.types import Explore, HParams

__all__ = ["Perturb", "checked_factors", "nudged", "unordered"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Perturb(Explore):
    """Multiplies each hyperparameter by one of the factors, each independently.

    How a type takes a factor, and what happens at a bound, is the hyperparameter's own affair (`Parameter.perturb`): whole numbers move by at
    least 1, ordered choices to the neighbour in the factor's direction. Unordered choices have no direction and change with a probability of
    their own.

    Why 0.8 and 1.25, not the paper's 0.8 and 1.2: (log 0.8 + log 1.2) / 2 = -0.02, so with these a hyperparameter that makes no difference
    drifts down by 2 % a change, a factor of e in 49. The factors should multiply to 1.

    Args:
        factors: Positive numbers, at least one, each equally likely. How far a schedule can reach is decided here: with these, about a
            factor of 2.4 to 7.4 in 20 generations.
        probability: Probability that a hyperparameter is changed at all.
        categorical: Probability that an unordered choice becomes another one, drawn uniformly; ``probability`` does not apply to it.

    Raises:
        SettingsError: If a factor is not positive and finite, or a probability not between 0 and 1.

    References:
        Jaderberg et al. 2017, "Population Based Training of Neural Networks", arXiv 1711.09846, §4.1.1, "perturb".

    Example:
        >>> from lamarck._rng import generator
        >>> from lamarck.space import Float, Int, Space
        >>> from lamarck.testing.populations import population
        >>> space = Space(lr=Float(1e-5, 1.0, log=True), layers=Int(1, 8))
        >>> changed = Perturb()({"lr": 0.1, "layers": 2}, 0, population([[0.5]]), space, generator(0, 0, 1, "decide"))
        >>> round(changed["lr"], 9) in (0.08, 0.125), changed["layers"] in (1, 3)
        (True, True)
    """

    name: ClassVar[str] = "perturb"

    factors: Sequence[float] = (0.8, 1.25)
    probability: float = 1.0
    categorical: float = 0.25

    def __post_init__(self) -> None:
        object.__setattr__(self, "factors", checked_factors(self.name, self.factors))
        check_share("perturb: probability", self.probability)
        check_share("perturb: categorical", self.categorical)

    def __call__(self, hparams: HParams, member: int, population: Population, space: Space, rng: np.random.Generator) -> dict[str, Any]:
        """Returns the changed configuration."""
        changed: dict[str, Any] = {}
        for name in sorted(hparams):
            parameter, value = space[name], hparams[name]
            kept = rng.random() >= self.probability and not unordered(parameter)
            changed[name] = value if kept else nudged(parameter, value, self.factors, self.categorical, rng)
        return changed


def nudged(parameter: Parameter, value: Any, factors: Sequence[float], categorical: float, rng: np.random.Generator) -> Any:
    """Returns a value moved by one of the factors, or an unordered choice changed with its own probability."""
    if unordered(parameter) and rng.random() >= categorical:
        return value
    return parameter.perturb(value, factors[int(rng.random() * len(factors))], rng)


def unordered(parameter: Parameter) -> bool:
    """Returns whether a hyperparameter is a choice without an order."""
    return isinstance(parameter, Categorical) and not parameter.ordered


def checked_factors(strategy: str, factors: Any) -> tuple[float, ...]:
    """Returns factors as a tuple, or raises `SettingsError`."""
    if isinstance(factors, str) or not isinstance(factors, Sequence) or not factors:
        raise SettingsError(f"{strategy}: factors: got {factors!r}; it must be a sequence of positive numbers, e.g. (0.8, 1.25)")
    for factor in factors:
        check_number(f"{strategy}: factors", factor, lambda x: 0 < x < math.inf, "a sequence of positive finite numbers, e.g. (0.8, 1.25)")
    return tuple(map(float, factors))
