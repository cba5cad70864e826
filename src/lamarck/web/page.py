"""The page that report and live view share: one skeleton, one style, and JavaScript modules that name each other through an import map."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

__all__ = ["LIBRARY", "MODULES", "STYLES", "assemble", "asset", "import_map", "inlined", "plain_json"]

MODULES = ("app", "chart", "derived", "dom", "lines", "members", "model", "parallel", "store", "tree", "words")
"""JavaScript modules, which import each other as ``lamarck/<name>``."""

LIBRARY = "vendor/uPlot.iife.min.js"
"""uPlot (https://github.com/leeoniya/uPlot, MIT licence, beside it): axes and zoom on a canvas. Here, so that a page needs no network."""

STYLES = ("vendor/uPlot.min.css", "style.css")
"""Style sheets, in order."""

_ASSETS = files("lamarck.web").joinpath("assets")


def asset(name: str) -> str:
    """Returns the text of a file that belongs to the page."""
    return _ASSETS.joinpath(name).read_text(encoding="utf-8")


def import_map(address: Callable[[str], str]) -> str:
    """Returns the import map, as JSON, in which each module has the address that is given for its file."""
    return json.dumps({"imports": {f"lamarck/{name}": address(f"{name}.js") for name in MODULES}}, separators=(",", ":"))


def plain_json(value: Any) -> str:
    r"""Writes JSON that may stand in a page: nothing in it can end a script, whatever the text says.

    Example:
        >>> plain_json({"name": "</script>"})
        '{"name":"\\u003c/script>"}'
    """
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def assemble(head: Sequence[str], data: Sequence[str]) -> str:
    """Returns the page.

    Args:
        head: Lines that complete the head: styles, the import map, scripts.
        data: Lines that stand at the end of the body.
    """
    return asset("index.html").replace("<!--head-->", "\n".join(head)).replace("<!--data-->", "\n".join(data))


def inlined(name: str) -> str:
    """Returns the address of a file that is its own content."""
    return "data:text/javascript;base64," + base64.b64encode(asset(name).encode()).decode()
