"""What provides workers. An engine only carries reports in and intervals out; it decides nothing."""

from __future__ import annotations

from lamarck._errors import SettingsError
from lamarck.engines.engine import Engine, Train
from lamarck.engines.inline import inline

__all__ = ["ENGINES", "Engine", "Train", "engine_named", "inline"]

ENGINES: dict[str, Engine] = {"inline": inline}
"""Engines that need no settings, by the name that `lamarck.run` takes."""


def engine_named(name: str) -> Engine:
    """Returns the engine of a name.

    Raises:
        SettingsError: If there is none.

    Example:
        >>> engine_named("inline") is inline
        True
    """
    if name not in ENGINES:
        raise SettingsError(f"engine: got {name!r}; it must be one of {', '.join(map(repr, ENGINES))}, or an engine object")
    return ENGINES[name]
