"""Text in: JSON, TOML and CSV to plain dictionaries."""

from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Callable
from typing import Any

from lamarck._errors import SpaceError
from lamarck.space._plain import checked, from_fields

__all__ = ["parse"]

_SCALES = {"linear": False, "log": True}
_COLUMNS = ("name", "min", "max", "scale")


def parse(text: str, form: str) -> dict[str, Any]:
    """Parses text of a named format to what `Space.from_dict` takes."""
    reader = _READERS.get(form)
    if reader is None:
        raise SpaceError(f"format: got {form!r}; it must be 'json', 'toml' or 'csv'")
    return reader(text.removeprefix("\ufeff"))  # spreadsheets put a byte-order mark in front


def _json(text: str) -> dict[str, Any]:
    try:
        plain = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise SpaceError(f"the space cannot be read as JSON: {error}") from None
    if not isinstance(plain, dict):
        raise SpaceError(f"the space is JSON, but got {plain!r}; it must be an object of hyperparameters by name")
    return plain


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name, value in pairs:
        if name in plain:
            raise ValueError(f"{name!r} is there more than once; remove one")
        plain[name] = value
    return plain


def _toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpaceError(f"the space cannot be read as TOML: {error}") from None


def _csv(text: str) -> dict[str, Any]:
    rows = csv.reader(text.splitlines(keepends=True), skipinitialspace=True)
    plain: dict[str, Any] = {}
    header: list[str] = []
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if not header:
                header = _header(cells)
                continue
            name, fields = _row(dict(zip(header, cells, strict=False)), len(cells) == len(header))
            if name in plain:
                raise SpaceError(f"{name!r} is there more than once; remove one")
            plain[name] = checked(name, from_fields(name, fields))
    except (SpaceError, csv.Error) as error:
        raise SpaceError(f"the space cannot be read as CSV, line {rows.line_num}: {error}") from None
    if not header:
        raise SpaceError(f"the space cannot be read as CSV: got no header; the first line must be {','.join(_COLUMNS)!r}")
    return plain


def _header(cells: list[str]) -> list[str]:
    if len(set(cells)) < len(cells) or not set(_COLUMNS) <= set(cells) <= {*_COLUMNS, "type"}:
        raise SpaceError(f"got the columns {','.join(cells)!r}; they must be {','.join(_COLUMNS)!r} and, if wanted, 'type'")
    return cells


def _row(cells: dict[str, str], complete: bool) -> tuple[str, dict[str, Any]]:
    if not complete:
        raise SpaceError("the number of cells differs from the header's")
    if cells["scale"] not in _SCALES:
        raise SpaceError(f"scale: got {cells['scale']!r}; it must be 'log' or 'linear'")
    kind = cells.get("type") or "float"
    if kind not in ("float", "int"):
        raise SpaceError(f"type: got {kind!r}; it must be 'float' or 'int'")
    low, high = (_number(column, cells[column], kind) for column in ("min", "max"))
    return cells["name"], {"type": kind, "low": low, "high": high, "log": _SCALES[cells["scale"]]}


def _number(column: str, cell: str, kind: str) -> float:
    try:
        return int(cell) if kind == "int" else float(cell)
    except ValueError:
        raise SpaceError(f"{column}: got {cell!r}; it must be {'a whole number' if kind == 'int' else 'a number'}") from None


_READERS: dict[str, Callable[[str], dict[str, Any]]] = {"json": _json, "toml": _toml, "csv": _csv}
