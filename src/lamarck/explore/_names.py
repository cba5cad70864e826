"""What the explore strategies that go by names share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from lamarck._errors import SettingsError
from lamarck.space import Space

__all__ = ["check_names"]


def check_names(strategy: str, names: Iterable[str], space: Space) -> None:
    """Raises `SettingsError` if a strategy was given a name that is no hyperparameter of the space."""
    for name in names:
        if name not in space:
            close = difflib.get_close_matches(str(name), space, n=1)
            meant = f". Did you mean {close[0]!r}?" if close else ""
            raise SettingsError(f"{strategy}: got {name!r}, which is not a hyperparameter; the space has {', '.join(sorted(space))}{meant}")
