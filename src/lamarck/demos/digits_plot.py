"""The pictures of the digits demo: what one population did, and what all of them came to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import require
from lamarck._student import confidence
from lamarck.demos.digits import METHODS, METRICS, Outcome, progress
from lamarck.history import History
from lamarck.plots import data
from lamarck.plots._style import COLOURS, INK, OTHER, canvas, dress, thousands
from lamarck.plots._time import draw_panel, draw_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["TESTED", "TITLES", "Tested", "by_reports", "comparison", "draw", "population"]

TITLES: Mapping[str, str] = {
    "lr": "Learning rate",
    "weight_decay": "Weight decay",
    "dropout": "Dropout (probability)",
    "label_smoothing": "Label smoothing (probability)",
    "batch_size": "Batch size (images)",
}
"""What is said above the panel of each hyperparameter."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """A metric of the selected networks as it is shown.

    Args:
        metric: Its name among `digits.METRICS`.
        title: What it says above the axes.
        scale: What it is multiplied by.
        decimals: With how many decimals numbers are written.
    """

    metric: str
    title: str
    scale: float
    decimals: int

    def samples(self, outcomes: Sequence[Outcome]) -> list[NDArray[np.float64]]:
        """Returns ``float64[seeds]`` for each method."""
        measure = METRICS[self.metric]
        return [self.scale * np.array([measure(outcome) for outcome in outcomes if outcome.method.name == method.name]) for method in METHODS]


TESTED = (
    Tested(metric="test loss", title="Test loss (nats)", scale=1, decimals=3),
    Tested(metric="test accuracy", title="Test accuracy (% of 1,197 images)", scale=100, decimals=1),
)
"""The metrics whose seeds are shown one by one."""

_MARKERS = ("o", "s")


def draw(outcomes: Sequence[Outcome], out: Path) -> tuple[Path, Path]:
    """Writes both pictures.

    The population that is shown is that of the first seed, whatever came of it.

    Args:
        outcomes: The runs.
        out: Folder.

    Returns:
        ``digits-population.png`` and ``digits-comparison.png``.
    """
    first = next(outcome for outcome in outcomes if outcome.method.name == METHODS[0].name)
    files = out / "digits-population.png", out / "digits-comparison.png"
    for file, figure in zip(files, (population(first.history), comparison(outcomes)), strict=True):
        figure.savefig(file)
    return files


def population(history: History) -> Figure:
    """Draws the validation loss and every hyperparameter of a run over time, coloured by founder.

    All strands have their founder's colour, those that died out too: soon all members descend from one founder, and who the others were, and
    how long they lasted, is what there is to see.

    Args:
        history: A run of the demo.

    Returns:
        A figure of 12 by 6.8 inches.
    """
    figure, size = canvas(12, 6.8), history.settings.population_size
    shown, panels = data.values(history), data.panels(history)
    strands = by_reports(shown.strands)
    axes = list(figure.subplots(2, 3).flat)
    draw_values(axes[0], dataclasses.replace(shown, strands=strands), size)
    dress(axes[0], title="Validation loss (nats)", x="training steps")
    _log_loss(axes[0], *shown.window)
    for axis, panel in zip(axes[1:], panels, strict=True):
        draw_panel(axis, panel, strands, size)
        dress(axis, title=TITLES[panel.name], x="training steps")
    for axis in axes:
        _whole_generations(axis, history)
    _key(figure, strands)
    return figure


def by_reports(strands: data.Strands) -> data.Strands:
    """Returns the strands with their families in the order of the number of reports, and all of them alive; the winner's family stays first."""
    reports = np.bincount(strands.family, minlength=len(strands.families))
    winner = strands.family[strands.winning][:1]
    reports[winner] += len(strands)
    order = np.argsort(-reports, kind="stable")
    return dataclasses.replace(
        strands,
        family=np.argsort(order)[strands.family],
        families=tuple(strands.families[place] for place in order),
        living=np.ones(len(strands), dtype=bool),
    )


def comparison(outcomes: Sequence[Outcome]) -> Figure:
    """Draws both methods side by side: validation loss while training, then loss and accuracy of the selected networks on the test images.

    Args:
        outcomes: The runs; those of one seed are joined by a line.

    Returns:
        A figure of 12 by 4.4 inches.
    """
    figure = canvas(12, 4.4)
    left, *right = figure.subplots(1, 3, width_ratios=(1.5, 1, 1))
    _draw_progress(left, outcomes)
    for axis, shown in zip(right, TESTED, strict=True):
        _draw_pairs(axis, outcomes, shown)
        dress(axis, title=shown.title, x=_difference(outcomes, shown))
        axis.grid(visible=False, axis="x")
    return figure


def _draw_progress(axes: Axes, outcomes: Sequence[Outcome]) -> None:
    for method, colour in zip(METHODS, COLOURS, strict=False):
        mine = [outcome for outcome in outcomes if outcome.method.name == method.name]
        curves = np.array([progress(outcome.history) for outcome in mine])
        steps = mine[0].history.settings.interval * np.arange(1, curves.shape[1] + 1)
        axes.plot(steps, curves.T, color=colour, linewidth=0.8, alpha=0.45)
        axes.plot(steps, curves.mean(axis=0), color=colour, linewidth=2.8, label=f"{method.label}, mean of {len(mine)} seeds")
    dress(axes, title="Best validation loss so far (nats)", x="training steps of each member")
    low, high = axes.dataLim.intervaly
    _log_loss(axes, low, high)
    thousands(axes)
    _whole_generations(axes, outcomes[0].history)
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK)


def _draw_pairs(axes: Axes, outcomes: Sequence[Outcome], shown: Tested) -> None:
    samples = shown.samples(outcomes)
    axes.plot([0, 1], np.array(samples), color="#B0B0B0", linewidth=1.0, zorder=1)
    for place, (sample, colour, marker) in enumerate(zip(samples, COLOURS, _MARKERS, strict=False)):
        axes.scatter(np.full(len(sample), place), sample, color=colour, marker=marker, s=26, zorder=2, linewidths=0)
        mean, low, high = confidence(sample)
        aside = place + (0.22 if place else -0.22)
        axes.errorbar(aside, mean, [[mean - low], [high - mean]], color=colour, marker=marker, markersize=8, capsize=4, linewidth=1.8)
        axes.annotate(
            f"{mean:.{shown.decimals}f}",
            (aside, mean),
            (10 if place else -10, 0),
            textcoords="offset points",
            ha="left" if place else "right",
            va="center",
            fontsize=9,
            color=INK,
        )
    axes.set_xlim(-0.75, 1.75)
    axes.set_xticks(range(len(METHODS)), [method.label for method in METHODS])


def _key(figure: Figure, strands: data.Strands) -> None:
    """Says below the figure whose colour is whose, and how much of the budget each family had."""
    line = require("matplotlib.lines", "plot", "Drawing a figure").Line2D
    reports = np.bincount(strands.family, minlength=len(strands.families))
    handles = [line([], [], color=COLOURS[0], linewidth=3.2, label="ancestry of the selected network")]
    for colour, family, count in zip(COLOURS, strands.families, reports, strict=False):
        handles.append(line([], [], color=colour, linewidth=1.4, label=f"founder {family.founder[0]}: {count} of {len(strands)} intervals"))
    others = int(reports[len(COLOURS) :].sum())
    if others:
        handles.append(line([], [], color=OTHER, linewidth=1.4, label=f"{len(reports) - len(COLOURS)} other founders: {others}"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9, labelcolor=INK)


def _whole_generations(axes: Axes, history: History) -> None:
    """Puts the ticks where decisions were made, four or five of them."""
    ticker, settings = require("matplotlib.ticker", "plot", "Drawing a figure"), history.settings
    axes.xaxis.set_major_locator(ticker.MultipleLocator(settings.interval * max(1, settings.generations // 4)))
    axes.set_xlim(0, settings.interval * settings.generations * 1.01)


def _difference(outcomes: Sequence[Outcome], shown: Tested) -> str:
    one, two = shown.samples(outcomes)
    mean, low, high = (f"{number:+z.{shown.decimals}f}".replace("-", "\N{MINUS SIGN}") for number in confidence(one - two))
    return f"paired difference {mean}\n95 % confidence: {low} to {high}"


def _log_loss(axes: Axes, low: float, high: float) -> None:
    """A logarithmic axis with plain numbers: losses fall by a factor first and by hundredths later."""
    ticker = require("matplotlib.ticker", "plot", "Drawing a figure")
    axes.set_yscale("log")
    axes.set_ylim(low / 1.06, high * 1.06)
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7)))
    axes.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.yaxis.set_minor_locator(ticker.NullLocator())
