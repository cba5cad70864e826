"""Hyperparameters as a function of the step: what a lineage followed, and what any training loop can follow."""

from __future__ import annotations

from lamarck.schedule.piece import Piece
from lamarck.schedule.schedule import Schedule

__all__ = ["Piece", "Schedule"]
