"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["whole"]


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a name to write to; it becomes the file when the block ends well, and nothing is left of it if not.

    A link stays one, and what it points to is written. What is there and is no file, such as a pipe or a device, is written to as it is: to put
    a file in its place would take it away.

    Args:
        path: The file.

    Example:
        >>> from pathlib import Path
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "table.csv"
        >>> with whole(path) as draft:
        ...     written, there = draft.write_text("a,b"), path.exists()
        >>> there, path.read_text()
        (False, 'a,b')
    """
    if Path(path).exists() and not Path(path).is_file():
        yield Path(path)
        return
    target = Path(os.path.realpath(path))
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield draft
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
