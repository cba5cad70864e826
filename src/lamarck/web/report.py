"""The report: a run as one HTML file that needs nothing else, not even a network."""

from __future__ import annotations

import base64
import os
import zlib
from pathlib import Path

from lamarck._files import whole
from lamarck.history import History
from lamarck.web.data import Columns, description, final_states
from lamarck.web.page import LIBRARY, STYLES, assemble, asset, import_map, inlined, plain_json
from lamarck.web.summary import summary

__all__ = ["report", "write_report"]

_POLICY = "default-src 'none'; script-src 'unsafe-inline' data:; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""What the file may do in a browser: run and show what is in it, and fetch nothing."""


def report(history: History, *, fetch: str | None = None) -> str:
    """Returns a run as one HTML page.

    It shows values, hyperparameters and lineage over time, the members, the winner's ancestry and schedule, and says in words what happened,
    how the run was made and what to cite. Everything is in the file: every report with every digit, compressed, and the program that draws
    them. The page may load nothing from anywhere, and says so to the browser.

    Args:
        history: The run, also while it is going on.
        fetch: Command that fetches the best weights, to be shown; by default none.

    Example:
        >>> import lamarck as lk
        >>> def train(worker):
        ...     worker.track(x=(lambda: 0, lambda state: None))
        ...     for interval in worker:
        ...         interval.report(interval.hparams["lr"])
        >>> history = lk.run(train, lk.Space(lr=lk.Float(0.0, 1.0)), population_size=4, interval=5, generations=3)
        >>> page = report(history)
        >>> page.startswith("<!doctype html>"), "http-equiv" in page, len(page) < 300_000
        (True, True, True)
    """
    columns = Columns(history.started)
    for record in history.records:
        columns.put(record)
    data = {
        "description": description(history.started),
        "reports": columns.batch(),
        "retired": sorted(history.retired),
        "members": final_states(history),
        "words": summary(history, fetch),
    }
    packed = base64.b64encode(zlib.compress(plain_json(data).encode(), 9)).decode()
    head = [
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        *(f"<style>{asset(name)}</style>" for name in STYLES),
        f'<script type="importmap">{import_map(inlined)}</script>',
        f"<script>{asset(LIBRARY)}</script>",
    ]
    tail = [f'<script type="text/plain" id="data">{packed}</script>', f'<script type="module">{asset("report.js")}</script>']
    return assemble(head, tail)


def write_report(history: History, path: str | os.PathLike[str], *, fetch: str | None = None) -> Path:
    """Writes a run as one HTML file, all of it or nothing; see `report`.

    Args:
        history: The run.
        path: The file; an older one is replaced.
        fetch: Command that fetches the best weights, to be shown.

    Returns:
        The file.
    """
    page = report(history, fetch=fetch)
    with whole(path) as draft:
        draft.write_text(page, encoding="utf-8")
    return Path(path)
