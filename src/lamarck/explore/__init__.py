"""What changes after a copy: the explore strategies.

A strategy turns inherited hyperparameters into those that are trained with. It is a frozen value, and its randomness is in the generator it
is given, drawn for one hyperparameter after the other in the order of their names, so that it does not depend on how a dictionary came about.
What follows from a change, that other hyperparameters become active or that constraints are violated, is the machine's affair. A new strategy
is one file here, one line in `STRATEGIES`, and one test file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lamarck import _registry
from lamarck.explore.chain import Chain
from lamarck.explore.function import Function
from lamarck.explore.gaussian import Gaussian
from lamarck.explore.keep import Keep
from lamarck.explore.pb2 import PB2
from lamarck.explore.per_key import PerKey
from lamarck.explore.perturb import Perturb
from lamarck.explore.perturb_or_resample import PerturbOrResample
from lamarck.explore.resample import Resample
from lamarck.types import Explore

__all__ = [
    "PB2",
    "STRATEGIES",
    "Chain",
    "Function",
    "Gaussian",
    "Keep",
    "PerKey",
    "Perturb",
    "PerturbOrResample",
    "Resample",
    "from_dict",
    "parse",
]

STRATEGIES: dict[str, type[Explore]] = {
    "chain": Chain,
    "function": Function,
    "gaussian": Gaussian,
    "keep": Keep,
    "pb2": PB2,
    "per_key": PerKey,
    "perturb": Perturb,
    "perturb_or_resample": PerturbOrResample,
    "resample": Resample,
}
"""Every explore strategy by its name."""


def from_dict(description: Mapping[str, Any]) -> Explore:
    """Returns the strategy that a description stands for: the reverse of `Strategy.to_dict`, but for functions, of which it knows the name.

    Args:
        description: ``{"name": ..., field: value, ...}`` in plain JSON values; fields that are left out keep their defaults.

    Raises:
        SettingsError: If the name or a field is unknown, a field is missing, or a value is not allowed.

    Example:
        >>> from_dict({"name": "chain", "strategies": [{"name": "gaussian", "sd": {"lr": 0.2}}, {"name": "resample"}]})
        Chain(strategies=(Gaussian(sd={'lr': 0.2}), Resample(probability=0.25)))
        >>> from_dict({"name": "perturb", "factor": [0.5, 2.0]})
        Traceback (most recent call last):
            ...
        lamarck._errors.SettingsError: perturb: got the unknown setting 'factor'; known are ... Did you mean 'factors'?
    """
    return _registry.build(description, STRATEGIES, "explore")


def parse(text: str) -> Explore:
    """Returns the strategy that a line of text stands for, as on the command line.

    Args:
        text: ``"name"`` or ``"name:setting=value,setting=value"``. A value is a number, ``true`` or ``false``, the name of a strategy (with its
            defaults), or several of these with a slash between.

    Raises:
        SettingsError: If the text has another form, or does not name a strategy with legal settings.

    Example:
        >>> parse("perturb:factors=0.5/2.0,probability=0.5")
        Perturb(factors=(0.5, 2.0), probability=0.5, categorical=0.25)
    """
    return _registry.parse(text, STRATEGIES, "explore")
