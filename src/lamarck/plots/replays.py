"""Replays beside the run that they repeat: data, and the drawing of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from lamarck._student import confidence
from lamarck.history import History
from lamarck.plots import data
from lamarck.plots._style import COLOURS, INK, canvas, dress, thousands

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Curves", "curves", "draw"]

_BLUE = COLOURS[0]
_DASHED: Any = (0, (4, 3))


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curves:
    """Values over time.

    Args:
        steps: ``float64[T]``; the steps at which the replays reported.
        fresh: ``float64[seeds, T]``; values of the replays, NaN from where one diverged.
        best: ``float64[K, 2]``; (step, value) of the population's best so far, empty without a population.
        median: ``float64[G, 2]``; (step, value) of the population's median by generation.
        ends: ``float64[seeds]``; values at the end of the schedule, NaN where training diverged.
        found: The value that the population reached by this schedule, if there is one.
        middle: The population's median in its last generation, if there is one.
        window: Lower and upper end of an axis that shows the replays and what matters of the population.
    """

    steps: NDArray[np.float64]
    fresh: NDArray[np.float64]
    best: NDArray[np.float64]
    median: NDArray[np.float64]
    ends: NDArray[np.float64]
    found: float | None
    middle: float | None
    window: tuple[float, float]


def curves(trainings: Sequence[History], history: History | None = None, *, found: float | None = None) -> Curves:
    """Returns what the figure shows.

    Args:
        trainings: The replays, at least one.
        history: The population's run, if the schedule comes from one.
        found: The value that it reached by the schedule.
    """
    steps = np.unique([float(record.step) for one in trainings for record in one.records])
    fresh = np.full((len(trainings), len(steps)), np.nan)
    for row, one in zip(fresh, trainings, strict=True):
        for record in one.records:
            row[np.searchsorted(steps, record.step)] = record.value if record.finite else np.nan
    best = median = np.empty((0, 2))
    seen = [value for value in fresh.ravel() if np.isfinite(value)]
    if history is not None:
        shown = data.values(history)
        best, median = shown.best, _median(history)
        seen += [*shown.window]
    low, high = (min(seen), max(seen)) if seen else (0.0, 1.0)
    margin = 0.04 * (high - low) or 0.5
    ends = np.array([one.records[-1].value if one.records[-1].finite else np.nan for one in trainings])
    return Curves(
        steps=steps,
        fresh=fresh,
        best=best,
        median=median,
        ends=ends,
        found=found,
        middle=float(median[-1, 1]) if len(median) else None,
        window=(low - margin, high + margin),
    )


def _median(history: History) -> NDArray[np.float64]:
    """The median of each generation that everybody has finished; values that are not finite count as the worst there are."""
    sign = 1.0 if history.settings.mode == "max" else -1.0
    by_generation: dict[int, list[tuple[int, float]]] = {}
    for record in history.records:
        by_generation.setdefault(record.generation, []).append((record.step, record.fitness))
    full = [rows for _, rows in sorted(by_generation.items()) if len(rows) == history.settings.population_size]
    points = np.array([(max(step for step, _ in rows), sign * np.median([fitness for _, fitness in rows])) for rows in full]).reshape(-1, 2)
    return np.asarray(points[np.isfinite(points).all(axis=1)])


def draw(shown: Curves, *, title: str = "") -> Figure:
    """Draws replays with their mean and range over the population's best and median.

    Args:
        shown: What to draw.
        title: One line above the figure.

    Returns:
        A figure of 9 by 5 inches that belongs to no window; ``figure.savefig("replay.png")`` writes it.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    figure = canvas(9, 5)
    time, end = figure.subplots(1, 2, width_ratios=(3.2, 1))
    _over_time(time, shown)
    _at_the_end(end, shown)
    figure.legend(*time.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False, fontsize=8.5, labelcolor=INK)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=9, color="#555555")
    return figure


def _over_time(axes: Axes, shown: Curves) -> None:
    if len(shown.best):
        steps, values = shown.best.T
        axes.plot(steps, values, drawstyle="steps-post", color=INK, linewidth=1.6, label="population: best so far", zorder=5)
    if len(shown.median):
        axes.plot(*shown.median.T, color=INK, linewidth=1.4, linestyle=_DASHED, label="population: median", zorder=4)
    whole, count = np.isfinite(shown.fresh).all(axis=0), len(shown.fresh)
    if whole.any() and count > 1:
        steps, values = shown.steps[whole], shown.fresh[:, whole]
        axes.fill_between(steps, values.min(axis=0), values.max(axis=0), color=_BLUE, alpha=0.15, linewidth=0, label="replays: range")
        axes.plot(steps, values.mean(axis=0), color=_BLUE, linewidth=2.6, label=f"replays: mean of {count}", zorder=6)
    for place, row in enumerate(shown.fresh):
        axes.plot(shown.steps, row, color=_BLUE, linewidth=0.8, alpha=0.7, label=None if place else "replays: each seed", zorder=3)
    gone = [(row, np.flatnonzero(np.isfinite(row))[-1]) for row in shown.fresh if np.isfinite(row).any() and not np.isfinite(row[-1])]
    if gone:
        steps, values = zip(*((shown.steps[last], row[last]) for row, last in gone), strict=True)
        axes.plot(steps, values, "x", color=COLOURS[1], markersize=8, markeredgewidth=2, label="diverged after this", zorder=7)
    axes.set_ylim(shown.window)
    dress(axes, x="Steps", y="Value", title="While training")
    thousands(axes)


def _at_the_end(axes: Axes, shown: Curves) -> None:
    ends = shown.ends[np.isfinite(shown.ends)]
    for value, style in ((shown.found, "-"), (shown.middle, _DASHED)):
        if value is not None:
            axes.axhline(value, color=INK, linewidth=1.5, linestyle=style, zorder=2)
    axes.plot(np.linspace(-0.18, 0.18, len(ends)) if len(ends) > 1 else [0.0] * len(ends), ends, "o", color=_BLUE, alpha=0.55, markersize=5)
    if len(ends) > 1:
        mean, low, high = confidence(ends)
        axes.errorbar(0.42, mean, yerr=[[mean - low], [high - mean]], color=_BLUE, fmt="D", markersize=6, capsize=5, linewidth=2, zorder=5)
    axes.set_xlim(-0.45, 0.75)
    axes.margins(y=0.12)
    axes.set_xticks([0.0, 0.42], ["each\nseed", "mean,\n95 %"])
    dress(axes, title="At the end")
