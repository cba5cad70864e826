"""Reading what Weights & Biases has written beside a run: its log of everything that was said, kept before it is sent.

The file is a log in the format of LevelDB: after seven bytes of W&B's own, blocks of 32 KiB with records in parts, each with its length, kind
and checksum. A record is one of W&B's protocol buffers. What a killed process leaves behind ends somewhere; it is read up to there.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lamarck._errors import require

__all__ = ["history_of", "records_of"]

_MAGIC, _HEADER, _BLOCK = b":W&B", 7, 32 * 1024
_PART = struct.Struct("<IHB")
_WHOLE, _FIRST, _LAST = 1, 2, 4


def records_of(path: Path) -> Iterator[Any]:
    """Yields W&B's records of a file, as far as they are whole; none of a file of another kind.

    Args:
        path: A file ``run-<id>.wandb``.

    Raises:
        MissingExtra: If wandb is not installed.
    """
    record = require("wandb.proto.wandb_internal_pb2", "wandb", "Reading a run of W&B").Record
    data = path.read_bytes()
    if data[:4] != _MAGIC:
        return
    at, parts = _HEADER, b""
    while at + _PART.size <= len(data):
        if (left := _BLOCK - at % _BLOCK) < _PART.size:
            at += left
            continue
        checksum, length, kind = _PART.unpack_from(data, at)
        part = data[at + _PART.size : at + _PART.size + length]
        if len(part) < length or zlib.crc32(bytes([kind]) + part) != checksum:
            return
        at += _PART.size + length
        parts = part if kind in (_WHOLE, _FIRST) else parts + part
        if kind in (_WHOLE, _LAST):
            yield record.FromString(parts)


def history_of(path: Path) -> Iterator[dict[str, str]]:
    """Yields what was logged: for each row its entries by name, as JSON."""
    for record in records_of(path):
        if record.WhichOneof("record_type") == "history":
            yield {"/".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
