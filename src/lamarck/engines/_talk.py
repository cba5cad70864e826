"""What a worker and whoever provides it say to each other, whatever carries the bytes."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from lamarck import codec
from lamarck._errors import LamarckError, ReportError, StaleReport, TrainingError
from lamarck.checkpoints import Weights
from lamarck.engines.engine import Train
from lamarck.training import Worker, attempt, raised, seed_everything
from lamarck.types import Failure, Interval, Report

__all__ = ["BROKEN", "HEARD", "INTERVAL", "MESSAGE", "OVER", "READY", "REFUSED", "STALE", "converse", "told", "unloadable"]

INTERVAL, OVER, HEARD, STALE, REFUSED = b"I", b"O", b"H", b"S", b"R"
"""First byte of what a worker is told: here is an interval; nothing more to do; heard; too late; not possible."""

READY, MESSAGE, BROKEN = b"?", b"!", b"X"
"""First byte of what it says: I am free; here is a report or failure; I cannot go on at all."""


def converse(train: Train, say: Callable[[bytes], bytes], weights: Weights, seed: int) -> bytes | None:
    """Trains until the run is over, or the training function cannot go on.

    Args:
        train: The training function.
        say: Says something and returns the answer.
        weights: Where weights are kept.
        seed: Seed of the run.

    Returns:
        What is left to say and has no answer: why it cannot go on.
    """

    def transport(message: Report | Failure | None) -> Interval | None:
        return _answer(say(READY if message is None else MESSAGE + codec.encode(message)))

    while True:
        worker = Worker(transport, weights)
        seed_everything(seed & 0xFFFFFFFF)
        try:
            error = attempt(train, worker)
        except LamarckError as broken:
            return told(broken)
        if error is None:
            return None
        assert worker.current is not None
        failure = raised(worker.current, error)
        # The traceback travels beside the failure: it is for the user's eyes, not for the journal.
        say(MESSAGE + codec.encode(failure) + b"\n" + _trace(error).encode())


def told(error: LamarckError) -> bytes:
    """Which error ends a worker and what it says, and below that what the user's own code has raised, if that is behind it."""
    cause = f"\n{_trace(error.__cause__)}" if isinstance(error, TrainingError) and error.__cause__ is not None else ""
    return BROKEN + f"{type(error).__name__}\n{error}{cause}".encode()


def unloadable(error: Exception, cure: str) -> LamarckError:
    """Returns what to tell of a worker that cannot begin.

    Args:
        error: What it met.
        cure: What to do about it.
    """
    if isinstance(error, LamarckError):
        return error
    made = TrainingError(f"the training function cannot be loaded in a worker process: {type(error).__name__}: {error}; {cure}")
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
