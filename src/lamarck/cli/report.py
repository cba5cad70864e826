"""``lamarck report``."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lamarck._errors import SettingsError
from lamarck.cli.read import JournalFile, RunName, read
from lamarck.runs import beside
from lamarck.web import write_report
from lamarck.web.fetching import fetch_command

__all__ = ["EXAMPLES", "report"]

EXAMPLES = """Examples:

  lamarck report train.db
  lamarck report train.db -o report.html --open
"""


def report(
    journal: JournalFile,
    /,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="The file. By default one of the journal's name, beside it.")] = None,
    open: Annotated[bool, Parameter(help="Show it in the browser.", negative=())] = False,  # noqa: A002
    name: RunName = "main",
) -> None:
    """Write a page that shows a run: one file, interactive, without a network.

    Works while the run is going on.
    """
    history, _ = read(journal, name)
    target = beside(journal, ".html", name) if out is None else out
    try:
        path = write_report(history, target, fetch=fetch_command(journal, name))
    except OSError as error:
        raise SettingsError(f"the report cannot be written to {str(target)!r}: {error.strerror}; give another file by --out") from None
    print(path)
    if open:
        webbrowser.open(path.resolve().as_uri())
