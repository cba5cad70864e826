"""Descriptions of runs, read from files."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamarck._errors import LamarckError, SettingsError
from lamarck.space import Space

if TYPE_CHECKING:
    from lamarck.server.plan import Plan

__all__ = ["described", "read_plan"]


def described(file: Path) -> dict[str, Any]:
    """Reads the description of a run: what `lamarck.server.plan.Plan` takes, in TOML.

    Its ``space`` may be a table, or the name of a file beside it that ends in ``.toml``, ``.json`` or ``.csv``. Its ``name`` is by default the
    file's.

    Args:
        file: The file.

    Raises:
        SettingsError: If there is no such file, or it is not TOML.
        SpaceError: If the space is not one.
    """
    try:
        asked = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"there is no file {str(file)!r}; it describes a run, see docs/service.md") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{file} is not the description of a run: {error}") from None
    space = asked.get("space")
    if isinstance(space, str):
        beside = file.parent / space
        try:
            asked["space"] = Space.from_text(beside.read_text(encoding="utf-8"), beside.suffix.removeprefix(".")).to_dict()
        except FileNotFoundError:
            raise SettingsError(f"{file}: there is no file {space!r} beside it, which is to hold the space") from None
    return {"name": file.stem} | asked


def read_plan(file: Path) -> Plan:
    """Reads the description of a run and checks it.

    Raises:
        SettingsError: If there is no such file, or it does not describe a run that can be.
        SpaceError: If the space is not one.
    """
    from lamarck.server.plan import Plan

    try:
        return Plan.of(described(file))
    except LamarckError as error:
        text = str(error)
        raise type(error)(text if text.startswith(str(file)) else f"{file}: {text}") from None
