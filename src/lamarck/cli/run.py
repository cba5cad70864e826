"""``lamarck run``."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from lamarck import exploit as exploits
from lamarck import explore as explores
from lamarck._signals import STOPS, stoppable
from lamarck.cli._text import console
from lamarck.cli.errors import plain_warnings
from lamarck.cli.findings import render
from lamarck.cli.live import Dashboard, live_page
from lamarck.cli.options import NO_FILES, NO_TRACKERS, NO_WORKERS, Files, Trackers, Workers
from lamarck.cli.read import past
from lamarck.cli.target import load_space
from lamarck.cli.trainer import trainer
from lamarck.guards import Finding
from lamarck.history import History
from lamarck.observers.guard import GuardObserver
from lamarck.observers.progress import progress
from lamarck.runs import checkpoints_of
from lamarck.runs import run as begin

__all__ = ["EXAMPLES", "run", "tell"]

EXAMPLES = """Examples:

  lamarck run train.py:train --space space.toml --interval 500 --steps 10000
  lamarck run train.py:train -n 16 --interval 1 --generations 20 --mode min \\
      --dashboard
  lamarck run train.py:train -n 16 --interval 500 --steps 10000 --workers 4 \\
      --csv train.csv
  lamarck run train.py:train -n 24 --interval 500 --steps 10000 \\
      --gpus 0,1 --per-gpu 3 --tensorboard curves
  lamarck run train.py:train -n 32 --interval 500 --steps 10000 \\
      --engine ray --gpus-per-worker 0.5
  lamarck run "script.py --depth 18" --space space.toml --interval 500 \\
      --steps 10000 --workers 4
  lamarck run package.module:train --interval 500 --steps 10000 \\
      --exploit truncation:bottom=0.25,top=0.25 --max-lead none \\
      --journal runs/second.db
"""


def run(
    train: Annotated[
        str, Parameter(help="The training function: path/file.py:function, or module:function. Or a script, with its arguments in quotes.")
    ],
    /,
    *,
    space: Annotated[
        str | None,
        Parameter(
            help="Search space: a .toml, .json or .csv file, or a Python object, as in train.py:space. By default the name space beside it."
        ),
    ] = None,
    population: Annotated[int, Parameter(name=["--population", "-n"], help="Number of members.")] = 8,
    interval: Annotated[int, Parameter(help="Steps between two decisions; aim at 15 to 30 generations in all.")],
    steps: Annotated[int | None, Parameter(help="Steps that each member trains. Give this or --generations.")] = None,
    generations: Annotated[int | None, Parameter(help="Intervals that each member trains.")] = None,
    mode: Annotated[Literal["max", "min"], Parameter(help="Whether a higher or a lower value is better.")] = "max",
    seed: Annotated[int, Parameter(help="Seed of all decisions and of each interval's training.")] = 0,
    exploit: Annotated[
        str | None, Parameter(help=f"Who copies whom: name:setting=value,... with one of {', '.join(sorted(exploits.STRATEGIES))}.")
    ] = None,
    explore: Annotated[
        str | None, Parameter(help=f"What changes after a copy: name:setting=value,... with one of {', '.join(sorted(explores.STRATEGIES))}.")
    ] = None,
    max_lead: Annotated[
        int | None, Parameter(help="Generations that a member may be ahead of the slowest: 0 is synchronous, none never waits.", negative=())
    ] = 0,
    target: Annotated[float | None, Parameter(help="Value at which the run ends early.")] = None,
    max_failures: Annotated[int, Parameter(help="How often a failed interval is tried again before the member gives up its weights.")] = 2,
    durable_every: Annotated[
        int | None, Parameter(help="Of each member, every how many generations a checkpoint is flushed to the disk. By default all.")
    ] = None,
    journal: Annotated[Path | None, Parameter(help="File that the run is written to. By default the function's name and .db, here.")] = None,
    checkpoints: Annotated[str | None, Parameter(help="Folder or URL for the weights. By default a folder beside the journal.")] = None,
    name: Annotated[str, Parameter(help="Name of the run in the journal.")] = "main",
    resume: Annotated[bool, Parameter(help="Go on with the run if the journal has it already, with the same settings.", negative=())] = False,
    workers: Workers = NO_WORKERS,
    files: Files = NO_FILES,
    trackers: Trackers = NO_TRACKERS,
    dashboard: Dashboard = False,
    tokens: Annotated[tuple[str, ...], Parameter(parse=False)],
) -> None:
    """Train a population.

    Everything is written to the journal as it happens: Ctrl-C, a crash or a
    power cut loses nothing that was reported, and `lamarck resume` goes on.
    """
    here = Path.cwd()
    made = trainer(train, workers.make(), here)
    found, source = load_space(space, made.target, here)
    file = Path(f"{made.stem}.db") if journal is None else journal
    settings: dict[str, Any] = {
        "exploit": None if exploit is None else exploits.parse(exploit),
        "explore": None if explore is None else explores.parse(explore),
    }
    info: dict[str, Any] = {
        "train": made.text,
        "space": source,
        "folder": os.path.relpath(here, file.resolve().parent),
        "command": shlex.join(["lamarck", *tokens]),
    }
    further = {"checkpoints": checkpoints, "workers": workers.kept, "files": files.kept, "trackers": trackers.kept}
    info |= {key: kept for key, kept in further.items() if kept}
    before = past(file, name) if resume else None
    guard, written = GuardObserver(before), [*files.observers(), *trackers.observers()]
    print(f"journal {file}, weights in {checkpoints or checkpoints_of(file, name)}", file=sys.stderr)
    with plain_warnings(), stoppable(STOPS), live_page(file, name, wanted=dashboard), progress(**counts(before)) as shown:
        history = begin(
            made.train,
            found,
            population_size=population,
            interval=interval,
            steps=steps,
            generations=generations,
            mode=mode,
            seed=seed,
            max_lead=max_lead,
            target=target,
            max_failures=max_failures,
            durable_every=durable_every,
            journal=file,
            checkpoints=checkpoints,
            name=name,
            resume=resume,
            engine=made.engine,
            observers=[shown, guard, *written],
            progress=False,
            info=info,
            **settings,
        )
    tell(history, guard.findings, file, name)


def counts(past: History | None) -> dict[str, int]:
    """Returns what a display must know of a run that goes on."""
    return {} if past is None else {"copies": len(past.copies), "failures": len(past.failures)}


def tell(history: History, findings: Sequence[Finding], journal: Path, name: str) -> None:
    """Says how a run has gone and how to see more."""
    print(history)
    out = console()
    for part in render(findings, out.width):
        out.print(part)
    print(f"see more: lamarck show {shlex.quote(str(journal))}" + ("" if name == "main" else f" --name {shlex.quote(name)}"))
