"""``lamarck export``."""

from __future__ import annotations

from lamarck._errors import SettingsError
from lamarck.cli.options import NO_FILES, NO_TRACKERS, Files, Trackers
from lamarck.cli.read import JournalFile, RunName, checked
from lamarck.observers.export import export as tell

__all__ = ["EXAMPLES", "export"]

EXAMPLES = """Examples:

  lamarck export train.db --csv train.csv
  lamarck export train.db --tensorboard curves
  MLFLOW_TRACKING_URI=http://host:5000 lamarck export train.db --mlflow digits
  WANDB_MODE=offline lamarck export train.db --wandb digits
"""


def export(
    journal: JournalFile,
    /,
    *,
    name: RunName = "main",
    files: Files = NO_FILES,
    trackers: Trackers = NO_TRACKERS,
) -> None:
    """Write a run on file as tables or curves, or tell a tracking service of it.

    A service that was told of the run before is sent what it lacks: after an
    outage, or a crash. Files are written anew. Works while the run is going on.
    """
    named = files.kept | trackers.kept
    if not named:
        raise SettingsError("say where to: --csv, --jsonl, --tensorboard, --mlflow or --wandb")
    there = checked(journal)  # before a tracker makes its store
    tell(there, *files.observers(), *trackers.observers(patience=None), name=name)
    for kind, place in named.items():
        print(f"{kind}: {place}")
