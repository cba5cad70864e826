"""``lamarck resume``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from lamarck import exploit as exploits
from lamarck._errors import SettingsError
from lamarck._signals import STOPS, stoppable
from lamarck.cli.errors import plain_warnings
from lamarck.cli.live import Dashboard, live_page
from lamarck.cli.options import NO_FILES, NO_TRACKERS, NO_WORKERS, Files, Trackers, Workers
from lamarck.cli.read import JournalFile, RunName, read
from lamarck.cli.run import counts, tell
from lamarck.cli.target import Target, load_space
from lamarck.cli.trainer import Trainer, trainer
from lamarck.engines import Engine
from lamarck.history import History
from lamarck.observers.guard import GuardObserver
from lamarck.observers.progress import progress
from lamarck.runs import resume as go_on
from lamarck.space import Space

__all__ = ["EXAMPLES", "resume", "trainer_of"]

EXAMPLES = """Examples:

  lamarck resume train.db
  lamarck resume train.db --workers 8
  lamarck resume runs/first.db --train train.py:train
  lamarck resume collapsed.db --exploit backtracking
"""


def resume(
    journal: JournalFile,
    /,
    *,
    train: Annotated[str | None, Parameter(help="The training function, if it is not where the journal says.")] = None,
    space: Annotated[str | None, Parameter(help="The search space, if it has Python functions and is not where the journal says.")] = None,
    checkpoints: Annotated[str | None, Parameter(help="Where the weights are, if it is not where the journal says.")] = None,
    exploit: Annotated[
        str | None, Parameter(help="Who copies whom from here on, as for lamarck run; the journal does not keep it, so give it each time.")
    ] = None,
    name: RunName = "main",
    workers: Workers = NO_WORKERS,
    files: Files = NO_FILES,
    trackers: Trackers = NO_TRACKERS,
    dashboard: Dashboard = False,
) -> None:
    """Go on with a run from exactly what its journal holds.

    The journal knows the training function, where it was, who trained and
    what was written beside it; options given here come before that. Another
    number of workers is as good. A run that has ended is left as it is;
    if every member had failed for good, those who failed last try again.
    """
    changes: dict[str, Any] = {} if exploit is None else {"exploit": exploits.parse(exploit)}
    history, _ = read(journal, name)
    info, guard = history.started.info, GuardObserver(history)
    if history.ended in (None, "lost"):
        begun = _begun(history, journal)
        made = trainer_of(history, journal, train, workers.after(info).make(), f"lamarck resume {shlex.quote(str(journal))} --train")
        written = [*files.after(info, begun).observers(), *trackers.after(info).observers()]
        if not Space.from_dict(history.started.space).resolved:
            changes["space"] = _same_space(history, made.target, space, begun)
        weights = checkpoints if checkpoints is not None else info.get("checkpoints")
        if checkpoints is None and weights is not None and "://" not in weights:
            weights = str(begun / weights)
        with plain_warnings(), stoppable(STOPS), live_page(journal, name, wanted=dashboard), progress(**counts(history)) as shown:
            history = go_on(
                made.train,
                journal,
                checkpoints=weights,
                name=name,
                engine=made.engine,
                observers=[shown, guard, *written],
                progress=False,
                **changes,
            )
    tell(history, guard.findings, journal, name)


def trainer_of(history: History, journal: Path, train: str | None, engine: Engine, command: str) -> Trainer:
    """Returns what trains in a run: a journal knows its name, not its code.

    Args:
        history: The run.
        journal: Its journal.
        train: What trains, as it was given, if it was.
        engine: Who provides workers.
        command: What stands before it on the command line, to say how it is given.

    Raises:
        SettingsError: If it cannot be found.
    """
    if train is not None:
        return trainer(train, engine, Path.cwd())
    named, script = str(history.started.info.get("train")), history.started.info.get("script")
    if script is not None or named.startswith("__main__:"):  # neither a script nor a notebook is run again unasked
        whose = "in a notebook or at a prompt" if script is None else f"in the script {script}"
        where = shlex.quote(named if script is not None else f"file.py:{named.partition(':')[2]}")
        raise SettingsError(
            f"the run was begun {whose}; say where its training function is: {command} {where}. A script that is named here "
            "has to keep what it runs under `if __name__ == '__main__':`"
        )
    try:
        return trainer(named, engine, _begun(history, journal))
    except SettingsError as error:
        raise SettingsError(
            f"the training function that the journal names cannot be found: {error}. Say where it is: {command} file.py:function"
        ) from None


def _begun(history: History, journal: Path) -> Path:
    """The folder in which a run was begun, from which its paths start."""
    info = history.started.info
    return (journal.resolve().parent / str(info["folder"])).resolve() if "folder" in info else Path.cwd()


def _same_space(history: History, function: Target | None, given: str | None, begun: Path) -> Space:
    """The space again, from Python, because a journal cannot hold its functions."""
    kept = history.started.info.get("space")
    folder = Path.cwd() if given is not None else begun
    found, source = load_space(kept if given is None else given, function, folder)
    if found.to_dict() != dict(history.started.space):
        raise SettingsError(f"the search space {source} is not the one that the run was begun with; restore it, or begin another run")
    return found
