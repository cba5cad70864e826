"""A run as it went: values and schedules that grow, or the way through a plane, with a flash where somebody copies.

Everything that stays is drawn once, piece by piece onto one picture; what moves is drawn on a copy of it. A frame costs what is new in it, not
what has been.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import ReportError, SettingsError, require
from lamarck.history import History
from lamarck.plots import data
from lamarck.plots._film import Film, Picture, writer_for
from lamarck.plots._lines import bundle, strong
from lamarck.plots._paths import scale_paths
from lamarck.plots._style import Look, Style, canvas, colours, key, line_width, look_of
from lamarck.plots._time import scale_panel, scale_values
from lamarck.plots.figures import first_panels, grid

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["View", "animate"]

View = Literal["schedule", "paths"]
"""What an animation shows: values and hyperparameters over time, or the way through a plane."""

_WIDTH = 960
"""Pixels across, at most."""

_SHARPEST = 110
"""Dots in an inch, at most."""

_FLASH = 6
"""Frames that the jump of a copy stays."""

_JUMPS = 40
"""Jumps on one picture, at most: the newest; more would hide everything else."""

_APART = 12
"""Least difference, of 255, of a shade from the paper: Pillow takes nearer ones for each other."""

_HOLD = 2.5
"""Seconds that the last picture stays."""


def animate(
    history: History,
    path: str | os.PathLike[str],
    *,
    view: View = "schedule",
    x: str | None = None,
    y: str | None = None,
    frames: int = 200,
    rate: int = 20,
    style: Style = "light",
    on_frame: Callable[[int, int], object] = lambda done, total: None,
) -> Path:
    """Writes a run as an animation.

    Args:
        history: The run, ended or not, with at least one report.
        path: Where to: ``.gif``, or ``.mp4`` if ffmpeg is there (or ``pip install 'lamarck[video]'``).
        view: ``"schedule"``: values and hyperparameters grow. ``"paths"``: everybody's way through a plane.
        x: For ``"paths"``, as `lamarck.plots.paths` takes it.
        y: Likewise.
        frames: How many pictures, at least 2.
        rate: Pictures a second, from 1 to 50, the most that a GIF can have.
        style: ``"light"`` or ``"dark"``.
        on_frame: Is told how many pictures are drawn, and of how many.

    Returns:
        The file. It is there when it is whole, and not before.

    Raises:
        SettingsError: If a setting is not one of those above.
        ReportError: If nothing has been reported yet.
        MissingExtra: If matplotlib or, for an MP4, ffmpeg is not installed.
    """
    if frames < 2:
        raise SettingsError(f"frames: got {frames}; an animation has at least 2")
    if not 1 <= rate <= 50:
        raise SettingsError(f"rate: got {rate}; it must be from 1 to 50 pictures a second")
    if view not in ("schedule", "paths"):
        raise SettingsError(f"view: got {view!r}; it must be 'schedule' or 'paths'")
    target = Path(path)
    write, look, drawn = writer_for(target), look_of(style), data.strands(history)
    if not len(drawn):
        raise ReportError("nothing has been reported yet, so there is nothing to animate; wait for the first report")
    stage = _paths(history, drawn, look, x, y) if view == "paths" else _schedule(history, drawn, look)
    film = Film(count=frames, rate=rate, hold=_HOLD, palette=_palette(look))
    write(target, _pictures(stage, history, look, frames, on_frame), film)
    return target


def _palette(look: Look) -> NDArray[np.uint8]:
    """The colours of a look, and the shades between them and the paper that smooth edges are made of."""
    inks = (*look.families, look.other, look.extinct, look.ink, look.quiet, look.edge, look.faint)
    rgb = np.array([[int(ink[i : i + 2], 16) for i in (1, 3, 5)] for ink in (look.paper, *inks)], dtype=np.float64)
    shades = (rgb[0] + np.linspace(0.1, 1.0, 15)[:, None, None] * (rgb[1:] - rgb[0])).reshape(-1, 3)
    apart = np.abs(shades - rgb[0]).max(axis=1) > _APART
    return np.concatenate([rgb[:1], shades[apart]]).round().astype(np.uint8)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Track:
    """The ends of every strand on one pair of axes, ``float64[R, 2]``: in data, and once the layout is settled, in pixels."""

    axes: Axes
    first: NDArray[np.float64]
    last: NDArray[np.float64]

    def in_pixels(self) -> _Track:
        with np.errstate(all="ignore"):
            first, last = (self.axes.transData.transform(ends) for ends in (self.first, self.last))
        return _Track(self.axes, first, last)

    def at(self, rows: NDArray[np.int64], part: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where some strands are when a part of each has gone by, ``float64[len(rows), 2]``; a straight way, also on logarithmic axes."""
        first = self.first[rows]
        return np.asarray(first + part[:, None] * (self.last[rows] - first), dtype=np.float64)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Stage:
    """The empty figure, and what will go on on it."""

    figure: Figure
    strands: data.Strands
    tracks: tuple[_Track, ...]


def _schedule(history: History, drawn: data.Strands, look: Look) -> _Stage:
    values, (panels, _), size = data.values(history, drawn), first_panels(history), history.settings.population_size
    figure, axes = grid(1 + len(panels), look)
    scale_values(axes[0], values, look)
    low, high = values.window
    hidden = ~values.shown
    tracks = [_track(axes[0], drawn, np.where(hidden, np.nan, np.clip(drawn.before, low, high)), np.where(hidden, np.nan, drawn.value))]
    for axis, panel in zip(axes[1:], panels, strict=True):
        scale_panel(axis, panel, drawn, look)
        tracks.append(_track(axis, drawn, panel.place, panel.place))
    key(figure, drawn, size, look=look)
    return _Stage(figure, drawn, tuple(tracks))


def _track(axes: Axes, drawn: data.Strands, before: NDArray[np.float64], after: NDArray[np.float64]) -> _Track:
    return _Track(axes, np.stack([drawn.start, before], axis=1), np.stack([drawn.until, after], axis=1))


def _paths(history: History, drawn: data.Strands, look: Look, x: str | None, y: str | None) -> _Stage:
    shown = data.paths(history, x, y, drawn)
    figure = canvas(6.5, 6, look)
    axes = figure.subplots()
    scale_paths(axes, shown, look)
    key(figure, drawn, history.settings.population_size, look=look)
    first = np.where(np.isnan(shown.before), shown.point, shown.before)  # a founder stands at its first report until then
    return _Stage(figure, drawn, (_Track(axes, first, shown.point),))


def _pictures(stage: _Stage, history: History, look: Look, frames: int, on_frame: Callable[[int, int], object]) -> Iterator[Picture]:
    figure, strands, size = stage.figure, stage.strands, history.settings.population_size
    figure.set_dpi(min(_SHARPEST, _WIDTH / figure.get_figwidth()))
    canvas_of = require("matplotlib.backends.backend_agg", "plot", "Drawing an animation").FigureCanvasAgg
    agg: Any = canvas_of(figure)
    clock = figure.suptitle("step 0", x=0.01, ha="left", fontsize=9, color=look.quiet)
    agg.draw()  # settles the layout
    figure.set_layout_engine("none")
    clock.set_visible(False)
    agg.draw()
    clock.set_visible(True)
    renderer, tracks = agg.get_renderer(), [track.in_pixels() for track in stage.tracks]
    colour, end = colours(strands, look), float(strands.until.max())
    best = data.values(history, strands).best
    own = data.own_last(strands)
    copies = np.flatnonzero((own >= 0) & (strands.parent >= 0) & (strands.parent != own))
    winning = np.flatnonzero(strands.winning)
    before = 0.0
    for frame in range(1, frames + 1):
        now = end * frame / frames
        rows = np.flatnonzero((strands.until > before) & (strands.start < now))  # those that have moved, a few of very many
        rows = rows[np.argsort(strands.living[rows], kind="stable")]
        for track in tracks:
            lines = np.stack([track.at(rows, _gone(strands, rows, before)), track.at(rows, _gone(strands, rows, now))], axis=1)
            there = np.isfinite(lines).all(axis=(1, 2))
            for some in (there & ~strands.living[rows], there & strands.living[rows]):
                _draw_lines(track.axes, renderer, lines[some], colour[rows[some]], line_width(size))
        kept = agg.copy_from_bbox(figure.bbox)
        going = rows[strands.until[rows] >= now]
        so_far = winning[strands.start[winning] < now]
        recent = copies[(strands.start[copies] <= now) & (strands.start[copies] > now - _FLASH * end / frames)][-_JUMPS:]
        for track in tracks:
            _draw_line(track, renderer, so_far, _gone(strands, so_far, now), look)
            _draw_points(track, renderer, going, _gone(strands, going, now), colour, look, size)
            _draw_jumps(track, renderer, track.last[own[recent]], track.first[recent], look)
        reached = best[best[:, 0] <= now]
        record = f", best so far {reached[-1, 1]:.5g}" if len(reached) else ""
        clock.set_text(f"population of {size}, step {now:,.0f} of {end:,.0f}{record}")
        clock.draw(renderer)
        yield np.asarray(agg.buffer_rgba())[:, :, :3].copy()
        agg.restore_region(kept)
        before = now
        on_frame(frame, frames)


def _gone(strands: data.Strands, rows: NDArray[np.int64], now: float) -> NDArray[np.float64]:
    """How much of some strands has gone by, from 0 to 1."""
    start, until = strands.start[rows], strands.until[rows]
    return np.clip((now - start) / np.maximum(until - start, 1e-9), 0.0, 1.0)


def _draw(artist: Artist, renderer: Any) -> None:
    """Draws what was given in pixels onto a picture, and forgets it."""
    artist.draw(renderer)
    artist.remove()


def _draw_lines(axes: Axes, renderer: Any, lines: NDArray[np.float64], colour: NDArray[np.str_], width: float) -> None:
    for artist in bundle(axes, lines, colour, width, 2.0, cap="round", pixels=True):
        _draw(artist, renderer)


def _draw_line(track: _Track, renderer: Any, rows: NDArray[np.int64], gone: NDArray[np.float64], look: Look) -> None:
    """The winner's line as far as it has come."""
    corners = np.stack([track.first[rows], track.at(rows, gone)], axis=1).reshape(-1, 2)
    for artist in strong(track.axes, corners[:, 0], corners[:, 1], colour=look.families[0], paper=look.paper, width=2.2):
        artist.set_transform(_identity())
        _draw(artist, renderer)


def _draw_points(
    track: _Track, renderer: Any, rows: NDArray[np.int64], gone: NDArray[np.float64], colour: NDArray[np.str_], look: Look, size: int
) -> None:
    """A point where each member is."""
    place, ink = track.at(rows, gone), colour[rows]
    there = np.isfinite(place).all(axis=1)
    for shade in np.unique(ink[there]):
        x, y = place[there & (ink == shade)].T
        area = 2.6 * line_width(size) + 1
        (points,) = track.axes.plot(x, y, "o", color=str(shade), markersize=area, markeredgecolor=look.paper, markeredgewidth=0.5)
        points.set_transform(_identity())
        _draw(points, renderer)


def _draw_jumps(track: _Track, renderer: Any, left: NDArray[np.float64], taken: NDArray[np.float64], look: Look) -> None:
    """Where members have just copied: from what they left to what they took over."""
    ends = np.stack([left, taken], axis=1)
    ends = ends[np.isfinite(ends).all(axis=(1, 2))]
    apart = np.concatenate([ends, np.full((len(ends), 1, 2), np.nan)], axis=1).reshape(-1, 2)
    for artist in (
        *track.axes.plot(*apart.T, color=look.ink, linewidth=0.9, linestyle=(0, (2, 1.5))),
        *track.axes.plot(ends[:, 1, 0], ends[:, 1, 1], "o", color="none", markeredgecolor=look.ink, markersize=6, markeredgewidth=0.9),
    ):
        artist.set_transform(_identity())
        _draw(artist, renderer)


def _identity() -> Any:
    return require("matplotlib.transforms", "plot", "Drawing an animation").IdentityTransform()
