"""What an engine is."""

from __future__ import annotations

from collections.abc import Callable

from lamarck.coordinator import Coordinator
from lamarck.training import Worker

__all__ = ["Engine", "Train"]

Train = Callable[[Worker], object]
"""A training function: iterates over a worker's intervals."""

Engine = Callable[[Train, Coordinator], None]
"""Provides workers until a run is over: calls the training function with workers whose transport ends at the coordinator."""
