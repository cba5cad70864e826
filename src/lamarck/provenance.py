"""How a run was made, for people: what trained, with which versions, on what machine."""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from typing import Any

import numpy as np

__all__ = ["provenance"]


def provenance(train: object) -> dict[str, Any]:
    """Returns what every journal says of how its run was made.

    Args:
        train: The training function, which is named; of one in a script, the script is named as well.

    Example:
        >>> sorted(provenance(print)), provenance(print)["train"]
        (['machine', 'train', 'versions'], 'builtins:print')
    """
    from lamarck import __version__

    own = getattr(train, "text", None)  # what a command line has found by name says that name
    module, name = getattr(train, "__module__", "?"), getattr(train, "__qualname__", type(train).__name__)
    script: dict[str, str] = {}
    if not isinstance(own, str) and module == "__main__" and getattr(sys.modules.get("__main__"), "__file__", None):
        script = {"script": os.path.relpath(str(sys.modules["__main__"].__file__))}
    return {
        "train": own if isinstance(own, str) else f"{script.get('script', module)}:{name}",
        **script,
        "versions": {"lamarck": __version__, "python": platform.python_version(), "numpy": np.__version__},
        "machine": _machine(),
    }


@cache
def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
