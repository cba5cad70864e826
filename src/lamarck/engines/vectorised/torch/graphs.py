"""Blocks of steps of training, played from CUDA graphs; see `tapes`."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, final

from lamarck.engines.vectorised.torch.batch import alike
from lamarck.engines.vectorised.torch.data import stretches
from lamarck.engines.vectorised.torch.tapes import Tapes
from lamarck.engines.vectorised.torch.training import Members, Plan, Way

__all__ = ["BLOCK", "Graphs"]

BLOCK = 16
"""Steps in a graph: enough that copying their plan is little beside them. A multiple of the steps in a compiled call."""


@final
class Graphs:
    """A way of training whose blocks of steps are recorded.

    Args:
        way: Trains some steps, in place, without ever waiting for the device.
        tapes: The recordings.
    """

    def __init__(self, way: Way, tapes: Tapes | None = None) -> None:
        self._way, self._tapes = way, tapes or Tapes()

    def __call__(self, members: Members, plan: Plan) -> None:
        """Trains all steps of a plan, in place. What is no whole block of batches of one shape is not recorded."""
        state = list(members.tensors())
        for start, stop in stretches(len(plan), BLOCK):
            part = plan.part(start, stop)
            if stop - start == BLOCK and alike(part.batches):
                self._tapes(lambda told, part=part: self._way(members, replace(part, **told)), state, _told(part))  # type: ignore[misc]
            else:
                self._way(members, part)


def _told(plan: Plan) -> dict[str, Any]:
    """What differs from block to block; the samples that are chosen from do not."""
    return {f.name: getattr(plan, f.name) for f in fields(plan) if f.name != "samples"}
