"""CUDA graphs of whatever is done again and again to the same tensors: launched once by one, recorded, and from then on launched by one call.

A step of a small network, or a move of small agents, is a hundred launches of some microseconds each, for less arithmetic than that. A graph
runs on the memory that it was recorded with. That is the state's own, which keeps its place from interval to interval, and a copy of what is
told besides, into which is copied what differs from time to time. So a recording is good for one state; should its memory move, another one is
made.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, final

import torch
from torch import Tensor

from lamarck._errors import first_line
from lamarck.engines.vectorised.torch.batch import mapped, tensors_in
from lamarck.engines.vectorised.torch.memory import free
from lamarck.engines.vectorised.torch.training import CompilingFailed

__all__ = ["Recorder", "Tapes"]

logger = logging.getLogger("lamarck")

Record = Callable[[Callable[[], None]], Callable[[], None]]
Told = TypeVar("Told")
Work = Callable[[Told], None]

_WARM_UPS = 3
"""Runs before recording, in which libraries choose kernels and take their memory; as PyTorch's notes on CUDA graphs have it."""
_NEAR = 1e-3
"""A graph must compute what it was recorded from, up to the order of sums."""
_COPIES = 3
"""Of the state, while a recording is tried: before, after it, and after what it was recorded from."""


@final
@dataclass(frozen=True, slots=True)
class _Tape:
    told: Any
    replay: Callable[[], None]
    state: tuple[weakref.ref[Tensor], ...]


@final
class Tapes:
    """Does work that changes tensors in place, from recordings that are made when it is first met, if that can be done and pays.

    Args:
        record: Does what a `Recorder` does.
    """

    def __init__(self, record: Record | None = None) -> None:
        self._record = record or Recorder()
        self._tapes: dict[Any, _Tape] = {}
        self._never: set[Any] = set()

    def __call__(self, work: Work[Told], state: Sequence[Tensor], told: Told) -> None:
        """Does the work once.

        Args:
            work: Changes the state by what it is told, without ever waiting for the device; always the same for tensors of such shapes.
            state: ``[n, ...]`` each: all that it changes.
            told: All else that differs from time to time: tensors, in tuples, lists and dictionaries.
        """
        tape = self._tape(work, state, told)
        if tape is None:
            work(told)
        else:
            _copied(tensors_in(tape.told), tensors_in(told))
            tape.replay()

    def _tape(self, work: Work[Told], state: Sequence[Tensor], told: Told) -> _Tape | None:
        """Returns the recording of such work, or ``None`` if there is none that pays."""
        kind = tuple((tensor.shape, tensor.dtype) for tensor in (*state, *tensors_in(told)))
        if kind in self._never:
            return None
        place = kind, tuple((tensor.data_ptr(), tensor.stride()) for tensor in state)
        if place not in self._tapes:
            self._tapes = {other: tape for other, tape in self._tapes.items() if all(tensor() is not None for tensor in tape.state)}
            try:
                tape = self._taped(work, state, told)
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

    def _taped(self, work: Work[Told], state: Sequence[Tensor], told: Told) -> _Tape | None:
        aside = _aside(state)
        before, own = aside(state), mapped(Tensor.clone, told)
        try:
            with torch.cuda.device_of(state[0]):  # type: ignore[no-untyped-call]
                replay = self._record(lambda: work(own))
                _copied(state, before)
                taken = _seconds(replay)
                got = aside(state)
                _copied(state, before)
                without = _seconds(lambda: work(own))
            _check(got, aside(state))
        finally:
            _copied(state, before)
        return _Tape(own, replay, tuple(weakref.ref(tensor) for tensor in state)) if taken < without else None


@final
class Recorder:
    """Records what functions launch on the current CUDA device. What they need besides, all recordings take from the same memory in turn."""

    def __init__(self) -> None:
        self._graphs: weakref.WeakSet[torch.cuda.CUDAGraph] = weakref.WeakSet()

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
        other = next(iter(self._graphs), None)  # memory that nobody records in any more is gone for good
        graph = torch.cuda.CUDAGraph()
        # Other threads may go on, e.g. the one that pins the next batches of a loader.
        with torch.cuda.graph(graph, pool=None if other is None else other.pool(), capture_error_mode="thread_local"):
            work()
        self._graphs.add(graph)
        return graph.replay


def _check(got: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    """Raises if most members are where they should not be; one that is about to diverge makes much of a difference in the last digit."""
    members = len(got[0])
    right = torch.ones(members, dtype=torch.bool, device=got[0].device)
    for mine, theirs in zip(got, expected, strict=True):
        near = torch.isclose(mine, theirs, rtol=_NEAR, atol=_NEAR, equal_nan=True) if mine.is_floating_point() else mine == theirs
        right &= near.view(members, *mine.shape[1:], 1).flatten(1).all(1)
    if 2 * int(right.sum()) < members:
        raise RuntimeError("the recording computes something else")


def _seconds(work: Callable[[], None]) -> float:
    for_all = torch.cuda.synchronize if torch.cuda.is_available() else bool
    for_all()
    began = time.perf_counter()
    work()
    for_all()
    return time.perf_counter() - began


def _aside(state: Sequence[Tensor]) -> Callable[[Sequence[Tensor]], list[Tensor]]:
    """Returns what copies a state: beside it if there is room, otherwise to the memory of the CPU, which takes a hundred times as long."""
    left = free(state[0].device)
    there = state[0].device if left is None or left > 2 * _COPIES * sum(tensor.nbytes for tensor in state) else torch.device("cpu")
    return lambda tensors: [tensor.detach().to(there, copy=True) for tensor in tensors]


def _copied(to: Sequence[Tensor], source: Sequence[Tensor]) -> None:
    if to:
        torch._foreach_copy_(list(to), list(source))  # one launch for all of them
