"""Conditions: which hyperparameters exist, given the values of others."""

from __future__ import annotations

import graphlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lamarck._errors import SpaceError
from lamarck.space._plain import close_to, named
from lamarck.space.parameter import Parameter
from lamarck.space.real import Float

__all__ = ["ABSENT", "Conditions"]

ABSENT = object()
"""What stands for no value."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of all hyperparameters.

    Args:
        when: For each hyperparameter with a condition, the others that it looks at with their values; one that others look at comes before
            them.
        order: All names, one that others look at before them.
    """

    when: dict[str, tuple[tuple[str, tuple[Any, ...]], ...]]
    order: tuple[str, ...]

    @staticmethod
    def of(params: Mapping[str, Parameter]) -> Conditions:
        """Collects and checks the conditions.

        Raises:
            SpaceError: If a condition names an unknown or real-valued hyperparameter, a value that it never has, or itself in a circle.
        """
        for name, param in params.items():
            for parent, values in (param.when or {}).items():
                try:
                    _check(parent, values, params)
                except SpaceError as error:
                    raise named(name, error) from None
        try:
            order = tuple(graphlib.TopologicalSorter({name: tuple(param.when or ()) for name, param in params.items()}).static_order())
        except graphlib.CycleError as error:
            circle = " -> ".join(map(repr, reversed(error.args[1])))
            raise SpaceError(f"conditions run in a circle: {circle}; drop one 'when'") from None
        return Conditions({name: tuple((params[name].when or {}).items()) for name in order if params[name].when}, order)

    def active(self, name: str, config: Mapping[str, Any]) -> bool:
        """Returns whether a hyperparameter exists, in a configuration from which inactive ones are absent."""
        for parent, values in self.when.get(name, ()):  # noqa: SIM110 - most have no condition, and a generator for nothing takes its time
            if config.get(parent, ABSENT) not in values:
                return False
        return True

    def pruned(self, config: dict[str, Any]) -> dict[str, Any]:
        """Removes from a configuration what is inactive, in place, and returns it."""
        for name in self.when:
            if name in config and not self.active(name, config):
                del config[name]
        return config


def _check(parent: str, values: tuple[Any, ...], params: Mapping[str, Parameter]) -> None:
    if parent not in params:
        raise SpaceError(f"when: {parent!r} is not a hyperparameter; {close_to(parent, params)}")
    if isinstance(params[parent], Float):
        raise SpaceError(f"when: {parent!r} is a Float, which hardly ever has an exact value; use an Int, Categorical or Constant")
    never = [value for value in values if not params[parent].contains(value)]
    if never:
        raise SpaceError(f"when: {parent!r} never is {never[0]!r}; allowed is {params[parent].allowed}")
