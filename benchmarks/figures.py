"""How long people wait for figures and animations.

A run of 256 members and 1,000 generations is made in simulated time: 256,000 reports. Measured are all figures that ``lamarck plot`` writes,
one by one and together, and an animation of 200 pictures. Beside them: reading the run from its journal, the figure of values drawn as scripts
mostly do it (a path of its own for each interval, in a ``LineCollection``), a tenth of an animation that draws everything anew for each picture
(``matplotlib.animation``), and as a floor what Pillow takes to write pictures that are already there.

    python benchmarks/figures.py            # the numbers of docs/seeing.md
    python benchmarks/figures.py --quick    # a small run, to see whether it works
"""

from __future__ import annotations

import argparse
import functools
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.animation
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from PIL import Image

from _common import in_turn, machine, median, save, table
from lamarck import codec, plots
from lamarck.coordinator import events_of
from lamarck.history import History
from lamarck.journal import open_journal
from lamarck.pbt import PBT
from lamarck.plots import data
from lamarck.space import Categorical, Float, Int, Space
from lamarck.testing.simulation import simulate
from lamarck.types import Event, Interval, Settings

SPACE = Space(lr=Float(1e-4, 1.0, log=True), layers=Int(1, 3), opt=Categorical(["sgd", "adam"]), momentum=Float(0.0, 0.99))


def made(size: int, generations: int) -> list[Event]:
    """A run whose best learning rate falls over time."""
    rng = np.random.default_rng(0)

    def step(interval: Interval, state: float | None) -> tuple[float, float]:
        now, best = state or 0.0, 0.1 * 10 ** (-2 * interval.generation / generations)
        rate = interval.hparams["lr"]
        assert isinstance(rate, float)
        now += (1 - now) * 0.1 * math.exp(-abs(math.log(rate / best)))
        return now + 0.01 * rng.normal(), now

    return simulate(PBT(space=SPACE, settings=Settings(population_size=size, interval=500, generations=generations)), step)


def by_script(history: History, path: Path) -> None:
    """Values over time, a path for each interval."""
    strands = data.strands(history)
    figure = Figure(figsize=(9, 5), dpi=160)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    lines = np.stack([strands.start, strands.before, strands.until, strands.value], axis=1).reshape(-1, 2, 2)
    axes.add_collection(LineCollection(list(lines[~np.isnan(strands.before)]), linewidths=0.45))
    axes.autoscale_view()
    figure.savefig(path)


def by_matplotlib(history: History, path: Path, frames: int) -> None:
    """The same views as our animation, each picture drawn anew."""
    strands, panels = data.strands(history), data.panels(history)
    figure = Figure(figsize=(12, 6.1), dpi=80)
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 3).flat
    tracks = [(strands.before, strands.value), *((panel.place, panel.place) for panel in panels)]
    collections = []
    for axis, (_, last) in zip(axes, tracks, strict=False):
        collections.append(axis.add_collection(LineCollection([], linewidths=0.5)))
        axis.set_xlim(0, strands.until.max())
        axis.set_ylim(np.nanmin(last), np.nanmax(last))

    def draw(frame: int) -> list[LineCollection]:
        there = strands.until <= strands.until.max() * (frame + 1) / frames
        for collection, (first, last) in zip(collections, tracks, strict=True):
            lines = np.stack([strands.start, first, strands.until, last], axis=1).reshape(-1, 2, 2)[there]
            collection.set_segments(list(lines))
        return collections

    film = matplotlib.animation.FuncAnimation(figure, draw, frames=frames)
    film.save(path, writer=matplotlib.animation.PillowWriter(fps=20))


def floor(path: Path, pictures: list[Image.Image]) -> None:
    """Writes pictures that are already there."""
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=50, loop=0)


def frames_of(path: Path) -> list[Image.Image]:
    with Image.open(path) as film:
        found = []
        for place in range(getattr(film, "n_frames", 1)):
            film.seek(place)
            found.append(film.convert("P"))
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small run, once")
    quick = parser.parse_args().quick
    size, generations, frames, rounds = (16, 20, 20, 1) if quick else (256, 1000, 200, 3)
    facts = machine(("lamarck", "numpy", "matplotlib", "pillow"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        events = made(size, generations)
        with open_journal(folder / "run.db") as book:
            book.append("main", 0, [codec.encode(event) for event in events])
        history, small = History.of(events), History.of(made(16, 20))
        plots.animate(small, folder / "floor.gif", frames=frames)
        pictures = frames_of(folder / "floor.gif")

        def read() -> None:
            with open_journal(folder / "run.db", readonly=True) as book:
                History.of(events_of(book, "main"))

        def fresh() -> History:
            """The same run with nothing computed beforehand."""
            return History(started=history.started, records=history.records, copies=history.copies, ended=history.ended)

        tasks: dict[str, Callable[[], object]] = {
            "all figures": lambda: plots.save(fresh(), folder / "figures"),
            **{f"figure: {it}": functools.partial(lambda it: plots.save(fresh(), folder / "figures", only=[it]), it) for it in plots.FIGURES},
            "values, a path for each interval": lambda: by_script(fresh(), folder / "script.png"),
            f"GIF of {frames} pictures: schedule": lambda: plots.animate(fresh(), folder / "a.gif", frames=frames),
            f"GIF of {frames} pictures: paths": lambda: plots.animate(fresh(), folder / "b.gif", view="paths", frames=frames),
            f"GIF of {frames} pictures: schedule, 16 members, 20 generations": lambda: plots.animate(small, folder / "c.gif", frames=frames),
            f"GIF of {frames // 10} pictures: the same, each drawn anew": lambda: by_matplotlib(small, folder / "d.gif", frames // 10),
            f"GIF of {frames} pictures: only written": lambda: floor(folder / "e.gif", pictures),
            "reading the run from its journal": read,
        }
        plots.save(small, folder / "figures")  # imports and fonts
        seconds = in_turn(tasks, rounds, warm_up=0)
    rows = [(name, f"{median(times):.2f} s", f"{min(times):.2f} to {max(times):.2f}") for name, times in seconds.items()]
    text = f"{size} members, {generations:,} generations, {len(history.records):,} reports, unless it says otherwise.\n\n" + table(
        ("what", "median", "of all rounds"), rows
    )
    found: dict[str, Any] = {"members": size, "generations": generations, "frames": frames, "seconds": seconds}
    if quick:
        print(text)
    else:
        save("figures", "Figures and animations", text, found, facts)


if __name__ == "__main__":
    main()
