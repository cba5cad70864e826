"""``lamarck replay``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lamarck._errors import MissingExtra, SettingsError
from lamarck._signals import Terminated, say
from lamarck.cli._text import Column, console, number, tables
from lamarck.cli.counted import counted
from lamarck.cli.errors import plain_warnings
from lamarck.cli.read import JournalFile, RunName, read
from lamarck.cli.resume import trainer_of
from lamarck.cli.schedule import Simplify, chosen, read_schedule
from lamarck.engines import inline
from lamarck.replays import Replay
from lamarck.replays import replay as train_by
from lamarck.runs import beside

__all__ = ["EXAMPLES", "replay"]

EXAMPLES = """Examples:

  lamarck replay train.db
  lamarck replay train.db train.py:train --seeds 10 --workers 4
  lamarck replay train.db --simplify 0.1
  lamarck replay train.db --schedule edited.toml --journal edited.db
"""


def replay(
    journal: JournalFile,
    train: Annotated[str | None, Parameter(help="The training function, if it is not where the journal says.")] = None,
    /,
    *,
    seeds: Annotated[int, Parameter(help="Models to train with fresh seeds.")] = 5,
    own: Annotated[
        bool, Parameter(help="Train once more with the lineage's own seeds first, which must give its value exactly.", negative="--no-own")
    ] = True,
    member: Annotated[int | None, Parameter(help="Whose newest weights' schedule. By default that of the best report.")] = None,
    simplify: Simplify = None,
    schedule: Annotated[Path | None, Parameter(help="Follow this one instead: a .json, .toml or .csv file.")] = None,
    workers: Annotated[int, Parameter(help="Processes to train in.")] = 1,
    into: Annotated[
        Path | None, Parameter(name="--journal", help="File that the trainings are written to. By default one beside the journal.")
    ] = None,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="Picture of the result. By default one beside the trainings.")] = None,
    name: RunName = "main",
) -> int:
    """Train models from scratch by a schedule: is it enough without the population?

    What was trained is written down as it happens: the same command goes on
    where it was stopped, and with more seeds trains only those.
    """
    history, _ = read(journal, name)
    followed = chosen(history, member, simplify) if schedule is None else read_schedule(schedule)
    if schedule is not None and simplify is not None:
        raise SettingsError("--simplify is for the schedule of the run; --schedule gives another one: leave one of them out")
    made = trainer_of(history, journal, train, inline, f"lamarck replay {shlex.quote(str(journal))}")
    if made.target is None:
        raise SettingsError(f"{made.text!r} is a script, and a replay needs a training function; name one, as in train.py:train")
    into = beside(journal, ".replay.db", name) if into is None else into
    if into.resolve() == journal.resolve():
        raise SettingsError(f"--journal: {str(into)!r} holds the run that is replayed; give another file")
    print(f"trainings in {into}", file=sys.stderr)
    try:
        with plain_warnings(), counted("intervals") as tell:
            result = train_by(
                made.train, history, schedule=followed, seeds=seeds, member=member, own=own, journal=into, workers=workers, on_progress=tell
            )
    except (KeyboardInterrupt, Terminated):
        say("\nstopped; what was reported is kept, and the same command goes on from there")
        raise
    _show(result)
    _draw(result, into.with_suffix(".png") if out is None else out, out is not None)
    named = "" if name == "main" else f" --name {shlex.quote(name)}"
    print(f"see the schedule: lamarck schedule {shlex.quote(str(journal))}{named}")
    return 0


def _show(result: Replay) -> None:
    out, trained = console(), [*([] if result.again is None else [("own", result.again)]), *((str(one.seed), one) for one in result.fresh)]
    columns = [
        Column(title="seed", cells=[label for label, _ in trained]),
        Column(title="steps", cells=[f"{one.history.records[-1].step:,}" for _, one in trained]),
        Column(title="value", cells=[number(one.value) if one.value == one.value else "diverged" for _, one in trained]),
    ]
    for part in tables(columns, out.width):
        out.print(part)
    print(result)


def _draw(result: Replay, path: Path, asked: bool) -> None:
    """Draws the result; without matplotlib only if a picture was asked for is that an error."""
    if not result.fresh:
        return
    from lamarck.plots.replays import curves, draw

    shown = curves([one.history for one in result.fresh], result.original, found=result.found)
    title = f"trained from scratch by a schedule of {len(result.schedule)} pieces: {len(result.fresh)} seeds"
    try:
        figure = draw(shown, title=title)
    except MissingExtra:
        if asked:
            raise
        return
    figure.savefig(path)
    print(f"picture in {path}")
