"""A schedule: calling it with a step gives the hyperparameters."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

from lamarck._errors import SettingsError
from lamarck.schedule import fit, text
from lamarck.schedule.piece import Piece
from lamarck.space import Space
from lamarck.types import HParams

__all__ = ["Schedule"]


@final
@dataclass(frozen=True, slots=True)
class Schedule:
    """A piecewise constant schedule; calling it gives the hyperparameters at a step.

    Args:
        pieces: In order of steps, without gaps, beginning at step 0.

    Raises:
        SettingsError: If there is no piece, or the pieces leave a gap or overlap.

    Example:
        >>> from lamarck import Piece
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

    @property
    def names(self) -> tuple[str, ...]:
        """Hyperparameters that it sets anywhere, in the order in which they appear."""
        return tuple(dict.fromkeys(name for piece in self.pieces for name in piece.hparams))

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

    def __str__(self) -> str:
        """Returns a table for people: a line for each piece, numbers to four digits. `to_text` writes all of them.

        Example:
            >>> from lamarck import Piece
            >>> print(Schedule((Piece(0, 500, {"lr": 0.1}), Piece(500, 1500, {"lr": 0.0123456}))))
                   steps       lr
                0 to 500      0.1
            500 to 1,500  0.01235
        """
        return text.table(self.pieces)

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        """Shows the schedule in IPython and notebooks as a table."""
        printer.text(str(self))

    # ---- other schedules from this one -------------------------------------------------------------------------------------------------------

    def simplified(self, tolerance: float, space: Space) -> Schedule:
        """Returns the schedule with the fewest pieces that is nowhere further away than a tolerance.

        A schedule that was found by selection wobbles: each perturbation is a piece of its own, whether it mattered or not. What is left here
        are the moves that are larger than the tolerance. Exact, by dynamic programming; of several schedules with the fewest pieces it is the
        one that deviates least, in squares and over time.

        Args:
            tolerance: Largest deviation, as a part of each hyperparameter's range on its own scale, 0 to 1: for a learning rate from 1e-5 to
                1e-1 on a logarithmic scale 0.05 is a factor of 1.6. Choices without order stay as they are.
            space: Ranges and scales; that of a run is ``history.space``.

        Raises:
            SettingsError: If the tolerance is out of its range, or the space lacks a hyperparameter.
            SpaceError: If a value of the schedule is not allowed in the space.

        Example:
            >>> from lamarck import Piece, Space
            >>> from lamarck.space import Float
            >>> wobbly = Schedule((Piece(0, 10, {"lr": 0.1}), Piece(10, 20, {"lr": 0.12}), Piece(20, 30, {"lr": 0.001})))
            >>> [(piece.start, round(piece.hparams["lr"], 4)) for piece in wobbly.simplified(0.05, Space(lr=Float(1e-4, 1.0, log=True)))]
            [(0, 0.1095), (20, 0.001)]
        """
        return Schedule.merged(fit.simplified(self.pieces, space, tolerance))

    def smoothed(self, width: int, space: Space, *, every: int | None = None) -> Schedule:
        """Returns a schedule of moving averages, for training that bears no jumps.

        Numbers are averaged over time on their own scale, and whole numbers and ordered choices rounded to the nearest allowed one; of choices
        without order the one that held longest is taken, with the hyperparameters that exist beside it. Where averages would violate a
        constraint of the space, values stay as they are.

        Args:
            width: Steps that are averaged over, around each step; at the ends what there is of them.
            space: Ranges and scales; that of a run is ``history.space``.
            every: Steps between two values; by default an eighth of the width.

        Raises:
            SettingsError: If a number of steps is not positive, or the space lacks a hyperparameter.
            SpaceError: If a value of the schedule is not allowed in the space.

        Example:
            >>> from lamarck import Piece, Space
            >>> from lamarck.space import Float
            >>> jump = Schedule((Piece(0, 20, {"lr": 1.0}), Piece(20, 40, {"lr": 0.01})))
            >>> [round(piece.hparams["lr"], 3) for piece in jump.smoothed(20, Space(lr=Float(0.01, 1.0, log=True)), every=10)]
            [1.0, 0.316, 0.032, 0.01]
        """
        return Schedule.merged(fit.smoothed(self.pieces, space, width, max(1, width // 8) if every is None else every))

    def scaled(self, until: int) -> Schedule:
        """Returns the schedule stretched or shrunk to another number of steps, for a longer training or another batch size.

        Args:
            until: Step at which it is to end. Pieces that become shorter than half a step vanish.

        Raises:
            SettingsError: If that is not at least 1.

        Example:
            >>> from lamarck import Piece
            >>> half = Schedule((Piece(0, 500, {"lr": 0.1}), Piece(500, 900, {"lr": 0.05}))).scaled(450)
            >>> [(piece.start, piece.until) for piece in half]
            [(0, 250), (250, 450)]
        """
        return Schedule.merged(fit.scaled(self.pieces, until))

    # ---- plain values and text ---------------------------------------------------------------------------------------------------------------

    def to_list(self) -> list[dict[str, Any]]:
        """Returns plain JSON values: an object with ``start``, ``until`` and ``hparams`` for each piece.

        Example:
            >>> from lamarck import Piece
            >>> Schedule((Piece(0, 500, {"lr": 0.1}),)).to_list()
            [{'start': 0, 'until': 500, 'hparams': {'lr': 0.1}}]
        """
        return text.plain(self.pieces)

    @classmethod
    def from_list(cls, rows: Sequence[Mapping[str, Any]]) -> Schedule:
        """Reads what `to_list` gives.

        Raises:
            SettingsError: If it is not a schedule; the message says where.
        """
        return cls(tuple(text.read_plain(rows)))

    def to_text(self, format: Literal["json", "toml", "csv", "python"] = "json") -> str:  # noqa: A002
        """Writes the schedule down.

        Args:
            format: ``"json"``, a list of objects; ``"toml"``, an array of tables; ``"csv"``, a row for each piece with an empty cell where a
                hyperparameter does not apply; or ``"python"``, code that makes an equal object named ``schedule``.

        Raises:
            SettingsError: If the format is unknown, or cannot hold a value: TOML has no ``None``.

        Example:
            >>> from lamarck import Piece
            >>> print(Schedule((Piece(0, 500, {"lr": 0.1}), Piece(500, 900, {"lr": 0.05}))).to_text("csv"), end="")
            start,until,lr
            0,500,0.1
            500,900,0.05
        """
        return text.write(self.pieces, format)

    @classmethod
    def from_text(cls, source: str, format: Literal["json", "toml", "csv"] = "json") -> Schedule:  # noqa: A002
        r"""Reads a schedule that `to_text` wrote, or a person.

        Args:
            source: The text.
            format: ``"json"``, ``"toml"`` or ``"csv"``. Python code is for Python to run.

        Raises:
            SettingsError: If the text is not a schedule; the message says where.

        Example:
            >>> Schedule.from_text("start,until,lr,opt\n0,500,0.1,sgd\n", "csv").pieces
            (Piece(start=0, until=500, hparams={'lr': 0.1, 'opt': 'sgd'}),)
        """
        return cls(tuple(text.read(source, format)))
