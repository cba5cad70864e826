"""What the guards have found, for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from rich.text import Text

from lamarck.guards import Finding

__all__ = ["render"]

_STYLES = {"warning": "bold yellow", "note": "bold"}
_INDENT = len("warning  ")


def render(findings: Sequence[Finding], width: int) -> Iterator[Text]:
    """Yields the findings, in lines of at most so many characters.

    Example:
        >>> from lamarck.guards import Finding
        >>> [found] = render([Finding(name="noise", severity="note", text="Two words.")], width=14)
        >>> str(found).splitlines()
        ['note     Two', '         words.']
    """
    for finding in findings:
        lines = textwrap.wrap(finding.text, max(1, width - _INDENT), break_long_words=False, break_on_hyphens=False)
        yield Text.assemble((finding.severity.ljust(_INDENT), _STYLES[finding.severity]), ("\n" + " " * _INDENT).join(lines))
