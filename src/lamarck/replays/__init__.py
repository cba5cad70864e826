"""Is the schedule alone enough? Models trained from scratch by the schedule that a population has found."""

from __future__ import annotations

from lamarck.replays.result import Replay, Replayed
from lamarck.replays.trainings import replay

__all__ = ["Replay", "Replayed", "replay"]
