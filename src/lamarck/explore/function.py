"""A function of the user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from lamarck._errors import SettingsError, StrategyError
from lamarck.population import Population
from lamarck.space import Space
from lamarck.types import Explore, HParams

__all__ = ["Function"]


@final
@dataclass(frozen=True, slots=True)
class Function(Explore):
    """Asks a Python function: ``fn(hparams, rng) -> hparams``.

    The function may change the dictionary that it gets and must return one. Its randomness comes from the generator it gets and from nowhere
    else, so that the run can be repeated. A journal keeps only its name: what is read back knows which function is missing, and asks for it.

    Args:
        fn: The function; or its name, which stands for a function that still has to be given.

    Raises:
        SettingsError: If ``fn`` is neither.
        StrategyError: When it is asked: if the function was not given, or returns something that is not a configuration.

    Example:
        >>> from lamarck._rng import generator
        >>> from lamarck.space import Float, Space
        >>> from lamarck.testing.populations import population
        >>> def halve(hparams, rng):
        ...     return hparams | {"lr": hparams["lr"] / 2}
        >>> Function(halve)({"lr": 0.5}, 0, population([[0.5]]), Space(lr=Float(0.0, 1.0)), generator(0, 0, 1, "decide"))
        {'lr': 0.25}
    """

    name: ClassVar[str] = "function"

    fn: Callable[[dict[str, Any], np.random.Generator], HParams] | str

    def __post_init__(self) -> None:
        if not self.fn or not (callable(self.fn) or isinstance(self.fn, str)):
            raise SettingsError(f"function: fn: got {self.fn!r}; it must be a Python function fn(hparams, rng) that returns hparams")

    def to_dict(self) -> dict[str, Any]:
        """Describes the strategy in plain JSON values: of the function, the name."""
        if isinstance(self.fn, str):
            return {"name": self.name, "fn": self.fn}
        named = type(self.fn) if getattr(self.fn, "__qualname__", None) is None else self.fn  # partial() and the like have no name
        return {"name": self.name, "fn": f"{named.__module__}.{named.__qualname__}"}

    def __call__(self, hparams: HParams, member: int, population: Population, space: Space, rng: np.random.Generator) -> dict[str, Any]:
        """Returns what the function returns."""
        if isinstance(self.fn, str):
            raise StrategyError(
                f"function: the Python function {self.fn!r} is known by its name only, because a journal or text cannot hold it; "
                f"give it again, as explore=Function({self.fn.rpartition('.')[2]})"
            )
        changed = self.fn({name: hparams[name] for name in sorted(hparams)}, rng)
        if not isinstance(changed, Mapping):
            raise StrategyError(f"function: {self.to_dict()['fn']!r} returned {changed!r}; it must return the changed hparams as a dictionary")
        return dict(changed)
