"""`Chain` and `PerKey`."""

from __future__ import annotations

import pytest

from lamarck import Categorical, Float, SettingsError, Space, StrategyError
from lamarck._rng import generator
from lamarck.explore import Chain, Function, Gaussian, Keep, PerKey, Perturb, PerturbOrResample, Resample
from lamarck.testing.explore import SPACES, check_explore
from lamarck.testing.populations import population

ONE = population([[0.5]])
SPACE = Space(lr=Float(0.0, 1.0), dropout=Float(0.0, 1.0), x=Float(0.0, 1.0))
HALF = Perturb(factors=(0.5,))


def ask(strategy, hparams, space=SPACE, draw=0):
    return strategy(hparams, 0, ONE, space, generator(draw, 0, 1, "decide"))


def test_one_after_another():
    def add(hparams, rng):
        return {name: value + 0.125 for name, value in hparams.items()}

    assert ask(Chain(HALF, Function(add)), {"lr": 0.5}) == {"lr": 0.375}
    assert ask(Chain(Function(add), HALF), {"lr": 0.5}) == {"lr": 0.3125}


def test_a_chain_of_one_is_that_one():
    for i in range(20):
        hparams = SPACES[1].sample(generator(i, 0, 0, "sample"))
        assert ask(Chain(PerturbOrResample()), hparams, SPACES[1], i) == ask(PerturbOrResample(), hparams, SPACES[1], i)


def test_a_chain_that_ends_somewhere_else_still_answers_with_a_new_dictionary():
    given = {"lr": 0.5}
    assert ask(Chain(Keep(), Keep()), given) is not given


def test_illegal_chains():
    with pytest.raises(SettingsError, match="chain: got no strategy; give at least one"):
        Chain()
    with pytest.raises(SettingsError, match=r"chain: got <class .*; it must be an Explore strategy, e.g. Perturb\(\)"):
        Chain(Keep(), Perturb)


def test_each_its_own():
    strategy = PerKey({"lr": HALF, "x": Perturb(factors=(0.25,))})
    assert ask(strategy, {"lr": 0.5, "dropout": 0.5, "x": 0.5}) == {"lr": 0.25, "dropout": 0.5, "x": 0.125}
    assert ask(strategy, {"dropout": 0.5, "x": 0.5}) == {"dropout": 0.5, "x": 0.125}


def test_the_default_sees_all_the_others_together():
    seen = []

    def look(hparams, rng):
        seen.append(sorted(hparams))
        return hparams

    ask(PerKey({"lr": Function(look)}, default=Function(look)), {"lr": 0.5, "dropout": 0.5, "x": 0.5})
    assert sorted(seen) == [["dropout", "x"], ["lr"]]
    seen.clear()
    ask(PerKey({"lr": Function(look)}, default=Function(look)), {"lr": 0.5})
    assert seen == [["lr"]]  # nothing is left for the default


def test_with_no_name_it_is_the_default():
    for i in range(20):
        hparams = SPACES[1].sample(generator(i, 0, 0, "sample"))
        assert ask(PerKey({}, default=PerturbOrResample()), hparams, SPACES[1], i) == ask(PerturbOrResample(), hparams, SPACES[1], i)


@pytest.mark.parametrize("answer", [{}, {"dropout": 0.5}, {"lr": 0.5, "dropout": 0.5}])
def test_a_part_must_come_back_whole(answer):
    strategy = PerKey({"lr": Function(lambda hparams, rng: answer)})
    with pytest.raises(StrategyError, match=r"per_key: 'function' was given lr and returned (nothing|dropout|dropout, lr); it must return"):
        ask(strategy, {"lr": 0.5, "dropout": 0.25})


def test_unknown_names():
    with pytest.raises(SettingsError, match=r"per_key: got 'lrr', which is not .*; the space has dropout, lr, x\. Did you mean 'lr'\?"):
        ask(PerKey({"lrr": HALF}), {"lr": 0.5})


def test_illegal_parts():
    with pytest.raises(SettingsError, match="per_key: got 'lr'; it must be a mapping from names to strategies"):
        PerKey("lr")
    with pytest.raises(SettingsError, match=r"per_key: lr: got 0\.1; it must be an Explore strategy"):
        PerKey({"lr": 0.1})
    with pytest.raises(SettingsError, match="per_key: default: got None; it must be an Explore strategy"):
        PerKey({}, default=None)


def test_it_is_a_value():
    parts = {"lr": HALF}
    strategy = PerKey(parts)
    parts["lr"] = Keep()
    assert strategy == PerKey({"lr": HALF})
    assert hash(strategy) == hash(PerKey({"lr": HALF}))


def test_a_hyperparameter_called_name():
    """Such a mapping is by hyperparameter, and is not taken for a strategy's description."""
    from lamarck.explore import from_dict

    strategy = PerKey({"name": Gaussian({"name": 0.5})}, default=Resample())
    assert from_dict(strategy.to_dict()) == strategy
    check_explore(strategy, spaces=[Space(name=Float(0.0, 1.0), other=Categorical(["a", "b"]))])


def test_laws():
    check_explore(Chain(Perturb(), Gaussian(0.3), Resample()))
    check_explore(PerKey({"lr": Resample(probability=1.0)}, default=Perturb()), spaces=SPACES[:2])
