"""`Function` and `Keep`."""

from __future__ import annotations

import functools

import pytest

from lamarck import Float, SettingsError, Space, StrategyError
from lamarck._rng import generator
from lamarck.explore import Function, Keep, from_dict, parse
from lamarck.testing.explore import SPACES, check_explore
from lamarck.testing.populations import population

ONE = population([[0.5]])
SPACE = Space(lr=Float(0.0, 1.0), dropout=Float(0.0, 1.0))


def ask(strategy, hparams, space=SPACE, draw=0):
    return strategy(hparams, 0, ONE, space, generator(draw, 0, 1, "decide"))


def halve_lr(hparams, rng):
    hparams["lr"] /= 2
    return hparams


def jitter(hparams, rng, *, width):
    return {name: min(1.0, value + width * rng.random()) for name, value in hparams.items()}


class Shift:
    def __call__(self, hparams, rng):
        return dict(hparams)


def test_the_function_is_asked():
    given = {"lr": 0.5, "dropout": 0.25}
    assert ask(Function(halve_lr), given) == {"lr": 0.25, "dropout": 0.25}
    assert given == {"lr": 0.5, "dropout": 0.25}  # the function got a copy


def test_randomness_is_the_generator_s():
    strategy = Function(functools.partial(jitter, width=0.1))
    first = generator(0, 0, 1, "decide").random(2)
    # In the order of the names.
    assert ask(strategy, {"lr": 0.5, "dropout": 0.25}) == {"dropout": 0.25 + 0.1 * first[0], "lr": 0.5 + 0.1 * first[1]}
    check_explore(strategy, spaces=[SPACE])


@pytest.mark.parametrize("answer", [None, 0.5, ["lr"], "lr"])
def test_what_is_returned_must_be_a_configuration(answer):
    def wrong(hparams, rng):
        return answer

    with pytest.raises(StrategyError, match=r"function: '.*wrong' returned .*; it must return the changed hparams as a dictionary"):
        ask(Function(wrong), {"lr": 0.5})


@pytest.mark.parametrize(
    ("fn", "name"),
    [(halve_lr, f"{__name__}.halve_lr"), (functools.partial(jitter, width=0.1), "functools.partial"), (Shift(), f"{__name__}.Shift")],
)
def test_a_journal_keeps_the_name(fn, name):
    described = Function(fn).to_dict()
    assert described == {"name": "function", "fn": name}
    back = from_dict(described)
    assert back == Function(name)
    assert back.to_dict() == described


@pytest.mark.parametrize("strategy", [from_dict(Function(halve_lr).to_dict()), parse(f"function:fn={__name__}.halve_lr")])
def test_a_function_known_by_name_is_asked_for(strategy):
    with pytest.raises(StrategyError, match=r"function '.*halve_lr' is known by its name only, .*again, as explore=Function\(halve_lr\)"):
        ask(strategy, {"lr": 0.5})


@pytest.mark.parametrize("bad", [None, 3, "", {}])
def test_neither_function_nor_name(bad):
    with pytest.raises(SettingsError, match=r"function: fn: got .*; it must be a Python function fn\(hparams, rng\)"):
        Function(bad)


def test_a_faulty_function_is_found_out():
    def double(hparams, rng):
        return {name: 2 * value for name, value in hparams.items()}

    with pytest.raises(AssertionError, match=r"a value is allowed: a number from 0.0 to 1.0"):
        check_explore(Function(double), spaces=[SPACE])


def test_keep():
    given = {"lr": 0.5, "dropout": 0.25}
    kept = ask(Keep(), given)
    assert kept == given
    assert kept is not given
    for space in SPACES:
        hparams = space.sample(generator(0, 0, 0, "sample"))
        assert ask(Keep(), hparams, space) == hparams
