"""A strategy for each hyperparameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, final

import numpy as np

from lamarck._checks import check_strategy
from lamarck._errors import SettingsError, StrategyError
from lamarck.explore._names import check_names
from lamarck.explore.keep import Keep
from lamarck.population import Population
from lamarck.space import Space
from lamarck.types import Explore, HParams

__all__ = ["PerKey"]


@final
@dataclass(frozen=True, slots=True)
class PerKey(Explore):
    """Gives each hyperparameter a strategy of its own, which sees and changes nothing else.

    Args:
        strategies: Strategy by hyperparameter.
        default: Strategy of all others together; they stay as they are if it is left out.

    Raises:
        SettingsError: If something is not an explore strategy; when it is asked, if a name is not in the space.
        StrategyError: When it is asked: if a strategy returns other hyperparameters than it was given.

    Example:
        >>> from lamarck._rng import generator
        >>> from lamarck.explore import Perturb
        >>> from lamarck.space import Float, Space
        >>> from lamarck.testing.populations import population
        >>> space = Space(lr=Float(0.0, 1.0), dropout=Float(0.0, 1.0))
        >>> only_lr = PerKey({"lr": Perturb(factors=(0.5,))})
        >>> only_lr({"lr": 0.5, "dropout": 0.5}, 0, population([[0.5]]), space, generator(0, 0, 1, "decide"))
        {'lr': 0.25, 'dropout': 0.5}
    """

    name: ClassVar[str] = "per_key"

    strategies: Mapping[str, Explore] = field(hash=False)
    _: KW_ONLY
    default: Explore = field(default_factory=Keep)

    def __post_init__(self) -> None:
        if not isinstance(self.strategies, Mapping):
            raise SettingsError(f"per_key: got {self.strategies!r}; it must be a mapping from names to strategies, e.g. {{'lr': Perturb()}}")
        for name, strategy in self.strategies.items():
            check_strategy(f"per_key: {name}", strategy, Explore, "Perturb()")
        check_strategy("per_key: default", self.default, Explore, "Keep()")
        object.__setattr__(self, "strategies", dict(self.strategies))

    def __call__(self, hparams: HParams, member: int, population: Population, space: Space, rng: np.random.Generator) -> dict[str, Any]:
        """Returns the configuration with each part changed by its own strategy."""
        check_names(self.name, self.strategies, space)
        parts = [(self.strategies[name], {name: hparams[name]}) for name in sorted(self.strategies) if name in hparams]
        rest = {name: hparams[name] for name in sorted(hparams) if name not in self.strategies}
        changed = dict(hparams)
        for strategy, part in [*parts, (self.default, rest)] if rest else parts:
            answer = strategy(part, member, population, space, rng)
            if answer.keys() != part.keys():
                raise StrategyError(
                    f"per_key: {strategy.name!r} was given {', '.join(sorted(part))} and returned {', '.join(sorted(answer)) or 'nothing'}; "
                    "it must return what it was given, changed or not"
                )
            changed |= answer
        return changed
