"""Which way of training is the fastest here: found by training, so that looking for it costs nothing but its slower steps.

Batching pays for small networks, and not at all for some others (on a CPU, batched convolutions are slower than a loop over members). Compiling
pays if there is enough to train. So the first steps are trained in each way in turn, with a clock. Compiling is tried if what is left would
take several times as long as compiling does; where nobody has said how much is left, when as many seconds have been trained without it as it
would take, which costs at most twice the time of somebody who knew.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from typing import Literal, final

import torch

from lamarck.engines.vectorised.torch.graphs import BLOCK, Graphs
from lamarck.engines.vectorised.torch.training import CompilingFailed, Members, Plan, Way, Ways

__all__ = ["Choice", "How"]

logger = logging.getLogger("lamarck")

How = Literal["auto", "batched", "compiled", "looped"]
"""How to train: see `Ways`; ``"auto"`` measures."""

_STEPS = 8
"""Steps of one measurement."""
_LOOPS = 512
"""Steps of all members together, in a measurement of loops on a GPU: there a step of one member takes about as long as one of all."""
_LAUNCHES = 1e-4
"""Seconds that a step of one member takes on a GPU at the least, in launches alone. Where all at once take less for each, nobody need loop."""
_TIMES = 2
"""Measurements of each way; the fastest counts, because whatever else the machine does only adds."""
_WORTH = 2.0
"""Compiling is tried if what is left would take so many times longer."""
_WELL_WORTH = 25.0
"""More steps are fused, which gains a tenth or so, if what is left would take so many times longer than to compile them."""
_SHORTLY = 2
"""Steps that are fused otherwise."""
_HOPELESS = 3.0
"""Compiling makes batched training at most about this much faster; if loops are faster still, it is not tried."""


@final
class Choice:
    """Trains in the way that is the fastest by what is known.

    Args:
        ways: The ways.
        how: One of them, or ``"auto"``.
        device: Where the stack is; clocks wait for it.
        steps: How many are to be trained in all, by all stacks that take turns, if that is known.
        graphs: Whether CUDA graphs may be used, on a GPU.
    """

    def __init__(self, ways: Ways, how: How, device: torch.device, steps: int | None = None, *, graphs: bool = True) -> None:
        together: dict[str, Way] = {"batched": ways.batched, "compiled": ways.compiled}
        self._recorded = graphs and device.type == "cuda"
        if self._recorded:
            together = {name: Graphs(way) for name, way in together.items()}
        self._ways: Mapping[str, Way] = together | {"looped": ways.looped}
        self._how, self._device, self._compiled = how, device, ways
        self._fused = self._recorded
        if self._recorded:
            ways.fused = 1  # a recording launches many steps by one call, whatever they are
        self._seconds: dict[tuple[str, int], list[float]] = {}
        self._spent, self._left = 0.0, steps
        self._broken = False
        self._announced: set[int] = set()

    def train(self, members: Members, plan: Plan) -> None:
        """Trains all steps of a plan, in place."""
        done, size = 0, len(members)
        if size == 1 and self._how == "auto":  # nothing to batch; and a member alone is trained to the last bit as it was before
            self._ways["looped"](members, plan)
            return
        while done < len(plan):
            way = self._how if self._how != "auto" else self._next(size, len(plan) - done)
            measured = self._how == "auto" and self._untried(way, size)
            stop = min(len(plan), done + self._stretch(way, size)) if measured else len(plan)
            if way == "compiled" and self._how == "auto":
                self._tried(members, plan.part(done, stop), measured)
            else:
                self._timed(way, members, plan.part(done, stop), measured)
            if self._left is not None:
                self._left -= stop - done
            done = stop

    def fastest(self, size: int) -> str | None:
        """Returns the way that is the fastest by what was measured for stacks of this size, or ``None`` if nothing was."""
        best = {way: min(seconds[1:]) for (way, n), seconds in self._seconds.items() if n == size and len(seconds) > 1}
        return min(best, key=best.__getitem__) if best else None

    def _stretch(self, way: str, size: int) -> int:
        """Steps of a measurement: of what is recorded, a whole recording."""
        if way == "looped":
            return _STEPS if self._device.type == "cpu" else max(1, min(_STEPS, _LOOPS // size))
        return max(BLOCK if self._recorded else _STEPS, self._compiled.unrolled)

    def _untried(self, way: str, size: int) -> bool:
        return len(self._seconds.get((way, size), ())) <= _TIMES  # the first one warms up

    def _next(self, size: int, steps: int) -> str:
        if self._untried("batched", size):
            return "batched"
        batched, looped = min(self._seconds["batched", size][1:]), math.inf
        if self._device.type == "cpu" or batched > _LAUNCHES * size:
            if self._untried("looped", size):
                return "looped"
            looped = min(self._seconds["looped", size][1:])
        hopeful = not self._broken and batched < _HOPELESS * looped
        if hopeful and self._untried("compiled", size) and self._worth(min(batched, looped)) and steps >= self._compiled.unrolled:
            return "compiled"
        fastest = self.fastest(size)
        assert fastest is not None
        return fastest

    def _worth(self, seconds: float) -> bool:
        """Says whether compiling pays, if a step takes so many seconds without; the first time, how many steps are fused is decided, too."""
        left = None if self._left is None else self._left * seconds
        if not self._fused:
            self._fused = True
            if left is None or left < _WELL_WORTH * self._compiled.compiling:
                self._compiled.fused = _SHORTLY
        return (self._spent if left is None else left / _WORTH) > self._compiled.compiling

    def _timed(self, way: str, members: Members, plan: Plan, measured: bool) -> None:
        if way == "compiled" and len(members) not in self._announced:
            self._announced.add(len(members))
            logger.info(
                "compiling %s for %d members, which takes about %.0f s, or less if it was compiled here before; training goes on by it",
                *(f"{self._compiled.unrolled} steps" if self._compiled.unrolled > 1 else "a step", len(members), self._compiled.compiling),
            )
        if measured:
            self._wait()
        begin = time.perf_counter()
        self._ways[way](members, plan)
        if measured:
            self._wait()
        seconds = time.perf_counter() - begin
        self._spent += seconds
        if measured and (way != "compiled" or len(plan) % self._compiled.unrolled == 0):  # a remainder would be trained in another way
            self._seconds.setdefault((way, len(members)), []).append(seconds / len(plan))

    def _tried(self, members: Members, plan: Plan, measured: bool) -> None:
        try:
            self._timed("compiled", members, plan, measured)
        except CompilingFailed as error:
            self._broken = True
            logger.warning("training is not compiled, because that failed (%s); it goes on without", error)
            self._timed("batched", members, plan, measured=False)

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
