"""Gaussian noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import numpy as np

from lamarck._checks import check_number
from lamarck.explore._names import check_names
from lamarck.population import Population
from lamarck.space import Space
from lamarck.types import Explore, HParams

__all__ = ["Gaussian"]


@final
@dataclass(frozen=True, slots=True)
class Gaussian(Explore):
    """Adds Gaussian noise to each hyperparameter, each independently: the explore of the paper's two-member toy.

    Unlike a factor, noise can leave 0. Unordered choices and constants stay as they are; chain with `Resample` to change those.

    Args:
        sd: Standard deviation, at least 0: in the hyperparameter's own units, in natural-log units on a logarithmic scale, in positions for
            ordered choices. One number for all (0.1 as in the toy), or a mapping by name; what it does not name stays as it is.

    Raises:
        SettingsError: If a standard deviation is negative or not finite; when it is asked, if a name is not in the space.

    References:
        Jaderberg et al. 2017, arXiv 1711.09846, Figure 2.

    Example:
        >>> from lamarck._rng import generator
        >>> from lamarck.space import Float, Space
        >>> from lamarck.testing.populations import population
        >>> space = Space(h0=Float(0.0, 1.0), h1=Float(0.0, 1.0))
        >>> changed = Gaussian({"h0": 0.1})({"h0": 0.5, "h1": 0.5}, 0, population([[0.5]]), space, generator(0, 0, 1, "decide"))
        >>> changed["h0"] != 0.5, changed["h1"]
        (True, 0.5)
    """

    name: ClassVar[str] = "gaussian"

    sd: float | Mapping[str, float] = field(default=0.1, hash=False)

    def __post_init__(self) -> None:
        if isinstance(self.sd, Mapping):
            object.__setattr__(self, "sd", dict(self.sd))
        rule = "a finite number of at least 0, or a mapping from names to such numbers"
        for sd in self.sd.values() if isinstance(self.sd, Mapping) else (self.sd,):
            check_number("gaussian: sd", sd, lambda x: 0 <= x < math.inf, rule)

    def __call__(self, hparams: HParams, member: int, population: Population, space: Space, rng: np.random.Generator) -> dict[str, Any]:
        """Returns the changed configuration."""
        if isinstance(self.sd, Mapping):
            check_names(self.name, self.sd, space)
            widths = self.sd
        else:
            widths = dict.fromkeys(hparams, self.sd)
        return {name: space[name].noise(hparams[name], widths[name], rng) if name in widths else hparams[name] for name in sorted(hparams)}
