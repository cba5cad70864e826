"""What trains, as it is named on the command line: a function, or a script with its arguments."""

from __future__ import annotations

import difflib
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import final

from lamarck._errors import SettingsError
from lamarck.cli.target import ByName, Target
from lamarck.engines import Engine, Train
from lamarck.training import Worker

__all__ = ["Trainer", "trainer"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Trainer:
    """A training function, or a script.

    Args:
        text: As it was written.
        stem: What a journal is called after it.
        train: The function; that of a script is never called.
        engine: Who calls it, or starts the script.
        target: The function's name; ``None`` for a script.
    """

    text: str
    stem: str
    train: Train
    engine: Engine
    target: Target | None


def trainer(text: str, engine: Engine, folder: Path) -> Trainer:
    """Finds what trains.

    Args:
        text: ``path/file.py:function``, ``module:function``, or ``path/script.py`` with arguments behind it.
        engine: Who provides workers.
        folder: What a relative path starts from.

    Raises:
        SettingsError: If it is not there.
        TrainingError: If the module of a function fails.
    """
    words = shlex.split(text)
    if not words or not words[0].endswith(".py"):
        target = Target.parse(text)
        target.load_function(folder)
        return Trainer(text=text, stem=target.name.rpartition(".")[2], train=ByName(target, folder), engine=engine, target=target)
    file = folder / words[0]
    if not file.is_file():
        near = difflib.get_close_matches(file.name, [path.name for path in file.parent.glob("*.py")], n=1)
        raise SettingsError(f"there is no script {words[0]!r}; " + (f"did you mean {near[0]!r}?" if near else "check the path"))
    from lamarck.engines.processes import Processes
    from lamarck.engines.ray import Ray
    from lamarck.scripts.engine import Scripts

    if isinstance(engine, Ray):
        raise SettingsError(
            f"--engine ray trains functions, and {words[0]!r} is a script; name a function, as in {words[0]}:train, or let the script join a "
            "service: lamarck serve"
        )
    places = engine if isinstance(engine, Processes) else Processes(workers=1)
    scripts = Scripts(command=(sys.executable, str(file.resolve()), *words[1:]), places=places, folder=folder)
    return Trainer(text=text, stem=file.stem, train=_by_script, engine=scripts, target=None)


def _by_script(worker: Worker) -> None:
    """Stands where a training function would be."""
    raise NotImplementedError("a script trains by itself")
