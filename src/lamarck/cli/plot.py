"""``lamarck plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from lamarck.cli.read import JournalFile, RunName, read

__all__ = ["EXAMPLES", "plot"]

EXAMPLES = """Examples:

  lamarck plot train.db
  lamarck plot train.db -o figures --format svg
"""


def plot(
    journal: JournalFile,
    /,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="Folder for the files. By default one beside the journal.")] = None,
    format: Annotated[Literal["png", "svg", "pdf"], Parameter(help="Kind of file.")] = "png",  # noqa: A002
    name: RunName = "main",
) -> None:
    """Draw values, hyperparameters and lineage over time.

    Works while the run is going on.
    """
    history, _ = read(journal, name)
    from lamarck.plots import save

    for path in save(history, journal.with_suffix(".figures") if out is None else out, format=format):
        print(path)
