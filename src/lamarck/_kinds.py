"""What may stand where in a record: kinds of values, made from the annotations of its fields.

A kind works in both directions, on values to be written and on parsed JSON; only numbers differ, because JSON has no NaN and no infinity. A
value whose exact type is among those that pass is taken as it is, which is the fast way through; all others are asked about.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal, NamedTuple, NoReturn

import numpy as np

from lamarck.types import Value

__all__ = ["MAX_DEPTH", "PACK_NUMBER", "UNPACK_NUMBER", "Kind", "KindError", "kind_of", "refuse"]

MAX_DEPTH = 32
"""Deepest nesting of the free-form fields (``space``, ``strategies``, ``info``)."""

_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_SCALARS = frozenset({str, bool, int, type(None)})


class KindError(Exception):
    """What is wrong with a value; the path to it is put together on the way up."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.path: list[str] = []

    def under(self, step: object) -> KindError:
        """Returns the error, seen from one level higher."""
        self.path.append(str(step))
        return self

    def __str__(self) -> str:
        return ": ".join([".".join(reversed(self.path)), *self.args])


def refuse(got: Any, allowed: str) -> NoReturn:
    """Raises a `KindError` that says what was got and what is allowed."""
    try:
        shown = repr(got)
    except Exception:  # somebody else's repr, or a whole number of more digits than Python prints
        shown = "a value"
    raise KindError(f"got {shown if len(shown) <= 60 else shown[:60] + '...'} ({type(got).__name__}); it must be {allowed}")


class Kind(NamedTuple):
    """What may stand somewhere.

    Args:
        passes: Exact types that are taken as they are.
        check: Returns any other value in its other form, or raises `KindError`.
    """

    passes: frozenset[Any]
    check: Callable[[Any], Any]


def kind_of(hint: Any, number: Kind, record: Callable[[type[Any]], Callable[[Any], Any]]) -> Kind:
    """Returns what an annotation allows.

    Args:
        hint: The annotation of a field, resolved.
        number: `PACK_NUMBER` or `UNPACK_NUMBER`.
        record: What checks the values of a dataclass.
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint in _EXACT:
        return _exactly(hint, _EXACT[hint])
    if hint is float:
        return number
    if hint is Any:
        return _tree(number)
    if dataclasses.is_dataclass(hint):
        return Kind(frozenset(), record(typing.cast(type[Any], hint)))
    if origin is Literal:
        return _choice(args)
    if origin is tuple:
        return _tuple(kind_of(args[0], number, record), None if args[1:] == (...,) else len(args))
    if origin is Mapping:
        return _mapping(kind_of(args[1], number, record))
    if hint == Value:
        return _scalar(number)
    return _optional(kind_of(args[0], number, record))


def _plain(value: Any) -> Any:
    """The plain Python value of a NumPy scalar; anything else as it is."""
    if isinstance(value, (np.bool_, np.integer, np.floating, np.str_)) and not isinstance(value, (np.timedelta64, np.longdouble)):
        return value.item()
    return value


def _exactly(kind: type[Any], allowed: str) -> Kind:
    def check(value: Any) -> Any:
        plain = _plain(value)
        return plain if type(plain) is kind else refuse(value, allowed)

    return Kind(frozenset([kind]), check)


def _pack_number(value: Any) -> Any:
    if type(value) is float and value - value == 0.0:  # almost every number there is
        return value
    plain = _plain(value)
    if type(plain) is float:
        return plain if plain - plain == 0.0 else {"$float": repr(plain)}
    return plain if type(plain) is int else refuse(value, "a number")


def _unpack_number(value: Any) -> Any:
    if type(value) is float and value - value == 0.0:
        return value
    if type(value) is dict and len(value) == 1:
        name = value.get("$float")
        if type(name) is str and name in _NON_FINITE:
            return _NON_FINITE[name]
    return refuse(value, 'a number, or {"$float": "nan"}, "inf" or "-inf"')


def _scalar(number: Kind) -> Kind:
    def check(value: Any) -> Any:
        kind = type(value)
        if kind is float and value - value == 0.0:
            return value
        if kind is float or kind is dict:
            return number.check(value)
        plain = _plain(value)
        if plain is value:
            refuse(value, "None, a bool, a string or a number")
        return plain if type(plain) in _SCALARS else check(plain)

    return Kind(_SCALARS, check)


def _choice(allowed: tuple[Any, ...]) -> Kind:
    def check(value: Any) -> Any:
        return value if type(value) is str and value in allowed else refuse(value, "one of " + ", ".join(map(repr, allowed)))

    return Kind(frozenset(), check)


def _optional(item: Kind) -> Kind:
    return Kind(item.passes | {type(None)}, item.check)


def _mapping(item: Kind) -> Kind:
    passes, check_item = item

    def check(value: Any) -> Any:
        if type(value) is not dict and not isinstance(value, Mapping):
            refuse(value, "a mapping")
        out, key = {}, None
        try:
            for key, content in value.items():
                if type(key) is not str or key[:1] == "$":
                    refuse(key, "a string that does not begin with '$', as a key")
                out[key] = content if type(content) in passes else check_item(content)
        except KindError as wrong:
            raise wrong.under(key) from None
        return out

    return Kind(frozenset(), check)


def _tuple(item: Kind, size: int | None) -> Kind:
    passes, check_item = item

    def check(value: Any) -> Any:
        if type(value) is not list and type(value) is not tuple:
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

    return Kind(frozenset(), check)


@cache
def _tree(number: Kind, depth: int = MAX_DEPTH) -> Kind:
    """Free-form JSON: scalars, lists and mappings of them."""
    inside = _tree(number, depth - 1) if depth else Kind(frozenset(), _too_deep)
    scalar, sequence, mapping = _scalar(number), _tuple(inside, None), _mapping(inside)

    def check(value: Any) -> Any:
        kind = type(value)
        if kind is list or isinstance(value, (list, tuple)):
            return list(sequence.check(value))
        if (kind is dict or isinstance(value, Mapping)) and "$float" not in value:
            return mapping.check(value)
        return scalar.check(value)

    return Kind(_SCALARS, check)


def _too_deep(_: Any) -> NoReturn:
    raise KindError(f"it is nested deeper than {MAX_DEPTH} levels")


_EXACT = {int: "a whole number", bool: "True or False", str: "a string"}

PACK_NUMBER = Kind(frozenset([int]), _pack_number)
"""A number, on its way to JSON."""

UNPACK_NUMBER = Kind(frozenset([int]), _unpack_number)
"""A number, on its way back."""
