"""Flushing files, and their names, to the disk.

A new file lasts when its bytes and its entry in the folder are both on the disk. In general that takes two flushes, of the file and of the
folder, and the rename has to stand between them. File systems with one ordered journal of all metadata write the entry together with the file
that it names: their flush of a file that was renamed brings the rename along. There one flush does for both, which halves what a small
checkpoint costs.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

__all__ = ["flush", "flush_folder", "named_by_flush"]

_JOURNALED = frozenset({"ext4", "xfs"})
"""File systems whose flush of a renamed file includes the rename: in both, the rename changes the file's own inode in the same transaction."""


def flush(handle: int, folder: Path | None = None) -> None:
    """Flushes an open file, closes it, and flushes the folder that names it, if there is need to.

    Args:
        handle: The file, which belongs to this function from here on.
        folder: The folder, unless the file's own flush includes its name.
    """
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    if folder is not None:
        flush_folder(folder)


def flush_folder(folder: Path) -> None:
    """Flushes a folder: the names in it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def named_by_flush(folder: Path) -> bool:
    """Returns whether flushing a file after its rename makes the rename last as well; where that is not known, it is not.

    Args:
        folder: The folder, which exists.

    Example:
        >>> from pathlib import Path
        >>> named_by_flush(Path("/proc"))
        False
    """
    return _kind(folder.stat().st_dev) in _JOURNALED


@cache
def _kind(device: int) -> str:
    """The kind of file system on a device, as Linux tells it; empty elsewhere."""
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    # 36 35 98:0 /root /mount options [tags ...] - type source options
    kinds = {fields[2]: fields[fields.index("-") + 1] for fields in map(str.split, lines) if "-" in fields}
    return kinds.get(number, "")
