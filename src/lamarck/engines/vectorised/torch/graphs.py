"""CUDA graphs: what some steps of training launch on a GPU is recorded once, and from then on launched by one call.

A step of a small network is a hundred launches of some microseconds each, for less arithmetic than that. A graph runs on the memory that it was
recorded with. So it has a stack and a plan of its own, into which the real ones are copied: the stack once in an interval, and of the plan what
differs from block to block.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, final

import torch
from torch import Tensor

from lamarck.engines.vectorised.torch.batch import mapped, tensors_in
from lamarck.engines.vectorised.torch.training import CompilingFailed, Members, Plan, Way

__all__ = ["Graphs", "recorded"]

logger = logging.getLogger("lamarck")

Record = Callable[[Callable[[], None]], Callable[[], None]]

_BLOCK = 16
"""Steps in a graph: enough that copying their plan is little beside them. A multiple of the steps in a compiled call."""
_WARM_UPS = 3
"""Runs before recording, in which libraries choose kernels and take their memory; as PyTorch's notes on CUDA graphs have it."""
_NEAR = 1e-3
"""A graph must compute what it was recorded from, up to the order of sums."""


@final
@dataclass(frozen=True, slots=True)
class _Tape:
    members: Members
    plan: Plan
    replay: Callable[[], None]


@final
class Graphs:
    """A way of training whose blocks of steps are recorded when they are first met, if that can be done and pays.

    Args:
        way: Trains some steps, in place, without ever waiting for the device.
        record: Does what `recorded` does.
    """

    def __init__(self, way: Way, record: Record | None = None) -> None:
        self._way, self._record = way, record or recorded
        self._tapes: dict[Any, _Tape | None] = {}

    def __call__(self, members: Members, plan: Plan) -> None:
        """Trains all steps of a plan, in place; what is no whole block is not recorded."""
        whole = len(plan) - len(plan) % _BLOCK
        tape = self._tape(members, plan.part(0, _BLOCK)) if whole else None
        if tape is None:
            self._way(members, plan)
            return
        _copied(tape.members.tensors(), members.tensors())
        for step in range(0, whole, _BLOCK):
            _copied(_tensors(tape.plan), _tensors(plan.part(step, step + _BLOCK)))
            tape.replay()
        _copied(members.tensors(), tape.members.tensors())
        if whole < len(plan):
            self._way(members, plan.part(whole, len(plan)))

    def _tape(self, members: Members, plan: Plan) -> _Tape | None:
        """Returns the recording of such a block, or ``None`` if there is none that pays."""
        key = tuple((tensor.shape, tensor.dtype) for tensor in (*members.tensors(), *_tensors(plan)))
        if key not in self._tapes:
            try:
                self._tapes[key] = self._taped(members, plan)
            except CompilingFailed:
                raise
            except Exception as error:
                logger.warning("training is not recorded as a CUDA graph, because that failed (%s); it goes on without", _first_line(error))
                self._tapes[key] = None
        return self._tapes[key]

    def _taped(self, members: Members, plan: Plan) -> _Tape | None:
        mine, expected, told = members.map(Tensor.clone), members.map(Tensor.clone), replace(plan, **mapped(Tensor.clone, _told(plan)))
        with torch.cuda.device_of(next(mine.tensors())):  # type: ignore[no-untyped-call]
            replay = self._record(lambda: self._way(mine, told))
        _copied(mine.tensors(), members.tensors())
        taken = _seconds(replay)
        without = _seconds(lambda: self._way(expected, told))
        for got, tensor in zip(mine.tensors(), expected.tensors(), strict=True):
            if not torch.allclose(got, tensor, rtol=_NEAR, atol=_NEAR, equal_nan=True):
                raise RuntimeError("the recording computes something else")
        return _Tape(mine, told, replay) if taken < without else None


def recorded(work: Callable[[], None]) -> Callable[[], None]:
    """Records what a function launches on the current CUDA device; returns what launches it again."""
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(_WARM_UPS):
            work()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def _seconds(work: Callable[[], None]) -> float:
    for_all = torch.cuda.synchronize if torch.cuda.is_available() else bool
    for_all()
    began = time.perf_counter()
    work()
    for_all()
    return time.perf_counter() - began


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]


def _copied(to: Iterable[Tensor], source: Iterable[Tensor]) -> None:
    for target, tensor in zip(to, source, strict=True):
        target.copy_(tensor)


def _told(plan: Plan) -> dict[str, Any]:
    """What differs from block to block; the samples that are chosen from do not."""
    return {f.name: getattr(plan, f.name) for f in fields(plan) if f.name != "samples"}


def _tensors(plan: Plan) -> list[Tensor]:
    return tensors_in(_told(plan))
