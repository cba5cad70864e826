"""Checkpoints on an object store, or on whatever else fsspec reaches."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any, final

from lamarck._errors import CheckpointError, CheckpointMissing, LamarckError, require
from lamarck.checkpoints.base import Checkpoints
from lamarck.checkpoints.format import SUFFIX, Part, checked_name, is_name, packed, unpacked
from lamarck.checkpoints.rows import parted, row_of, whole

__all__ = ["RemoteCheckpoints"]


@final
class RemoteCheckpoints(Checkpoints):
    """Keeps states under a URL that fsspec knows: the names and the bytes of `lamarck.checkpoints.folder.FolderCheckpoints`.

    An upload becomes visible only when it is complete. What a writer that was killed had begun to upload is kept by some object stores until
    their own rule for unfinished uploads removes it.

    Args:
        url: ``"s3://bucket/run"``, ``"gs://bucket/run"`` and so on; what is not there is made when the first state is put. Credentials come
            from where the store's own library looks for them.

    Raises:
        MissingExtra: If fsspec, or what it needs for this kind of URL, is not installed.
        CheckpointError: If the URL is not one.

    Example:
        >>> checkpoints = RemoteCheckpoints("memory://doctest")
        >>> name = checkpoints.put(3, 7, {"theta": [0.9, 0.9], "step": 4000})
        >>> checkpoints.get(name)
        {'theta': [0.9, 0.9], 'step': 4000}
    """

    __slots__ = ("_files", "_root", "url")

    def __init__(self, url: str) -> None:
        fsspec = require("fsspec", "durable", "A checkpoint store with a URL")
        self.url = url
        with _explained(self.url, "opened"):
            # No cache of listings: others write and delete here, and a name that is only remembered must not count as kept.
            self._files, root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        self._root = root.rstrip("/")

    @property
    def location(self) -> str:
        """The URL; see `Checkpoints.location`."""
        return self.url

    def flushing(self, *, every: int = 1, overlap: bool = False) -> RemoteCheckpoints:
        """An upload is kept when it is complete; see `Checkpoints.flushing`."""
        return self

    def settle(self, names: Collection[str]) -> None:
        """An upload is kept when it is complete; see `Checkpoints.settle`."""

    def put(self, member: int, generation: int, state: Any) -> str:
        """Keeps a state; when this returns the store has it. See `Checkpoints.put`."""
        file = packed(member, generation, state)
        name = file.name()
        with _explained(self._shown(name), "written"):
            if self._size(name) != file.size:
                try:
                    self._upload(name, file.parts)
                except FileNotFoundError:  # most object stores have no folders; what has them wants them made
                    self._files.makedirs(self._root, exist_ok=True)
                    self._upload(name, file.parts)
        return name

    def get(self, name: str) -> Any:
        """Returns a state, if its bytes are those that were saved; see `Checkpoints.get`."""
        name, row = parted(name)
        path = self._path(checked_name(name))
        with _explained(self._shown(name), "read"):
            size = int(self._files.info(path)["size"])
            with self._files.open(path, "rb") as stream:
                return row_of(unpacked(name, stream, size, self._shown(name)), row)

    def names(self) -> list[str]:
        """Returns the names in the store; see `Checkpoints.names`."""
        try:
            with _explained(self.url, "listed"):
                files = [path.rpartition("/")[2] for path in self._files.ls(self._root, detail=False)]
        except CheckpointMissing:
            return []
        return sorted(file.removesuffix(SUFFIX) for file in files if file.endswith(SUFFIX) and is_name(file.removesuffix(SUFFIX)))

    def size(self, name: str) -> int:
        """Returns the bytes of an object; see `Checkpoints.size`."""
        name = whole(name)
        with _explained(self._shown(name), "read"):
            return int(self._files.info(self._path(checked_name(name)))["size"])

    def sweep(self, live: Collection[str], among: Collection[str] | None = None) -> list[str]:
        """Deletes objects; see `Checkpoints.sweep`."""
        keep, allowed = frozenset(map(whole, live)), None if among is None else frozenset(map(whole, among))
        swept = []
        for name in self.names():
            if name not in keep and (allowed is None or name in allowed):
                with suppress(CheckpointMissing), _explained(self._shown(name), "deleted"):  # somebody else may have been faster
                    self._files.rm_file(self._path(name))
                    swept.append(name)
        return swept

    def _size(self, name: str) -> int | None:
        try:
            return int(self._files.info(self._path(name))["size"])
        except FileNotFoundError:
            return None

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}{SUFFIX}"

    def _shown(self, name: str) -> str:
        return f"{self.url.rstrip('/')}/{name}{SUFFIX}"

    def _upload(self, name: str, parts: list[Part]) -> None:
        upload = self._files.open(self._path(name), "wb", autocommit=False)
        try:
            for part in parts:
                upload.write(part)
            upload.close()
            upload.commit()
        except BaseException:
            upload.discard()
            raise


@contextmanager
def _explained(what: str, done: str) -> Iterator[None]:
    try:
        yield
    except LamarckError:
        raise
    except Exception as error:  # each store has errors of its own
        if isinstance(error, FileNotFoundError) and done != "written":
            raise CheckpointMissing(f"{what}: there is no such checkpoint; it was never put here, or it was swept") from None
        raise CheckpointError(
            f"{what}: the checkpoint could not be {done}: {type(error).__name__}: {error}. Nothing else was changed"
        ) from error
