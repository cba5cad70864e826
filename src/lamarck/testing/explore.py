"""The conformance suite of explore strategies.

The test file of a strategy calls `check_explore` on it, besides the values that its author has worked out by hand.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from lamarck._rng import generator
from lamarck.explore import STRATEGIES, from_dict
from lamarck.space import Categorical, Constant, Float, Int, Space
from lamarck.testing._laws import check_value, law
from lamarck.testing.populations import population
from lamarck.types import Explore

__all__ = ["SPACES", "check_explore"]

SPACES = (
    Space(lr=Float(1e-5, 1e-1, log=True)),
    Space(
        lr=Float(1e-5, 1e-1, log=True, bounds="clip"),
        dropout=Float(0.0, 0.6),
        shift=Float(-1.0, 2.0, init=(-0.1, 0.1)),
        layers=Int(1, 8),
        width=Int(16, 1024, log=True, bounds="clip"),
        two=Int(1, 2),
        batch=Categorical([32, 64, 128], ordered=True),
        activation=Categorical(["relu", "tanh", "gelu"]),
        flag=Categorical([True, False]),
        only=Categorical([None]),
        depth=Constant(3),
    ),
    Space(
        optimizer=Categorical(["sgd", "adam"]),
        momentum=Float(0.0, 0.99, when={"optimizer": "sgd"}),
        beta=Float(0.5, 0.999, when={"optimizer": "adam"}),
    ),
)
"""Search spaces with every kind of hyperparameter, bound, scale and condition."""

_PLAIN = (bool, int, float, str, type(None))


def check_explore(strategy: Explore, *, spaces: Sequence[Space] = SPACES, count: int = 60, seed: int = 0) -> None:
    """Checks that an explore strategy keeps the Laws, over many configurations of several search spaces, corners included.

    1. It is a frozen value with a name, and its description goes through JSON and back.
    2. It answers with a new dictionary of exactly the hyperparameters that it was given; what a change makes active is not its affair.
    3. Each value is allowed for its hyperparameter, and a plain Python value.
    4. The same configuration and generator give the same answer, in whatever order the hyperparameters come.
    5. Asking changes nothing, neither the configuration that it is given nor the population.

    Args:
        strategy: The strategy.
        spaces: Search spaces to try it on. A strategy that goes by names needs those that have them.
        count: Number of configurations for each space.
        seed: Other configurations for another one.

    Raises:
        AssertionError: If a law is broken; the message names it.

    Example:
        >>> from lamarck.explore import Perturb
        >>> check_explore(Perturb(factors=(0.5, 2.0)), count=5)
    """
    check_value(strategy, STRATEGIES, from_dict)
    for space in spaces:
        for i in range(count):
            rng = generator(seed, -1, i, "configurations")
            crowd = [_configuration(space, rng) for _ in range(int(rng.integers(1, 6)))]
            now = population([[value] for value in rng.normal(size=len(crowd)).tolist()], hparams=copy.deepcopy(crowd))
            _check_answer(strategy, space, crowd[0], (now, copy.deepcopy(now.members)), i)


def _configuration(space: Space, rng: np.random.Generator) -> dict[str, Any]:
    """One that stands at a bound in a third of its values."""
    places = np.where(rng.random(len(space)) < 1 / 3, rng.integers(2, size=len(space)), rng.random(len(space))).tolist()
    everything = {name: parameter.from_unit(place) for (name, parameter), place in zip(space.items(), places, strict=True)}
    return space.activate(everything, rng)


def _check_answer(strategy: Explore, space: Space, hparams: dict[str, Any], crowd: tuple[Any, Any], i: int) -> None:
    now, before = crowd
    given = dict(hparams)
    answer = strategy(given, 0, now, space, generator(0, 0, i, "decide"))
    where = f"{hparams} became {answer}"
    law(given == hparams and now.members == before, "asking changes nothing", strategy, where)
    law(type(answer) is dict and answer is not given, "an answer is a new dictionary", strategy, where)
    law(answer.keys() == hparams.keys(), "an answer has exactly the hyperparameters that were given", strategy, where)
    for name, value in answer.items():
        law(type(value) in _PLAIN, "a value is a plain Python value", strategy, f"{name} in {where}")
        law(space[name].contains(value), f"a value is allowed: {space[name].allowed}", strategy, f"{name} in {where}")
    again = strategy(dict(hparams), 0, now, space, generator(0, 0, i, "decide"))
    law(again == answer, "the same question has the same answer", strategy, f"{where}, then {again}")
    turned = strategy(dict(reversed(hparams.items())), 0, now, space, generator(0, 0, i, "decide"))
    law(turned == answer, "the order of the hyperparameters does not matter", strategy, f"{where}, the other way round {turned}")
