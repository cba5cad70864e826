"""From descriptions to strategies: what the registries of exploit and explore strategies share.

A registry is a dict from a strategy's name to its class. Everything that has to turn words into strategies, which are journals, settings
files and the command line, reads it through `build` or `parse`, so a strategy is made known by one line.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from lamarck._errors import SettingsError
from lamarck.types import Strategy

__all__ = ["build", "parse"]

S = TypeVar("S", bound=Strategy)


def build(description: Any, registry: Mapping[str, type[S]], kind: str) -> S:
    """Returns the strategy that a description stands for: the reverse of `Strategy.to_dict`.

    Args:
        description: ``{"name": ..., field: value, ...}``; fields that are left out keep their defaults. A mapping with a name inside stands for
            a strategy again, a sequence becomes a tuple.
        registry: The strategies there are, by name.
        kind: ``"exploit"`` or ``"explore"``, for messages.

    Raises:
        SettingsError: If the name or a field is unknown, a field is missing, or a value is not allowed.
    """
    if not _describes(description):
        raise SettingsError(
            f"{kind}: got {description!r}; a strategy is described by a mapping such as {{'name': {min(registry)!r}}}, "
            f"with one of these names: {_listed(registry)}"
        )
    name = description["name"]
    if name not in registry:
        raise SettingsError(f"{kind}: got the unknown strategy {name!r}; known are {_listed(registry)}{_meant(name, registry)}")
    cls = registry[name]
    # mypy does not know that every strategy is a dataclass.
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for given in description:
        if given != "name" and given not in fields:
            raise SettingsError(f"{name}: got the unknown setting {given!r}; known are {_listed(fields)}{_meant(given, fields)}")
    for field in fields.values():
        if field.name not in description and field.default is field.default_factory is dataclasses.MISSING:
            raise SettingsError(f"{name}: the setting {field.name!r} is missing; it has no default")
    values = {key: _decoded(value, registry, kind) for key, value in description.items() if key != "name"}
    several: Any = ()
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:  # FirstOf(*strategies)
            several = values.pop(parameter.name)
            if not isinstance(several, tuple):
                raise SettingsError(f"{name}: got {several!r} for {parameter.name!r}; it must be a sequence of strategies")
    return cls(*several, **values)


def parse(text: str, registry: Mapping[str, type[S]], kind: str) -> S:
    """Returns the strategy that a line of text stands for, as on the command line.

    Args:
        text: ``"name"`` or ``"name:field=value,field=value"``. A value is a number, ``true`` or ``false``, the name of a strategy (with its
            defaults), any other word, or several of these with a slash between.
        registry: The strategies there are, by name.
        kind: ``"exploit"`` or ``"explore"``, for messages.

    Raises:
        SettingsError: If the text has another form, or does not name a strategy with legal settings.
    """
    name, colon, rest = text.partition(":")
    description: dict[str, Any] = {"name": name.strip()}
    for part in rest.split(",") if colon else ():
        field, _, value = (word.strip() for word in part.partition("="))
        if not field or not value:
            raise SettingsError(f"{kind}: got {part!r} in {text!r}; write 'name:setting=value,setting=value'")
        if field in description:
            raise SettingsError(f"{kind}: got {field!r} twice in {text!r}; give each setting once")
        description[field] = _value(value, registry)
    return build(description, registry, kind)


def _describes(value: Any) -> bool:
    """Tells a strategy's description from a mapping by hyperparameter, one of which may well be called "name"."""
    return isinstance(value, Mapping) and isinstance(value.get("name"), str)


def _decoded(value: Any, registry: Mapping[str, type[S]], kind: str) -> Any:
    if _describes(value):
        return build(value, registry, kind)
    if isinstance(value, Mapping):
        return {key: _decoded(item, registry, kind) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(_decoded(item, registry, kind) for item in value)
    return value


def _value(word: str, registry: Mapping[str, type[S]]) -> Any:
    if "/" in word:
        return [_value(item, registry) for item in word.split("/")]
    if word.lower() in ("true", "false"):
        return word.lower() == "true"
    if word in registry:
        return {"name": word}
    for number in (int, float):
        try:
            return number(word)
        except ValueError:
            continue
    return word


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _meant(got: Any, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(got), names, n=1)
    return f". Did you mean {close[0]!r}?" if close else ""
