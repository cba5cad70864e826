"""Checkpoints in a folder: one file each, which appears whole or not at all.

A file is written under a temporary name in the same folder, flushed to the disk, renamed, and the folder is flushed. With ``overlap`` the flush
runs beside the next interval instead: every process of this machine sees the file at once, and only a power cut can find it unflushed. A name
that is there already has the same content and is not written again. The writer keeps its temporary file locked, so that a sweep can tell the
leftover of a writer that was killed from a file in the making: the operating system takes the lock back from the dead.
"""

from __future__ import annotations

import fcntl
import os
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, final

from lamarck._errors import CheckpointError, CheckpointMissing
from lamarck.checkpoints.base import Checkpoints
from lamarck.checkpoints.format import SUFFIX, Packed, checked_name, is_name, packed, unpacked
from lamarck.checkpoints.rows import parted, row_of, whole

__all__ = ["FolderCheckpoints"]

_UNFINISHED = ".unfinished"


@final
class FolderCheckpoints(Checkpoints):
    """Keeps states as safetensors files in a folder on this machine, or on a disk that several machines share.

    Args:
        path: The folder; it is made, with those above it, when the first state is put.
        overlap: Whether `put` returns before the file is flushed to the disk. The flush begins at once, beside whatever comes next, and the
        next
            `put` waits for it. Killing processes loses nothing then, either. A power cut may lose the newest checkpoint of each writer, which
            is noticed when it is read, and the member goes on from the one before.

    Example:
        >>> import tempfile
        >>> checkpoints = FolderCheckpoints(tempfile.mkdtemp())
        >>> name = checkpoints.put(3, 7, {"theta": [0.9, 0.9], "step": 4000})
        >>> name
        '0003-00007-66fd196711d968bd'
        >>> checkpoints.get(name)
        {'theta': [0.9, 0.9], 'step': 4000}
    """

    __slots__ = ("_flushing", "_thread", "overlap", "path")

    def __init__(self, path: str | os.PathLike[str], *, overlap: bool = False) -> None:
        self.path, self.overlap = Path(path).absolute(), overlap
        self._thread = ThreadPoolExecutor(1, "flush") if overlap else None
        self._flushing = deque[Future[None]]()

    @property
    def location(self) -> str:
        """The folder; see `Checkpoints.location`."""
        return str(self.path)

    def put(self, member: int, generation: int, state: Any) -> str:
        """Keeps a state; when this returns it is on the disk, unless flushing overlaps. See `Checkpoints.put`."""
        file = packed(member, generation, state)
        with _explained(self.path / file.whose, "written"):
            self._flushed()
            if file.hashing or not self._holds(file):  # what takes long to hash is written meanwhile
                if not self.path.is_dir():
                    _make(self.path)
                self._write(file)
            self._sync()  # even if the file was there: who wrote it may have been killed before this
        return file.name()

    def get(self, name: str) -> Any:
        """Returns a state, if its bytes are those that were saved; see `Checkpoints.get`."""
        name, row = parted(name)
        file = self._file(checked_name(name))
        with _explained(file, "read"), file.open("rb", buffering=0) as stream:
            return row_of(unpacked(name, stream, os.fstat(stream.fileno()).st_size, str(file)), row)

    def names(self) -> list[str]:
        """Returns the names in the folder; see `Checkpoints.names`."""
        return sorted(name.removesuffix(SUFFIX) for name in self._listed() if name.endswith(SUFFIX) and is_name(name.removesuffix(SUFFIX)))

    def size(self, name: str) -> int:
        """Returns the bytes of a file; see `Checkpoints.size`."""
        file = self._file(checked_name(whole(name)))
        with _explained(file, "read"):
            return file.stat().st_size

    def sweep(self, live: Collection[str], among: Collection[str] | None = None) -> list[str]:
        """Deletes files; see `Checkpoints.sweep`."""
        keep, swept = frozenset(map(whole, live)), []
        for name in self.names() if among is None else sorted(set(map(whole, among))):
            if name not in keep and is_name(name):
                with suppress(CheckpointMissing), _explained(self._file(name), "deleted"):
                    self._file(name).unlink()
                    swept.append(name)
        if among is None:
            for leftover in self._listed():
                if leftover.endswith(_UNFINISHED):
                    with suppress(CheckpointMissing), _explained(self.path / leftover, "deleted"):
                        _delete_unless_locked(self.path / leftover)
        return swept

    def _file(self, name: str) -> Path:
        return self.path / (name + SUFFIX)

    def _listed(self) -> list[str]:
        with _explained(self.path, "listed"):
            return [file.name for file in self.path.iterdir()] if self.path.is_dir() else []

    def _holds(self, file: Packed) -> bool:
        target = self._file(file.name())
        return target.exists() and target.stat().st_size == file.size

    def _sync(self) -> None:
        """Flushes the folder, or has it flushed after the file."""
        if self._thread is None:
            _sync(self.path)
        else:
            self._flushing.append(self._thread.submit(_sync, self.path))

    def _flushed(self) -> None:
        """Waits until the checkpoints before are on the disk."""
        while self._flushing:
            self._flushing.popleft().result()

    def _write(self, file: Packed) -> None:
        unfinished, stream = _new_locked(self.path / file.whose)
        try:
            with stream:
                for part in file.parts:
                    stream.write(part)
                stream.flush()
                if self._thread is None:
                    os.fsync(stream.fileno())
                unfinished.rename(self._file(file.name()))
                if self._thread is not None:
                    self._flushing.append(self._thread.submit(_flush, os.dup(stream.fileno())))
        except BaseException:
            with suppress(OSError):
                unfinished.unlink()
            raise


def _new_locked(target: Path) -> tuple[Path, BinaryIO]:
    """A new file beside the target, locked before any sweep could take it for a leftover."""
    while True:
        unfinished = target.with_name(f".{target.name}-{os.urandom(8).hex()}{_UNFINISHED}")
        file = unfinished.open("xb")
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # a sweep was faster
            file.close()
            continue
        except OSError:  # a disk without locks: there, a sweep cannot lock either, and leaves the file alone
            return unfinished, file
        if os.fstat(file.fileno()).st_nlink:
            return unfinished, file
        file.close()


def _delete_unless_locked(leftover: Path) -> None:
    with leftover.open("rb") as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        leftover.unlink()


def _flush(handle: int) -> None:
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _make(folder: Path) -> None:
    missing = [folder, *folder.parents]
    missing = [path for path in missing if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _explained(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError) and what != "written":
            raise CheckpointMissing(f"{path}: there is no such checkpoint; it was never put here, or it was swept") from None
        raise CheckpointError(
            f"{path}: the checkpoint could not be {what}: {error.strerror}. Nothing else was changed; if the disk is full, make room and resume"
        ) from error
