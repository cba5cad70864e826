"""The command that fetches the best weights, as the pages show it."""

from __future__ import annotations

import os
import shlex

__all__ = ["fetch_command"]


def fetch_command(journal: str | os.PathLike[str], name: str, checkpoints: str | None = None) -> str:
    """Returns the command that copies the best weights of a run.

    Args:
        journal: The journal's file.
        name: Name of the run.
        checkpoints: Where its weights are, if that is not beside the journal and the journal does not say it.

    Example:
        >>> fetch_command("runs/one two.db", "main")
        "lamarck fetch 'runs/one two.db' -o best.safetensors"
        >>> fetch_command("a.db", "cifar")
        'lamarck fetch a.db --name cifar -o best.safetensors'
        >>> fetch_command("a.db", "main", "s3://bucket/main")
        'lamarck fetch a.db --checkpoints s3://bucket/main -o best.safetensors'
    """
    named = "" if name == "main" else f" --name {shlex.quote(name)}"
    placed = "" if checkpoints is None else f" --checkpoints {shlex.quote(checkpoints)}"
    return f"lamarck fetch {shlex.quote(os.fspath(journal))}{named}{placed} -o best.safetensors"
