"""From parsed JSON to records: what may stand where is taken over, and everything else is refused.

A value whose exact type is among those that pass is taken as it is, which is the fast way through; all others are asked about.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from lamarck._errors import LamarckError
from lamarck._kinds import MAX_DEPTH, Forms, KindError, fields_of, kind_of, refuse, too_deep

__all__ = ["reader"]

_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_SCALARS = frozenset({str, bool, int, type(None)})


class _Kind(NamedTuple):
    """What may stand somewhere.

    Args:
        passes: Exact types that are taken as they are.
        check: Returns any other value as the record holds it, or raises `KindError`.
    """

    passes: frozenset[Any]
    check: Callable[[Any], Any]


def _exact(kind: type[Any], allowed: str) -> _Kind:
    return _Kind(frozenset([kind]), lambda value: refuse(value, allowed))


def _read_number(value: Any) -> Any:
    if type(value) is float and value - value == 0.0:  # almost every number there is
        return value
    if type(value) is dict and len(value) == 1:
        name = value.get("$float")
        if type(name) is str and name in _NON_FINITE:
            return _NON_FINITE[name]
    return refuse(value, 'a number, or {"$float": "nan"}, "inf" or "-inf"')


def _read_scalar(value: Any) -> Any:
    if type(value) is float or type(value) is dict:
        return _read_number(value)
    return refuse(value, "None, a bool, a string or a number")


_NUMBER, _SCALAR = _Kind(frozenset([int]), _read_number), _Kind(_SCALARS, _read_scalar)


def _choice(allowed: tuple[Any, ...]) -> _Kind:
    def check(value: Any) -> Any:
        return value if type(value) is str and value in allowed else refuse(value, "one of " + ", ".join(map(repr, allowed)))

    return _Kind(frozenset(), check)


def _optional(item: _Kind) -> _Kind:
    return _Kind(item.passes | {type(None)}, item.check)


def _mapping(item: _Kind) -> _Kind:
    passes, check_item = item

    def check(value: Any) -> Any:
        if type(value) is not dict:
            refuse(value, "a mapping")
        key = None
        try:
            for key, content in value.items():
                if key[:1] == "$":
                    refuse(key, "a string that does not begin with '$', as a key")
                if type(content) not in passes:
                    value[key] = check_item(content)  # the parser made the dictionary for us alone
        except KindError as wrong:
            raise wrong.under(key) from None
        return value

    return _Kind(frozenset(), check)


def _sequence(item: _Kind, size: int | None) -> _Kind:
    passes, check_item = item

    def check(value: Any) -> Any:
        if type(value) is not list:
            refuse(value, "a tuple")
        if size is not None and len(value) != size:
            refuse(value, f"a tuple of {size}")
        out: list[Any] = []
        try:
            for content in value:
                out.append(content if type(content) in passes else check_item(content))  # noqa: PERF401
        except KindError as wrong:
            raise wrong.under(len(out)) from None
        return tuple(out)

    return _Kind(frozenset(), check)


@cache
def _tree(depth: int = MAX_DEPTH) -> _Kind:
    """Free-form JSON: scalars, lists and mappings of them."""
    inside = _tree(depth - 1) if depth else _Kind(frozenset(), too_deep)
    sequence, mapping = _sequence(inside, None), _mapping(inside)

    def check(value: Any) -> Any:
        if type(value) is list:
            return list(sequence.check(value))
        return _read_scalar(value) if type(value) is float or "$float" in value else mapping.check(value)

    return _Kind(_SCALARS, check)


def reader(cls: type[Any]) -> Callable[[Any], Any]:
    """Returns what makes a record of a class out of a parsed object, or raises `KindError`.

    Args:
        cls: The class; the object must be the parser's own, which nobody else holds.
    """
    table = {name: (name, *kind_of(hint, _FORMS)) for name, hint, _ in fields_of(cls)}
    required = [field.name for field in dataclasses.fields(cls) if field.default is field.default_factory is dataclasses.MISSING]

    def read(raw: Any) -> Any:
        if type(raw) is not dict:
            refuse(raw, f"an object with the fields of a {cls.__name__}")
        fields, key, name = {}, "", ""
        try:
            for key, value in raw.items():
                name, passes, check = table[key]  # the class's own string: keywords that are the same object are matched at once
                fields[name] = value if type(value) in passes else check(value)
        except KeyError:
            raise KindError(f"got the unknown field {key!r}; it has {', '.join(table)}") from None
        except KindError as wrong:
            raise wrong.under(name) from None
        try:
            return cls(**fields)
        except LamarckError as error:  # the record's own validation
            raise KindError(str(error)) from None
        except TypeError:
            missing = next((name for name in required if name not in fields), None)
            if missing is None:
                raise
            raise KindError(f"the field {missing!r} is missing") from None

    return read


_FORMS = Forms(
    exact=_exact,
    number=_NUMBER,
    scalar=_SCALAR,
    tree=_tree(),
    choice=_choice,
    optional=_optional,
    mapping=_mapping,
    sequence=_sequence,
    record=lambda cls: _Kind(frozenset(), reader(cls)),
)
