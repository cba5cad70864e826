"""The live page beside a run of this process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from cyclopts import Parameter

from lamarck._errors import require

__all__ = ["Dashboard", "live_page"]

Dashboard = Annotated[bool, Parameter(help="Show the run on a page of this machine while it goes on.", negative=())]
"""How commands ask whether to show the page."""


@contextmanager
def live_page(journal: Path, name: str, *, wanted: bool) -> Iterator[None]:
    """Serves the page of a run and says where, for as long as the block lasts.

    Args:
        journal: The journal, which may still be missing.
        name: Name of the run.
        wanted: Whether to.

    Raises:
        MissingExtra: If it is wanted, and the server is not installed.
    """
    if not wanted:
        yield
        return
    require("uvicorn", "serve", "The live page")
    from lamarck.web.dashboard import dashboard

    with dashboard(journal) as url:
        print(f"live page: {url}" + ("" if name == "main" else f"/?run={quote(name)}"), file=sys.stderr)
        yield
