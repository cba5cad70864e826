"""What a compiler that was killed leaves behind in PyTorch's own cache.

C++ is compiled straight into the file that later runs load, and a file that is there is never written again. So half a file would keep
everybody who trains the same from compiling it, for ever.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["unloadable"]

_NAMED = re.compile(r"(/.*?\.so): ")
"""How the system's loader begins what it says of a file."""


def unloadable(error: BaseException) -> Path | None:
    """Returns the file of PyTorch's cache that could not be loaded, if that is what an error comes from; deleted, it is compiled again.

    Args:
        error: What compiling came to.
    """
    for cause in _chain(error):
        if isinstance(cause, ImportError | OSError) and (named := _NAMED.match(str(cause))):
            cache = importlib.import_module("torch._inductor.codecache").cache_dir()
            file = Path(named[1]).resolve()
            return file if file.is_relative_to(Path(cache).resolve()) else None
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
