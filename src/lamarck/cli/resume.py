"""``lamarck resume``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lamarck._errors import PopulationLost, SettingsError
from lamarck.cli.errors import plain_warnings
from lamarck.cli.live import Dashboard, live_page
from lamarck.cli.options import NO_FILES, NO_WORKERS, Files, Workers
from lamarck.cli.read import JournalFile, RunName, read
from lamarck.cli.run import counts, tell
from lamarck.cli.signals import stoppable
from lamarck.cli.target import ByName, Target, load_space
from lamarck.history import History
from lamarck.observers.guard import GuardObserver
from lamarck.observers.progress import progress
from lamarck.runs import resume as go_on
from lamarck.space import Space

__all__ = ["EXAMPLES", "resume", "training_function"]

EXAMPLES = """Examples:

  lamarck resume train.db
  lamarck resume train.db --workers 8
  lamarck resume runs/first.db --train train.py:train
"""


def resume(
    journal: JournalFile,
    /,
    *,
    train: Annotated[str | None, Parameter(help="The training function, if it is not where the journal says.")] = None,
    space: Annotated[str | None, Parameter(help="The search space, if it has Python functions and is not where the journal says.")] = None,
    checkpoints: Annotated[str | None, Parameter(help="Where the weights are, if it is not where the journal says.")] = None,
    name: RunName = "main",
    workers: Workers = NO_WORKERS,
    files: Files = NO_FILES,
    dashboard: Dashboard = False,
) -> None:
    """Go on with a run from exactly what its journal holds.

    The journal knows the training function, where it was, who trained and
    what was written beside it; options given here come before that. Another
    number of workers is as good. A run that has ended is left as it is.
    """
    history, _ = read(journal, name)
    if history.ended == "lost":
        first = history.failures[0]
        raise PopulationLost(
            f"this run is over: every member failed for good; the first failure was member {first.member}, generation {first.generation}: "
            f"{first.message or first.kind}"
        )
    info, guard = history.started.info, GuardObserver(history)
    if history.ended is None:
        begun = _begun(history, journal)
        engine, written = workers.after(info).make(), list(files.after(info, begun).observers())
        function = training_function(history, journal, train, cure=f"lamarck resume {shlex.quote(str(journal))} --train file.py:function")
        changes = {} if Space.from_dict(history.started.space).resolved else {"space": _same_space(history, function.target, space, begun)}
        weights = checkpoints if checkpoints is not None else info.get("checkpoints")
        if checkpoints is None and weights is not None and "://" not in weights:
            weights = str(begun / weights)
        with plain_warnings(), stoppable(), live_page(journal, name, wanted=dashboard), progress(**counts(history)) as shown:
            history = go_on(function, journal, checkpoints=weights, name=name, engine=engine, observers=[shown, guard, *written], **changes)
    tell(history, guard.findings, journal, name)


def training_function(history: History, journal: Path, train: str | None, *, cure: str) -> ByName:
    """Returns the training function of a run: a journal knows its name, not its code.

    Args:
        history: The run.
        journal: Its journal.
        train: The function as it was given, if it was.
        cure: Command that gives it.

    Raises:
        SettingsError: If it cannot be found.
    """
    place = _begun(history, journal) if train is None else Path.cwd()
    try:
        function = Target.parse(str(history.started.info.get("train")) if train is None else train)
        function.load_function(place)
    except SettingsError as error:
        if train is not None:
            raise
        raise SettingsError(f"the training function that the journal names cannot be found: {error}. Say where it is: {cure}") from None
    return ByName(function, place)


def _begun(history: History, journal: Path) -> Path:
    """The folder in which a run was begun, from which its paths start."""
    info = history.started.info
    return (journal.resolve().parent / str(info["folder"])).resolve() if "folder" in info else Path.cwd()


def _same_space(history: History, function: Target, given: str | None, begun: Path) -> Space:
    """The space again, from Python, because a journal cannot hold its functions."""
    kept = history.started.info.get("space")
    folder = Path.cwd() if given is not None else begun
    found, source = load_space(kept if given is None else given, function, folder)
    if found.to_dict() != dict(history.started.space):
        raise SettingsError(f"the search space {source} is not the one that the run was begun with; restore it, or begin another run")
    return found
