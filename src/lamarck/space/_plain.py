"""Plain values in: dictionaries to parameters and constraints."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lamarck._errors import SpaceError
from lamarck.space.constraints import Constraint, constraint
from lamarck.space.discrete import Categorical, Constant
from lamarck.space.parameter import Parameter, bare, is_scalar
from lamarck.space.real import Float
from lamarck.space.whole import Int

__all__ = ["checked", "close_to", "from_fields", "named", "read"]

_FIELDS: dict[str, tuple[Callable[..., Parameter], tuple[str, ...], tuple[str, ...]]] = {
    "float": (Float, ("low", "high"), ("log", "init", "bounds", "when")),
    "int": (Int, ("low", "high"), ("log", "init", "bounds", "when")),
    "categorical": (Categorical, ("choices",), ("ordered", "init", "when")),
    "constant": (Constant, ("value",), ("when",)),
}


def close_to(name: object, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the closest known ones, or all."""
    names = list(known)
    close = difflib.get_close_matches(str(name), names)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else f"known are {', '.join(map(repr, names)) or 'none'}"


def named(name: str, error: SpaceError) -> SpaceError:
    """The same error, with the hyperparameter's name in front."""
    return SpaceError(f"hyperparameter {name!r}: {error}")


def checked(name: object, value: object) -> Parameter:
    """A parameter under a name."""
    if not isinstance(name, str) or not name or name.startswith("$"):
        raise SpaceError(f"got the name {name!r}; a name is a string that is not empty and does not start with '$'")
    try:
        return _parameter(value)
    except SpaceError as error:
        raise named(name, error) from None


def read(plain: Mapping[str, Any]) -> tuple[dict[str, object], list[Constraint]]:
    """What `Space.to_dict` wrote, or the shorter form that people write."""
    if not isinstance(plain, Mapping):
        raise SpaceError(f"got {plain!r}; a space is read from a dictionary of hyperparameters")
    nested = plain.get("hyperparameters")
    if isinstance(nested, Mapping) and plain.keys() <= {"hyperparameters", "constraints"}:
        given: Mapping[str, Any] = nested
    else:
        given = {name: value for name, value in plain.items() if name != "constraints"}
    constraints = plain.get("constraints", [])
    if not isinstance(constraints, (list, tuple)):
        raise SpaceError(f"constraints: got {constraints!r}; it must be a list, e.g. ['lo <= hi']")
    params: dict[str, object] = {}
    for name, value in given.items():
        params[name] = from_fields(name, value) if isinstance(value, Mapping) else value
    return params, [constraint(item) for item in constraints]


def from_fields(name: str, fields: Mapping[str, Any]) -> Parameter:
    """A parameter from its arguments by name."""
    try:
        return _from_fields(fields)
    except SpaceError as error:
        raise named(name, error) from None


def _from_fields(fields: Mapping[str, Any]) -> Parameter:
    kind = fields["type"] if "type" in fields else _inferred(fields)
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise SpaceError(f"type: got {kind!r}; it must be 'float', 'int', 'categorical' or 'constant'")
    make, required, optional = _FIELDS[kind]
    missing = [name for name in required if name not in fields]
    if missing:
        raise SpaceError(f"{kind} lacks {missing[0]!r}; give {' and '.join(map(repr, required))}")
    known = (*required, *optional)
    strange = [name for name in fields if name not in known and name != "type"]
    if strange:
        raise SpaceError(f"{kind} has no field {strange[0]!r}; {close_to(strange[0], known)} (a name that contains a dot must be quoted)")
    return make(*(fields[name] for name in required), **{name: fields[name] for name in optional if name in fields})


def _inferred(fields: Mapping[str, Any]) -> str:
    if "choices" in fields:
        return "categorical"
    if "value" in fields:
        return "constant"
    ends = [fields[name] for name in ("low", "high") if name in fields]
    if not ends:
        raise SpaceError(f"got {dict(fields)!r}; give 'low' and 'high', 'choices', or 'value'")
    return "float" if any(isinstance(end, float) for end in ends) else "int"


def _parameter(given: object) -> Parameter:
    if isinstance(given, Parameter):
        return given
    if isinstance(given, tuple) and len(given) == 2 and {type(bare(end)) for end in given} <= {int, float}:
        kind = "Float" if any(isinstance(bare(end), float) for end in given) else "Int"
        raise SpaceError(f"got {given!r}, which may mean two things; give {kind}{given!r} for the range, or {list(given)!r} for two choices")
    if isinstance(given, (list, tuple)):
        return Categorical(given)
    if is_scalar(bare(given)):
        return Constant(given)
    raise SpaceError(
        f"got {given!r}; it must be a Float, Int, Categorical or Constant, a list of choices, or a single value; "
        "plain dictionaries are for Space.from_dict"
    )
