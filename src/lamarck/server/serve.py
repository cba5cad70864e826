# ruff: noqa: E402 - the error for those without the extra comes first
"""From an application to a server that listens: in this thread until somebody stops it, or in another one beside what goes on here."""

from __future__ import annotations

import gc
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

from lamarck._errors import ServiceError, require

require("uvicorn", "serve", "lamarck.server.serve")

import uvicorn
from starlette.applications import Starlette

from lamarck._signals import STOPS, stoppable

__all__ = ["background", "serve"]

_GRACE = 5
"""Seconds that requests in progress get when the server stops."""


_YOUNG = 50_000
"""New objects after which Python looks for cycles among them; a group of orders holds thousands, and leaves none behind."""


@final
class _Server(uvicorn.Server):
    """Lets whoever waits go before it waits for them."""

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Takes the end of the terminal for what it is, too; what was ignored from the start, as under ``nohup``, stays ignored."""
        heard: list[int] = []

        def answer(number: int) -> None:
            heard.append(number)
            self.handle_exit(number, None)

        with stoppable(STOPS, answer):
            yield
        for number in heard[:1]:
            signal.raise_signal(number)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping()
        await super().shutdown(sockets)


def serve(
    app: Starlette,
    listener: socket.socket,
    *,
    stopping: Callable[[], None],
    certificate: Path | None = None,
    key: Path | None = None,
) -> None:
    """Serves until SIGINT, SIGTERM or SIGHUP, then finishes what is in progress.

    Args:
        app: The application.
        listener: A socket that listens.
        stopping: Is called first, to let go of requests that wait for something.
        certificate: File of the certificate chain, for TLS.
        key: File of its key.
    """
    server = _Server(_config(app, certificate, key), stopping)
    gc.collect()
    gc.freeze()  # what is there already stays, and need not be looked through again and again for what can go
    gc.set_threshold(_YOUNG)
    server.run(sockets=[listener])


@contextmanager
def background(app: Starlette, *, host: str = "127.0.0.1", port: int = 0, stopping: Callable[[], None] = lambda: None) -> Iterator[str]:
    """Serves in a thread of its own, for as long as the block lasts.

    Args:
        app: The application.
        host: Address to listen at.
        port: Port, or 0 for any that is free.
        stopping: Is called first when the block ends, to let go of requests that wait for something.

    Yields:
        The URL.

    Raises:
        ServiceError: If the port is taken.
    """
    with listening(host, port) as listener:
        server = _Server(_config(app), stopping)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="lamarck-serve", daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.005)
        try:
            yield f"http://{host}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def listening(host: str, port: int) -> socket.socket:
    """Returns a socket that listens.

    Raises:
        ServiceError: If the address cannot be had.
    """
    if not 0 <= port <= 65535:
        raise ServiceError(f"port: got {port}; it must be from 0, for any that is free, to 65535")
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048)
    except OSError as error:
        raise ServiceError(
            f"cannot listen at {host}, port {port}: {getattr(error, 'strerror', None) or error}; give another --port or --host"
        ) from None


def _config(app: Starlette, certificate: Path | None = None, key: Path | None = None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=getattr(app.state, "protocol", "auto"),
        access_log=False,  # it would write down the whole address of every request; the application logs what matters
        log_config=None,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=_GRACE,
        timeout_keep_alive=75,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
