"""What is wrong with a configuration, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lamarck.space._conditions import Conditions
from lamarck.space._plain import close_to
from lamarck.space.parameter import Parameter

__all__ = ["fault", "unknown"]


def unknown(names: Iterable[str], params: Mapping[str, Parameter]) -> str | None:
    """The first name that is not in the space."""
    for name in names:
        if name not in params:
            return f"{name!r} is not a hyperparameter; {close_to(name, params)}"
    return None


def fault(hparams: Any, params: Mapping[str, Parameter], conditions: Conditions) -> str | None:
    """The first thing that is wrong with the names and values."""
    if not isinstance(hparams, Mapping):
        return f"got {hparams!r}; a configuration is a dictionary of values by name"
    strange = unknown(hparams, params)
    if strange is not None:
        return strange
    for name in conditions.order:  # what others look at comes first, so that its fault is not blamed on them
        param = params[name]
        if not conditions.active(name, hparams):
            if name in hparams:
                return f"hyperparameter {name!r}: got {hparams[name]!r}, but it exists only when {dict(param.when or {})}; leave it out"
        elif name not in hparams:
            return f"hyperparameter {name!r} is missing; allowed is {param.allowed}; give a value"
        elif not param.contains(hparams[name]):
            return f"hyperparameter {name!r}: got {hparams[name]!r}; allowed is {param.allowed}; change the value or the space"
    return None
