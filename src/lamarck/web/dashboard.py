# ruff: noqa: E402 - the error for those without the extra comes first
"""The live page over a journal file: beside a run of this process, or for a run that is over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lamarck._errors import require

require("starlette", "serve", "lamarck.web.dashboard")

from starlette.applications import Starlette

from lamarck.server.app import guarded
from lamarck.server.serve import background
from lamarck.server.tokens import Tokens
from lamarck.web.fetching import fetch_command
from lamarck.web.live import page_routes
from lamarck.web.readonly import JournalSource

__all__ = ["dashboard", "viewer"]


def viewer(source: JournalSource, *, tokens: Tokens | None = None) -> Starlette:
    """Returns the application that shows a journal and changes nothing.

    Args:
        source: The journal.
        tokens: Who may look; ``None`` lets everybody on this machine, and nobody from elsewhere.
    """
    return guarded(page_routes(source, fetch=lambda run: fetch_command(source.journal, run)), tokens)


@contextmanager
def dashboard(journal: str | os.PathLike[str], *, port: int = 0) -> Iterator[str]:
    """Shows a journal at an address of this machine alone, in a thread, for as long as the block lasts.

    Args:
        journal: The file; it may still be missing.
        port: Port, or 0 for any that is free.

    Yields:
        The URL.

    Raises:
        ServiceError: If the port is taken.
        JournalError: If the file is not a journal.

    Example:
        >>> from urllib.request import urlopen
        >>> with dashboard("run.db") as url:
        ...     page = urlopen(url).read().decode()
        >>> "Value over time" in page
        True
    """
    source = JournalSource(Path(journal))
    try:
        with background(viewer(source), port=port, stopping=source.stop) as url:
            yield url
    finally:
        source.close()
