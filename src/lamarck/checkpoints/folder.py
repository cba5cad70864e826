"""Checkpoints in a folder: one file each, which appears whole or not at all.

A file is written under a temporary name in the same folder, renamed, and flushed to the disk together with its name
(`lamarck.checkpoints.flush`). Every process of this machine sees it from the rename on, through the system's memory, whether it is flushed or
not; only a power cut can find it unflushed, and then its hash tells. The writer keeps its temporary file locked, so that a sweep can tell the
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
from lamarck.checkpoints.flush import flush, flush_folder, named_by_flush
from lamarck.checkpoints.format import SUFFIX, Packed, checked_name, is_name, packed, unpacked
from lamarck.checkpoints.rows import parted, row_of, whole

__all__ = ["FolderCheckpoints"]

_UNFINISHED = ".unfinished"


@final
class FolderCheckpoints(Checkpoints):
    """Keeps states as safetensors files in a folder on this machine, or on a disk that several machines share.

    Args:
        path: The folder; it is made, with those above it, when the first state is put.
        every: Of each member, every how many generations a state is flushed to the disk. What is not flushed survives the death of any process,
            but not a power cut, and if it is swept before the system would have written it, it never costs the disk anything.
        overlap: Whether `put` returns before the file is flushed. The flush begins at once, beside whatever comes next, and the next `put`
            waits for it. A power cut may then lose the newest checkpoint of each writer.

    Example:
        >>> import tempfile
        >>> checkpoints = FolderCheckpoints(tempfile.mkdtemp())
        >>> name = checkpoints.put(3, 7, {"theta": [0.9, 0.9], "step": 4000})
        >>> name
        '0003-00007-66fd196711d968bd'
        >>> checkpoints.get(name)
        {'theta': [0.9, 0.9], 'step': 4000}
    """

    __slots__ = ("_flushes", "_thread", "every", "overlap", "path")

    def __init__(self, path: str | os.PathLike[str], *, every: int = 1, overlap: bool = False) -> None:
        self.path, self.every, self.overlap = Path(path).absolute(), every, overlap
        self._thread = ThreadPoolExecutor(1, "flush") if overlap else None
        self._flushes = deque[Future[None]]()

    @property
    def location(self) -> str:
        """The folder; see `Checkpoints.location`."""
        return str(self.path)

    def flushing(self, *, every: int = 1, overlap: bool = False) -> FolderCheckpoints:
        """Returns the same folder with another habit of flushing; see `Checkpoints.flushing`."""
        return FolderCheckpoints(self.path, every=every, overlap=overlap)

    def put(self, member: int, generation: int, state: Any) -> str:
        """Keeps a state; when this returns it is on the disk, if it is to be flushed and flushing does not overlap. See `Checkpoints.put`."""
        return self.keep(packed(member, generation, state))

    def keep(self, file: Packed) -> str:
        """Keeps a file as `put` would, wherever its bytes come from; returns the name that they give it.

        Args:
            file: The file.

        Raises:
            CheckpointError: If it cannot be written.
        """
        with _explained(self.path / file.whose, "written"):
            self._flushed()
            self._write(file, lasting=(file.generation + 1) % self.every == 0)
        return file.name()

    def settle(self, names: Collection[str]) -> None:
        """Flushes files; see `Checkpoints.settle`."""
        with _explained(self.path, "written"):
            self._flushed()
            for name in filter(is_name, sorted(set(map(whole, names)))):
                with suppress(FileNotFoundError):
                    flush(os.open(self._file(name), os.O_RDONLY))
            if self.path.is_dir():
                flush_folder(self.path)

    def file(self, name: str) -> Path:
        """Returns the file of a state.

        Args:
            name: What `put` returned.

        Raises:
            CheckpointMissing: If there is none of that name, or the name is none.
        """
        self.size(name)
        return self._file(whole(name))

    @contextmanager
    def marked(self) -> Iterator[Path]:
        """Puts an empty file into the folder for as long as a block lasts: whoever sees it, on whatever machine, sees this very folder.

        Raises:
            CheckpointError: If it cannot be written.
        """
        with _explained(self.path, "written"):
            _make(self.path)
            mark, file = _new_locked(self.path / "mark")
        try:
            yield mark
        finally:
            mark.unlink(missing_ok=True)
            file.close()

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

    def _flushed(self) -> None:
        """Waits until the checkpoints before are on the disk."""
        with suppress(IndexError):  # another thread may take the last one between a question and the answer
            while True:
                self._flushes.popleft().result()

    def _write(self, file: Packed, *, lasting: bool) -> None:
        at_once = lasting and self._thread is None
        try:
            path, stream = _new_locked(self.path / file.whose)
        except FileNotFoundError:
            _make(self.path)
            path, stream = _new_locked(self.path / file.whose)
        try:
            with stream:
                for part in file.parts:
                    stream.write(part)
                stream.flush()
                with_name = named_by_flush(self.path)
                if at_once and not with_name:
                    os.fsync(stream.fileno())
                path = path.rename(self._file(file.name()))
                if at_once and with_name:
                    os.fsync(stream.fileno())
                elif at_once:
                    flush_folder(self.path)
                elif lasting and self._thread is not None:
                    self._flushes.append(self._thread.submit(flush, os.dup(stream.fileno()), None if with_name else self.path))
        except BaseException:
            with suppress(OSError):
                path.unlink()
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


def _make(folder: Path) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        flush_folder(path.parent)


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
