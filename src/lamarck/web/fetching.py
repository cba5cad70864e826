"""The command that fetches the best weights, as the pages show it."""

from __future__ import annotations

import os
import shlex

__all__ = ["fetch_command"]


def fetch_command(journal: str | os.PathLike[str], name: str) -> str:
    """Returns the command that copies the best weights of a run.

    Args:
        journal: The journal's file.
        name: Name of the run.

    Example:
        >>> fetch_command("runs/one two.db", "main")
        "lamarck fetch 'runs/one two.db' -o best.safetensors"
        >>> fetch_command("a.db", "cifar")
        'lamarck fetch a.db --name cifar -o best.safetensors'
    """
    named = "" if name == "main" else f" --name {shlex.quote(name)}"
    return f"lamarck fetch {shlex.quote(os.fspath(journal))}{named} -o best.safetensors"
