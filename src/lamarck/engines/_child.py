"""What runs inside a worker process: the training function, behind a pipe."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import final

from lamarck.checkpoints import open_checkpoints
from lamarck.engines._start import die_with_parent, heed_the_parent_alone, lead, limit_threads
from lamarck.engines._talk import converse, told, unloadable

__all__ = ["Assignment", "child"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What a worker process is told once, when it starts.

    Args:
        train: The training function, pickled by reference: it is loaded only after the environment is set.
        checkpoints: Where the weights are, as `open_checkpoints` takes it.
        durable_every: Of each member, every how many generations they are flushed to the disk.
        overlap: Whether they are flushed beside the next interval.
        environment: Variables to set before the user's code is imported, e.g. ``CUDA_VISIBLE_DEVICES``.
        threads: Threads that numerical libraries may use.
        seed: Seed of the run.
    """

    train: bytes
    checkpoints: str
    durable_every: int
    overlap: bool
    environment: Mapping[str, str]
    threads: int
    seed: int


class _ParentGone(BaseException):
    """Nobody is left to report to. Not an `Exception`: no training function may take it for its own."""


def child(pipe: Connection, assignment: Assignment) -> None:
    """Trains until the run is over, the parent is gone, or the training function cannot be called at all."""
    heed_the_parent_alone()  # which lets intervals finish
    lead()
    threading.Thread(target=die_with_parent, daemon=True).start()
    _yield_to_the_parent()
    os.environ.update(assignment.environment)
    logging.getLogger("lamarck").setLevel(logging.WARNING)

    def say(data: bytes) -> bytes:
        try:
            pipe.send_bytes(data)
            return pipe.recv_bytes()
        except (EOFError, OSError):
            raise _ParentGone from None

    with contextlib.suppress(_ParentGone):
        last = _trained(assignment, say)
        if last is not None:
            with contextlib.suppress(OSError):
                pipe.send_bytes(last)


def _trained(assignment: Assignment, say: Callable[[bytes], bytes]) -> bytes | None:
    try:
        train = pickle.loads(assignment.train)  # noqa: S301 - made by our own parent on this machine, a moment ago
        limit_threads(assignment.threads)
        checkpoints = open_checkpoints(assignment.checkpoints).flushing(every=assignment.durable_every, overlap=assignment.overlap)
    except Exception as unfit:
        return told(unloadable(unfit, "define it at the top level of a module that can be imported, or use engine='inline'"))
    return converse(train, say, checkpoints, assignment.seed)


def _yield_to_the_parent() -> None:
    """Tells the system that this process computes and does not converse.

    Waking it up then never takes the core from the parent, who has others to answer, and the parent, when woken up, takes one at once.
    """
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
