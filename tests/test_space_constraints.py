"""The language of constraints, functions as constraints, and spaces that hold them."""

from __future__ import annotations

import functools
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lamarck import SpaceError
from lamarck.space import Constraint, Expression, Float, Function, Int, Space, Unresolved
from lamarck.space.constraints import constraint


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---- expressions -----------------------------------------------------------------------------------------------------------------------------

VALUES = {"lo": 1, "hi": 4, "x": 0.5, "opt": "adam", "flag": True, "off": False, "none": None}


@pytest.mark.parametrize(
    "text",
    [
        "lo <= hi",
        "lo < hi",
        "hi >= 4",
        "hi > lo",
        "lo == 1",
        "lo == 1.0",
        "lo != hi",
        "not lo > hi",
        "not (lo > hi)",
        "0 < lo <= hi / 2 < 3",
        "lo < hi > x",
        "lo + hi == 5",
        "hi - lo == 3",
        "lo * hi == 4",
        "hi / 8 == x",
        "hi // 3 == 1",
        "hi % 3 == 1",
        "hi ** 2 == 16",
        "hi ** x == 2",
        "-lo < 0",
        "--lo > 0",
        "(lo + hi) * 2 == 10",
        "lo + hi * 2 == 9",
        "lo < hi and x < 1",
        "lo > hi or x < 1",
        "lo > hi and x > 1 or flag",
        "flag",
        "not off",
        "flag and not off",
        "flag == True",
        "off == False",
        "none == None",
        "opt == 'adam'",
        'opt != "sgd"',
        "opt in ('sgd', 'adam')",
        "opt not in ('sgd', 'lion')",
        "lo in (x * 2, 7)",
        "1 in (lo,)",
        "hi not in ()",
        "'a' < opt < 'b'",
        "(lo\n<= hi)",
        "  lo <= hi  ",
        "1 < 2",
        "1e-5 < lo < 1e5",
        "lo / hi < 9 ** 9 ** 1",
    ],
)
def test_what_holds_here_holds_in_python(text):
    assert eval(text.strip(), {}, dict(VALUES)) is True
    assert Expression(text).holds(VALUES) is True
    opposite = Expression(f"not ({text})")
    assert opposite.holds(VALUES) is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"is not an expression"),
        ("lo <=", r"constraint 'lo <=' is not an expression: .*; write for example 'lo <= hi'"),
        ("lo <= hi; hi > 0", r"is not an expression"),
        ("lo = hi", r"is not an expression"),
        ("import os", r"is not an expression"),
        ("lo \x00 hi", r"is not an expression"),
        ("(" * 300 + "lo" + ")" * 300 + " < hi", r"is not an expression"),
        ("lo", None),
        ("lo + hi", r"'lo \+ hi' is neither true nor false; compare it"),
        ("1", r"'1' is neither true nor false"),
        ("'a'", r"is neither true nor false"),
        ("-lo", r"is neither true nor false"),
        ("lo < hi and hi - lo", r"'hi - lo' is neither true nor false"),
        ("not 3", r"is neither true nor false"),
        ("f(lo)", r"is neither true nor false"),
        ("(lo := 3) < hi", r"is not allowed here"),
        ("__import__('os').system('true') == 0", r"is not allowed here; use comparisons"),
        ("abs(lo) < 1", r"'abs\(lo\)' is not allowed here; .* or a Python function"),
        ("lo.real < 1", r"'lo.real' is not allowed here"),
        ("lo[0] < 1", r"is not allowed here"),
        ("[lo, hi] == lo", r"is not allowed here"),
        ("{1: 2} == lo", r"is not allowed here"),
        ("(lambda: 1) == lo", r"is not allowed here"),
        ("(lo if x else hi) < 1", r"is not allowed here"),
        ("f'{lo}' == 'a'", r"is not allowed here"),
        ("[h for h in lo] == 1", r"is not allowed here"),
        ("b'a' == lo", r"is not allowed here"),
        ("1j == lo", r"is not allowed here"),
        ("... == lo", r"is not allowed here"),
        ("~lo < 1", r"'~lo' is not allowed here"),
        ("+lo < 1", r"'\+lo' is not allowed here"),
        ("lo << 3 < 1", r"'lo << 3' is not allowed here"),
        ("lo @ hi < 1", r"is not allowed here"),
        ("lo | hi < 1", r"is not allowed here"),
        ("lo is hi", r"'is' is not allowed here; use == or !="),
        ("lo is not hi", r"'is' is not allowed here"),
        ("lo in hi", r"'in hi' is not allowed here; write the values as a tuple"),
        ("lo not in [1, 2]", r"write the values as a tuple"),
        ("opt in 'adam'", r"write the values as a tuple"),
        ("(lo, hi) < (1, 2)", r"is not allowed here"),
        ("(lo < hi) == flag", r"'lo < hi' is not allowed here"),
        ("lo < " + "1" * 1000, r"got 1005 characters; allowed are 1000; use a Python function"),
        ("lo" + " + 1" * 150 + " < hi", r"got 303 parts; allowed are 250"),
        ("-" * 900 + "lo < hi", r"is not an expression|parts; allowed are 250"),
    ],
)
def test_what_is_not_of_the_language_is_refused(text, message):
    if message is None:
        assert Expression(text).holds({"lo": True}) is True
    else:
        with pytest.raises(SpaceError, match=message):
            Expression(text)


@pytest.mark.parametrize(
    "text", ["x / y < 1", "x // y < 1", "x % y < 1", "(-x) ** 0.5 < 1", "y ** (-1) < 1", "10.0 ** (400 + y) > 1", "10 ** 400 > y"]
)
def test_an_undefined_expression_does_not_hold(text):
    assert Expression(text).holds({"x": 1.0, "y": 0}) is False


@pytest.mark.parametrize("text", ["9 ** 9 ** 9 ** 9 > x", "2 ** 1000000000 > x", "x ** 999999999999 ** 9 > 1"])
def test_powers_cannot_hang(text):
    assert Expression(text).holds({"x": 3}) is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x < opt", r"constraint 'x < opt' cannot be evaluated for {'opt': 'adam', 'x': 0.5}: '<' not supported"),
        ("opt * 1000000000 == 'a'", r"arithmetic needs numbers and got 'adam'"),
        ("opt % 3 == 'a'", r"arithmetic needs numbers"),
        ("flag + 1 == 2", r"arithmetic needs numbers and got True"),
        ("-opt == 1", r"arithmetic needs numbers"),
        ("none < 1", r"cannot be evaluated"),
        ("x", r"'x' stands alone, so it must be True or False and not 0.5"),
        ("not lo", r"'lo' stands alone"),
    ],
)
def test_values_of_the_wrong_type_are_the_authors_mistake(text, message):
    with pytest.raises(SpaceError, match=message):
        Expression(text).holds(VALUES)


@given(st.text(alphabet="ab01<>=+-*/%()., 'notandorin\n", max_size=40))
def test_no_text_does_anything_but_parse_or_be_refused(text):
    try:
        parsed = Expression(text)
    except SpaceError:
        return
    try:
        answer = parsed.holds(dict.fromkeys(parsed.names, 1))
    except SpaceError as error:
        answer = str(error)
    assert answer in (True, False) or "cannot be evaluated" in answer


numbers = st.one_of(st.integers(-50, 50), st.floats(-50, 50))


@given(
    a=numbers,
    b=numbers,
    c=numbers,
    text=st.sampled_from(["a < b < c", "a + b * c >= -a", "a - (b - c) != 0", "not a == b or c > 1", "a in (b, c)"]),
)
def test_values_agree_with_python(a, b, c, text):
    assert Expression(text).holds({"a": a, "b": b, "c": c}) is bool(eval(text, {}, {"a": a, "b": b, "c": c}))


def test_expressions_are_values():
    assert Expression("lo <= hi") == Expression("lo <= hi") != Expression("lo < hi")
    assert len({Expression("lo <= hi"), Expression("lo <= hi")}) == 1
    assert Expression("lo <= hi").names == {"lo", "hi"}
    again = pickle.loads(pickle.dumps(Expression("lo <= hi")))
    assert again == Expression("lo <= hi")
    assert again.holds({"lo": 1, "hi": 2})
    assert Expression("lo <= hi").to_plain() == "lo <= hi"


# ---- functions -------------------------------------------------------------------------------------------------------------------------------


def ordered(hparams):
    return hparams["lo"] <= hparams["hi"]


class Below:
    def __call__(self, hparams):
        return hparams["lo"] < 0.5


def test_functions():
    assert Function(ordered).holds({"lo": 1, "hi": 2}) is True
    assert Function(lambda h: np.float64(h["lo"]) > 1).holds({"lo": 1}) is False
    assert Function(ordered).to_plain() == {"callable": f"{__name__}.ordered"}
    assert Function(Below()).to_plain() == {"callable": f"{__name__}.Below"}
    assert Function(functools.partial(ordered)).to_plain() == {"callable": "functools.partial"}
    assert str(Function(ordered)) == f"{__name__}.ordered"
    assert Function(ordered).names == Unresolved("f").names == frozenset()


def test_a_function_must_answer_and_cannot_change_the_configuration():
    with pytest.raises(SpaceError, match=r"returned None for {'lo': 1}; it must return True or False"):
        Function(lambda h: None).holds({"lo": 1})
    with pytest.raises(SpaceError, match=r"returned 1 for"):
        Function(lambda h: h["lo"]).holds({"lo": 1})

    def change(hparams):
        hparams["lo"] = 0
        return True

    with pytest.raises(TypeError):
        Function(change).holds({"lo": 1})


def test_what_is_left_of_a_function_cannot_be_evaluated():
    left = Unresolved("module.f")
    assert left.to_plain() == {"callable": "module.f"}
    assert repr(Space(x=1).where(left)) == "Space({'x': Constant(value=1)}).where(module.f)"
    with pytest.raises(SpaceError, match=r"^constraint module.f is a Python function, which a journal cannot hold: pass the space again$"):
        left.holds({})


def test_constraints_from_what_is_given():
    assert constraint("lo <= hi") == Expression("lo <= hi")
    assert constraint(ordered) == Function(ordered)
    assert constraint({"callable": "m.f"}) == Unresolved("m.f")
    assert constraint(Expression("lo <= hi")) == Expression("lo <= hi")
    for wrong in (3, None, {"callable": 3}, {"callable": "m.f", "more": 1}, ["lo <= hi"]):
        with pytest.raises(SpaceError, match="constraint: got"):
            constraint(wrong)
    with pytest.raises(TypeError):
        Constraint()


# ---- in a space ------------------------------------------------------------------------------------------------------------------------------

LO_HI = Space(lo=Float(0.0, 1.0), hi=Float(0.0, 1.0))


def test_where_returns_another_space():
    space = LO_HI.where("lo <= hi", ordered)
    assert (LO_HI.constraints, space.constraints) == ((), (Expression("lo <= hi"), Function(ordered)))
    assert space.where("lo > 0.1").constraints == (*space.constraints, Expression("lo > 0.1"))
    assert LO_HI.where() == LO_HI
    assert space != LO_HI
    assert space == LO_HI.where("lo <= hi").where(ordered)


def test_an_unknown_name_is_refused_at_once():
    with pytest.raises(SpaceError, match=r"constraint 'lo <= high': 'high' is not a hyperparameter; did you mean 'hi'\?"):
        LO_HI.where("lo <= high")
    with pytest.raises(SpaceError, match=r"'zz' is not a hyperparameter; known are 'lo', 'hi'"):
        LO_HI.where("zz < 1")


@pytest.mark.parametrize("space", [LO_HI.where("lo <= hi"), LO_HI.where(ordered), LO_HI.where(Expression("lo <= hi"))])
def test_every_configuration_that_is_drawn_satisfies_them(space):
    generator = rng()
    drawn = [space.sample(generator) for _ in range(50)]
    drawn += space.sample_population(50, generator) + space.sample_population(50, generator, stratified=False)
    assert all(config["lo"] <= config["hi"] for config in drawn)


def test_rejection_draws_from_the_triangle():
    """Given lo <= hi, the larger of two uniform numbers has the distribution x²."""
    generator = rng(1)
    space = LO_HI.where("lo <= hi")
    assert stats.kstest([space.sample(generator)["hi"] for _ in range(2000)], lambda x: np.asarray(x) ** 2).pvalue > 0.01


def test_checking():
    space = LO_HI.where("lo <= hi")
    good, bad = {"lo": 0.25, "hi": 0.5}, {"lo": 0.75, "hi": 0.5}
    space.validate(good)
    assert (space.satisfied(good), space.contains(good), space.satisfied(bad), space.contains(bad)) == (True, True, False, False)
    with pytest.raises(SpaceError, match=r"constraint 'lo <= hi' is not met by {'lo': 0.75, 'hi': 0.5}; change one of the values"):
        space.validate(bad)
    assert space.clip({"lo": 1.25, "hi": 0.5}) == bad  # clip does not look at constraints


@pytest.mark.parametrize("size", [None, 4])
def test_what_is_never_met_is_named(size):
    space = LO_HI.where("lo >= 0", "lo + hi > 3", "hi <= 1")
    with pytest.raises(SpaceError, match=r"no configuration in 1000 draws met all constraints; 'lo \+ hi > 3' was violated 1000 times; loosen"):
        space.sample(rng()) if size is None else space.sample_population(size, rng())


CONDITIONAL = Space(opt=["sgd", "adam"], lr=Float(0.0, 1.0), momentum=Float(0.0, 1.0, when={"opt": "sgd"}))


@pytest.mark.parametrize("limit", ["momentum < lr", lambda h: h["momentum"] < h["lr"]])
def test_a_constraint_on_what_is_inactive_holds(limit):
    space = CONDITIONAL.where(limit)
    assert space.satisfied({"opt": "adam", "lr": 0.5})
    assert space.contains({"opt": "adam", "lr": 0.5})
    assert not space.satisfied({"opt": "sgd", "lr": 0.5, "momentum": 0.75})
    for config in space.sample_population(40, rng()):
        assert "momentum" not in config or config["momentum"] < config["lr"]


def test_a_function_that_asks_for_what_does_not_exist_is_told():
    space = CONDITIONAL.where(lambda h: h["momentun"] < 1)
    with pytest.raises(SpaceError, match=r"looks up 'momentun', which is not a hyperparameter; did you mean 'momentum'\?"):
        space.sample(rng())

    def empty(hparams):
        raise KeyError

    with pytest.raises(SpaceError, match=r"looks up None"):
        CONDITIONAL.where(empty).sample(rng())


def test_a_space_that_was_read_back_says_that_its_function_is_gone():
    space = Space.from_dict(LO_HI.where("lo <= hi", ordered).to_dict())
    assert not space.resolved
    assert LO_HI.where("lo <= hi", ordered).resolved
    assert space.to_dict() == LO_HI.where("lo <= hi", ordered).to_dict()
    with pytest.raises(SpaceError, match=rf"constraint {__name__}.ordered is a Python function, .* pass the space again"):
        space.sample(rng())
    with pytest.raises(SpaceError, match="pass the space again"):
        space.contains({"lo": 0.1, "hi": 0.2})


def test_ints_and_powers():
    """A model of width times depth that fits: 2 ** width_log * layers <= 512."""
    space = Space(width_log=Int(4, 9), layers=Int(1, 16)).where("2 ** width_log * layers <= 512")
    configs = space.sample_population(1000, rng(), stratified=False)
    assert all(2 ** c["width_log"] * c["layers"] <= 512 for c in configs)
    depths = {4: 16, 5: 16, 6: 8, 7: 4, 8: 2, 9: 1}  # how many depths fit each width: 47 pairs, all equally likely
    observed = [sum(c["width_log"] == width for c in configs) for width in depths]
    assert stats.chisquare(observed, [1000 * n / 47 for n in depths.values()]).pvalue > 0.01


def test_an_expression_is_a_text():
    with pytest.raises(SpaceError, match="constraint: got 5; it must be an expression"):
        Expression(5)
