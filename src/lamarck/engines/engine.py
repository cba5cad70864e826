"""What an engine is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from lamarck.training import Worker

if TYPE_CHECKING:  # a worker process comes by here, and has no use for the machine that decides
    from lamarck.coordinator import Coordinator

__all__ = ["Choosy", "Engine", "Named", "Train"]

Train = Callable[[Worker], object]
"""A training function: iterates over a worker's intervals."""


@runtime_checkable
class Named(Protocol):
    """A training function by its name; what it names may be more than a function."""

    def resolved(self) -> Train:
        """Returns what is named."""


Engine = Callable[[Train, "Coordinator"], None]
"""Provides workers until a run is over: calls the training function with workers whose transport ends at the coordinator."""


@runtime_checkable
class Choosy(Protocol):
    """An engine that cannot train everything, and is asked before a run is begun that it could not train."""

    def check(self, train: Train) -> None:
        """Raises `SettingsError` if it cannot train this."""
