"""A whole population as one program on stacked arrays: `VectorTask` says how it trains, `Vectorised` runs it."""

from __future__ import annotations

from lamarck.engines.vectorised.columns import Intervals, Scores
from lamarck.engines.vectorised.engine import Vectorised
from lamarck.engines.vectorised.task import VectorTask

__all__ = ["Intervals", "Scores", "VectorTask", "Vectorised"]
