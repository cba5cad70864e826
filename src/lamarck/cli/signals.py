"""Ctrl-C and SIGTERM while a run is going on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, final

__all__ = ["Terminated", "stoppable"]

_given: dict[int, Any] = {}
"""What our handlers stand in for."""


@final
class Terminated(KeyboardInterrupt):
    """Somebody has asked the process to end: what a batch system sends before it takes the machine away."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Makes the first SIGINT or SIGTERM an exception, and the second one the end of the process, wherever it is.

    A signal that the process was started to ignore, as under ``nohup``, stays ignored. Processes that training forks are ended by signals as
    they would be without us. Afterwards everything is as it was.
    """
    found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    _given.update({number: handler for number, handler in found.items() if handler is not signal.SIG_IGN})

    owner = os.getpid()

    def stop(number: int, _: FrameType | None) -> None:
        if os.getpid() != owner:  # forked so recently that `_give_back` has not been called
            _give_back()
            signal.raise_signal(number)
            return
        for other in _given:
            signal.signal(other, signal.SIG_DFL)
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    for number in _given:
        signal.signal(number, stop)
    try:
        yield
    finally:
        _give_back()


def _give_back() -> None:
    for number, handler in _given.items():
        signal.signal(number, handler)
    _given.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_give_back)
