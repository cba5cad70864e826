"""How far a run is, while it runs: a live display on a terminal, an occasional plain line anywhere else."""

from __future__ import annotations

import abc
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO, final

import numpy as np

from lamarck._errors import require
from lamarck.population import Population
from lamarck.types import Event, Failed, Reported

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["LiveProgress", "PlainProgress", "Progress", "Standing", "progress"]

_ECHO = 3
"""Columns kept free: a terminal writes ``^C`` there, and a line that breaks for it would leave half of the display behind."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a run is.

    Args:
        done: Intervals that are reported.
        total: Intervals of the whole run.
        generation: Generation that the slowest member is in, from 1.
        generations: Generations of the whole run.
        best: (value, member, generation) of the best report, or ``None``.
        copies: How often a member took over another's weights.
        failures: Failed intervals.
        elapsed: Seconds in this process.
        left: Seconds that the rest takes if it goes on like this; ``None`` while nothing is known.
    """

    done: int
    total: int
    generation: int
    generations: int
    best: tuple[float, int, int] | None
    copies: int
    failures: int
    elapsed: float
    left: float | None

    @property
    def best_text(self) -> str:
        """The best value, in words."""
        if self.best is None:
            return "no value yet"
        value, member, generation = self.best
        return f"best {value:.6g} (member {member}, generation {generation})"

    @property
    def left_text(self) -> str:
        """The time left, in words."""
        return "time left not known yet" if self.left is None else f"{clock_text(self.left)} left"

    def __str__(self) -> str:
        return (
            f"{self.done} of {self.total} intervals, generation {self.generation} of {self.generations}, {self.best_text}, "
            f"{counted(self.copies, 'copy', 'copies')}, {counted(self.failures, 'failure', 'failures')}, {self.left_text}"
        )


class Progress(abc.ABC):
    """An observer that shows how far a run is; a context manager, which stops the display however the run ends.

    Args:
        copies: Copies before this process: a resumed run has a past.
        failures: Failed intervals before this process.
        clock: Seconds that only ever grow.
    """

    def __init__(self, *, copies: int = 0, failures: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._copies, self._failures, self._clock = copies, failures, clock
        self._began, self._before = clock(), 0
        self._population: Population | None = None

    def __call__(self, event: Event, population: Population) -> None:
        """Takes in an event. This is on the way of every report, so it only counts; what is shown is worked out when it is shown."""
        if self._population is None:
            self._before = _done(population) - isinstance(event, Reported)
        self._population = population
        match event:
            case Reported():
                self._copies += population.members[event.report.member].copied_at == event.report.generation
                self._advanced()
            case Failed():
                self._failures += 1

    @property
    def standing(self) -> Standing | None:
        """How far the run is, or ``None`` before its first event."""
        population = self._population
        if population is None:
            return None
        settings, best = population.settings, population.best
        done, elapsed = _done(population), self._clock() - self._began
        here, remaining = done - self._before, int(np.maximum(settings.generations - population.generations, 0).sum())
        return Standing(
            done=done,
            total=settings.population_size * settings.generations,
            generation=min(population.floor + 1, settings.generations),
            generations=settings.generations,
            best=None if best is None else (best.value, best.member, best.generation),
            copies=self._copies,
            failures=self._failures,
            elapsed=elapsed,
            left=remaining * elapsed / here if here > 0 else None,
        )

    @abc.abstractmethod
    def _advanced(self) -> None:
        """Another interval is done."""

    @abc.abstractmethod
    def __enter__(self) -> Self: ...

    @abc.abstractmethod
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


@final
class PlainProgress(Progress):
    """A line from time to time, for logs: after ten seconds, then when another twentieth is done, but not within ten seconds of the last.

    The first line comes with the first report after these ten seconds, so that a run of days soon says how long it will take.

    Args:
        stream: Where to; standard error by default.
        every: Least number of seconds between two lines.
        **settings: See `Progress`.
    """

    def __init__(self, stream: TextIO | None = None, *, every: float = 10.0, **settings: Any) -> None:
        super().__init__(**settings)
        self._stream, self._every = stream, every
        self._last = self._began
        self._shown: int | None = None

    def _advanced(self) -> None:
        if self._clock() - self._last < self._every:
            return
        standing = self.standing
        if standing is not None and (self._shown is None or (standing.done - self._shown) * 20 >= standing.total):
            print(standing, file=self._stream or sys.stderr, flush=True)
            self._last, self._shown = self._clock(), standing.done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None


@final
class LiveProgress(Progress):
    """Two lines at the bottom of a terminal, redrawn twice a second; what is printed meanwhile scrolls by above them.

    Args:
        console: A rich console on a terminal.
        **settings: See `Progress`.

    Raises:
        MissingExtra: If rich is not installed.
    """

    def __init__(self, console: Console, **settings: Any) -> None:
        super().__init__(**settings)
        self._console = console
        self._live = require("rich.live", "cli", "The live display").Live(
            console=console,
            get_renderable=self.render,
            refresh_per_second=2,
            redirect_stdout=sys.stdout.isatty(),  # a file that output is sent to gets it, unchanged
        )

    def render(self) -> Any:
        """Returns what is shown now."""
        text, bar, table, within = (
            require(f"rich.{name}", "cli", "The live display") for name in ("text", "progress_bar", "table", "constrain")
        )
        standing = self.standing
        if standing is None:
            return text.Text("starting", style="dim")
        done = text.Text(no_wrap=True, overflow="ellipsis")
        done.append(f"  {standing.done}/{standing.total} intervals")
        done.append(f"  {clock_text(standing.elapsed)} elapsed", style="dim")
        done.append("" if standing.done == standing.total else f"  {standing.left_text}", style="cyan")
        room = self._console.width - _ECHO
        width = max(4, min(32, room // 3, room - done.cell_len))  # the bar gives way to the words
        first = table.Table.grid()
        first.add_row(bar.ProgressBar(total=standing.total, completed=standing.done, width=width, complete_style="cyan"), done)
        second = text.Text(no_wrap=True, overflow="ellipsis")
        second.append(standing.best_text, style="bold green" if standing.best else "dim")
        second.append(f"  generation {standing.generation} of {standing.generations}  {counted(standing.copies, 'copy', 'copies')}  ")
        second.append(counted(standing.failures, "failure", "failures"), style="bold red" if standing.failures else "dim")
        both = table.Table.grid()
        both.add_row(first)
        both.add_row(second)
        return within.Constrain(both, room)

    def _advanced(self) -> None:
        return None

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.transient = kind is not None and issubclass(kind, KeyboardInterrupt | SystemExit)  # what is said about that is the last word
        self._live.stop()


def progress(*, copies: int = 0, failures: int = 0) -> Progress:
    """Returns the display that suits where standard error goes.

    Args:
        copies: Copies before this process.
        failures: Failed intervals before this process.

    Raises:
        MissingExtra: If rich is not installed.

    Example:
        >>> import lamarck as lk
        >>> def train(worker):
        ...     worker.track(x=(lambda: 0, lambda state: None))
        ...     for interval in worker:
        ...         interval.report(interval.hparams["lr"])
        >>> with progress() as shown:
        ...     history = lk.run(train, lk.Space(lr=lk.Float(0.0, 1.0)), population_size=2, interval=5, generations=3, observers=[shown])
        >>> shown.standing.done, shown.standing.generation
        (6, 3)
    """
    console = require("rich.console", "cli", "The progress display").Console(stderr=True)
    if console.is_interactive:
        return LiveProgress(console, copies=copies, failures=failures)
    return PlainProgress(copies=copies, failures=failures)


def clock_text(seconds: float) -> str:
    """Writes seconds as ``h:mm:ss``.

    Example:
        >>> clock_text(3725.9)
        '1:02:05'
    """
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def counted(number: int, one: str, many: str) -> str:
    """Writes a number with its noun."""
    return f"{number} {one if number == 1 else many}"


def _done(population: Population) -> int:
    active = population.generations <= population.settings.generations
    retired = (population.members[i].last for i in np.flatnonzero(~active).tolist())
    return int(population.generations[active].sum()) + sum(record.generation + 1 for record in retired if record is not None)
