"""A population in simulated time: any number of workers of any speed, no clock and no thread.

The same machine as everywhere (`lamarck.pbt`), driven in an order that the speeds of the workers determine. It shows what a strategy does, how
an asynchronous run differs from a synchronous one, and what a slow machine does to a population, in milliseconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Any

from lamarck.pbt import PBT
from lamarck.population import Population, apply
from lamarck.types import Event, Interval, Report

__all__ = ["Step", "simulate"]

Step = Callable[[Interval, Any], tuple[float, Any]]
"""(interval, state to go on from or ``None``) -> (value, new state)."""


def simulate(pbt: PBT, step: Step, *, speeds: Sequence[float] = (1.0,)) -> list[Event]:
    """Runs a population to its end in simulated time.

    Args:
        pbt: The machine.
        step: Trains one interval.
        speeds: Intervals that each worker trains in a unit of time; as many workers as speeds.

    Returns:
        The events, as a journal would hold them.

    Example:
        >>> from lamarck import PBT
        >>> from lamarck.space import Float, Space
        >>> from lamarck.types import Settings
        >>> pbt = PBT(space=Space(h=Float(0.0, 1.0)), settings=Settings(population_size=4, interval=1, generations=3))
        >>> events = simulate(pbt, lambda interval, state: (interval.hparams["h"], None), speeds=(1.0, 0.5))
        >>> type(events[-1]).__name__, events[-1].reason
        ('Ended', 'generations')
    """
    events: list[Event] = []
    states: dict[str, Any] = {}
    population: Population | None = None

    def add(new: Sequence[Event]) -> Population:
        nonlocal population
        for event in new:
            population = apply(population, event)
            events.append(event)
        assert population is not None
        return population

    now = add(pbt.init())
    queue: list[tuple[float, int, int]] = []  # (time when done, worker, member)
    own: dict[int, int] = {}
    idle = list(range(len(speeds)))
    time = 0.0
    while idle or queue:
        waiting = []
        for worker in idle:
            held = {member for _, _, member in queue}
            member = pbt.next(now, held, own.get(worker))
            if member is None:
                waiting.append(worker)
                continue
            now = add(pbt.decide(now, member))
            own[worker] = member
            heapq.heappush(queue, (time + 1.0 / speeds[worker], worker, member))
        if not queue:
            break
        time, worker, member = heapq.heappop(queue)
        interval = now.members[member].interval
        assert interval is not None
        value, state = step(interval, None if interval.restore is None else states[interval.restore])
        name = f"{member}-{interval.generation}"
        states[name] = state
        now = add(pbt.report(now, Report(member=member, generation=interval.generation, step=interval.until, value=value, checkpoint=name)))
        idle = sorted([*waiting, worker])
    return events
