"""Population based training: train a population of models and tune their hyperparameters while they train.

    import lamarck as lk

    space = lk.Space(lr=lk.Float(1e-5, 1e-1, log=True))
    history = lk.run(train, space, population_size=8, interval=500, steps=10_000)

Importing this needs NumPy and nothing else. A name is loaded when it is first asked for, so nobody waits for what is not used.
``from lamarck import *`` loads everything that needs no more than that; it leaves out `lamarck.Supervised` and `lamarck.torch`, which are for
PyTorch, and the second of which would hide PyTorch itself.
"""

from __future__ import annotations

import importlib
import typing

if typing.TYPE_CHECKING:
    from lamarck import diversity, exploit, explore, plots
    from lamarck._errors import (
        CheckpointDamaged,
        CheckpointError,
        CheckpointMissing,
        CodecError,
        JournalConflict,
        JournalError,
        LamarckError,
        MissingExtra,
        NotAllowed,
        PopulationLost,
        ReportError,
        RunMissing,
        ServiceError,
        SettingsError,
        SpaceError,
        StaleReport,
        StrategyError,
        TrainingError,
    )
    from lamarck.checkpoints import Checkpoints
    from lamarck.client import connect
    from lamarck.cohort import Cohort
    from lamarck.engines.processes import Processes
    from lamarck.engines.ray import Ray
    from lamarck.engines.vectorised import Intervals, Scores, Vectorised, VectorTask
    from lamarck.engines.vectorised.torch import Supervised as Supervised
    from lamarck.history import Copy, History
    from lamarck.integrations import torch as torch
    from lamarck.journal import Journal
    from lamarck.pbt import PBT
    from lamarck.population import Member, Population, Record
    from lamarck.replays import replay
    from lamarck.runs import load, open_run, resume, run
    from lamarck.schedule import Piece, Schedule
    from lamarck.scripts import worker
    from lamarck.space import Categorical, Constant, Float, Int, Space
    from lamarck.training import ActiveInterval, Worker
    from lamarck.types import Exploit, Explore, Failure, Interval, Report, Settings, Source

__all__ = [
    "PBT",
    "ActiveInterval",
    "Categorical",
    "CheckpointDamaged",
    "CheckpointError",
    "CheckpointMissing",
    "Checkpoints",
    "CodecError",
    "Cohort",
    "Constant",
    "Copy",
    "Exploit",
    "Explore",
    "Failure",
    "Float",
    "History",
    "Int",
    "Interval",
    "Intervals",
    "Journal",
    "JournalConflict",
    "JournalError",
    "LamarckError",
    "Member",
    "MissingExtra",
    "NotAllowed",
    "Piece",
    "Population",
    "PopulationLost",
    "Processes",
    "Ray",
    "Record",
    "Report",
    "ReportError",
    "RunMissing",
    "Schedule",
    "Scores",
    "ServiceError",
    "Settings",
    "SettingsError",
    "Source",
    "Space",
    "SpaceError",
    "StaleReport",
    "StrategyError",
    "TrainingError",
    "VectorTask",
    "Vectorised",
    "Worker",
    "__version__",
    "connect",
    "diversity",
    "exploit",
    "explore",
    "load",
    "open_run",
    "plots",
    "replay",
    "resume",
    "run",
    "worker",
]

__version__ = "0.1.0"

_HOMES = {
    "lamarck._errors": "CheckpointDamaged CheckpointError CheckpointMissing CodecError JournalConflict JournalError LamarckError "
    "MissingExtra NotAllowed PopulationLost ReportError RunMissing ServiceError SettingsError SpaceError StaleReport StrategyError "
    "TrainingError",
    "lamarck.checkpoints": "Checkpoints",
    "lamarck.client": "connect",
    "lamarck.cohort": "Cohort",
    "lamarck.engines.processes": "Processes",
    "lamarck.engines.ray": "Ray",
    "lamarck.engines.vectorised": "Intervals Scores VectorTask Vectorised",
    "lamarck.engines.vectorised.torch": "Supervised",
    "lamarck.history": "Copy History",
    "lamarck.journal": "Journal",
    "lamarck.pbt": "PBT",
    "lamarck.population": "Member Population Record",
    "lamarck.replays": "replay",
    "lamarck.runs": "load open_run resume run",
    "lamarck.schedule": "Piece Schedule",
    "lamarck.scripts": "worker",
    "lamarck.space": "Categorical Constant Float Int Space",
    "lamarck.types": "Exploit Explore Failure Interval Report Settings Source",
    "lamarck.training": "ActiveInterval Worker",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}
_MODULES = {
    "diversity": "lamarck.diversity",
    "exploit": "lamarck.exploit",
    "explore": "lamarck.explore",
    "plots": "lamarck.plots",
    "torch": "lamarck.integrations.torch",
}


def __getattr__(name: str) -> typing.Any:
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(_MODULES[name])
    else:
        raise AttributeError(f"module 'lamarck' has no attribute {name!r}")
    globals()[name] = value  # from now on without coming by here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_MODULES})
