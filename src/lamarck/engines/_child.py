"""What runs inside a worker process: the training function, behind a pipe."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, final

from lamarck import codec
from lamarck._errors import LamarckError, ReportError, StaleReport, TrainingError
from lamarck.checkpoints import open_checkpoints
from lamarck.engines._start import die_with_parent, heed_the_parent_alone, lead, limit_threads
from lamarck.training import Worker, attempt, raised, seed_everything
from lamarck.types import Failure, Interval, Report

__all__ = ["Assignment", "child"]

INTERVAL, OVER, HEARD, STALE, REFUSED = b"I", b"O", b"H", b"S", b"R"
"""First byte of what the parent says: here is an interval; nothing more to do; heard; too late; not possible."""

READY, MESSAGE, BROKEN = b"?", b"!", b"X"
"""First byte of what the child says: I am free; here is a report or failure; I cannot go on at all."""


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
    try:
        train = pickle.loads(assignment.train)  # noqa: S301 - made by our own parent on this machine, a moment ago
        limit_threads(assignment.threads)
        checkpoints = open_checkpoints(assignment.checkpoints).flushing(every=assignment.durable_every, overlap=assignment.overlap)
    except Exception as unfit:
        pipe.send_bytes(BROKEN + _told(_unloadable(unfit)))
        return

    def said(data: bytes) -> bytes:
        try:
            pipe.send_bytes(data)
            return pipe.recv_bytes()
        except (EOFError, OSError):
            raise _ParentGone from None

    def transport(message: Report | Failure | None) -> Interval | None:
        return _answer(said(READY if message is None else MESSAGE + codec.encode(message)))

    with contextlib.suppress(_ParentGone):
        while True:
            worker = Worker(transport, checkpoints)
            seed_everything(assignment.seed & 0xFFFFFFFF)
            try:
                error = attempt(train, worker)
            except LamarckError as broken:
                pipe.send_bytes(BROKEN + _told(broken))
                return
            if error is None:
                return
            assert worker.current is not None
            failure = raised(worker.current, error)
            # The traceback travels beside the failure: it is for the user's eyes, not for the journal.
            said(MESSAGE + codec.encode(failure) + b"\n" + _trace(error).encode())


def _told(error: LamarckError) -> bytes:
    """Which error it is and what it says, and below that what the user's own code has raised, if that is behind it."""
    cause = f"\n{_trace(error.__cause__)}" if isinstance(error, TrainingError) and error.__cause__ is not None else ""
    return f"{type(error).__name__}\n{error}{cause}".encode()


def _unloadable(error: Exception) -> LamarckError:
    if isinstance(error, LamarckError):
        return error
    made = TrainingError(
        f"the training function cannot be loaded in a worker process: {type(error).__name__}: {error}; define it at the top level of a module "
        "that can be imported, or use engine='inline'"
    )
    made.__cause__ = error
    return made


def _trace(error: BaseException) -> str:
    """The traceback from the training function on: what called it is no news to whoever wrote it."""
    below = error.__traceback__.tb_next if error.__traceback__ is not None else None
    return "".join(traceback.format_exception(type(error), error, below))


def _answer(data: bytes) -> Interval | None:
    kind, body = data[:1], data[1:]
    if kind == INTERVAL:
        interval: Any = codec.decode(body)
        assert isinstance(interval, Interval)
        return interval
    if kind == OVER:
        return None
    raise (StaleReport if kind == STALE else ReportError)(body.decode())


def _yield_to_the_parent() -> None:
    """Tells the system that this process computes and does not converse.

    Waking it up then never takes the core from the parent, who has others to answer, and the parent, when woken up, takes one at once.
    """
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
