"""Population based training."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# While the house is being built every name is looked up when it is asked for, so that one room can be used before the next one exists.
_HOMES = {
    "space": ["Space", "Float", "Int", "Categorical", "Constant"],
    "pbt": ["PBT"],
    "types": ["Settings", "Report", "Interval", "Failure", "Source", "Exploit", "Explore"],
    "population": ["Population", "Record", "Cohort"],
    "history": ["History", "Copy"],
    "schedule": ["Schedule", "Piece"],
    "worker": ["Worker", "ActiveInterval"],
    "runs": ["run", "resume", "load", "open_run"],
    "_errors": [
        "CheckpointDamaged", "CheckpointError", "CheckpointMissing", "CodecError", "JournalConflict", "JournalError", "LamarckError",
        "MissingExtra", "PopulationLost", "ReportError", "SettingsError", "SpaceError", "StaleReport", "StrategyError", "TrainingError",
    ],
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        module = importlib.import_module(f"lamarck.{_HOME[name]}")
        for other in _HOMES[_HOME[name]]:
            globals()[other] = getattr(module, other)
        return globals()[name]
    if name == "errors":
        return importlib.import_module("lamarck._errors")
    if name == "MemoryCheckpoints":
        return importlib.import_module("lamarck.checkpoints").MemoryCheckpoints
    if name in ("types", "exploit", "explore", "diversity", "plots", "testing"):
        return importlib.import_module(f"lamarck.{name}")
    raise AttributeError(name)
