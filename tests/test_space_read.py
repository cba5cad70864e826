"""Spaces from dictionaries and text, and back."""

from __future__ import annotations

import json
import math

import pytest

from lamarck import SpaceError
from lamarck.space import Categorical, Constant, Float, Int, Space

FULL = Space(
    {"optimizer.lr": Float(1e-5, 0.1, log=True, init=(1e-3, 1e-2), bounds="clip")},
    layers=Int(1, 8, log=True, init=(2, 4)),
    optimizer=["sgd", "adam", None, 3, 0.5, False],
    batch=Categorical((32, 64, 128), ordered=True, init=(32, 64)),
    momentum=Float(0.0, 0.99, when={"optimizer": ("sgd", "adam")}),
    name=Constant("x", when={"optimizer": "sgd", "layers": 3}),
    lo=Float(0, 1),
    hi=Float(0, 1),
).where("lo <= hi", "layers * 32 <= 200 or optimizer in ('sgd', 'adam')")


def test_plain_values_and_back():
    plain = FULL.to_dict()
    assert list(plain) == ["hyperparameters", "constraints"]
    assert list(plain["hyperparameters"]) == list(FULL.names)
    assert plain["constraints"] == ["lo <= hi", "layers * 32 <= 200 or optimizer in ('sgd', 'adam')"]
    assert Space.from_dict(plain) == FULL
    text = json.dumps(plain, allow_nan=False)
    assert Space.from_dict(json.loads(text)) == FULL
    assert Space.from_text(text, "json") == FULL
    assert json.dumps(Space.from_text(text, "json").to_dict()) == text


def test_an_empty_space_and_back():
    assert Space().to_dict() == {"hyperparameters": {}, "constraints": []}
    assert Space.from_dict({}) == Space.from_dict(Space().to_dict()) == Space()


def test_what_people_write():
    space = Space.from_dict(
        {
            "lr": {"low": 1e-5, "high": 0.1, "log": True},
            "opt": ["sgd", "adam"],
            "layers": 3,
            "width": {"low": 8, "high": 64},
            "ratio": {"low": 0, "high": 0.5},
            "share": {"type": "float", "low": 0, "high": 1},
            "momentum": {"low": 0.0, "high": 0.99, "when": {"opt": "sgd"}},
            "batch": {"choices": [32, 64], "ordered": True},
            "seed": {"value": 7, "when": {"opt": ["adam"]}},
            "ready": Float(0.0, 2.0),
            "constraints": ["ratio <= share"],
        }
    )
    assert space == Space(
        lr=Float(1e-5, 0.1, log=True),
        opt=["sgd", "adam"],
        layers=3,
        width=Int(8, 64),
        ratio=Float(0.0, 0.5),
        share=Float(0.0, 1.0),
        momentum=Float(0.0, 0.99, when={"opt": "sgd"}),
        batch=Categorical([32, 64], ordered=True),
        seed=Constant(7, when={"opt": "adam"}),
        ready=Float(0.0, 2.0),
    ).where("ratio <= share")


def test_a_function_may_stand_among_the_constraints():
    space = Space.from_dict({"lo": {"low": 0.0, "high": 1.0}, "constraints": [lambda h: h["lo"] < 0.5]})
    assert space.satisfied({"lo": 0.25})
    assert not space.satisfied({"lo": 0.75})


def test_names_that_look_like_sections():
    assert Space.from_dict({"hyperparameters": 3}) == Space(hyperparameters=3)
    assert Space.from_dict({"hyperparameters": ["a", "b"], "x": 1}) == Space(hyperparameters=["a", "b"], x=1)
    assert Space.from_dict({"hyperparameters": {"constraints": 1}, "constraints": []}) == Space(constraints=1)
    assert Space.from_dict({"hyperparameters": {"low": 0, "high": 8}, "x": 1}) == Space(hyperparameters=Int(0, 8), x=1)


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        (None, r"got None; a space is read from a dictionary"),
        ([1], r"got \[1\]; a space is read from a dictionary"),
        ({"lr": {"low": 1.0, "high": 0.0}}, r"hyperparameter 'lr': got low=1.0 and high=0.0; low must be below high"),
        ({"lr": {"low": 0.0, "high": 1.0, "log": True}}, r"hyperparameter 'lr': got log=True with low=0.0"),
        ({"lr": {"low": 0.0}}, r"hyperparameter 'lr': float lacks 'high'; give 'low' and 'high'"),
        ({"lr": {"high": 3}}, r"hyperparameter 'lr': int lacks 'low'"),
        ({"lr": {"low": "0", "high": "1"}}, r"hyperparameter 'lr': low: got '0'"),
        ({"lr": {"min": 0.0, "max": 1.0}}, r"hyperparameter 'lr': got {'min': 0.0, 'max': 1.0}; give 'low' and 'high', 'choices', or 'value'"),
        ({"lr": {}}, r"give 'low' and 'high'"),
        ({"lr": {"low": 0.0, "high": 1.0, "logg": True}}, r"float has no field 'logg'; did you mean 'log'\?"),
        ({"opt": {"lr": {"low": 0.0}, "low": 0, "high": 1}}, r"int has no field 'lr'.*a name that contains a dot must be quoted"),
        ({"opt": {"choices": ["a"], "low": 0}}, r"categorical has no field 'low'"),
        ({"opt": {"type": "choice", "choices": ["a"]}}, r"type: got 'choice'; it must be 'float', 'int', 'categorical' or 'constant'"),
        ({"opt": {"type": ["float"], "low": 0.0, "high": 1.0}}, r"type: got \['float'\]"),
        ({"opt": {"type": "categorical"}}, r"categorical lacks 'choices'"),
        ({"opt": {"type": "constant"}}, r"constant lacks 'value'; give 'value'"),
        ({"opt": {"type": "int", "low": 0.5, "high": 3}}, r"hyperparameter 'opt': low: got 0.5; it must be a whole number"),
        ({"opt": []}, r"hyperparameter 'opt': choices: got \[\]"),
        ({"opt": object()}, r"hyperparameter 'opt': got <object"),
        ({"x": 1, "constraints": "x < 1"}, r"constraints: got 'x < 1'; it must be a list"),
        ({"x": 1, "constraints": ["y < 1"]}, r"constraint 'y < 1': 'y' is not a hyperparameter; known are 'x'"),
        ({"x": 1, "constraints": [3]}, r"constraint: got 3"),
        ({"$x": 1}, r"got the name '\$x'"),
        ({"a": {"low": 0.0, "high": 1.0, "when": {"b": 1}}}, r"hyperparameter 'a': when: 'b' is not a hyperparameter; known are 'a'"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(plain, message):
    with pytest.raises(SpaceError, match=message):
        Space.from_dict(plain)


# ---- TOML ------------------------------------------------------------------------------------------------------------------------------------

TOML = """
constraints = ["lo <= hi"]
layers = 3
opt = ["sgd", "adam"]

[lr]
low = 1e-5
high = 0.1
log = true
init = [1e-3, 1e-2]

[lo]
low = 0.0
high = 1.0

[hi]
low = 0.0
high = 1.0

["net.width"]
low = 8
high = 64
when = { opt = "sgd" }
"""


def test_toml():
    assert Space.from_text(TOML, "toml") == Space(
        {
            "layers": 3,
            "opt": ["sgd", "adam"],
            "lr": Float(1e-5, 0.1, log=True, init=(1e-3, 1e-2)),
            "lo": Float(0.0, 1.0),
            "hi": Float(0.0, 1.0),
            "net.width": Int(8, 64, when={"opt": "sgd"}),
        }
    ).where("lo <= hi")
    assert Space.from_text("\ufeff" + TOML, "toml") == Space.from_text(TOML, "toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[lr\nlow = 1", r"the space cannot be read as TOML: .*line 1"),
        ("[lr]\nlow = 1\nlow = 2\n[x]", r"cannot be read as TOML: .*line 3"),
        ("day = 2020-01-01", r"hyperparameter 'day': got datetime.date"),
        ("[opt.lr]\nlow = 0.0\nhigh = 1.0", r"hyperparameter 'opt': got {'lr': .*give 'low' and 'high'"),
        ("[lr]\nlow = nan\nhigh = 1.0", r"hyperparameter 'lr': low: got nan"),
        ("x = " + "[" * 2000 + "]" * 2000, r"cannot be read as TOML"),
    ],
)
def test_toml_that_is_wrong(text, message):
    with pytest.raises(SpaceError, match=message):
        Space.from_text(text, "toml")


# ---- JSON ------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"lr": {"low": 0.0,\n "high" 1.0}}', r"the space cannot be read as JSON: Expecting ':' delimiter: line 2 column 9"),
        ("", r"cannot be read as JSON: .*line 1"),
        ("[1, 2]", r"the space is JSON, but got \[1, 2\]; it must be an object"),
        ('{"lr": 1, "lr": 2}', r"cannot be read as JSON: 'lr' is there more than once; remove one"),
        ('{"lr": {"low": NaN, "high": 1.0}}', r"hyperparameter 'lr': low: got nan"),
        ('{"lr": Infinity}', r"hyperparameter 'lr': got inf"),
        ('{"lr": ' + "[" * 100000 + "]" * 100000 + "}", r"cannot be read as JSON"),
        ('{"lr": ' + "1" * 5000 + "}", r"cannot be read as JSON"),
    ],
)
def test_json_that_is_wrong(text, message):
    with pytest.raises(SpaceError, match=message):
        Space.from_text(text, "json")


# ---- CSV -------------------------------------------------------------------------------------------------------------------------------------


def test_csv():
    """The columns of an earlier system, with the example that its documentation gives."""
    text = "name,min,max,scale\nregular_lr,1e-4,1e-1,log\nweight_decay,1e-5,1e-3,log\ndropout,0.1,0.9,linear\n"
    expected = Space(regular_lr=Float(1e-4, 1e-1, log=True), weight_decay=Float(1e-5, 1e-3, log=True), dropout=Float(0.1, 0.9))
    assert Space.from_text(text, "csv") == expected
    assert Space.from_text("\ufeff" + text.replace("\n", "\r\n"), "csv") == expected
    assert Space.from_text(text.replace(",", " , ").replace("\n", "\n\n"), "csv") == expected


def test_csv_with_types_and_quotes():
    text = 'type,name,scale,min,max\nint,layers,log,1,8\nfloat,"a, b",linear,1,8\n,c,linear,-1,1\n,,,,\n'
    assert Space.from_text(text, "csv") == Space({"layers": Int(1, 8, log=True), "a, b": Float(1.0, 8.0), "c": Float(-1.0, 1.0)})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"the space cannot be read as CSV: got no header; the first line must be 'name,min,max,scale'"),
        ("\n\n", r"got no header"),
        ("lr,1e-5,0.1,log", r"CSV, line 1: got the columns 'lr,1e-5,0.1,log'; they must be 'name,min,max,scale' and, if wanted, 'type'"),
        ("name,min,max", r"line 1: got the columns"),
        ("name,min,max,scale,unit", r"line 1: got the columns"),
        ("name,name,min,max,scale", r"line 1: got the columns"),
        ("name,min,max,scale\nlr,1e-5,0.1", r"line 2: the number of cells differs from the header's"),
        ("name,min,max,scale\nlr,1e-5,0.1,log,x", r"line 2: the number of cells"),
        ("name,min,max,scale\n\nlr,1e-5,0.1,logarithmic", r"line 3: scale: got 'logarithmic'; it must be 'log' or 'linear'"),
        ("name,min,max,scale\nlr,low,0.1,log", r"line 2: min: got 'low'; it must be a number"),
        ("name,min,max,scale\nlr,0.1,,log", r"line 2: max: got ''; it must be a number"),
        ("name,min,max,scale,type\nn,1,8.5,log,int", r"line 2: max: got '8.5'; it must be a whole number"),
        ("name,min,max,scale,type\nn,1,8,log,str", r"line 2: type: got 'str'; it must be 'float' or 'int'"),
        ("name,min,max,scale\na,0,1,linear\nlr,0.1,0.01,log", r"line 3: hyperparameter 'lr': got low=0.1 and high=0.01; low must"),
        ("name,min,max,scale\nlr,0,0.01,log", r"line 2: hyperparameter 'lr': got log=True with low=0.0"),
        ("name,min,max,scale\nlr,nan,0.01,log", r"line 2: hyperparameter 'lr': low: got nan"),
        ("name,min,max,scale\na,0,1,linear\na,0,1,linear", r"line 3: 'a' is there more than once; remove one"),
        ("name,min,max,scale\n,0,1,linear", r"line 2: got the name ''"),
        ("name,min,max,scale\n" + "x" * 140000, r"CSV, line 2: field larger than field limit"),
    ],
)
def test_csv_that_is_wrong_says_where(text, message):
    with pytest.raises(SpaceError, match=message):
        Space.from_text(text, "csv")


@pytest.mark.parametrize("form", ["yaml", "JSON", "", None])
def test_an_unknown_format(form):
    with pytest.raises(SpaceError, match=r"format: got .*; it must be 'json', 'toml' or 'csv'"):
        Space.from_text("{}", form)


def test_all_three_say_the_same():
    csv = "name,min,max,scale,type\nlr,1e-5,0.1,log,\nn,1,8,linear,int"
    toml = "[lr]\nlow = 1e-5\nhigh = 0.1\nlog = true\n[n]\nlow = 1\nhigh = 8\n"
    plain = json.dumps(Space.from_text(csv, "csv").to_dict())
    assert Space.from_text(csv, "csv") == Space.from_text(toml, "toml") == Space.from_text(plain, "json")
    assert math.isclose(Space.from_text(csv, "csv")["lr"].to_unit(1e-3), 0.5)
