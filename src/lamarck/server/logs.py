"""What the server writes down: one line for each thing that happened, for people or for programs. Tokens never get here."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Literal, final

__all__ = ["logging_to_stderr"]


@final
class _Structured(logging.Formatter):
    """One JSON object in each line."""

    def format(self, record: logging.LogRecord) -> str:
        said = {"at": _at(record), "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            said["error"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)


@final
class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = f"{_at(record)} {record.levelname.lower()}: {record.getMessage()}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


@contextmanager
def logging_to_stderr(form: Literal["text", "json"], *, verbose: bool) -> Iterator[None]:
    """Writes what this package and its server say to standard error.

    Args:
        form: ``"text"`` for people, ``"json"`` for programs: an object in each line, with ``at``, ``level``, ``logger`` and ``message``.
        verbose: Whether each report and each decision gets a line, too; otherwise only what somebody should look at.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Structured() if form == "json" else _Plain())
    loggers = [logging.getLogger(name) for name in ("lamarck", "uvicorn.error")]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO if verbose else logging.WARNING)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


def _at(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
