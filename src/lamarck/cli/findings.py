"""What the guards have found, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from lamarck._errors import LamarckError
from lamarck.guards import Finding, check, check_settings
from lamarck.history import History
from lamarck.pbt import PBT
from lamarck.types import Event, Reported

__all__ = ["findings_of", "render"]

_STYLES = {"warning": "bold yellow", "note": "bold"}


def findings_of(history: History, events: Sequence[Event]) -> tuple[Finding, ...]:
    """Returns what the guards have to say about a run that is read back from its journal.

    Args:
        history: The run.
        events: What it was read from; reports in it have metrics, which a history does not keep.
    """
    metrics = {event.report.key: event.report.metrics for event in events if isinstance(event, Reported)}
    try:
        settings = check_settings(PBT.of(history.started))
    except LamarckError:  # a strategy that a journal cannot hold: nobody can look at it
        settings = ()
    return (*settings, *check(history, metrics))


def render(findings: Sequence[Finding]) -> Iterator[RenderableType]:
    """Yields the findings as a table without lines, or nothing if there are none."""
    if findings:
        table = Table.grid(padding=(0, 2, 0, 0))
        for finding in findings:
            table.add_row(Text(finding.severity, style=_STYLES[finding.severity]), Text(finding.text))
        yield table
