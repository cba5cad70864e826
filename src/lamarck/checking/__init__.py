"""Is a training function fit for population training? `check` finds out in a minute, before hours are spent."""

from __future__ import annotations

from lamarck.checking.experiments import check
from lamarck.checking.report import CheckReport, Costs, Effect, Experiment, Finding
from lamarck.checking.states import Difference

__all__ = ["CheckReport", "Costs", "Difference", "Effect", "Experiment", "Finding", "check"]
