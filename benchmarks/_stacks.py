"""What the benchmark of populations measures in processes of one thread each: time, memory, and what the machine can do.

Where there is a GPU, everything is on that, in one process.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

import lamarck as lk
from _networks import BATCH, NETWORKS, digits, loops
from lamarck.engines.vectorised.torch.training import Ways

__all__ = ["CORES", "DEVICE", "INTERVAL", "WAYS", "Workers", "finished", "intervals", "rates", "roof", "task"]

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CORES = 1 if DEVICE == "cuda" else len(os.sched_getaffinity(0))
"""Processes that share a population."""
INTERVAL = 100
"""Steps of an interval, which is what is measured."""
SECONDS = 10.0
"""What would take longer than about this is measured with fewer steps, at least `LEAST`."""
LEAST = 20
ALONE = {"cpu": {"plain": 16, "fused": 16}, "cuda": {"plain": 4, "fused": 4, "looped": 4}}[DEVICE]
"""Ways that cost the same for each member, and with how many they are measured at most."""
TURN = 0.5
"""Seconds of intervals that are measured together, at least about."""
WAYS = ("batched", "compiled", "looped")


def _loss(model: Any, batch: Any, hparams: Any) -> Tensor:
    return functional.cross_entropy(model(batch[0]), batch[1])


def finished() -> None:
    """Waits for whatever the device has to do."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def task(network: str, how: str) -> lk.Supervised:
    x, y = (part.to(DEVICE) for part in digits())
    return lk.Supervised(NETWORKS[network].build, _loss, train=(x, y), test=(x, y), batch_size=BATCH, how=how)  # type: ignore[arg-type]


def intervals(members: int, steps: int) -> lk.Intervals:
    return lk.Intervals(
        members=np.arange(members),
        generations=np.zeros(members, dtype=np.int64),
        hparams={
            "lr": np.geomspace(1e-4, 1e-2, members),
            "weight_decay": np.geomspace(1e-4, 1e-2, members),
            "beta1": np.linspace(0.8, 0.95, members),
        },
        start=np.zeros(members, dtype=np.int64),
        steps=steps,
        seeds=np.arange(members) + 1,
    )


# ---- in the processes -----------------------------------------------------------------------------------------------------------------------


def _stack(network: str, members: int, way: str) -> Callable[[int], None]:
    trained = task(network, way)
    state = trained.init(np.arange(members))

    def train(steps: int) -> None:
        trained.fit(state, intervals(members, steps))

    return train


def _chosen(network: str, members: int, steps: int) -> str:
    """Returns which way the engine takes, if it has so many steps to go."""
    trained = task(network, "auto")
    trained.expect(steps)
    state = trained.init(np.arange(members))
    trained.fit(state, intervals(members, 60 if DEVICE == "cpu" else 160))  # it tries each way for a few steps, of recordings for three
    return trained.choice.fastest(members) or "looped"  # a member alone is never batched, so that it becomes the same to the last bit


def roof() -> tuple[float, float]:
    """Floating point operations per second of a matrix product, and bytes per second of a copy, of one process."""
    wide, long = (8192, 1 << 28) if DEVICE == "cuda" else (1024, 1 << 24)
    a, b = torch.randn(wide, wide, device=DEVICE), torch.randn(wide, wide, device=DEVICE)
    source, target = torch.randn(long, device=DEVICE), torch.empty(long, device=DEVICE)
    best = [float("inf"), float("inf")]
    for _ in range(5):
        for index, work in enumerate((partial(torch.mm, a, b), partial(Tensor.copy_, target, source))):
            finished()
            began = time.perf_counter()
            work()
            finished()
            best[index] = min(best[index], time.perf_counter() - began)
    return 2 * wide**3 / best[0], 2 * source.nbytes / best[1]


def _peak(work: Callable[[], object]) -> int:
    """Returns the most bytes that PyTorch's allocator had given out at once above what it had before."""
    if DEVICE == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        work()
    changes: list[tuple[int, int]] = []
    waiting = list(profiled.profiler.kineto_results.experimental_event_tree())
    while waiting:
        event = waiting.pop()
        waiting.extend(event.children)
        if event.tag.name == "Allocation":
            changes.append((event.start_time_ns, event.extra_fields.alloc_size))
    now = most = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most


def _memory(network: str, members: int, way: str) -> dict[str, float]:
    """Bytes at the peak of a step, and what is to be expected: state of all members, and activations of those who train at once."""
    weights = sum(weight.nbytes for weight in NETWORKS[network].build().parameters())
    others = torch.cuda.memory_allocated() if DEVICE == "cuda" else 0
    plain = loops(network, 1, fused=True, device=DEVICE)
    plain(2)
    activations = _peak(lambda: plain(1))  # the gradients are there from the step before
    trained = task(network, way)
    state = trained.init(np.arange(members))
    trained.fit(state, intervals(members, 4))
    rest = sum(tensor.nbytes for tensor in state.tensors())
    peak = rest + _peak(lambda: trained.fit(state, intervals(members, 4)))
    at_once = {"batched": members, "compiled": min(members, Ways(trained.program, trained.rule).tile(state)), "looped": 1}[way]
    process = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if DEVICE == "cuda":  # what recordings keep to themselves is not given out again
        trained.fit(state, intervals(members, INTERVAL))
        peak = max(peak, torch.cuda.max_memory_allocated() - others)
    return {"peak": peak, "state": 4 * weights * members, "activations": activations * at_once, "process": process}


def _serve(pipe: Connection) -> None:
    torch.set_num_threads(1)
    made: dict[str, Callable[[int], None]] = {}
    while True:
        kind, *arguments = pipe.recv()
        began, spent = time.perf_counter(), time.process_time()
        answer: Any = None
        if kind == "make":
            network, members, how = arguments
            plain = how in ("plain", "fused")
            made[how] = loops(network, members, fused=how == "fused", device=DEVICE) if plain else _stack(network, members, how)
            made[how](4 if DEVICE == "cpu" else INTERVAL)  # in which steps are recorded
            finished()
        elif kind == "run":
            how, steps, times = arguments
            for _ in range(times):
                made[how](steps)
            finished()
        else:
            asked: dict[str, Callable[..., Any]] = {"roof": roof, "memory": _memory, "chosen": _chosen}
            answer = asked[kind](*arguments)
        pipe.send((answer, time.perf_counter() - began, time.process_time() - spent))


class Workers:
    """Processes of one thread each, that measure together."""

    def __init__(self, number: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipes, self.processes = [], []
        for _ in range(number):
            mine, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            self.pipes.append(mine)
            self.processes.append(process)

    def __call__(self, number: int, *message: Any) -> list[tuple[Any, float, float]]:
        for pipe in self.pipes[:number]:
            pipe.send(message)
        return [pipe.recv() for pipe in self.pipes[:number]]

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()


def rates(workers: Workers, network: str, members: int, hows: Sequence[str], rounds: int) -> dict[str, dict[str, float]]:
    """Members x steps per second of all processes together, by the clock and by processor time, and the seconds before the first step.

    All ways take turns, so that whatever the machine does besides meets each of them; a turn is at least half a second of intervals.
    """
    asked: dict[str, tuple[int, int, int, int, float]] = {}
    for how in hows:
        number = 1 if how == "plain" or members < 2 * CORES else CORES
        share = min(members // number, ALONE.get(how, members))
        begin = max(seconds for _, seconds, _ in workers(number, "make", network, share, how))
        each = max(seconds for _, seconds, _ in workers(number, "run", how, 8, 1)) / 8
        steps = max(LEAST, min(INTERVAL, int(SECONDS / each))) // 4 * 4
        asked[how] = number, share, steps, max(1, round(TURN / (each * steps))), begin
    times: dict[str, list[list[tuple[Any, float, float]]]] = {how: [] for how in hows}
    for _ in range(rounds):
        for how, (number, _, steps, turn, _) in asked.items():
            times[how].append(workers(number, "run", how, steps, turn))
    return {
        how: {
            "rate": statistics.median(number * share * steps * turn / max(seconds for _, seconds, _ in each) for each in times[how]),
            "rate by processor time": statistics.median(sum(share * steps * turn / spent for _, _, spent in each) for each in times[how]),
            "begin": begin,
            "steps": steps,
        }
        for how, (number, share, steps, turn, begin) in asked.items()
    }
