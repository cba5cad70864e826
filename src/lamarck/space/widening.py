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
        >>> from lamarck import Float, Space
        >>> space = Space(lr=Float(0.01, 0.1, log=True), opt=["sgd", "adam"])
        >>> widened(space, [{"lr": 0.5, "opt": "sgd"}, {"lr": 0.001, "opt": "lion"}])
        Space({'lr': Float(low=0.001, high=0.5, log=True), 'opt': Categorical(choices=['sgd', 'adam', 'lion'])})
    """
    configs = list(configs)
    columns = {name: [config[name] for config in configs if name in config] for name in space}
    wide = {name: _holding(space[name], values) for name, values in columns.items() if not _holds(space[name], values)}
    return Space({**space, **wide}).where(*space.constraints) if wide else space


def _holds(parameter: Parameter, values: list[Any]) -> bool:
    """Whether all values are allowed; numbers, of which there may be very many, are asked about by their ends."""
    kinds = set(map(type, values))
    if values and ((isinstance(parameter, Float) and kinds <= {float, int}) or (isinstance(parameter, Int) and kinds == {int})):
        return parameter.contains(min(values)) and parameter.contains(max(values))
    return all(map(parameter.contains, values))


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
