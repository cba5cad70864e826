"""Tells the documentation's reader of docstrings that our section "Example" is what it calls "Examples"."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object


class OneExample(Extension):
    """Renames the section in every docstring."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Is called for each module, class, function and attribute that was read."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
