"""``lamarck schedule``."""

from __future__ import annotations

import json
from typing import Annotated

from cyclopts import Parameter

from lamarck._errors import SettingsError
from lamarck.cli._text import Column, console, number, tables
from lamarck.cli.read import JournalFile, RunName, read

__all__ = ["EXAMPLES", "schedule"]

EXAMPLES = """Examples:

  lamarck schedule train.db
  lamarck schedule train.db --json > schedule.json
"""


def schedule(
    journal: JournalFile,
    /,
    *,
    member: Annotated[int | None, Parameter(help="Whose newest weights. By default those of the best report.")] = None,
    as_json: Annotated[bool, Parameter(name="--json", help="Write JSON: a list of start, until (exclusive) and hparams.", negative=())] = False,
    name: RunName = "main",
) -> None:
    """Show the hyperparameters that the best weights have seen, by step.

    The schedule goes back through all ancestors to step 0.
    """
    history, population = read(journal, name)
    if member is not None and not 0 <= member < len(population):
        raise SettingsError(f"member: got {member}; this run has members 0 to {len(population) - 1}")
    if not (history.member(member) if member is not None else population.best):
        raise SettingsError("nothing to follow has been reported yet; wait for the first report")
    found = history.schedule(member)
    if as_json:
        print(json.dumps([{"start": piece.start, "until": piece.until, "hparams": dict(piece.hparams)} for piece in found], indent=2))
        return
    names = list(dict.fromkeys(name for piece in found for name in piece.hparams))
    columns = [
        Column(title="steps", cells=[f"{piece.start:,} to {piece.until:,}" for piece in found]),
        *(Column(title=name, cells=[number(piece.hparams[name]) if name in piece.hparams else "" for piece in found]) for name in names),
    ]
    out = console()
    for part in tables(columns, out.width):
        out.print(part)
