"""Checkpoints that go through a server, for machines that share neither a disk nor an object store.

What travels is the file of `lamarck.checkpoints.format`, and its name tells its hash: the server keeps only what has arrived whole, and the
reader believes only what is as it was saved. A transfer that breaks goes on from the byte where it stopped.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Collection, Iterator
from typing import Any, final

from lamarck._errors import CheckpointError, CheckpointMissing, ServiceError
from lamarck._http import Connection, refused
from lamarck.checkpoints.base import Checkpoints
from lamarck.checkpoints.format import Packed, Part, checked_name, is_name, packed, unpacked
from lamarck.checkpoints.rows import parted, row_of, whole

__all__ = ["HttpCheckpoints"]

_PIECE = 1 << 18
_LARGE = 1 << 20
"""Bytes from which on it pays to ask first what is there already."""

_FAULTS = (OSError, http.client.HTTPException)


@final
class HttpCheckpoints(Checkpoints):
    """Keeps states in the store of a server, under the names that `lamarck.checkpoints.FolderCheckpoints` would give them.

    Args:
        connection: Leads to the store, e.g. to ``https://host:8765/v1/runs/cifar/checkpoints``. One request at a time uses it.
    """

    __slots__ = ("_connection", "_lock")

    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()

    @property
    def location(self) -> str:
        """The URL; see `Checkpoints.location`. Another process takes the token from its own environment."""
        return self._connection.url

    def flushing(self, *, every: int = 1, overlap: bool = False) -> HttpCheckpoints:
        """The server keeps what it says that it keeps; see `Checkpoints.flushing`."""
        return self

    def settle(self, names: Collection[str]) -> None:
        """The server keeps what it says that it keeps; see `Checkpoints.settle`."""

    def put(self, member: int, generation: int, state: Any) -> str:
        """Keeps a state; when this returns the server has it on its disk. See `Checkpoints.put`."""
        file = packed(member, generation, state)
        name = file.name()
        with self._lock:
            end, pause = time.monotonic() + self._connection.patience, 0.05
            done = self._arrived(name, file.size) if file.size > _LARGE else 0
            while done < file.size:
                try:
                    status, body, there = self._sent(name, file, done)
                except _FAULTS as error:
                    self._connection.close()
                    status, body, there = 503, str(error).encode(), None
                if status in (200, 201):
                    break
                if status == 409 and there is not None:  # it has another number of bytes than we thought
                    done = there
                elif status not in (502, 503, 504, 429):
                    _refused(status, body)
                if time.monotonic() > end:
                    raise CheckpointError(f"{self.location}/{name} could not be written for {self._connection.patience:g} s: {body.decode()}")
                time.sleep(pause)
                pause = min(5.0, 2 * pause)
                if status != 409:
                    done = self._arrived(name, file.size)
        return name

    def get(self, name: str) -> Any:
        """Returns a state, if its bytes are those that were saved; see `Checkpoints.get`."""
        name, row = parted(name)
        checked_name(name)
        with self._lock:
            size = self._size(name)
            download = _Download(self._connection, f"/{name}", size)
            try:
                return row_of(unpacked(name, download, size, f"{self.location}/{name}"), row)
            finally:
                download.close()

    def names(self) -> list[str]:
        """Returns the names in the store; see `Checkpoints.names`."""
        with self._lock:
            return list(map(str, json.loads(self._connection.ask("GET", "").body)["names"]))

    def size(self, name: str) -> int:
        """Returns the bytes of a state; see `Checkpoints.size`."""
        name = checked_name(whole(name))
        with self._lock:
            return self._size(name)

    def sweep(self, live: Collection[str], among: Collection[str] | None = None) -> list[str]:
        """Deletes states; what the server's run may still name it keeps all the same. See `Checkpoints.sweep`."""
        keep, swept = frozenset(map(whole, live)), []
        for name in self.names() if among is None else sorted(set(map(whole, among))):
            if name not in keep and is_name(name):
                with self._lock:
                    if self._connection.ask("DELETE", f"/{name}", fine=(404, 409)).status == 204:
                        swept.append(name)
        return swept

    def close(self) -> None:
        """Lets go of the connection; whatever is asked next makes another."""
        with self._lock:
            self._connection.close()

    def _size(self, name: str) -> int:
        answer = self._connection.ask("HEAD", f"/{name}", fine=(404,))
        if answer.status == 404:
            raise CheckpointMissing(f"{self.location}/{name}: there is no such checkpoint; it was never put here, or it was swept")
        return int(answer.headers["Content-Length"])

    def _arrived(self, name: str, size: int) -> int:
        """How many bytes are there: all of them, those of an unfinished upload, or none."""
        try:
            answer = self._connection.ask("HEAD", f"/{name}?size={size}", fine=(404, 413))
        except ServiceError as error:
            raise CheckpointError(str(error)) from None
        if answer.status == 413:
            raise CheckpointError(f"{self.location}: the checkpoint has {size:,} bytes, which is more than this server takes")
        return size if answer.status == 200 else int(answer.headers.get("Lamarck-Offset", "0"))

    def _sent(self, name: str, file: Packed, done: int) -> tuple[int, bytes, int | None]:
        headers = {"Content-Length": str(file.size - done), "Content-Type": "application/octet-stream"}
        response = self._connection.send("PUT", f"/{name}?offset={done}&size={file.size}", _pieces(file.parts, done), headers=headers)
        there = response.headers.get("Lamarck-Offset")
        return response.status, response.read(), None if there is None else int(there)


@final
class _Download:
    """A file on the server, read from wherever the last connection broke."""

    def __init__(self, connection: Connection, path: str, size: int) -> None:
        self._connection, self._path, self._size = connection, path, size
        self._at = 0
        self._end = time.monotonic() + connection.patience
        self._stream: http.client.HTTPResponse | None = None

    def readinto(self, buffer: memoryview, /) -> int:
        pause = 0.05
        while self._at < self._size:
            try:
                if self._stream is None:
                    self._stream = self._opened()
                got = self._stream.readinto(buffer)
                if got:
                    self._at += got
                    if self._at == self._size:
                        self._stream.read()
                    return got
            except _FAULTS as error:
                if time.monotonic() > self._end:
                    raise CheckpointError(f"{self._connection.url}{self._path} could not be read: {error}") from error
            self._stream = None
            self._connection.close()
            time.sleep(pause)
            pause = min(5.0, 2 * pause)
        return 0

    def close(self) -> None:
        if self._at < self._size:  # the rest would stand before the next answer
            self._connection.close()

    def _opened(self) -> http.client.HTTPResponse:
        response = self._connection.send("GET", self._path, headers={"Range": f"bytes={self._at}-"})
        if response.status in (429, 502, 503, 504):
            raise http.client.HTTPException(f"status {response.status}")
        if response.status not in (200, 206):
            _refused(response.status, response.read())
        if response.status == 200 and self._at:
            response.read(self._at)  # whoever is in between knows no ranges
        return response


def _pieces(parts: list[Part], done: int) -> Iterator[bytes]:
    """The bytes of a file from a place on, in pieces that are not too large for anybody."""
    for part in parts:
        if done >= len(part):
            done -= len(part)
            continue
        for at in range(done, len(part), _PIECE):
            yield bytes(part[at : at + _PIECE])
        done = 0


def _refused(status: int, body: bytes) -> None:
    try:
        refused(status, body)
    except ServiceError as error:
        raise CheckpointError(str(error)) from None
