"""Hyperparameters that remember which of them were read: one that nobody reads is tuned in vain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

__all__ = ["Watched"]


@final
class Watched(dict[str, Any]):
    """Hyperparameters as a loss or a step is told them. Whoever goes through all of them has read all.

    Args:
        given: The hyperparameters.
        read: Gets the names that are read.
        hidden: What is there for whoever asks for it by its name.

    Attributes:
        named: What was asked for by its name.
    """

    def __init__(self, given: Mapping[str, Any], read: set[str], hidden: Mapping[str, Any] | None = None) -> None:
        super().__init__(given)
        self._read, self._hidden = read, hidden or {}
        self.named: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self._read.add(name)
        self.named.add(name)
        return self._hidden[name] if name in self._hidden else super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """See `dict.get`."""
        return self[name] if name in self._hidden or name in self else default

    def __iter__(self) -> Iterator[str]:  # also what ** and dict() go through
        return iter(self._all())

    def keys(self) -> Any:
        """See `dict.keys`."""
        return self._all().keys()

    def values(self) -> Any:
        """See `dict.values`."""
        return self._all().values()

    def items(self) -> Any:
        """See `dict.items`."""
        return self._all().items()

    def copy(self) -> dict[str, Any]:
        """See `dict.copy`."""
        return self._all()

    def pop(self, name: str, *default: Any) -> Any:
        """See `dict.pop`."""
        self._read.add(name)
        return super().pop(name, *default)

    def __or__(self, other: Any) -> Any:
        return self._all() | other

    def __ror__(self, other: Any) -> Any:
        return other | self._all()

    def _all(self) -> dict[str, Any]:
        self._read.update(super().keys())
        return dict(super().items())
