"""The server's own store, filled and read over HTTP: uploads that go on where they broke, and that count only when the hash is right.

An upload is gathered in a file whose name begins with a dot. Only when it is complete, has the hash that its name tells, and is on the disk, is
it given that name. Names are checked before they become paths, so nothing that a client says leads out of the folder.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import final

from lamarck._errors import CheckpointDamaged, CheckpointError, CheckpointMissing, ServiceError, require
from lamarck.checkpoints import FolderCheckpoints
from lamarck.checkpoints.format import SUFFIX, checked_name

__all__ = ["Depot", "Misplaced"]

logger = logging.getLogger("lamarck.server")

_PIECE = 1 << 20
_PATIENCE = 60.0
_OLD = 24 * 3600.0
_PART = ".part"


class Misplaced(CheckpointError):
    """Bytes for another place than where an upload stands.

    Attributes:
        offset: Where it stands.
    """

    def __init__(self, offset: int, got: int) -> None:
        super().__init__(f"got bytes from {got} on, and {offset} have arrived so far; go on from there")
        self.offset = offset


@final
class Depot:
    """The files of one run's checkpoints.

    Args:
        folder: Where they are; it is made when the first one is uploaded.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._store = FolderCheckpoints(folder)
        self._busy: set[str] = set()

    def names(self) -> list[str]:
        """Returns the names of all complete checkpoints."""
        return self._store.names()

    def path(self, name: str) -> Path:
        """Returns the file of a complete checkpoint.

        Raises:
            CheckpointMissing: If there is none of that name, or the name is none.
        """
        return self._store.file(name)

    def arrived(self, name: str) -> int:
        """Returns how many bytes of an unfinished upload are there."""
        with suppress(FileNotFoundError):
            return self._part(name).stat().st_size
        return 0

    def delete(self, name: str) -> None:
        """Deletes a checkpoint.

        Raises:
            CheckpointMissing: If there is none of that name.
        """
        self.path(name).unlink()

    def tidy(self) -> None:
        """Deletes uploads that nobody has gone on with for a day."""
        if self.folder.is_dir():
            for part in self.folder.glob(f".*{_PART}"):
                with suppress(FileNotFoundError):
                    if part.stat().st_mtime < time.time() - _OLD:
                        part.unlink()

    async def receive(self, name: str, offset: int, size: int, stream: AsyncIterator[bytes]) -> None:
        """Takes in the rest of a file, and keeps it if it is whole.

        Args:
            name: The checkpoint's name.
            offset: Where the bytes belong; 0 begins anew.
            size: Bytes of the whole file.
            stream: The bytes.

        Raises:
            Misplaced: If the upload stands elsewhere.
            CheckpointDamaged: If the bytes are not those that the name tells; they are thrown away.
            CheckpointError: If they are more than was said, or cannot be written.
            ServiceError: If somebody else is uploading the same, or the rest does not come.
        """
        part = self._part(name)
        if name in self._busy:
            raise ServiceError(f"checkpoint {name} is being uploaded by another request; ask again in a moment")
        self._busy.add(name)
        try:
            arrived = await asyncio.to_thread(self.arrived, name)
            if offset not in (0, arrived):
                raise Misplaced(arrived, offset)
            await self._append(part, offset, size, stream)
            await asyncio.to_thread(self._keep, part, name)
        except OSError as error:
            logger.error("checkpoint %s could not be written: %s; make room on this disk", name, error.strerror)  # its worker may be far away
            raise CheckpointError(f"checkpoint {name} could not be written: {error.strerror}; make room on the server's disk") from None
        finally:
            self._busy.discard(name)

    def _part(self, name: str) -> Path:
        return self.folder / f".{checked_name(name)}{_PART}"

    async def _append(self, part: Path, offset: int, size: int, stream: AsyncIterator[bytes]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        pending, got = bytearray(), offset
        with part.open("r+b" if offset else "wb") as file:
            file.seek(offset)
            try:
                async with asyncio.timeout(_PATIENCE) as limit:
                    async for piece in stream:
                        limit.reschedule(asyncio.get_running_loop().time() + _PATIENCE)
                        got += len(piece)
                        if got > size:
                            break
                        pending += piece
                        if len(pending) >= _PIECE:
                            await asyncio.to_thread(file.write, pending)
                            pending = bytearray()
            except TimeoutError:
                raise ServiceError(f"nothing more came for {_PATIENCE:g} s; go on with the upload from where it stands") from None
            finally:
                file.write(pending)
        if got != size:
            if got > size:
                part.unlink()
            raise CheckpointError(f"got {got if got < size else f'more than {size}'} bytes; {size} were announced")

    def _keep(self, part: Path, name: str) -> None:
        hasher = require("blake3", "durable", "A checkpoint that lasts").blake3()
        hasher.update_mmap(str(part))
        if hasher.hexdigest(length=8) != name.rpartition("-")[2]:
            part.unlink()
            raise CheckpointDamaged(f"the bytes are not those that the name {name!r} tells; they were thrown away, send them again")
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.rename(self.folder / (name + SUFFIX))
        handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def exists(depot: Depot, name: str) -> bool:
    """Returns whether a checkpoint is there, complete."""
    try:
        depot.path(name)
    except CheckpointMissing:
        return False
    return True
