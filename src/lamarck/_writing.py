"""From records to canonical JSON, in one go: each kind of value knows its text.

Numbers, strings and constants are written exactly as the standard library's ``json`` writes them, by the same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from json.encoder import encode_basestring as _quoted
from typing import Any, NamedTuple, NoReturn

from lamarck._kinds import MAX_DEPTH, NEVER, Forms, KindError, fields_of, kind_of, plain, refuse, too_deep

__all__ = ["writer"]

_Write = Callable[[Any], str]
"""Returns a value's text, or raises `KindError`; `ValueError` for a whole number of more digits than Python prints."""


class _Kind(NamedTuple):
    """How the values of some place are written.

    Args:
        texts: By exact type what writes it: the fast way through.
        other: What writes or refuses all others.
    """

    texts: Mapping[type[Any], _Write]
    other: _Write


def _write_float(value: float) -> str:
    return float.__repr__(value) if value - value == 0.0 else f'{{"$float":"{value!r}"}}'


_NUMBERS: Mapping[type[Any], _Write] = {float: _write_float, int: int.__repr__}
_SCALARS: Mapping[type[Any], _Write] = {
    **_NUMBERS,
    str: _quoted,
    bool: {True: "true", False: "false"}.__getitem__,
    type(None): {None: "null"}.__getitem__,
}


def _any_of(texts: Mapping[type[Any], _Write], allowed: str) -> _Kind:
    """What is written for some plain types, and for NumPy scalars that hold one."""

    def other(value: Any) -> str:
        bare = plain(value)
        return texts.get(type(bare), refused)(bare if type(bare) in texts else value)

    def refused(value: Any) -> NoReturn:
        refuse(value, allowed)

    return _Kind(texts, other)


_SCALAR = _any_of(_SCALARS, "None, a bool, a string or a number")


def _choice(allowed: tuple[Any, ...]) -> _Kind:
    def write(value: Any) -> str:
        return _quoted(value) if type(value) is str and value in allowed else refuse(value, "one of " + ", ".join(map(repr, allowed)))

    return _Kind({}, write)


def _optional(item: _Kind) -> _Kind:
    return _Kind({**item.texts, type(None): _SCALARS[type(None)]}, item.other)


def _mapping(item: _Kind) -> _Kind:
    texts, other = item

    def write(value: Any) -> str:
        if not isinstance(value, Mapping):
            refuse(value, "a mapping")
        parts, key = [], None
        try:
            for key, content in value.items():
                if type(key) is not str or key[:1] == "$":
                    refuse(key, "a string that does not begin with '$', as a key")
                parts.append(f"{_quoted(key)}:{texts.get(type(content), other)(content)}")
        except KindError as wrong:
            raise wrong.under(key) from None
        return f"{{{','.join(parts)}}}"

    return _Kind({dict: write}, write)


def _sequence(item: _Kind, size: int | None) -> _Kind:
    texts, other = item

    def write(value: Any) -> str:
        if type(value) is not tuple and type(value) is not list:
            refuse(value, "a tuple")
        if size is not None and len(value) != size:
            refuse(value, f"a tuple of {size}")
        parts: list[str] = []
        try:
            for content in value:
                parts.append(texts.get(type(content), other)(content))  # noqa: PERF401
        except KindError as wrong:
            raise wrong.under(len(parts)) from None
        return f"[{','.join(parts)}]"

    return _Kind({}, write)


@cache
def _tree(depth: int = MAX_DEPTH) -> _Kind:
    """Free-form JSON: scalars, lists and mappings of them."""
    inside = _tree(depth - 1) if depth else _Kind({}, too_deep)
    sequence, mapping = _sequence(inside, None), _mapping(inside)

    def write(value: Any) -> str:
        if isinstance(value, (list, tuple)):
            return sequence.other(list(value))
        return mapping.other(value) if isinstance(value, Mapping) and "$float" not in value else _SCALAR.other(value)

    return _Kind(_SCALARS, write)


def writer(cls: type[Any]) -> _Write:
    """Returns what writes the records of a class as JSON objects, fields in alphabetical order, without those that hold an empty default."""
    rows = []
    for name, hint, empty in fields_of(cls):
        kind = kind_of(hint, _FORMS)
        rows.append((name, f'"{name}":', *kind, None if empty is NEVER else kind.texts.get(type(empty), kind.other)(empty)))

    def write(record: Any) -> str:
        if type(record) is not cls:
            refuse(record, f"a {cls.__name__}")
        parts, name = [], ""
        try:
            for name, head, texts, other, empty in rows:
                value = getattr(record, name)
                text = texts.get(type(value), other)(value)
                if text != empty:
                    parts.append(head + text)
        except KindError as wrong:
            raise wrong.under(name) from None
        return f"{{{','.join(parts)}}}"

    return write


_FORMS = Forms(
    exact=lambda kind, allowed: _any_of({kind: _SCALARS[kind]}, allowed),
    number=_any_of(_NUMBERS, "a number"),
    scalar=_SCALAR,
    tree=_tree(),
    choice=_choice,
    optional=_optional,
    mapping=_mapping,
    sequence=_sequence,
    record=lambda cls: _Kind({}, writer(cls)),
)
