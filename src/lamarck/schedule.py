"""The schedule that a lineage followed: hyperparameters as a function of the step."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import final

from lamarck._errors import SettingsError
from lamarck.types import HParams

__all__ = ["Piece", "Schedule"]


@final
@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of constant hyperparameters.

    Args:
        start: First step, inclusive.
        until: Last step, exclusive.
        hparams: What held in between.
    """

    start: int
    until: int
    hparams: HParams


@final
@dataclass(frozen=True, slots=True)
class Schedule:
    """A piecewise constant schedule; calling it gives the hyperparameters at a step.

    Args:
        pieces: In order of steps, without gaps, beginning at step 0.

    Raises:
        SettingsError: If there is no piece, or the pieces leave a gap or overlap.

    Example:
        >>> schedule = Schedule((Piece(0, 500, {"lr": 0.1}), Piece(500, 900, {"lr": 0.05})))
        >>> schedule(499)["lr"], schedule(500)["lr"], schedule(10_000)["lr"]
        (0.1, 0.05, 0.05)
    """

    pieces: tuple[Piece, ...]

    def __post_init__(self) -> None:
        if not self.pieces:
            raise SettingsError("got a schedule without pieces; it needs at least one")
        expected = 0
        for piece in self.pieces:
            if piece.start != expected or piece.until <= piece.start:
                raise SettingsError(f"got a piece from {piece.start} to {piece.until}; it must begin at step {expected} and end after it")
            expected = piece.until

    @classmethod
    def merged(cls, pieces: Iterable[Piece]) -> Schedule:
        """Makes a schedule, joining neighbours that hold the same hyperparameters."""
        joined: list[Piece] = []
        for piece in pieces:
            same = bool(joined) and joined[-1].hparams == piece.hparams
            start = joined.pop().start if same else piece.start
            joined.append(Piece(start, piece.until, piece.hparams))
        return cls(tuple(joined))

    @property
    def until(self) -> int:
        """Step at which the schedule ends."""
        return self.pieces[-1].until

    def __call__(self, step: int) -> HParams:
        """Returns the hyperparameters at a step; after the end, the last ones.

        Raises:
            SettingsError: If the step is negative.
        """
        if step < 0:
            raise SettingsError(f"got step {step}; steps count from 0")
        return self.pieces[bisect_right(self.pieces, step, key=lambda piece: piece.start) - 1].hparams

    def __iter__(self) -> Iterator[Piece]:
        return iter(self.pieces)

    def __len__(self) -> int:
        return len(self.pieces)
