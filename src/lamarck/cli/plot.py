"""``lamarck plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from lamarck.cli.read import JournalFile, RunName, read_events
from lamarck.history import History
from lamarck.runs import beside

__all__ = ["EXAMPLES", "plot"]

EXAMPLES = """Examples:

  lamarck plot train.db
  lamarck plot train.db -o figures --format svg --style dark
  lamarck plot train.db --only values lineage
  lamarck plot train.db --only paths -x theta0 -y theta1
"""


def plot(
    journal: JournalFile,
    /,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="Folder for the files. By default one beside the journal.")] = None,
    format: Annotated[Literal["png", "svg", "pdf"], Parameter(help="Kind of file.")] = "png",  # noqa: A002
    style: Annotated[Literal["light", "dark"], Parameter(help="What the figures lie on.")] = "light",
    only: Annotated[
        list[str] | None,
        Parameter(
            help="Figures to draw: values, hyperparameters, lineage, takeover, coordinates, paths. By default all.",
            consume_multiple=True,
            negative=(),
        ),
    ] = None,
    x: Annotated[str | None, Parameter(name=["--x", "-x"], help="Horizontal axis of paths: a metric, a hyperparameter, or value.")] = None,
    y: Annotated[str | None, Parameter(name=["--y", "-y"], help="Vertical axis of paths, likewise.")] = None,
    name: RunName = "main",
) -> None:
    """Draw values, hyperparameters, lineage, takeover, the final population and paths.

    Works while the run is going on.
    """
    history = History.of(read_events(journal, name))
    from lamarck.plots import save

    folder = beside(journal, ".figures", name) if out is None else out
    for path in save(history, folder, format=format, style=style, only=tuple(only or ()), x=x, y=y):
        print(path)
