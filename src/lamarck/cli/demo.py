"""``lamarck demo``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from lamarck._signals import Terminated, say
from lamarck.cli.counted import counted

__all__ = ["COMMAND", "digits", "figure2"]

_EXAMPLES = """Examples:

  lamarck demo figure2 --out figure2
  lamarck demo figure2 --interval 5 --copy both
  lamarck demo digits --out digits --seeds 5
"""

Folder = Annotated[Path, Parameter(name=["--out", "-o"], help="Folder for pictures and tables.")]


def figure2(
    *,
    out: Folder = Path("lamarck-figure2"),
    seeds: Annotated[int, Parameter(help="Runs for each line of the table.")] = 100,
    interval: Annotated[int, Parameter(help="Steps between decisions in the picture, 5 or 10; the table has both.")] = 10,
    copy: Annotated[
        Literal["weights", "both"], Parameter(help="What is copied: the weights, as in the paper's figure, or hyperparameters too.")
    ] = "weights",
    surrogate: Annotated[
        Literal["linear", "squared"], Parameter(help="What training climbs: h theta^2, or (h theta)^2 as in some scripts.")
    ] = "linear",
) -> None:
    """Figure 2 of the paper: exploit and explore, alone and together. Seconds."""
    from lamarck.demos.figure2 import figure2 as demo

    with counted("runs") as tell:
        tables: list[str] = []
        files = demo(out, seeds, interval=interval, copy=copy, surrogate=surrogate, on_progress=tell, on_table=tables.append)
    print(*tables, *files, sep="\n")


def digits(
    *,
    out: Folder = Path("lamarck-digits"),
    seeds: Annotated[int, Parameter(help="Runs of each method, at least 2.")] = 5,
) -> None:
    """Networks on handwritten digits, against random search. Two minutes.

    Both train as many members for as many steps. An interrupted demo goes on
    when it is started again with the same folder.
    """
    from lamarck.demos.digits import digits as demo
    from lamarck.demos.digits import render

    try:
        with counted("intervals") as tell:
            result = demo(out, seeds, on_progress=tell)
    except (KeyboardInterrupt, Terminated):
        say(f"stopped; go on with: lamarck demo digits --out {shlex.quote(str(out))} --seeds {seeds}")
        raise
    print(render(result), *result.files, sep="\n")


COMMAND = App(name="demo", help="Run a worked example that writes pictures and tables.", help_epilogue=_EXAMPLES, sort_key=5)
COMMAND.command(figure2)
COMMAND.command(digits)
