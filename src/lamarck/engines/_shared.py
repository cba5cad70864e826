"""A place for weights that others reach than this process alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lamarck._errors import SettingsError
from lamarck.checkpoints import MemoryCheckpoints, open_checkpoints
from lamarck.coordinator import Coordinator
from lamarck.engines._memory import memory_folder

__all__ = ["shared"]


@contextmanager
def shared(coordinator: Coordinator) -> Iterator[str]:
    """Gives a place for weights that all processes see; for a store in memory, a folder in memory for as long as the run lasts."""
    checkpoints = coordinator.checkpoints
    if checkpoints.location is not None:
        yield checkpoints.location
        return
    if not isinstance(checkpoints, MemoryCheckpoints) or checkpoints.names():
        raise SettingsError("worker processes cannot reach checkpoints in this process's memory: give checkpoints=... a folder or URL")
    with memory_folder() as folder:
        shared = coordinator.checkpoints = open_checkpoints(folder)
        try:
            yield folder
        finally:
            coordinator.rest()
            checkpoints.adopt({name: shared.get(name) for name in shared.names()})
            coordinator.checkpoints = checkpoints
