"""A run in a notebook: a small figure and a table."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from html import escape

from lamarck._errors import MissingExtra
from lamarck.history import History
from lamarck.plots.figures import overview
from lamarck.population import Record
from lamarck.space import Constant

__all__ = ["html"]

_DPI = 72
"""Dots in an inch: the figure is a glance, not a print."""

_ROWS = 8
"""Members in the table."""


def html(history: History) -> str:
    """Returns a run as a fragment of HTML: one sentence, values and hyperparameters over time, and the best members.

    Notebooks ask `lamarck.History` for it. Where matplotlib is not installed there is no figure.

    Args:
        history: The run, ended or not.

    Example:
        >>> from lamarck import History
        >>> from lamarck.pbt import PBT
        >>> from lamarck.space import Float, Space
        >>> from lamarck.types import Settings
        >>> started = PBT(space=Space(lr=Float(0.0, 1.0)), settings=Settings(population_size=2, interval=1, generations=1)).init()
        >>> html(History.of(started))
        '<div><p>population of 2, 0 of 2 intervals, 0 copies, not ended</p></div>'
    """
    return f"<div><p>{escape(str(history))}</p>{''.join(_parts(history))}</div>"


def _parts(history: History) -> Iterator[str]:
    if not history.records:
        return
    try:
        figure = overview(history)
    except MissingExtra:
        pass
    else:
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=_DPI)
        picture = base64.b64encode(file.getvalue()).decode("ascii")
        yield f'<img alt="values and hyperparameters over time" style="max-width: 100%" src="data:image/png;base64,{picture}">'
    yield _table(history)


def _table(history: History) -> str:
    """The newest report of each member, best first."""
    newest = {record.member: record for record in history.records}
    ranked = sorted(newest.values(), key=lambda record: (-record.fitness, record.member))
    space = history.space
    names = [name for name in space if not isinstance(space[name], Constant)]
    head = "".join(f"<th>{escape(title)}</th>" for title in ("member", "generation", "step", "value", "from", *names))
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in _cells(record, history, names))}</tr>" for record in ranked[:_ROWS])
    left = len(ranked) - _ROWS
    more = f"<p>and {left} more member{'s' if left > 1 else ''}</p>" if left > 0 else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{more}"


def _cells(record: Record, history: History, names: list[str]) -> Iterator[str]:
    yield str(record.member)
    yield str(record.generation)
    yield f"{record.step:,}"
    yield f"{record.value:.5g}"
    yield f"member {history.founders[record.key][0]}"
    for name in names:
        value = record.hparams.get(name, "")
        yield f"{value:.4g}" if isinstance(value, float) else str(value)
