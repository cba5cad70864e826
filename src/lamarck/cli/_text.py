"""How commands write numbers, configurations, tables and small pictures of values."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lamarck.types import HParams

__all__ = ["Column", "configuration", "console", "number", "sparkline", "tables"]

_BARS = "▁▂▃▄▅▆▇"
"""None as high as the line: rows that stand on each other would become one block."""

_WIDE = 400
"""Columns to write when the output is not a terminal: whoever reads it decides what to cut off."""


def console() -> Console:
    """Returns where results go: standard output, uncut unless it is a terminal."""
    return _Output(highlight=False, markup=False, width=None if sys.stdout.isatty() else _WIDE)


@final
class _Output(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # instead of the end of the process: `main` decides about that


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table.

    Args:
        title: What stands above it.
        cells: One for each row.
        right: Whether cells stand at the right, as numbers should.
    """

    title: str
    cells: Sequence[str | Text]
    right: bool = True

    @property
    def width(self) -> int:
        """Widest cell."""
        return max([len(self.title), *map(len, self.cells)])


def tables(columns: Sequence[Column], width: int, *, title: str = "", styles: Sequence[str] = ()) -> Iterator[Table]:
    """Lays out a table in as many parts as the width asks for; each repeats the first column, and nothing is cut off.

    Args:
        columns: At least one.
        width: Characters in a line.
        title: What stands above the first part.
        styles: A style for each row.
    """
    first, rest = columns[0], list(columns[1:])
    while True:
        part, room = [first], width - first.width
        while rest and (len(part) == 1 or room >= rest[0].width + 2):
            room -= rest[0].width + 2
            part.append(rest.pop(0))
        shown = Table(box=None, title=title or None, title_justify="left", title_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for column in part:
            shown.add_column(Text(column.title, style="dim"), justify="right" if column.right else "left", no_wrap=True, min_width=column.width)
        for row, cells in enumerate(zip(*(column.cells for column in part), strict=True)):
            shown.add_row(*cells, style=styles[row] if styles else "")
        yield shown
        if not rest:
            return
        title = " "


def number(value: object) -> str:
    r"""Writes a value of a hyperparameter: floats with four digits.

    Example:
        >>> number(0.00123456), number(20000), number("adam"), number("\t"), number(True)
        ('0.001235', '20000', 'adam', "'\\t'", 'true')
    """
    match value:
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.4g}"
        case str() if not value.isprintable():
            return repr(value)
        case _:
            return str(value)


def configuration(hparams: HParams, names: Iterable[str]) -> str:
    """Writes a configuration in one line.

    Args:
        hparams: The configuration.
        names: What of it, in this order.

    Example:
        >>> configuration({"opt": "sgd", "lr": 0.1}, ["lr", "momentum", "opt"])
        'lr 0.1, opt sgd'
    """
    return ", ".join(f"{name} {number(hparams[name])}" for name in names if name in hparams)


def sparkline(values: Sequence[float], low: float, high: float, *, width: int = 16) -> str:
    """Draws values over time as a row of bars.

    Args:
        values: What to draw; a value that is not finite is a dot.
        low: Value of the lowest bar.
        high: Value of the highest.
        width: Most bars; of more values, evenly many are left out, the last is always there.

    Example:
        >>> sparkline([0.0, 0.5, float("nan"), 1.0], 0.0, 1.0)
        '▁▄·▇'
    """
    count = len(values)
    bars = min(width, count)
    return "".join(_bar(values[count - 1 - i * count // bars], low, high) for i in reversed(range(bars)))


def _bar(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return "·"
    part = (value - low) / (high - low) if high > low else 1.0
    return _BARS[min(int(min(max(part, 0.0), 1.0) * len(_BARS)), len(_BARS) - 1)]
