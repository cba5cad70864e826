"""Checkpoints: immutable states of members, checked when they are read."""

from __future__ import annotations

import os

from lamarck._errors import require
from lamarck.checkpoints.base import Checkpoints, Weights
from lamarck.checkpoints.folder import FolderCheckpoints
from lamarck.checkpoints.memory import MemoryCheckpoints
from lamarck.checkpoints.remote import RemoteCheckpoints

__all__ = ["Checkpoints", "FolderCheckpoints", "MemoryCheckpoints", "RemoteCheckpoints", "Weights", "open_checkpoints"]


def open_checkpoints(where: str | os.PathLike[str] | None) -> Checkpoints:
    """Opens a store of checkpoints.

    Args:
        where: A folder (or ``"file://..."``) for `FolderCheckpoints`, ``"http://..."`` or ``"https://..."`` for the store of a server of ours
            (`lamarck.checkpoints.http.HttpCheckpoints`), any other URL for `RemoteCheckpoints`, ``None`` for `MemoryCheckpoints`.

    Raises:
        MissingExtra: If something that the URL needs is not installed.
        CheckpointError: If the URL is not one.

    Example:
        >>> type(open_checkpoints(None)).__name__, type(open_checkpoints("runs/one")).__name__, type(open_checkpoints("memory://one")).__name__
        ('MemoryCheckpoints', 'FolderCheckpoints', 'RemoteCheckpoints')
    """
    if where is None:
        return MemoryCheckpoints()
    require("blake3", "durable", "A checkpoint that lasts")  # before a run is begun, not when its first weights are to be kept
    path = os.fspath(where)
    scheme, separator, rest = path.partition("://")
    if scheme in ("http", "https") and separator:
        from lamarck._http import Connection
        from lamarck.checkpoints.http import HttpCheckpoints

        return HttpCheckpoints(Connection(path))
    if separator and scheme != "file":
        return RemoteCheckpoints(path)
    return FolderCheckpoints(rest if separator else path)
