"""``lamarck serve``."""

from __future__ import annotations

import asyncio
import ipaddress
import shlex
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from lamarck._errors import JournalError, SettingsError, require
from lamarck._signals import STOPS, Terminated, say, stoppable
from lamarck.cli.plans import read_plan

if TYPE_CHECKING:
    from lamarck.server.service import Service
    from lamarck.server.tokens import Tokens

__all__ = ["EXAMPLES", "serve"]

EXAMPLES = """Examples:

  lamarck serve service.db --run cifar.toml
  lamarck token tokens.txt --role worker --days 30
  lamarck serve service.db --host 0.0.0.0 --tokens tokens.txt \\
      --certificate cert.pem --key key.pem
  lamarck serve service.db --checkpoints s3://bucket/runs
  lamarck serve --readonly train.db
"""

_FACTOR = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def serve(
    journal: Annotated[Path, Parameter(help="Journal of all runs; it is made if it is not there.")],
    /,
    *,
    host: Annotated[str, Parameter(help="Address to listen at. Beyond this machine only with --tokens.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port to listen at; 0 for any that is free.")] = 8765,
    run: Annotated[
        tuple[Path, ...],
        Parameter(help="Description of a run to begin, or to go on with: a .toml file. May be repeated.", negative=(), show_default=False),
    ] = (),
    tokens: Annotated[Path | None, Parameter(help="File of the tokens that are accepted; lamarck token makes it.")] = None,
    checkpoints: Annotated[
        str | None, Parameter(help="Folder or URL that all workers reach themselves. By default checkpoints go through the server.")
    ] = None,
    lease: Annotated[float, Parameter(help="Seconds without a word after which a worker counts as lost.")] = 60.0,
    certificate: Annotated[Path | None, Parameter(help="Certificate chain, for https.")] = None,
    key: Annotated[Path | None, Parameter(help="Key of the certificate.")] = None,
    max_checkpoint: Annotated[str, Parameter(help="Largest checkpoint that may go through the server, as in 500M or 16G.")] = "16G",
    readonly: Annotated[bool, Parameter(help="Only show the journal: no worker may join.", negative=())] = False,
    log: Annotated[Literal["text", "json"], Parameter(help="How to write to standard error what should be looked at.")] = "text",
    verbose: Annotated[bool, Parameter(help="Write each report and each decision, too.", negative=())] = False,
) -> None:
    """Serve runs to workers on any machine, and a page to whoever looks.

    Workers join with lamarck.connect("http://host:port", run="name"). What was
    reported is in the journal before it is acknowledged: the server may be
    stopped or killed at any time, and started again on the same journal.
    """
    for module in ("starlette", "uvicorn", "httptools", "prometheus_client"):
        require(module, "serve", "lamarck serve")
    if (certificate is None) != (key is None):
        raise SettingsError("https needs both: --certificate and --key")
    for file in (certificate, key):
        if file is not None and not file.is_file():
            raise SettingsError(f"there is no file {str(file)!r}")
    if tokens is None and not _is_this_machine(host):
        raise SettingsError(
            f"--host {host} lets others in, and then everybody needs a token: make one with `lamarck token tokens.txt --role worker`, "
            "and give --tokens tokens.txt"
        )
    limit = _bytes(max_checkpoint)
    from lamarck.server.logs import logging_to_stderr
    from lamarck.server.serve import listening
    from lamarck.server.serve import serve as listen
    from lamarck.server.tokens import Tokens

    known = None if tokens is None else Tokens(tokens)
    plans = [read_plan(file) for file in run]
    scheme = "http" if certificate is None else "https"
    with logging_to_stderr(log, verbose=verbose), stoppable(STOPS), listening(host, port) as listener:
        url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        if readonly:
            if plans:
                raise SettingsError("--readonly shows a journal, and --run would write to it; leave one of them out")
            _show(journal, known, url, lambda app, stop: listen(app, listener, stopping=stop, certificate=certificate, key=key))
            return
        from lamarck.server.app import app
        from lamarck.server.metrics import Metrics
        from lamarck.server.service import Service
        from lamarck.web.fetching import fetch_command
        from lamarck.web.live import page_routes

        def fetch(name: str) -> str:
            return fetch_command(journal, name, None if checkpoints is None else f"{checkpoints.rstrip('/')}/{name}")

        metrics = Metrics()
        with closing(Service(journal, shared=checkpoints, lease=lease, observers=[metrics.observe])) as service:
            for plan in plans:
                asyncio.run(service.create(plan))
            _welcome(service, url, known, secret=scheme == "https" or _is_this_machine(host))
            pages = page_routes(service, fetch=fetch)
            application = app(service, tokens=known, metrics=metrics, routes=pages, max_checkpoint=limit)
            try:
                listen(application, listener, stopping=service.stop, certificate=certificate, key=key)
            except (KeyboardInterrupt, Terminated):
                again = f"lamarck serve {shlex.quote(str(journal))}"
                say(f"\nstopped; what was acknowledged is in the journal. Go on with: {again}")


def _welcome(service: Service, url: str, tokens: Tokens | None, *, secret: bool) -> None:
    names = service.runs()
    token = "" if tokens is None else ", with the token in LAMARCK_TOKEN"
    print(f"page:    {url}" + ("" if tokens is None else "/?token=TOKEN"), file=sys.stderr)
    print(f'workers: lamarck.connect("{url}", run="{names[0] if names else "NAME"}"){token}', file=sys.stderr)
    print(f"runs:    {', '.join(names) or 'none yet: give --run FILE, or lamarck create URL FILE'}", file=sys.stderr)
    if not secret:
        print("warning: without --certificate and --key whoever listens on the way reads the tokens", file=sys.stderr)


def _show(journal: Path, tokens: Tokens | None, url: str, listen: object) -> None:
    if not journal.is_file():
        raise JournalError(f"{journal}: there is no journal of that name to show")
    from lamarck.web.dashboard import viewer
    from lamarck.web.readonly import JournalSource

    assert callable(listen)
    with closing(JournalSource(journal)) as source:
        print(f"page: {url}" + ("" if tokens is None else "/?token=TOKEN"), file=sys.stderr)
        try:
            listen(viewer(source, tokens=tokens), source.stop)
        except (KeyboardInterrupt, Terminated):
            return


def _is_this_machine(host: str) -> bool:
    """Whether only this machine can reach an address.

    Example:
        >>> _is_this_machine("localhost"), _is_this_machine("127.0.0.2"), _is_this_machine("::1"), _is_this_machine("0.0.0.0")
        (True, True, True, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bytes(text: str) -> int:
    """Reads a number of bytes.

    Example:
        >>> _bytes("500M"), _bytes("16G"), _bytes("123")
        (500000000, 16000000000, 123)
    """
    number, unit = (text[:-1], text[-1]) if text[-1:] in _FACTOR else (text, "")
    if not number.isdecimal() or int(number) < 1:
        raise SettingsError(f"--max-checkpoint: got {text!r}; give a number of bytes, as in 500M or 16G")
    return int(number) * _FACTOR[unit]
