"""Schedules as text: JSON, TOML, CSV and Python code."""

from __future__ import annotations

import csv
import json
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lamarck._checks import one_line
from lamarck._errors import SettingsError
from lamarck.schedule.piece import Piece
from lamarck.types import HParams

__all__ = ["plain", "read", "read_plain", "table", "write"]


def write(pieces: Sequence[Piece], format: str) -> str:  # noqa: A002
    """Writes pieces down; see `lamarck.Schedule.to_text`."""
    if format not in _WRITERS:
        raise SettingsError(f"format: got {format!r}; it must be one of {', '.join(map(repr, _WRITERS))}")
    return _WRITERS[format]([_checked(place, piece) for place, piece in enumerate(pieces, start=1)])


def read(source: str, format: str) -> Iterator[Piece]:  # noqa: A002
    """Reads pieces; see `lamarck.Schedule.from_text`."""
    if format not in _READERS:
        raise SettingsError(f"format: got {format!r}; it must be one of {', '.join(map(repr, _READERS))}")
    try:
        rows = _READERS[format](source.removeprefix("\ufeff"))  # spreadsheets put a byte-order mark in front
    except (ValueError, RecursionError, csv.Error) as error:
        raise SettingsError(f"the schedule is not {format.upper()}: {error}") from None
    return read_plain(rows)


def plain(pieces: Sequence[Piece]) -> list[dict[str, Any]]:
    """Returns pieces as plain JSON values."""
    return [{"start": piece.start, "until": piece.until, "hparams": dict(piece.hparams)} for piece in pieces]


def table(pieces: Sequence[Piece]) -> str:
    """Returns pieces as aligned lines for people; see `lamarck.Schedule.__str__`."""
    names = list(dict.fromkeys(name for piece in pieces for name in piece.hparams))

    def row(piece: Piece) -> list[str]:
        return [f"{piece.start:,} to {piece.until:,}", *(_shown(piece.hparams[name]) if name in piece.hparams else "" for name in names)]

    rows = [["steps", *map(one_line, names)], *map(row, pieces)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else one_line(str(value))


def read_plain(rows: object) -> Iterator[Piece]:
    """Reads pieces from plain JSON values."""
    if not isinstance(rows, list):
        raise SettingsError(f"got {rows!r}; a schedule is a list of pieces, each with start, until and hparams")
    return map(_piece, range(1, len(rows) + 1), rows)


def _piece(place: int, row: object) -> Piece:
    if not isinstance(row, dict) or row.keys() != {"start", "until", "hparams"}:
        raise SettingsError(f"piece {place}: got {row!r}; it must have start, until and hparams, and nothing else")
    for name in ("start", "until"):
        if isinstance(row[name], bool) or not isinstance(row[name], int):
            raise SettingsError(f"piece {place}: {name}: got {row[name]!r}; it must be a whole number")
    if not isinstance(row["hparams"], dict):
        raise SettingsError(f"piece {place}: hparams: got {row['hparams']!r}; it must hold values by name")
    return _checked(place, Piece(row["start"], row["until"], row["hparams"]))


def _checked(place: int, piece: Piece) -> Piece:
    """The piece with plain values only: NumPy's floats are floats, and write themselves in another way."""
    hparams: dict[str, Any] = {}
    for name, value in piece.hparams.items():
        if not isinstance(value, bool | int | float | str | None) or (isinstance(value, float) and not math.isfinite(value)):
            raise SettingsError(f"piece {place}: {name}: got {value!r}; it must be a finite number, a string, true, false or null")
        hparams[name] = float(value) if isinstance(value, float) else value
    return Piece(piece.start, piece.until, hparams)


# ---- JSON and TOML ---------------------------------------------------------------------------------------------------------------------------


def _to_json(pieces: Sequence[Piece]) -> str:
    return "[\n" + ",\n".join(f"  {json.dumps(piece)}" for piece in plain(pieces)) + "\n]\n"


def _to_toml(pieces: Sequence[Piece]) -> str:
    for piece in pieces:
        for name, value in piece.hparams.items():
            if value is None:
                raise SettingsError(f"{name}: TOML has no way to write None; use JSON")

    def tables(piece: Piece) -> str:
        values = "".join(f"{_toml_key(name)} = {_toml(value)}\n" for name, value in piece.hparams.items())
        return f"[[piece]]\nstart = {piece.start}\nuntil = {piece.until}\n[piece.hparams]\n{values}"

    return "\n".join(map(tables, pieces))


def _toml(value: object) -> str:
    if isinstance(value, str):
        return _toml_string(value)
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _toml_key(name: str) -> str:
    bare = name.isascii() and name.replace("_", "a").replace("-", "a").isalnum()
    return name if bare else _toml_string(name)


def _toml_string(text: str) -> str:
    """A basic string, which escapes as JSON does, except that JSON lets DEL be."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _from_toml(source: str) -> object:
    table = tomllib.loads(source)
    if table.keys() != {"piece"}:
        raise SettingsError(f"got the tables {sorted(table)}; a schedule in TOML is an array of tables [[piece]]")
    pieces = table["piece"]
    for piece in pieces if isinstance(pieces, list) else ():
        if isinstance(piece, dict):
            piece.setdefault("hparams", {})
    return pieces


# ---- CSV -------------------------------------------------------------------------------------------------------------------------------------


class _Lines:
    """What the csv module writes to."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(line)


def _to_csv(pieces: Sequence[Piece]) -> str:
    names = list(dict.fromkeys(name for piece in pieces for name in piece.hparams))
    lines = _Lines()
    table = csv.writer(lines, lineterminator="\n")
    table.writerow(["start", "until", *map(_cell, names)])
    for piece in pieces:
        table.writerow([piece.start, piece.until, *(_cell(piece.hparams[name]) if name in piece.hparams else "" for name in names)])
    return "".join(lines.lines)


def _cell(value: object) -> str:
    """Text stands as it is unless it could be taken for something else."""
    return value if isinstance(value, str) and value and _value(value) == value and value.isprintable() else json.dumps(value)


def _value(cell: str) -> object:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell


def _from_csv(source: str) -> object:
    head, *rows = [row for row in csv.reader((f"{line}\n" for line in source.split("\n")), strict=True) if row] or [[]]
    names = [name if isinstance(name := _value(cell), str) else cell for cell in head[2:]]
    if head[:2] != ["start", "until"] or len(set(names)) < len(names):
        raise SettingsError(f"got the columns {head}; a schedule in CSV begins with start and until, then a column for each hyperparameter")
    for place, row in enumerate(rows, start=1):
        if len(row) != len(head):
            raise SettingsError(f"piece {place}: got {len(row)} cells; there are {len(head)} columns")
    return [
        {
            "start": _value(row[0]),
            "until": _value(row[1]),
            "hparams": {name: _value(cell) for name, cell in zip(names, row[2:], strict=True) if cell},
        }
        for row in rows
    ]


# ---- Python ----------------------------------------------------------------------------------------------------------------------------------


def _to_python(pieces: Sequence[Piece]) -> str:
    lines = "".join(f"        Piece({piece.start}, {piece.until}, {_python(piece.hparams)}),\n" for piece in pieces)
    return f"from lamarck import Piece, Schedule\n\nschedule = Schedule(\n    (\n{lines}    )\n)\n"


def _python(hparams: HParams) -> str:
    return "{" + ", ".join(f"{_literal(name)}: {_literal(value)}" for name, value in hparams.items()) + "}"


def _literal(value: object) -> str:
    """Strings in double quotes, as most code has them."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) and value.isprintable() else repr(value)


_WRITERS: Mapping[str, Callable[[Sequence[Piece]], str]] = {"json": _to_json, "toml": _to_toml, "csv": _to_csv, "python": _to_python}
_READERS: Mapping[str, Callable[[str], object]] = {"json": json.loads, "toml": _from_toml, "csv": _from_csv}
