"""Runs to draw, and what is written in a figure."""

from __future__ import annotations

import itertools
import math

import numpy as np

from lamarck.history import History
from lamarck.pbt import PBT
from lamarck.space import Categorical, Constant, Float, Int, Space
from lamarck.testing.simulation import simulate
from lamarck.types import Settings

SPACE = Space(lr=Float(1e-4, 1.0, log=True), layers=Int(1, 3), opt=Categorical(["sgd", "adam"]), fixed=Constant(3))


def made(size, generations, *, bad=0.0, space=SPACE, speeds=(1.0,), max_lead=0, seed=0):
    """A run whose values grow at a speed that depends on lr, with a few that are not finite or run away."""
    settings = Settings(population_size=size, interval=10, generations=generations, max_lead=max_lead, seed=seed)
    rng = np.random.default_rng(0)

    def step(interval, state):
        value = (state or 0.0) + math.exp(-abs(math.log(interval.hparams.get("lr", 1.0) / 0.01))) + 0.1 * rng.random()
        trouble = (math.nan, -1e9)[rng.integers(2)] if rng.random() < bad else 0.0
        return value + trouble, value

    return History.of(simulate(PBT(space=space, settings=settings), step, speeds=speeds))


def overlapping(texts):
    """Pairs of visible texts whose boxes overlap by more than a pixel."""
    boxes = [text.get_window_extent() for text in texts if text.get_visible() and text.get_text()]
    shrunk = [(box.x0 + 0.5, box.x1 - 0.5, box.y0 + 0.5, box.y1 - 0.5) for box in boxes]
    return [(a, b) for a, b in itertools.combinations(shrunk, 2) if a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]]


def texts_of(figure):
    """Everything written, where it ends up: labels, ticks within the axes, the legend, the caption."""
    figure.draw_without_rendering()
    found = [figure._suptitle, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        found += axes.texts
        if axes.get_legend() is not None:
            found += axes.get_legend().get_texts()
        if axes.axison:
            found += [axes.xaxis.label, axes.yaxis.label, axes.title, axes._right_title]
            for axis in (axes.xaxis, axes.yaxis):
                low, high = sorted(axis.get_view_interval())
                found += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return found
