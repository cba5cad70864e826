"""``lamarck token``."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from lamarck._errors import SettingsError

__all__ = ["EXAMPLES", "token"]

EXAMPLES = """Examples:

  lamarck token tokens.txt --role worker --days 30 --label cluster
  lamarck token tokens.txt --role viewer
  export LAMARCK_TOKEN=$(lamarck token tokens.txt --role worker)
"""


def token(
    file: Annotated[Path, Parameter(help="File of tokens, for lamarck serve --tokens; it is made if it is not there.")],
    /,
    *,
    role: Annotated[Literal["worker", "viewer"], Parameter(help="worker: may train and create runs. viewer: may look.")],
    days: Annotated[int | None, Parameter(help="Days for which it holds. By default for ever.")] = None,
    label: Annotated[str, Parameter(help="What to call it, for people.")] = "",
) -> None:
    """Make a token, and add its hash to a file.

    The token itself is printed once and kept nowhere. To take it back, delete
    its line from the file; a server that runs notices.
    """
    if days is not None and not 1 <= days <= 36_500:
        raise SettingsError(f"--days: got {days}; it must be a whole number from 1 to 36500")
    from lamarck.server.tokens import add_token

    until = None if days is None else datetime.now(UTC).date() + timedelta(days=days)
    made = add_token(file, role, until=until, label=label)
    print(f"added to {file}: a token for {role}s, {'for ever' if until is None else f'until {until}'}", file=sys.stderr)
    print(made)
