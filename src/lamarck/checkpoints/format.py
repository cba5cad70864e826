"""The file of a checkpoint: a safetensors container, with the state's structure among its metadata.

    8 bytes  length of the header, little-endian
    header   JSON: {"__metadata__": {"lamarck": structure}, name: {"dtype", "shape", "data_offsets"}, ...}, padded with spaces
    data     the arrays, one after the other, the widest types first so that all are aligned

The container is the published format (https://github.com/huggingface/safetensors#format), so any safetensors library reads the arrays by name.
It is written and read here because that takes a page and saves every copy: buffers are hashed and written as they stand, and each array is read
into memory of its own while it is hashed. A state is put together only when the hash of the whole file is right.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, final

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import CheckpointDamaged, CheckpointError, CheckpointMissing, require
from lamarck.checkpoints.leaves import WIDTHS, Leaf
from lamarck.checkpoints.tree import flatten, unflatten

if TYPE_CHECKING:
    from concurrent.futures import Executor

__all__ = ["SUFFIX", "Packed", "Part", "checked_name", "is_name", "packed", "unpacked"]

SUFFIX = ".safetensors"
"""What is added to a checkpoint's name to make a file's."""

_VERSION = 1
_HEADER = 100_000_000
_LONG = 1 << 22
"""Bytes that take a millisecond to hash, far more than to start a thread."""

_NAME = re.compile(r"[0-9]{4,}-[0-9]{5,}-[0-9a-f]{16}")

Part = bytes | memoryview
"""A stretch of a file."""


class _Stream(Protocol):
    def readinto(self, buffer: memoryview, /) -> int | None: ...


def packed(member: int, generation: int, state: Any) -> Packed:
    """Turns a state into a file and its name.

    Args:
        member: Whose state it is.
        generation: At the end of which interval.
        state: The state; nobody may change it until the file is written and named, because its memory is shared.

    Raises:
        CheckpointError: If the state cannot be kept, or member or generation are negative.
        MissingExtra: If blake3 is not installed.
    """
    if member < 0 or generation < 0:
        raise CheckpointError(f"got member {member}, generation {generation}; both must be at least 0")
    structure, leaves = flatten(state)
    ordered = sorted(leaves.items(), key=lambda item: (-WIDTHS[item[1].code], item[0]))
    header: dict[str, Any] = {"__metadata__": {"lamarck": json.dumps({"v": _VERSION, "state": structure}, separators=(",", ":"))}}
    offset = 0
    for name, leaf in ordered:
        header[name] = {"dtype": leaf.code, "shape": leaf.shape, "data_offsets": [offset, offset + leaf.data.nbytes]}
        offset += leaf.data.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _HEADER:
        raise CheckpointError(f"the state's structure takes {len(text):,} bytes; at most {_HEADER:,} are allowed: keep long lists in arrays")
    return Packed(f"{member:04d}-{generation:05d}", [len(text).to_bytes(8, "little"), text, *(leaf.data.data for _, leaf in ordered)])


def unpacked(name: str, stream: _Stream, size: int, where: str) -> Any:
    """Reads a state.

    Args:
        name: Name of the checkpoint, which tells its hash.
        stream: The file, at its beginning.
        size: Bytes in the file.
        where: What to call the file in an error.

    Raises:
        CheckpointDamaged: If the file's bytes are not those that were saved.
        CheckpointError: If a newer Lamarck wrote it.
        MissingExtra: If blake3 is not installed, or there are tensors and PyTorch is not.
    """
    reader = _Reader(stream, size)
    try:
        header = json.loads(reader.take(int.from_bytes(reader.take(8).tobytes(), "little")).tobytes())
        metadata = json.loads(header.pop("__metadata__")["lamarck"])
        leaves = {}
        for key, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            shape = tuple(entry["shape"])
            leaves[key] = Leaf(entry["dtype"], shape, reader.take(math.prod(shape) * WIDTHS[entry["dtype"]]))
        sound = reader.left == 0 and reader.digest.short() == name.rpartition("-")[2]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise CheckpointDamaged(f"{where}: the bytes are not those that were saved as checkpoint {name!r}; restore another one")
    if metadata["v"] > _VERSION:
        raise CheckpointError(f"{where}: this checkpoint has version {metadata['v']}, and {_VERSION} is known here: upgrade Lamarck")
    return unflatten(metadata["state"], leaves)


def is_name(name: str) -> bool:
    """Returns whether a string can be the name of a checkpoint; such a name is a harmless name of a file, too."""
    return _NAME.fullmatch(name) is not None


def checked_name(name: str) -> str:
    """Returns the name, if it is one.

    Raises:
        CheckpointMissing: If no checkpoint can be called that.
    """
    if not is_name(name):
        raise CheckpointMissing(f"got {name!r}, which is no checkpoint's name here; names look like '0003-00007-9f86d081884c7d65'")
    return name


class _Digest:
    """BLAKE3 of stretches in their order; from the first long one on in a thread, beside whoever brings the next."""

    def __init__(self) -> None:
        self._blake = require("blake3", "durable", "A checkpoint that lasts").blake3()
        self._update: Callable[[Part], object] = self._blake.update
        self._thread: Executor | None = None

    def update(self, stretch: Part) -> None:
        if self._thread is None and len(stretch) >= _LONG:
            from concurrent.futures import ThreadPoolExecutor

            self._thread = ThreadPoolExecutor(1)
            self._update = partial(self._thread.submit, self._blake.update)
        self._update(stretch)

    def short(self) -> str:
        if self._thread is not None:
            self._thread.shutdown()
        return str(self._blake.hexdigest(length=8))


@final
class Packed:
    """A file in the making. Hashing goes on beside whoever writes it.

    The name holds member, generation and 64 bits of the file's BLAKE3 hash, e.g. ``"0003-00007-9f86d081884c7d65"``. It is not the hash alone,
    because then two members with equal weights would share a file, and one could be given the name anew while a sweep deletes it for the other.

    Args:
        whose: The beginning of the name: member and generation.
        parts: The file.

    Attributes:
        generation: At the end of which interval the state was kept.
        size: Bytes of the file.
    """

    __slots__ = ("_digest", "generation", "parts", "size", "whose")

    def __init__(self, whose: str, parts: list[Part]) -> None:
        self.whose, self.parts, self.size = whose, parts, sum(map(len, parts))
        self.generation = int(whose.partition("-")[2])
        self._digest = _Digest()
        for part in parts:
            self._digest.update(part)

    def name(self) -> str:
        """Returns the name, when all is hashed."""
        return f"{self.whose}-{self._digest.short()}"


class _Reader:
    """Reads a file piece by piece, each into memory of its own, and hashes what it reads."""

    def __init__(self, stream: _Stream, size: int) -> None:
        self.stream, self.left, self.digest = stream, size, _Digest()

    def take(self, size: int) -> NDArray[np.uint8]:
        if not 0 <= size <= self.left:
            raise ValueError(size)
        piece = np.empty(size, dtype=np.uint8)
        view, done = piece.data, 0
        while done < size:
            got = self.stream.readinto(view[done : done + _LONG])
            if not got:
                raise ValueError("the file has become shorter")
            self.digest.update(view[done : done + got])
            done += got
        self.left -= size
        return piece
