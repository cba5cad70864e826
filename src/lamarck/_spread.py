"""Independent jobs over a few processes; what they make is in files, only progress comes back."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from multiprocessing.queues import SimpleQueue
from typing import TypeVar

from lamarck._errors import TrainingError

__all__ = ["spread"]

Job = TypeVar("Job")
Tell = Callable[[int], object]


def spread(work: Callable[[Job, Tell], object], jobs: Sequence[Job], workers: int, tell: Tell) -> None:
    """Does all jobs; returns when they are done, or ends the processes when it is interrupted.

    Args:
        work: Does one job, and says by its second argument how much of it is done since it last said so. It must be a function of a module.
        jobs: In an order in which those that take equally long are neighbours: they are dealt out back and forth, as to two teams.
        workers: Number of processes; with 1, everything happens in this one.
        tell: Hears, in this process, what the jobs say.

    Raises:
        TrainingError: If a process ends badly; it has said why on the standard error stream.
    """
    if workers == 1:
        for job in jobs:
            work(job, tell)
        return
    context = multiprocessing.get_context("spawn")  # a forked PyTorch may hang in its thread pool
    said: SimpleQueue[int] = context.SimpleQueue()
    processes = [context.Process(target=_share, args=(work, share, said), daemon=True) for share in dealt(jobs, workers)]
    try:
        for process in processes:
            process.start()
        busy = processes
        while busy and not any(process.exitcode for process in processes):
            wait([process.sentinel for process in busy], timeout=0.1)
            busy = [process for process in processes if process.is_alive()]
            while not said.empty():
                tell(said.get())
        if any(process.exitcode for process in processes):
            raise TrainingError("a process ended before its runs did; what it said is above, and what it had done is kept")
    finally:
        for process in processes:
            process.terminate()
            process.join()


def dealt(jobs: Sequence[Job], workers: int) -> list[list[Job]]:
    """Deals out jobs back and forth.

    Example:
        >>> dealt("abcdef", 2)
        [['a', 'd', 'e'], ['b', 'c', 'f']]
    """
    hands: list[list[Job]] = [[] for _ in range(min(workers, len(jobs)))]
    for place, job in enumerate(jobs):
        turn, seat = divmod(place, len(hands))
        hands[-1 - seat if turn % 2 else seat].append(job)
    return hands


def _share(work: Callable[[Job, Tell], object], jobs: Sequence[Job], said: SimpleQueue[int]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches everybody; the parent answers it, once
    for job in jobs:
        work(job, said.put)
