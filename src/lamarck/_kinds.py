"""What may stand where in a record: read off the annotations of its fields, for both directions.

`lamarck._writing` and `lamarck._reading` each say what to do with a number, a mapping, a tuple and so on; what a field needs is put together
here.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from typing import Any, Generic, Literal, NamedTuple, NoReturn, TypeVar

import numpy as np

from lamarck.types import Value

__all__ = ["MAX_DEPTH", "NEVER", "Forms", "KindError", "fields_of", "kind_of", "plain", "refuse", "too_deep"]

MAX_DEPTH = 32
"""Deepest nesting of the free-form fields (``space``, ``strategies``, ``info``)."""

NEVER = object()
"""What no field holds."""

_T = TypeVar("_T")


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


def too_deep(_: Any) -> NoReturn:
    """Raises the `KindError` of what stands too deep in free-form JSON."""
    raise KindError(f"it is nested deeper than {MAX_DEPTH} levels")


def plain(value: Any) -> Any:
    """Returns the plain Python value of a NumPy scalar; anything else as it is."""
    if isinstance(value, (np.bool_, np.integer, np.floating, np.str_)) and not isinstance(value, (np.timedelta64, np.longdouble)):
        return value.item()
    return value


class Forms(NamedTuple, Generic[_T]):
    """What one direction does with each kind of value.

    Args:
        exact: For one plain type; it is also given what is allowed, in words.
        number: For a ``float`` field.
        scalar: For a hyperparameter's value.
        tree: For free-form JSON.
        choice: For one of some strings.
        optional: For something, or ``None``.
        mapping: For a mapping from strings to something.
        sequence: For a tuple of something, of a given length if it is not ``None``.
        record: For a dataclass.
    """

    exact: Callable[[type[Any], str], _T]
    number: _T
    scalar: _T
    tree: _T
    choice: Callable[[tuple[Any, ...]], _T]
    optional: Callable[[_T], _T]
    mapping: Callable[[_T], _T]
    sequence: Callable[[_T, int | None], _T]
    record: Callable[[type[Any]], _T]


_EXACT = {int: "a whole number", bool: "True or False", str: "a string"}


def kind_of(hint: Any, forms: Forms[_T]) -> _T:
    """Returns what one direction does with the values of an annotation.

    Args:
        hint: The annotation of a field, resolved.
        forms: The direction.
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint in _EXACT:
        return forms.exact(hint, _EXACT[hint])
    if hint is float:
        return forms.number
    if hint is Any:
        return forms.tree
    if dataclasses.is_dataclass(hint):
        return forms.record(typing.cast(type[Any], hint))
    if origin is Literal:
        return forms.choice(args)
    if origin is tuple:
        return forms.sequence(kind_of(args[0], forms), None if args[1:] == (...,) else len(args))
    if origin is Mapping:
        return forms.mapping(kind_of(args[1], forms))
    if hint == Value:
        return forms.scalar
    return forms.optional(kind_of(args[0], forms))


def fields_of(cls: type[Any]) -> tuple[tuple[str, Any, Any], ...]:
    """Returns name, annotation, and the empty default that is left out (otherwise `NEVER`), of each field by name."""
    hints, rows = typing.get_type_hints(cls), []
    for field in dataclasses.fields(cls):
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        empty = default is None or default in ((), "") or default == {}
        rows.append((field.name, hints[field.name], default if empty else NEVER))
    return tuple(sorted(rows, key=lambda row: row[0]))
