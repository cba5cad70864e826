"""Schedules as text: what is written is read back, and what is not a schedule is refused with the place."""

from __future__ import annotations

import json
import tomllib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lamarck as lk
from lamarck import Piece, Schedule

SHOWN = Schedule((Piece(0, 500, {"lr": 0.1, "opt": "sgd"}), Piece(500, 900, {"lr": 1e-05, "nesterov": True, "width": 64})))

letters = st.characters(exclude_categories=["Cs"])  # half a character is no text
names = st.text(letters, max_size=8) | st.sampled_from(["start", "until", "1", "\r", "null"])
values = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(letters, max_size=8),
    st.sampled_from(
        ["1", "true", "null", "NaN", '"', "0.5", "[]", "", " ", "a,b", "a\nb", "\r", "\ufeff", "\x0b", "\u2028", "\U0001f600", "\x7f"]
    ),
)


def schedules(values):
    parts = st.lists(st.tuples(st.integers(1, 100), st.dictionaries(names, values, max_size=4)), min_size=1, max_size=5)

    def joined(parts):
        pieces, start = [], 0
        for length, hparams in parts:
            pieces.append(Piece(start, start + length, hparams))
            start += length
        return Schedule(tuple(pieces))

    return parts.map(joined)


def same(one, other):
    """Equal, and of the same types: 1 and True are equal, and not the same hyperparameter."""
    assert one == other
    assert [[type(v) for _, v in sorted(p.hparams.items())] for p in one] == [[type(v) for _, v in sorted(p.hparams.items())] for p in other]


@given(schedules(values | st.none()))
def test_json_csv_and_python_give_back_what_was_written(schedule):
    same(Schedule.from_text(schedule.to_text("json")), schedule)
    same(Schedule.from_text(schedule.to_text("csv"), "csv"), schedule)
    made: dict[str, object] = {}
    exec(schedule.to_text("python"), made)
    same(made["schedule"], schedule)


@given(schedules(values))
def test_toml_gives_back_what_was_written(schedule):
    same(Schedule.from_text(schedule.to_text("toml"), "toml"), schedule)


def test_the_texts_are_what_a_person_would_write():
    assert SHOWN.to_text("csv") == "start,until,lr,opt,nesterov,width\n0,500,0.1,sgd,,\n500,900,1e-05,,true,64\n"
    assert json.loads(SHOWN.to_text()) == [
        {"start": 0, "until": 500, "hparams": {"lr": 0.1, "opt": "sgd"}},
        {"start": 500, "until": 900, "hparams": {"lr": 1e-05, "nesterov": True, "width": 64}},
    ]
    assert tomllib.loads(SHOWN.to_text("toml"))["piece"][0] == {"start": 0, "until": 500, "hparams": {"lr": 0.1, "opt": "sgd"}}
    assert SHOWN.to_text("python").splitlines()[4] == '        Piece(0, 500, {"lr": 0.1, "opt": "sgd"}),'


def test_numbers_of_numpy_are_written_as_plain_ones():
    schedule = Schedule((Piece(0, 5, {"lr": np.float64(0.1)}),))
    for kind in ("json", "toml", "csv", "python"):
        assert "float64" not in schedule.to_text(kind)
        assert "0.1" in schedule.to_text(kind)


def test_windows_line_ends_and_empty_lines_are_no_trouble():
    assert Schedule.from_text("start,until,lr\r\n0,5,0.1\r\n\r\n", "csv").pieces == (Piece(0, 5, {"lr": 0.1}),)


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("{", "json", "the schedule is not JSON"),
        ("[" * 100_000, "json", "the schedule is not JSON"),
        ("7", "json", "a schedule is a list of pieces"),
        ("[]", "json", "without pieces"),
        ("[7]", "json", "piece 1: got 7; it must have start, until and hparams"),
        ('[{"start": 0, "until": 5}]', "json", "piece 1"),
        ('[{"start": 0, "until": 5.0, "hparams": {}}]', "json", "piece 1: until: got 5.0; it must be a whole number"),
        ('[{"start": true, "until": 5, "hparams": {}}]', "json", "piece 1: start: got True"),
        ('[{"start": 0, "until": 5, "hparams": [1]}]', "json", r"piece 1: hparams: got \[1\]"),
        ('[{"start": 0, "until": 5, "hparams": {"lr": NaN}}]', "json", "piece 1: lr: got nan; it must be a finite number"),
        ('[{"start": 0, "until": 5, "hparams": {"lr": [1]}}]', "json", r"piece 1: lr: got \[1\]"),
        ('[{"start": 2, "until": 5, "hparams": {}}]', "json", "must begin at step 0"),
        ("piece = ", "toml", "the schedule is not TOML"),
        ("lr = 0.1", "toml", r"got the tables \['lr'\]"),
        ("piece = 7", "toml", "a schedule is a list of pieces"),
        ("piece = [7]", "toml", "piece 1: got 7"),
        ("", "csv", "begins with start and until"),
        ("lr\n0.1\n", "csv", "begins with start and until"),
        ("start,until,lr,lr\n0,5,1,2\n", "csv", "begins with start and until"),
        ("start,until,lr\n0,5\n", "csv", "piece 1: got 2 cells; there are 3 columns"),
        ("start,until,lr\n0,five,0.1\n", "csv", "piece 1: until: got 'five'"),
        ('start,until,lr\n0,5,"0.1\n', "csv", "the schedule is not CSV"),
        ("", "yaml", "format: got 'yaml'; it must be one of 'json', 'toml', 'csv'"),
        ("", "python", "format: got 'python'"),
    ],
)
def test_what_is_not_a_schedule_is_refused(source, kind, message):
    with pytest.raises(lk.SettingsError, match=message):
        Schedule.from_text(source, kind)


def test_what_cannot_be_written_is_refused():
    with pytest.raises(lk.SettingsError, match="opt: TOML has no way to write None; use JSON"):
        Schedule((Piece(0, 5, {"opt": None}),)).to_text("toml")
    with pytest.raises(lk.SettingsError, match="piece 1: lr: got inf"):
        Schedule((Piece(0, 5, {"lr": float("inf")}),)).to_text("json")
    with pytest.raises(lk.SettingsError, match="format: got 'yaml'; it must be one of 'json', 'toml', 'csv', 'python'"):
        SHOWN.to_text("yaml")


@pytest.mark.parametrize("form", ["json", "toml", "csv"])
def test_a_byte_order_mark_and_the_line_ends_of_another_system_are_no_trouble(form):
    schedule = Schedule((Piece(0, 5, {"lr": 0.1, "opt": "sgd"}), Piece(5, 9, {"lr": 0.2, "opt": "adam"})))
    assert Schedule.from_text("\ufeff" + schedule.to_text(form).replace("\n", "\r\n"), form) == schedule


def test_a_schedule_prints_as_a_table():
    assert str(SHOWN).splitlines() == [
        "     steps     lr  opt  nesterov  width",
        "  0 to 500    0.1  sgd                 ",
        "500 to 900  1e-05           True     64",
    ]
    assert len(str(Schedule((Piece(0, 5, {"a": "two\nlines"}),))).splitlines()) == 2
