"""``lamarck schedule``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from lamarck._errors import SettingsError
from lamarck.cli._text import Column, console, number, tables
from lamarck.cli.read import JournalFile, RunName, read
from lamarck.history import History
from lamarck.schedule import Schedule

__all__ = ["EXAMPLES", "Simplify", "chosen", "read_schedule", "schedule"]

EXAMPLES = """Examples:

  lamarck schedule train.db
  lamarck schedule train.db --simplify 0.1
  lamarck schedule train.db --member 3 --json > schedule.json
  lamarck schedule train.db --python > schedule.py
"""

Simplify = Annotated[
    float | None,
    Parameter(help="The fewest pieces that stay within this part of each range on its own scale: 0.1 is a tenth. Choices stay as they are."),
]
"""How commands ask for a simpler schedule."""

_FORMATS: dict[str, Any] = {".json": "json", ".toml": "toml", ".csv": "csv"}


def schedule(
    journal: JournalFile,
    /,
    *,
    member: Annotated[int | None, Parameter(help="Whose newest weights. By default those of the best report.")] = None,
    simplify: Simplify = None,
    json: Annotated[bool, Parameter(help="Write JSON: a list of start, until (exclusive) and hparams.", negative=())] = False,
    toml: Annotated[bool, Parameter(help="Write TOML.", negative=())] = False,
    csv: Annotated[bool, Parameter(help="Write CSV.", negative=())] = False,
    python: Annotated[bool, Parameter(help="Write Python code.", negative=())] = False,
    name: RunName = "main",
) -> None:
    """Show the hyperparameters that the best weights have seen, by step.

    The schedule goes back through all ancestors to step 0.
    """
    formats: dict[Any, bool] = {"json": json, "toml": toml, "csv": csv, "python": python}
    asked = [format_ for format_, given in formats.items() if given]
    if len(asked) > 1:
        raise SettingsError(f"got {' and '.join(f'--{format_}' for format_ in asked)}; one form can be written at a time")
    history, _ = read(journal, name)
    found = chosen(history, member, simplify)
    if asked:
        print(found.to_text(asked[0]), end="")
        return
    columns = [
        Column(title="steps", cells=[f"{piece.start:,} to {piece.until:,}" for piece in found]),
        *(Column(title=name, cells=[number(piece.hparams[name]) if name in piece.hparams else "" for piece in found]) for name in found.names),
    ]
    out = console()
    for part in tables(columns, out.width):
        out.print(part)


def chosen(history: History, member: int | None, simplify: float | None) -> Schedule:
    """Returns the schedule of a run that was asked for.

    Args:
        history: The run.
        member: Whose, or ``None`` for that of the best report.
        simplify: Tolerance, or ``None`` for the schedule as it is.

    Raises:
        SettingsError: If there is no such member, nothing was reported, or the tolerance is out of its range.
    """
    size = history.settings.population_size
    if member is not None and not 0 <= member < size:
        raise SettingsError(f"member: got {member}; this run has members 0 to {size - 1}")
    if not (history.member(member) if member is not None else any(record.finite for record in history.records)):
        raise SettingsError("nothing to follow has been reported yet; wait for the first report")
    found = history.schedule(member)
    return found if simplify is None else found.simplified(simplify, history.space)


def read_schedule(path: Path) -> Schedule:
    """Reads a schedule from a file.

    Args:
        path: A file that ends in ``.json``, ``.toml`` or ``.csv``.

    Raises:
        SettingsError: If there is no such file, or it is not a schedule.
    """
    if path.suffix not in _FORMATS:
        raise SettingsError(f"--schedule: got {str(path)!r}; it must end in {', '.join(_FORMATS)}")
    try:
        return Schedule.from_text(path.read_text(encoding="utf-8"), _FORMATS[path.suffix])
    except FileNotFoundError:
        raise SettingsError(f"--schedule: there is no file {str(path)!r}; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--schedule: {str(path)!r} cannot be read: {error}") from None
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None
