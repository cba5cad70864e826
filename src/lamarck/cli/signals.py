"""Ctrl-C and SIGTERM while a run is going on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import final

__all__ = ["Terminated", "stoppable"]


@final
class Terminated(KeyboardInterrupt):
    """Somebody has asked the process to end: what a batch system sends before it takes the machine away."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Makes the first SIGINT or SIGTERM an exception, and the second one the end of the process, wherever it is.

    A signal that the process was started to ignore, as under ``nohup``, stays ignored. Afterwards everything is as it was.
    """
    given = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    ours = [number for number, handler in given.items() if handler is not signal.SIG_IGN]

    def stop(number: int, _: FrameType | None) -> None:
        for other in ours:
            signal.signal(other, signal.SIG_DFL)
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, given[number])
