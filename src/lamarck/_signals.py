"""Signals that ask this process to stop: Ctrl-C, the end of the terminal, and what a batch system sends before it takes the machine away."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, final

__all__ = ["BATCH", "STOPS", "Terminated", "hush", "listen", "raise_for", "say", "stop", "stoppable"]

BATCH = (signal.SIGTERM, signal.SIGHUP)
"""Those that Python itself lets end a process on the spot: from a batch system, and from a terminal that goes away."""

STOPS = (signal.SIGINT, *BATCH)
"""All of them."""

_given: dict[int, Any] = {}
"""What our handler stands in for."""

_answers: dict[int, Callable[[int], object]] = {}
"""Who answers now."""

_owner: list[int] = []
"""The process that they are for."""


@final
class Terminated(SystemExit):
    """The process was asked to end, by SIGTERM or SIGHUP. It does so in order, with the status that a shell would show.

    Args:
        number: The signal.

    Example:
        >>> Terminated(15).code
        143
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


def raise_for(number: int) -> NoReturn:
    """Raises what a signal stands for: `KeyboardInterrupt` for Ctrl-C, `Terminated` for the others."""
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)


def stop(number: int) -> NoReturn:
    """Answers a signal by an exception; the next one ends the process, wherever it is."""
    for other in _given:
        signal.signal(other, signal.SIG_DFL)
    raise_for(number)


@contextmanager
def stoppable(numbers: Collection[int], answer: Callable[[int], object] = stop) -> Iterator[None]:
    """Answers signals, as `listen` does, for as long as the block lasts; within another block it is the inner one that answers.

    Args:
        numbers: Which signals.
        answer: Is called with the signal, in the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, found = dict(_answers), {number: signal.getsignal(number) for number in numbers}
    listen(numbers, answer)
    try:
        yield
    finally:
        for number, handler in found.items():
            if number in _given and handler is not _heard:
                signal.signal(number, handler)
            if number not in before:
                _given.pop(number, None)
                _answers.pop(number, None)
        _answers.update(before)


def listen(numbers: Collection[int], answer: Callable[[int], object] = stop) -> None:
    """Answers signals from now on.

    A signal that the process was started to ignore, as under ``nohup``, stays ignored, and one that somebody else answers is left to them.
    Processes that are forked are ended by signals as they would be without us. Only a main thread hears signals; others change nothing.

    Args:
        numbers: Which signals.
        answer: Is called with the signal, in the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    _owner[:] = [os.getpid()]
    for number in numbers:
        found = signal.getsignal(number)
        if found in (signal.SIG_DFL, signal.default_int_handler):  # from the beginning, or since `stop` has given it back
            _given[number] = found
            signal.signal(number, _heard)
        if signal.getsignal(number) is _heard:
            _answers[number] = answer


def hush() -> bool:
    """Lets go of output that nobody can read any more, as on a terminal that is gone: writing there is no error then. Returns if there was."""
    poll, found = select.poll(), False
    for stream in (1, 2):
        poll.register(stream, select.POLLOUT)
    for stream, state in poll.poll(0):
        if state & (select.POLLERR | select.POLLHUP):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream)
            os.close(nowhere)
            found = True
    return found


def say(text: str) -> None:
    """Writes a line on standard error, if there is still somebody to read it."""
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # gone; just being written to by what was interrupted; closed
        print(text, file=sys.stderr, flush=True)  # noqa: T201


def _heard(number: int, _: FrameType | None) -> None:
    if _owner != [os.getpid()]:  # forked so recently that `_give_back` has not been called, or past Python
        _give_back()
        signal.raise_signal(number)
        return
    if number == signal.SIGHUP:
        hush()
    _answers[number](number)


def _give_back() -> None:
    for number, handler in _given.items():
        signal.signal(number, handler)
    _given.clear()
    _answers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_give_back)
