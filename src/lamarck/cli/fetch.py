"""``lamarck fetch``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lamarck._errors import SettingsError
from lamarck._files import whole
from lamarck.checkpoints import open_checkpoints
from lamarck.checkpoints.format import packed
from lamarck.cli.read import JournalFile, RunName, read
from lamarck.history import History
from lamarck.population import Record
from lamarck.runs import checkpoints_of

__all__ = ["EXAMPLES", "fetch"]

EXAMPLES = """Examples:

  lamarck fetch train.db
  lamarck fetch train.db -o best.safetensors
  lamarck fetch train.db --member 3 -o third.safetensors
"""


def fetch(
    journal: JournalFile,
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="The file.")] = Path("best.safetensors"),
    member: Annotated[int | None, Parameter(help="Whose newest weights. By default the best of the run.")] = None,
    checkpoints: Annotated[str | None, Parameter(help="Where the weights are, if it is not where the journal says.")] = None,
    name: RunName = "main",
) -> None:
    """Copy the best weights of a run into a file of their own.

    They are checked on the way. Any safetensors library reads the arrays by
    name; `lamarck.load` reads the rest of the state as well, from the run.
    """
    history, _ = read(journal, name)
    record = _chosen(history, member)
    if record.checkpoint is None:
        raise SettingsError(
            f"nothing was saved with the report of member {record.member}, generation {record.generation}; choose another one by --member"
        )
    state = open_checkpoints(_place(history, journal, checkpoints, name)).get(record.checkpoint)
    try:
        with whole(out) as draft, draft.open("wb") as file:
            file.writelines(packed(record.member, record.generation, state).parts)
    except OSError as error:
        raise SettingsError(f"the weights cannot be written to {str(out)!r}: {error.strerror}; give another file by --out") from None
    print(f"{out}: member {record.member}, generation {record.generation}, step {record.step:,}, value {record.value:.6g}")


def _chosen(history: History, member: int | None) -> Record:
    if member is None:
        return history.best
    records = history.member(member)
    if not records:
        size = history.settings.population_size
        raise SettingsError(f"member {member} has reported nothing; members are 0 to {size - 1}")
    return records[-1]


def _place(history: History, journal: Path, given: str | None, name: str) -> str | Path:
    """Where the weights are: as given, or as the journal says, from the folder that the run was begun in, or beside the journal."""
    kept = history.started.info.get("checkpoints")
    if given is not None or kept is None:
        return checkpoints_of(journal, name) if given is None else given
    begun = journal.resolve().parent / str(history.started.info.get("folder", ""))
    return str(kept) if "://" in str(kept) else begun / str(kept)
