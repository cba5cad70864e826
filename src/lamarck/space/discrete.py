"""Hyperparameters that are not numbers on a scale: `Categorical` and `Constant`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import SpaceError
from lamarck.space._axis import Axis
from lamarck.space.parameter import (
    Parameter,
    bare,
    checked_condition,
    checked_factor,
    checked_place,
    checked_places,
    checked_sd,
    is_scalar,
    refused,
)

__all__ = ["Categorical", "Constant"]


@final
@dataclass(frozen=True, slots=True, repr=False)
class Categorical(Parameter):
    """One of a list of choices, each equally likely.

    Args:
        choices: Strings, numbers, booleans or ``None``; at least one, all different (1, 1.0 and ``True`` are equal).
        ordered: Whether neighbours in the list are close to each other, as in batch sizes 32, 64, 128; then moves go to neighbours.
        init: Choices from which the first population is drawn. ``None``, the default, is all of them.
        when: Condition; see `Parameter`.

    Raises:
        SpaceError: If ``choices`` is empty, repeats itself, or holds something that is not a plain finite value, or ``init`` is not part of it.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> batch = Categorical([32, 64, 128], ordered=True)
        >>> batch.perturb(64, 1.25, rng), batch.perturb(128, 1.25, rng)
        (128, 64)
        >>> Categorical(["sgd", "adam"]).perturb("sgd", 1.25, rng)
        'adam'
    """

    kind: ClassVar[str] = "categorical"

    choices: Sequence[Any]
    _: KW_ONLY
    ordered: bool = False
    init: Sequence[Any] | None = None
    when: Mapping[str, Any] | None = field(default=None, hash=False)
    _places: dict[Any, int] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        choices = _checked_choices("choices", self.choices)
        places = {choice: place for place, choice in enumerate(choices)}
        if not isinstance(self.ordered, bool):
            raise SpaceError(f"ordered: got {self.ordered!r}; it must be True or False")
        init = None if self.init is None else _checked_choices("init", self.init)
        strange = [choice for choice in init or () if choice not in places]
        if strange:
            raise SpaceError(f"init: got {strange[0]!r}, which is not among the choices; allowed are {_listed(choices)}")
        condition = checked_condition(self.when)
        for name, value in {"choices": choices, "init": init, "when": condition, "_places": places}.items():
            object.__setattr__(self, name, value)

    @property
    def allowed(self) -> str:
        """What values are allowed, in words."""
        return f"one of {_listed(self.choices)}"

    def contains(self, value: object) -> bool:
        """Returns whether a value is one of the choices."""
        return self._place(value) is not None

    def clip(self, value: Any) -> Any:
        """Returns the choice itself; nothing else is near enough to be brought in.

        Raises:
            SpaceError: If the value is not one of the choices.
        """
        return self.choices[self._index(value)]

    def to_unit(self, value: Any) -> float:
        """Returns the centre of the choice's cell: the unit interval is cut into equal cells in the order of the list.

        Raises:
            SpaceError: If the value is not one of the choices.
        """
        return (self._index(value) + 0.5) / len(self.choices)

    def from_unit(self, u: float, *, initial: bool = False) -> Any:
        """Returns the choice whose cell covers a place.

        Args:
            u: Place, 0 to 1.
            initial: Whether the cells are those of the initial choices.

        Raises:
            SpaceError: If the place lies outside.
        """
        choices = self.init if initial and self.init else self.choices
        return choices[min(int(checked_place(u) * len(choices)), len(choices) - 1)]

    def perturb(self, value: Any, factor: float, rng: np.random.Generator) -> Any:
        """Returns another choice: the neighbour in the factor's direction, or any other if there is no order.

        Args:
            value: One of the choices.
            factor: Finite, above 0. Above 1 goes to the next choice, below 1 to the one before, inward at the ends, 1 stays. Without an order
                it has no meaning: how likely a change should be is for the strategy to say.
            rng: Draws the other choice if there is no order.

        Raises:
            SpaceError: If the factor is not a positive finite number, or the value is not one of the choices.
        """
        checked_factor(factor)
        place, last = self._index(value), len(self.choices) - 1
        if last == 0 or (self.ordered and factor == 1):
            return value
        if self.ordered:
            step = 1 if factor > 1 else -1
            return self.choices[place + step if 0 <= place + step <= last else place - step]
        other = int(rng.random() * last)
        return self.choices[other + (other >= place)]

    def noise(self, value: Any, sd: float, rng: np.random.Generator) -> Any:
        """Returns a choice nearby, reflected at the ends, if there is an order; otherwise the same.

        Args:
            value: One of the choices.
            sd: Standard deviation in positions, at least 0.
            rng: Source of the noise.

        Raises:
            SpaceError: If ``sd`` is negative or not finite, or the value is not one of the choices.
        """
        checked_sd(sd)
        place, size = self._index(value), len(self.choices)
        if not self.ordered:
            return value
        axis = Axis(0.0, float(size), log=False)
        return self.choices[min(int(axis.back(axis.reflect(place + 0.5 + sd * rng.standard_normal()))), size - 1)]

    def to_units(self, values: Sequence[Any]) -> NDArray[np.float64]:
        """Does `to_unit` for N values: ``float64[N]``."""
        return (np.fromiter(map(self._index, values), np.float64, len(values)) + 0.5) / len(self.choices)

    def from_units(self, u: NDArray[np.float64]) -> list[Any]:
        """Does `from_unit` for ``float64[N]``."""
        size = len(self.choices)
        return [self.choices[place] for place in np.minimum(checked_places(u) * size, size - 1).astype(np.int64).tolist()]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON values.

        Example:
            >>> Categorical(["sgd", "adam"]).to_dict()
            {'type': 'categorical', 'choices': ['sgd', 'adam']}
        """
        plain: dict[str, Any] = {"type": self.kind, "choices": list(self.choices)}
        if self.ordered:
            plain["ordered"] = True
        if self.init is not None:
            plain["init"] = list(self.init)
        return plain | _plain_condition(self)

    def _place(self, value: object) -> int | None:
        try:
            place = self._places.get(value)
        except TypeError:  # a list or another value that cannot be looked up
            return None
        return place if place is not None and isinstance(self.choices[place], bool) == isinstance(value, bool) else None

    def _index(self, value: object) -> int:
        place = self._place(value)
        if place is None:
            raise refused(self, value)
        return place


@final
@dataclass(frozen=True, slots=True, repr=False)
class Constant(Parameter):
    """A value that stays: part of every configuration, never tuned.

    Args:
        value: A string, finite number, boolean or ``None``.
        when: Condition; see `Parameter`.

    Raises:
        SpaceError: If the value is not plain and finite.

    Example:
        >>> import numpy as np
        >>> Constant(3).sample(np.random.default_rng(0))
        3
    """

    kind: ClassVar[str] = "constant"

    value: Any
    _: KW_ONLY
    when: Mapping[str, Any] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        value = bare(self.value)
        if not is_scalar(value):
            raise SpaceError(f"got the value {value!r}; it must be a string, a finite number, a boolean or None")
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "when", checked_condition(self.when))

    @property
    def allowed(self) -> str:
        """What value is allowed, in words."""
        return f"only {self.value!r}, because it is a constant"

    def contains(self, value: object) -> bool:
        """Returns whether a value is the constant."""
        return is_scalar(value) and self.value == value and isinstance(self.value, bool) == isinstance(value, bool)

    def clip(self, value: Any) -> Any:
        """Returns the constant, for itself and, if it is a number, for every other number.

        Raises:
            SpaceError: If the value is of another type.
        """
        if self.contains(value) or (_is_number(self.value) and _is_number(value)):
            return self.value
        raise refused(self, value)

    def to_unit(self, value: Any) -> float:
        """Returns 0.5: the only cell is the whole unit interval.

        Raises:
            SpaceError: If the value is another one.
        """
        if not self.contains(value):
            raise refused(self, value)
        return 0.5

    def from_unit(self, u: float, *, initial: bool = False) -> Any:
        """Returns the constant.

        Args:
            u: Place, 0 to 1.
            initial: No difference.

        Raises:
            SpaceError: If the place lies outside.
        """
        checked_place(u)
        return self.value

    def sample(self, rng: np.random.Generator, initial: bool = False) -> Any:
        """Returns the constant; takes nothing from the generator."""
        return self.value

    def perturb(self, value: Any, factor: float, rng: np.random.Generator) -> Any:
        """Returns the constant.

        Raises:
            SpaceError: If the factor is not a positive finite number.
        """
        checked_factor(factor)
        return self.value

    def noise(self, value: Any, sd: float, rng: np.random.Generator) -> Any:
        """Returns the constant.

        Raises:
            SpaceError: If ``sd`` is negative or not finite.
        """
        checked_sd(sd)
        return self.value

    def to_units(self, values: Sequence[Any]) -> NDArray[np.float64]:
        """Does `to_unit` for N values: ``float64[N]``."""
        return np.fromiter(map(self.to_unit, values), np.float64, len(values))

    def from_units(self, u: NDArray[np.float64]) -> list[Any]:
        """Does `from_unit` for ``float64[N]``."""
        return [self.value] * len(checked_places(u))

    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON values.

        Example:
            >>> Constant(3).to_dict()
            {'type': 'constant', 'value': 3}
        """
        return {"type": self.kind, "value": self.value} | _plain_condition(self)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _listed(choices: Sequence[Any]) -> str:
    return ", ".join(map(repr, choices))


def _checked_choices(name: str, choices: object) -> tuple[Any, ...]:
    if not isinstance(choices, (list, tuple)) or not choices:
        raise SpaceError(f"{name}: got {choices!r}; it must be a list or tuple of at least one value")
    choices = tuple(map(bare, choices))
    strange = [choice for choice in choices if not is_scalar(choice)]
    if strange:
        raise SpaceError(f"{name}: got {strange[0]!r}; a choice must be a string, a finite number, a boolean or None")
    if len(set(choices)) < len(choices):
        again = next(choice for place, choice in enumerate(choices) if choice in choices[:place])
        raise SpaceError(f"{name}: got {again!r} more than once (1, 1.0 and True are equal); leave out the repetition")
    return choices


def _plain_condition(parameter: Categorical | Constant) -> dict[str, Any]:
    return {} if parameter.when is None else {"when": {name: list(values) for name, values in parameter.when.items()}}
