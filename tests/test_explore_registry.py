"""The registry, the descriptions, and the Laws over every strategy there is."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import pickle
import pkgutil
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from lamarck import SettingsError, explore
from lamarck.explore import PB2, STRATEGIES, Chain, Function, Gaussian, Keep, PerKey, Perturb, PerturbOrResample, Resample, from_dict, parse
from lamarck.testing.explore import SPACES, check_explore
from lamarck.types import Explore


def swing(hparams, rng):
    rng.random()
    return hparams


EXAMPLES: dict[str, Explore] = {
    "chain": Chain(Perturb(), Gaussian(0.2)),
    "function": Function(swing),
    "gaussian": Gaussian(0.3),
    "keep": Keep(),
    "pb2": PB2(window=50, inner=Chain(Perturb(), Resample(probability=0.5))),
    "per_key": PerKey({"lr": Resample(probability=0.5)}, default=Perturb(factors=(0.5, 2.0))),
    "perturb": Perturb(factors=(0.5, 2.0), probability=0.75, categorical=0.5),
    "perturb_or_resample": PerturbOrResample(factors=(0.5, 2.0), resample=0.5, categorical=0.125),
    "resample": Resample(probability=0.5),
}


def test_the_registry_is_complete():
    """Every final strategy of every module is registered under its own name, exported, and has an example here."""
    found = set()
    for module in pkgutil.iter_modules(explore.__path__):
        for _, cls in inspect.getmembers(importlib.import_module(f"lamarck.explore.{module.name}"), inspect.isclass):
            if issubclass(cls, Explore) and cls is not Explore:
                found.add(cls)
    assert set(STRATEGIES.values()) == found
    assert all(cls.name == name for name, cls in STRATEGIES.items())
    assert list(STRATEGIES) == sorted(STRATEGIES)
    assert set(EXAMPLES) == set(STRATEGIES)
    assert {cls.__name__ for cls in found} <= set(explore.__all__)
    assert all(hasattr(explore, name) for name in explore.__all__)


@pytest.mark.parametrize("name", STRATEGIES)
def test_laws(name):
    check_explore(EXAMPLES[name], spaces=SPACES[:2] if name == "per_key" else SPACES)


@pytest.mark.parametrize("name", STRATEGIES)
def test_there_and_back(name):
    strategy = EXAMPLES[name]
    back = from_dict(json.loads(json.dumps(strategy.to_dict())))
    assert back.to_dict() == strategy.to_dict()
    assert name == "function" or back == strategy
    if name != "function":  # this module is not one that pickle finds again
        assert pickle.loads(pickle.dumps(strategy)) == strategy
    assert hash(strategy) == hash(EXAMPLES[name])


@pytest.mark.parametrize("name", STRATEGIES)
def test_documented(name):
    cls = STRATEGIES[name]
    text = inspect.getdoc(cls)
    assert text is not None
    assert "Example:" in text
    assert ">>> " in text
    for field in dataclasses.fields(cls):
        assert f"{field.name}:" in text
    assert not hasattr(EXAMPLES[name], "__dict__")


def test_described_by_hand():
    assert PerturbOrResample().to_dict() == {"name": "perturb_or_resample", "factors": [0.8, 1.25], "resample": 0.25, "categorical": 0.25}
    assert PerKey({"lr": Chain(Keep(), Gaussian({"lr": 0.1}))}).to_dict() == {
        "name": "per_key",
        "strategies": {"lr": {"name": "chain", "strategies": [{"name": "keep"}, {"name": "gaussian", "sd": {"lr": 0.1}}]}},
        "default": {"name": "keep"},
    }


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"name": "pertrub"}, "explore: got the unknown strategy 'pertrub'; known are chain, .*resample. Did you mean 'perturb'?"),
        ({"name": "truncation"}, "explore: got the unknown strategy 'truncation'; known are chain, "),
        ({"name": "perturb", "factor": [1.0]}, "perturb: got the unknown setting 'factor'; known are .*. Did you mean 'factors'?"),
        ({"name": "perturb", "factors": [0.0]}, "perturb: factors: got 0.0; it must be a sequence of positive finite numbers"),
        ({"name": "function"}, "function: the setting 'fn' is missing"),
        ({"name": "per_key", "strategies": {"lr": {"name": "keeep"}}}, "explore: got the unknown strategy 'keeep'; .* Did you mean 'keep'?"),
        ({"name": "chain", "strategies": {"lr": {"name": "keep"}}}, "chain: got .* for 'strategies'; it must be a sequence of strategies"),
        (None, "explore: got None; a strategy is described by a mapping such as {'name': 'chain'}"),
    ],
)
def test_illegal_descriptions(description, message):
    with pytest.raises(SettingsError, match=message):
        from_dict(description)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("keep", Keep()),
        ("gaussian:sd=0.2", Gaussian(0.2)),
        ("perturb_or_resample:factors=0.5/2,resample=0", PerturbOrResample(factors=(0.5, 2.0), resample=0)),
        ("chain:strategies=gaussian/resample", Chain(Gaussian(), Resample())),
        ("pb2:window=64,inner=perturb", PB2(window=64, inner=Perturb())),
    ],
)
def test_parse(text, expected):
    assert parse(text) == expected


def test_illegal_texts():
    with pytest.raises(SettingsError, match="explore: got 'sd' in 'gaussian:sd'; write 'name:setting=value,setting=value'"):
        parse("gaussian:sd")
    with pytest.raises(SettingsError, match=r"perturb: factors: got 0\.5; it must be a sequence of positive numbers"):
        parse("perturb:factors=0.5")


# ---- the suite notices what it is there for --------------------------------------------------------------------------------------------------


def broken(answer: Any) -> Explore:
    """A strategy of somebody else's that answers as the given function does."""

    @dataclass(frozen=True, slots=True)
    class Broken(Explore):
        name: ClassVar[str] = "broken"

        def __call__(self, hparams, member, population, space, rng):
            return answer(hparams, space, rng)

    return Broken()


def emptied(hparams, space, rng):
    kept = dict(hparams)
    hparams.clear()
    return kept


def in_order_of_arrival(hparams, space, rng):
    return {name: space[name].sample(rng) for name in hparams}


def on_a_whim(hparams, space, rng):
    return dict(hparams) if next(calls) % 3 else {name: space[name].sample(rng) for name in hparams}


calls = iter(range(10**9))

FAULTS = {
    "asking changes nothing": emptied,
    "an answer is a new dictionary": lambda hparams, space, rng: hparams,
    "an answer has exactly the hyperparameters that were given": lambda hparams, space, rng: {**hparams, "extra": 1},
    "a value is a plain Python value": lambda hparams, space, rng: {k: np.float64(v) if type(v) is float else v for k, v in hparams.items()},
    "a value is allowed: ": lambda hparams, space, rng: {k: 2.0 * v if type(v) is float else v for k, v in hparams.items()},
    "the same question has the same answer": on_a_whim,
    "the order of the hyperparameters does not matter": in_order_of_arrival,
}


@pytest.mark.parametrize("law", FAULTS)
def test_the_suite_finds_a_fault(law):
    with pytest.raises(AssertionError, match=f"^{law}"):
        check_explore(broken(FAULTS[law]), spaces=SPACES[:2])


def test_the_suite_passes_what_is_sound():
    check_explore(broken(lambda hparams, space, rng: {name: space[name].sample(rng) for name in sorted(hparams)}))
