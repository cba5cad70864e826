"""A place for weights that others reach than this process alone."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from lamarck._errors import SettingsError
from lamarck.checkpoints import MemoryCheckpoints, open_checkpoints
from lamarck.coordinator import Coordinator

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
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
    folder = tempfile.mkdtemp(prefix="lamarck-", dir=memory)
    shared = coordinator.checkpoints = open_checkpoints(folder)
    try:
        yield folder
    finally:
        coordinator.rest()
        checkpoints.adopt({name: shared.get(name) for name in shared.names()})
        coordinator.checkpoints = checkpoints
        shutil.rmtree(folder, ignore_errors=True)
