"""What people are told when something goes wrong: what it was and what to do, never how Lamarck works inside."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from lamarck._errors import LamarckError, PopulationLost, TrainingError

__all__ = ["own_traceback", "plain_warnings", "show"]

_Info = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

_PACKAGE = str(Path(__file__).resolve().parent.parent)


def show(error: LamarckError) -> int:
    """Writes an error to standard error.

    Args:
        error: What happened. If the user's own code is the cause, its traceback is shown as well, and nothing of ours.

    Returns:
        The exit status: 1 if the user's code failed, 2 if something was asked for that cannot be.
    """
    cause = error.__cause__
    if isinstance(error, TrainingError) and cause is not None and not isinstance(error, PopulationLost):  # that of a lost one is in the log
        print(own_traceback(cause), end="", file=sys.stderr)
        print(f"lamarck: {error}", file=sys.stderr)
        return 1
    print(f"lamarck: {error}", file=sys.stderr)
    return 1 if isinstance(error, TrainingError) else 2


def own_traceback(error: BaseException) -> str:
    """Returns an exception's traceback without the frames of this package and of the import system.

    If that leaves nothing, which happens in training functions that are part of the package, all frames stay.
    """
    told = traceback.TracebackException.from_exception(error, capture_locals=False)
    for part in _chain(told):
        own = [frame for frame in part.stack if not (frame.filename.startswith((_PACKAGE, "<frozen importlib")))]
        part.stack = traceback.StackSummary.from_list(own or list(part.stack))
    return "".join(told.format())


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Shows the tracebacks in warnings in the same way, where nobody has set up logging."""
    handler = logging.lastResort
    if handler is None:
        yield
        return
    formatter = handler.formatter
    handler.setFormatter(_Formatter())
    try:
        yield
    finally:
        handler.setFormatter(formatter)


class _Formatter(logging.Formatter):
    def formatException(self, info: _Info) -> str:  # noqa: N802 - the base class names it
        return own_traceback(info[1]).rstrip() if info[1] is not None else ""


def _chain(told: traceback.TracebackException | None) -> list[traceback.TracebackException]:
    parts: list[traceback.TracebackException] = []
    waiting = [told]
    while waiting:
        part = waiting.pop()
        if part is not None:
            parts.append(part)
            waiting += [part.__cause__, part.__context__]
    return parts
