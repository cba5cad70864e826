"""CUDA graphs: what some steps of training launch on a GPU is recorded once, and from then on launched by one call.

A step of a small network is a hundred launches of some microseconds each, for less arithmetic than that. A graph runs on the memory that it was
recorded with. That is the stack's own, which keeps its place from interval to interval, and a copy of the plan, into which is copied what
differs from block to block. So a recording is good for one stack; should its memory move, another one is made.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, final

import torch
from torch import Tensor

from lamarck._errors import first_line
from lamarck.engines.vectorised.torch.batch import alike, mapped, tensors_in
from lamarck.engines.vectorised.torch.data import stretches
from lamarck.engines.vectorised.torch.training import CompilingFailed, Members, Plan, Way

__all__ = ["BLOCK", "Graphs", "Recorder"]

logger = logging.getLogger("lamarck")

Record = Callable[[Callable[[], None]], Callable[[], None]]

BLOCK = 16
"""Steps in a graph: enough that copying their plan is little beside them. A multiple of the steps in a compiled call."""
_WARM_UPS = 3
"""Runs before recording, in which libraries choose kernels and take their memory; as PyTorch's notes on CUDA graphs have it."""
_NEAR = 1e-3
"""A graph must compute what it was recorded from, up to the order of sums."""


@final
@dataclass(frozen=True, slots=True)
class _Tape:
    plan: Plan
    replay: Callable[[], None]
    stack: tuple[weakref.ref[Tensor], ...]


@final
class Graphs:
    """A way of training whose blocks of steps are recorded when they are first met, if that can be done and pays.

    Args:
        way: Trains some steps, in place, without ever waiting for the device.
        record: Does what a `Recorder` does.
    """

    def __init__(self, way: Way, record: Record | None = None) -> None:
        self._way, self._record = way, record or Recorder()
        self._tapes: dict[Any, _Tape] = {}
        self._never: set[Any] = set()

    def __call__(self, members: Members, plan: Plan) -> None:
        """Trains all steps of a plan, in place. What is no whole block of batches of one shape is not recorded."""
        for start, stop in stretches(len(plan), BLOCK):
            part = plan.part(start, stop)
            tape = self._tape(members, part) if stop - start == BLOCK and alike(part.batches) else None
            if tape is None:
                self._way(members, part)
            else:
                _copied(_tensors(tape.plan), _tensors(part))
                tape.replay()

    def _tape(self, members: Members, plan: Plan) -> _Tape | None:
        """Returns the recording of such a block, or ``None`` if there is none that pays."""
        kind = tuple((tensor.shape, tensor.dtype) for tensor in (*members.tensors(), *_tensors(plan)))
        if kind in self._never:
            return None
        place = kind, tuple((tensor.data_ptr(), tensor.stride()) for tensor in members.tensors())
        if place not in self._tapes:
            self._tapes = {other: tape for other, tape in self._tapes.items() if all(tensor() is not None for tensor in tape.stack)}
            try:
                tape = self._taped(members, plan)
            except CompilingFailed:
                raise
            except Exception as error:
                logger.warning("training is not recorded as a CUDA graph, because that failed (%s); it goes on without", first_line(error))
                tape = None
            if tape is None:
                self._never.add(kind)
                return None
            self._tapes[place] = tape
        return self._tapes[place]

    def _taped(self, members: Members, plan: Plan) -> _Tape | None:
        before, told = members.map(_aside), replace(plan, **mapped(Tensor.clone, _told(plan)))
        try:
            with torch.cuda.device_of(next(members.tensors())):  # type: ignore[no-untyped-call]
                replay = self._record(lambda: self._way(members, told))
                _copied(members.tensors(), before.tensors())
                taken = _seconds(replay)
                got = members.map(_aside)
                _copied(members.tensors(), before.tensors())
                without = _seconds(lambda: self._way(members, told))
            _check(got, members.map(_aside))
        finally:
            _copied(members.tensors(), before.tensors())
        return _Tape(told, replay, tuple(weakref.ref(tensor) for tensor in members.tensors())) if taken < without else None


@final
class Recorder:
    """Records what functions launch on the current CUDA device. What they need besides, all recordings take from the same memory in turn."""

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        """Returns what launches again what a function launches.

        Args:
            work: The function; it is run some times first.
        """
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UPS):
                work()
        torch.cuda.current_stream().wait_stream(aside)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        # Other threads may go on, e.g. the one that pins the next batches of a loader.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            work()
        return graph.replay


def _check(got: Members, expected: Members) -> None:
    """Raises if most members are where they should not be; one that is about to diverge makes much of a difference in the last digit."""
    right = torch.ones(len(got), dtype=torch.bool)
    for mine, theirs in zip(got.tensors(), expected.tensors(), strict=True):
        right &= torch.isclose(mine, theirs, rtol=_NEAR, atol=_NEAR, equal_nan=True).view(len(got), *mine.shape[1:], 1).flatten(1).all(1)
    if 2 * int(right.sum()) < len(got):
        raise RuntimeError("the recording computes something else")


def _seconds(work: Callable[[], None]) -> float:
    for_all = torch.cuda.synchronize if torch.cuda.is_available() else bool
    for_all()
    began = time.perf_counter()
    work()
    for_all()
    return time.perf_counter() - began


def _aside(tensor: Tensor) -> Tensor:
    """A copy in the memory of the CPU, as there may be no room for another one beside the stack."""
    return tensor.detach().to("cpu", copy=True)


def _copied(to: Iterable[Tensor], source: Iterable[Tensor]) -> None:
    for target, tensor in zip(to, source, strict=True):
        target.copy_(tensor)


def _told(plan: Plan) -> dict[str, Any]:
    """What differs from block to block; the samples that are chosen from do not."""
    return {f.name: getattr(plan, f.name) for f in fields(plan) if f.name != "samples"}


def _tensors(plan: Plan) -> list[Tensor]:
    return tensors_in(_told(plan))
