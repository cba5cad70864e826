"""What a run is to be, as it is asked for over HTTP or written in a file: checked as `lamarck.run` checks its arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, final

from lamarck import exploit as exploits
from lamarck import explore as explores
from lamarck._errors import SettingsError
from lamarck.pbt import PBT
from lamarck.space import Space
from lamarck.types import Settings

__all__ = ["MAX_MEMBERS", "Plan", "is_run_name"]

MAX_MEMBERS = 10_000
"""Largest population that may be asked for over a network."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)
_SETTINGS = frozenset(f.name for f in fields(Settings))
_OTHERS = frozenset({"name", "space", "steps", "exploit", "explore", "rescue", "initial", "stratified", "info"})


def is_run_name(name: object) -> bool:
    """Returns whether a run of the service may have that name; it is a harmless name of a folder, too.

    Example:
        >>> is_run_name("cifar-10_v1.2"), is_run_name("../x"), is_run_name(".x")
        (True, False, False)
    """
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run that is to be.

    Args:
        name: What it is called.
        pbt: The machine that will decide.
        info: For people.

    Example:
        >>> plan = Plan.of({"name": "cifar", "space": {"lr": {"type": "float", "low": 1e-5, "high": 0.1, "log": True}},
        ...                 "population_size": 8, "interval": 500, "steps": 10_000, "exploit": "truncation:bottom=0.25"})
        >>> plan.pbt.settings.generations, plan.pbt.exploit
        (20, Truncation(bottom=0.25, top=0.2))
    """

    name: str
    pbt: PBT
    info: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, asked: object) -> Plan:
        """Reads what was asked for.

        Args:
            asked: ``name``, ``space`` as `Space.from_dict` reads it, the fields of `Settings` (``steps`` may stand for ``generations``), and if
                wanted ``exploit``, ``explore`` and ``rescue`` (as on the command line, or as their ``to_dict`` gives them; ``rescue`` may be
                ``None``), ``initial``, ``stratified`` and ``info``.

        Raises:
            SettingsError: If something is missing, unknown or not allowed.
            SpaceError: If the space is not one.
        """
        if not isinstance(asked, Mapping):
            raise SettingsError(f"got {_shown(asked)}; a run is described by an object with a name, a space and settings")
        unknown = sorted(map(str, set(asked) - _SETTINGS - _OTHERS))
        if unknown:
            raise SettingsError(f"got the unknown field {unknown[0]!r}; known are {', '.join(sorted(_SETTINGS | _OTHERS))}")
        for name in ("name", "space", "population_size", "interval"):
            if name not in asked:
                raise SettingsError(f"{name} is missing; say at least name, space, population_size, interval, and steps or generations")
        if not is_run_name(asked["name"]):
            raise SettingsError(f"name: got {_shown(asked['name'])}; it must be 1 to 100 letters, digits, -, _ or ., the first no sign")
        settings = _settings(asked)
        given: dict[str, Any] = {}
        for name, kind in (("exploit", exploits), ("explore", explores), ("rescue", exploits)):
            if name in asked:
                given[name] = None if name == "rescue" and asked[name] is None else _strategy(name, asked[name], kind)
        initial, stratified, info = asked.get("initial", []), asked.get("stratified", True), asked.get("info", {})
        if not isinstance(initial, list) or not all(isinstance(hparams, Mapping) for hparams in initial):
            raise SettingsError(f"initial: got {_shown(initial)}; it must be a list of configurations")
        if not isinstance(stratified, bool):
            raise SettingsError(f"stratified: got {_shown(stratified)}; it must be true or false")
        if not isinstance(info, Mapping):
            raise SettingsError(f"info: got {_shown(info)}; it must be an object")
        if not isinstance(asked["space"], Mapping):
            raise SettingsError(f"space: got {_shown(asked['space'])}; it must be an object that describes each hyperparameter by its name")
        pbt = PBT(space=Space.from_dict(asked["space"]), settings=settings, initial=tuple(initial), stratified=stratified, **given)
        return cls(name=asked["name"], pbt=pbt, info=dict(info))


def _settings(asked: Mapping[str, Any]) -> Settings:
    given = {name: asked[name] for name in _SETTINGS if name in asked}
    if ("steps" in asked) == ("generations" in asked):
        raise SettingsError("say how long each member trains, by one of steps and generations")
    if "steps" in asked:
        steps, interval = asked["steps"], asked["interval"]
        if any(isinstance(it, bool) or not isinstance(it, int) or it < 1 for it in (steps, interval)) or steps % interval:
            raise SettingsError(f"got steps={_shown(steps)} and interval={_shown(interval)}; steps must be a whole number of intervals")
        given["generations"] = steps // interval
    for name in ("interval", "generations", "seed", "max_lead", "max_failures"):
        if isinstance(given.get(name), int) and not -(2**53) <= given[name] <= 2**53:
            raise SettingsError(f"{name}: got {_shown(given[name])}; it must lie between -2**53 and 2**53")
    if isinstance(given.get("target"), bool) or not isinstance(given.get("target"), float | int | None):
        raise SettingsError(f"target: got {_shown(given['target'])}; it must be a finite number or null")
    for name in ("mode", "compare"):
        if not isinstance(given.get(name, ""), str):
            raise SettingsError(f"{name}: got {_shown(given[name])}; it must be text")
    settings = Settings(**given)
    if settings.population_size > MAX_MEMBERS:
        raise SettingsError(f"population_size: got {settings.population_size}; at most {MAX_MEMBERS} may be asked for here")
    return settings


def _strategy(name: str, asked: object, kind: Any) -> Any:
    if isinstance(asked, str):
        return kind.parse(asked)
    if isinstance(asked, Mapping):
        return kind.from_dict(asked)
    raise SettingsError(f"{name}: got {_shown(asked)}; give the name of a strategy, as in 'truncation:bottom=0.25', or its description")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:77]}..."
