"""The part of which schedules are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from lamarck.types import HParams

__all__ = ["Piece"]


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
