"""``lamarck animate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from lamarck.cli.counted import counted
from lamarck.cli.read import JournalFile, RunName, read_events
from lamarck.history import History
from lamarck.runs import beside

__all__ = ["EXAMPLES", "animate"]

EXAMPLES = """Examples:

  lamarck animate train.db -o train.gif
  lamarck animate train.db -o train.mp4 --style dark
  lamarck animate train.db -o train.gif --view paths -x theta0 -y theta1
"""


def animate(
    journal: JournalFile,
    /,
    *,
    out: Annotated[
        Path | None, Parameter(name=["--out", "-o"], help="File to write: .gif, or .mp4 with ffmpeg. By default a .gif beside the journal.")
    ] = None,
    view: Annotated[
        Literal["schedule", "paths"], Parameter(help="Values and hyperparameters that grow, or the way through a plane.")
    ] = "schedule",
    x: Annotated[str | None, Parameter(name=["--x", "-x"], help="Horizontal axis of paths: a metric, a hyperparameter, or value.")] = None,
    y: Annotated[str | None, Parameter(name=["--y", "-y"], help="Vertical axis of paths, likewise.")] = None,
    frames: Annotated[int, Parameter(help="How many pictures.")] = 200,
    rate: Annotated[int, Parameter(help="Pictures a second, 1 to 50.")] = 20,
    style: Annotated[Literal["light", "dark"], Parameter(help="What it lies on.")] = "light",
    name: RunName = "main",
) -> None:
    """Write a run as an animation, with a flash where a member copies.

    Works while the run is going on.
    """
    history = History.of(read_events(journal, name))
    from lamarck.plots import animate as film

    target = beside(journal, ".gif", name) if out is None else out
    with counted("pictures") as tell:
        written = film(history, target, view=view, x=x, y=y, frames=frames, rate=rate, style=style, on_frame=tell)
    print(written)
