"""How far work is that consists of many runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lamarck._signals import STOPS, stoppable

__all__ = ["counted"]


@contextmanager
def counted(what: str) -> Iterator[Callable[[int, int], object]]:
    """Shows on a terminal how much of it is done, and lets Ctrl-C, SIGTERM and SIGHUP stop it.

    Args:
        what: What is counted.
    """
    screen = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(what), TimeRemainingColumn())
    with stoppable(STOPS), Progress(*columns, console=screen, disable=not screen.is_interactive, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
