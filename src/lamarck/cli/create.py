"""``lamarck create``."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lamarck._http import Connection
from lamarck.cli.plans import described

__all__ = ["EXAMPLES", "create"]

EXAMPLES = """Examples:

  lamarck create http://localhost:8765 cifar.toml
  LAMARCK_TOKEN=lmk-worker-... lamarck create https://host:8765 cifar.toml
"""


def create(
    url: Annotated[str, Parameter(help="The server, as in http://localhost:8765.")],
    file: Annotated[Path, Parameter(help="Description of the run: a .toml file.")],
    /,
    *,
    ca: Annotated[Path | None, Parameter(help="Certificates to trust, for a server that signed its own.")] = None,
) -> None:
    """Begin a run on a server.

    If the run is there already, with the same settings, nothing happens. The
    token is taken from the environment variable LAMARCK_TOKEN.
    """
    asked = described(file)
    with closing(Connection(url, ca=ca, patience=10.0)) as connection:
        answer = connection.ask("POST", "/v1/runs", json.dumps(asked).encode())
    name = json.loads(answer.body)["name"]
    print(f"run {name!r} {'has begun' if answer.status == 201 else 'is there already'}; join it with lamarck.connect({url!r}, run={name!r})")
