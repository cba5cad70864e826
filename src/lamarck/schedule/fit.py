"""Schedules from schedules: with fewer pieces, without jumps, over more or fewer steps.

Everything is measured on the hyperparameters' own scales, where a range runs from 0 to 1 and equal distances are equally important.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from lamarck._errors import SettingsError, SpaceError
from lamarck.schedule.piece import Piece
from lamarck.space import Categorical, Float, Int, Space
from lamarck.space.parameter import Parameter
from lamarck.types import HParams

__all__ = ["scaled", "simplified", "smoothed"]

_ROUNDING = 1e-12
"""What floating point may add to a distance on a scale of length 1."""


class _Stretch:
    """Neighbouring pieces that might become one: what must be known of them to say with which value."""

    def __init__(self, parameter: Parameter, value: Any, weight: int) -> None:
        self.parameter, self.value = parameter, value
        self.low = self.high = u = parameter.to_unit(value)
        self.weight, self.sum, self.squares = weight, weight * u, weight * u * u

    def grow(self, value: Any, weight: int) -> None:
        u = self.parameter.to_unit(value)
        self.low, self.high = min(self.low, u), max(self.high, u)
        self.weight, self.sum, self.squares = self.weight + weight, self.sum + weight * u, self.squares + weight * u * u

    def level(self, tolerance: float) -> tuple[Any, float] | None:
        """Returns the value that may stand for all, and its squared deviation over time; ``None`` if none is near enough to each."""
        if self.low == self.high:
            return self.value, 0.0
        if not _has_scale(self.parameter) or self.high - self.low > 2 * tolerance + _ROUNDING:
            return None
        # The mean over time, unless that is too far from one of them.
        u = min(max(self.sum / self.weight, self.high - tolerance), max(self.low + tolerance, (self.low + self.high) / 2))
        value = self.parameter.from_unit(min(max(u, 0.0), 1.0))
        if isinstance(self.parameter, Float):
            return value, self._deviation(u)
        places = [(near, self.parameter.to_unit(near)) for near in _around(self.parameter, value)]
        allowed = [(near, place) for near, place in places if max(place - self.low, self.high - place) <= tolerance + _ROUNDING]
        return min(((near, self._deviation(place)) for near, place in allowed), key=lambda way: way[1], default=None)

    def _deviation(self, u: float) -> float:
        """The squared distance from a place over time."""
        return max(0.0, self.squares - 2 * u * self.sum + u * u * self.weight)


def simplified(pieces: Sequence[Piece], space: Space, tolerance: float) -> list[Piece]:
    """Returns the fewest pieces that are nowhere further away than a tolerance; see `lamarck.Schedule.simplified`."""
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 <= tolerance <= 1:
        raise SettingsError(f"tolerance: got {tolerance!r}; it must be a number from 0 to 1, a part of each hyperparameter's range")
    _check(pieces, space)
    # For the first n pieces: how many are needed, how far away they are, where the last one begins, and what holds in it.
    best: list[tuple[int, float, int, HParams]] = [(0, 0.0, 0, {})]
    for end in range(1, len(pieces) + 1):
        ways = ((best[begin][0] + 1, best[begin][1] + error, begin, hparams) for begin, error, hparams in _ends(pieces[:end], space, tolerance))
        best.append(min(ways, key=lambda way: way[:2]))
    found: list[Piece] = []
    end = len(pieces)
    while end:
        _, _, begin, hparams = best[end]
        found.append(Piece(pieces[begin].start, pieces[end - 1].until, hparams))
        end = begin
    return found[::-1]


def _ends(pieces: Sequence[Piece], space: Space, tolerance: float) -> Iterator[tuple[int, float, HParams]]:
    """Yields where a last piece that stands for the last of these may begin, nearest first, with its deviation and what holds in it."""
    last = pieces[-1]
    stretches = {name: _Stretch(space[name], value, last.until - last.start) for name, value in last.hparams.items()}
    yield len(pieces) - 1, 0.0, last.hparams
    for begin in range(len(pieces) - 2, -1, -1):
        piece = pieces[begin]
        if piece.hparams.keys() != stretches.keys():
            return
        hparams, deviation = {}, 0.0
        for name, stretch in stretches.items():
            stretch.grow(piece.hparams[name], piece.until - piece.start)
            if (level := stretch.level(tolerance)) is None:
                return  # and no longer one either: what is too far apart stays so
            hparams[name] = level[0]
            deviation += level[1]
        if space.satisfied(hparams):
            yield begin, deviation, hparams


def smoothed(pieces: Sequence[Piece], space: Space, width: int, every: int) -> list[Piece]:
    """Returns moving averages; see `lamarck.Schedule.smoothed`."""
    for name, steps in (("width", width), ("every", every)):
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise SettingsError(f"{name}: got {steps!r}; it must be a whole number of steps, at least 1")
    _check(pieces, space)
    deciding = {name for parameter in space.values() for name in parameter.when or ()}
    end, found = pieces[-1].until, []
    for start in range(0, end, every):
        until = min(start + every, end)
        middle = (start + until) / 2
        inside = [
            (piece, shared) for piece in pieces if (shared := min(piece.until, middle + width / 2) - max(piece.start, middle - width / 2)) > 0
        ]
        there = next(piece for piece, _ in inside if piece.start <= middle < piece.until)
        held = {name: [(piece.hparams[name], shared) for piece, shared in inside if name in piece.hparams] for name in space}
        averages = {name: _average(space[name], values) for name, values in held.items() if values}
        # Where what others depend on becomes something else, there are other hyperparameters: those of a piece that has it.
        same = (
            piece
            for piece in (there, *(piece for piece, _ in inside))
            if all(piece.hparams.get(name) == averages.get(name) for name in deciding)
        )
        like = next(same, there).hparams
        hparams = {name: value if name in deciding else averages[name] for name, value in like.items()}
        found.append(Piece(start, until, hparams if space.satisfied(hparams) else like))
    return found


def _average(parameter: Parameter, held: Sequence[tuple[Any, float]]) -> Any:
    totals: dict[Any, float] = {}
    for value, shared in held:
        totals[value] = totals.get(value, 0.0) + shared
    if len(totals) == 1 or not _has_scale(parameter):
        return max(totals, key=lambda value: totals[value])
    mean = math.fsum(parameter.to_unit(value) * shared for value, shared in held) / math.fsum(totals.values())
    return _nearest(parameter, min(max(mean, 0.0), 1.0))


def scaled(pieces: Sequence[Piece], until: int) -> list[Piece]:
    """Returns the same over another number of steps; see `lamarck.Schedule.scaled`."""
    if isinstance(until, bool) or not isinstance(until, int) or until < 1:
        raise SettingsError(f"until: got {until!r}; it must be a whole number of steps, at least 1")
    end = pieces[-1].until
    places = [(2 * piece.start * until + end) // (2 * end) for piece in pieces] + [until]  # rounded, in whole numbers
    moved = zip(places, places[1:], pieces, strict=False)
    return [Piece(start, stop, piece.hparams) for start, stop, piece in moved if stop > start]


def _has_scale(parameter: Parameter) -> bool:
    """Whether there is a between."""
    return isinstance(parameter, Float | Int) or (isinstance(parameter, Categorical) and parameter.ordered)


def _nearest(parameter: Parameter, u: float) -> Any:
    """Returns the allowed value nearest to a place on the scale: where cells are uneven, not always the one whose cell it is."""
    value = parameter.from_unit(u)
    return value if isinstance(parameter, Float) else min(_around(parameter, value), key=lambda near: abs(parameter.to_unit(near) - u))


def _around(parameter: Parameter, value: Any) -> list[Any]:
    """A whole number or ordered choice, with its neighbours."""
    if isinstance(parameter, Categorical):
        place = parameter.choices.index(value)
        return list(parameter.choices[max(0, place - 1) : place + 2])
    return [near for near in (value - 1, value, value + 1) if parameter.contains(near)]


def _check(pieces: Sequence[Piece], space: Space) -> None:
    for piece in pieces:
        for name, value in piece.hparams.items():
            if name not in space.names:
                raise SettingsError(
                    f"{name}: the schedule sets it and the space does not have it; it has {', '.join(space.names) or 'nothing'}"
                )
            if not space[name].contains(value):
                raise SpaceError(
                    f"{name}: the schedule sets {value!r} at step {piece.start}; allowed is {space[name].allowed}; give a space that holds it"
                )
