"""What provides workers. An engine only carries reports in and intervals out; it decides nothing."""

from __future__ import annotations

from typing import Any

from lamarck._errors import SettingsError
from lamarck.engines.engine import Choosy, Engine, Train
from lamarck.engines.inline import inline
from lamarck.training import check_train

__all__ = ["ENGINES", "Engine", "Train", "engine_for", "engine_named", "inline"]

ENGINES = ("inline", "processes", "ray", "vectorised")
"""Engines by the names that `lamarck.run` takes, each with its default settings."""


def engine_named(name: str) -> Engine:
    """Returns the engine of a name.

    Raises:
        SettingsError: If there is none.

    Example:
        >>> engine_named("inline") is inline
        True
    """
    if name == "inline":
        return inline
    if name == "processes":
        from lamarck.engines.processes import Processes

        return Processes()
    if name == "ray":
        from lamarck.engines.ray import Ray

        return Ray()
    if name == "vectorised":
        from lamarck.engines.vectorised import Vectorised

        return Vectorised()
    raise SettingsError(f"engine: got {name!r}; it must be one of {', '.join(map(repr, ENGINES))}, or an engine object")


def engine_for(train: Train, engine: Engine | str) -> Engine:
    """Returns an engine that can train what is given: asked before anything is written.

    Args:
        train: What is to be trained.
        engine: The engine, or its name.

    Raises:
        SettingsError: If there is none of that name, or it cannot train this.
    """
    check_train("train", train)
    chosen: Any = engine_named(engine) if isinstance(engine, str) else engine
    if not callable(chosen):
        raise SettingsError(f"engine: got {chosen!r}; it must be one of {', '.join(map(repr, ENGINES))}, or an engine object")
    if isinstance(chosen, Choosy):
        chosen.check(train)
    found: Engine = chosen
    return found
