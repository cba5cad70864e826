"""A space in which given configurations have a place: for reading a run that was resumed with other ranges than it began with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lamarck.space.discrete import Categorical, Constant
from lamarck.space.parameter import Parameter
from lamarck.space.real import Float
from lamarck.space.space import HParams, Space
from lamarck.space.whole import Int

__all__ = ["widened"]


def widened(space: Space, configs: Iterable[HParams]) -> Space:
    """Returns the space with each range as wide as it takes to hold the values of some configurations, and the space itself if it holds them.

    Ranges of numbers grow, lists of choices become longer, and what has no order becomes a list of choices. Conditions and constraints stay.

    Args:
        space: A space.
        configs: Configurations; what they hold beside the space's names is ignored.

    Example:
        >>> space = Space(lr=Float(0.01, 0.1, log=True), opt=["sgd", "adam"])
        >>> widened(space, [{"lr": 0.5, "opt": "sgd"}, {"lr": 0.001, "opt": "lion"}])
        Space({'lr': Float(low=0.001, high=0.5, log=True), 'opt': Categorical(choices=['sgd', 'adam', 'lion'])})
    """
    given = [(name, value) for config in configs for name, value in config.items() if name in space]
    outside = {name for name, value in given if not space[name].contains(value)}
    if not outside:
        return space
    wide = {name: _holding(space[name], [value for key, value in given if key == name]) for name in outside}
    return Space({**space, **wide}).where(*space.constraints)


def _holding(parameter: Parameter, values: list[Any]) -> Parameter:
    match parameter:
        case Float() | Int() if all(isinstance(value, float | int) and not isinstance(value, bool) for value in values):
            low, high = min(parameter.low, *values), max(parameter.high, *values)
            kind = Int if isinstance(parameter, Int) and all(isinstance(value, int) for value in values) else Float
            return kind(low, high, log=parameter.log and low > 0, when=parameter.when)
        case Categorical():
            known, ordered = list(parameter.choices), parameter.ordered
        case Constant():
            known, ordered = [parameter.value], False
        case _:
            known, ordered = [], False
    return Categorical(list(dict.fromkeys(known + values)), ordered=ordered, when=parameter.when)
