"""Exchanges, answered without a task and an application between the connection and the run.

uvicorn reads HTTP and makes of each request a task that goes through the application. For the one request that is asked for most (`PATH`) that
takes longer than the decision itself, so here it goes from the parser to the run's orders and from the commit to the socket. It passes the same
door, is read and answered by the same functions, and is counted with the others. Whatever is not an ordinary exchange takes uvicorn's way:
other addresses, requests that come before the last one is answered, long bodies, bodies in chunks.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from functools import partial
from typing import Any, ClassVar, final

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from lamarck._errors import LamarckError
from lamarck.server.exchange import PATH, Reply, asked_in, plain, reply_to
from lamarck.server.guard import Door
from lamarck.server.metrics import Metrics
from lamarck.server.orders import Order
from lamarck.server.service import Service
from lamarck.server.wire import problem

__all__ = ["Direct", "is_known"]

logger = logging.getLogger("lamarck.server")

_KNOWN = (34, 54)
"""The first and the last minor version of uvicorn 0 whose protocol has been read and tried. It is no public interface."""

_ADDRESS = re.compile(re.escape(PATH).replace(r"\{run\}", r"([\w.-]+)").encode() + rb"(?:\?([^#]*))?", re.ASCII)
_SHORT = 1 << 16
_CLOSE = (b"connection", b"close")


def is_known(version: str = uvicorn.__version__) -> bool:
    """Returns whether this uvicorn is one whose protocol is known; with any other, exchanges go through the application.

    Args:
        version: Its version.

    Example:
        >>> is_known("0.40.1"), is_known("0.33.0"), is_known("1.0.0rc1")
        (True, False, False)
    """
    found = re.match(r"0\.(\d+)", version)
    return found is not None and _KNOWN[0] <= int(found[1]) <= _KNOWN[1]


@final
class _Cycle:
    """A request in progress, with what uvicorn's protocol looks for in one."""

    __slots__ = ("began", "body", "disconnected", "keep_alive", "order", "query", "response_complete", "run")

    message_event: ClassVar = asyncio.Event()  # is set when something comes; nobody waits for it here

    def __init__(self, run: str, query: bytes) -> None:
        self.run, self.query, self.body = run, query, b""
        self.began = time.perf_counter()
        self.keep_alive, self.disconnected, self.response_complete = True, False, False
        self.order: Order | None = None


@final
class Direct(HttpToolsProtocol):
    """One connection.

    Args:
        service: Whose runs are trained.
        door: What every request has to pass.
        metrics: Where to count.
        **uvicorn: What uvicorn gives its protocols.
    """

    cycle: Any
    scope: Any

    def __init__(self, *, service: Service, door: Door, metrics: Metrics, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._service, self._door, self._metrics = service, door, metrics
        self._direct: _Cycle | None = None

    def on_headers_complete(self) -> None:
        """Chooses the way that a request takes, when all but its body is there."""
        found = _ADDRESS.fullmatch(self.url)
        if found is None or not self._is_ordinary():
            super().on_headers_complete()
            return
        self.scope.update(method="POST", path=self.url.partition(b"?")[0].decode(), query_string=found[2] or b"")
        self.cycle = self._direct = _Cycle(found[1].decode(), found[2] or b"")

    def on_body(self, body: bytes) -> None:
        """Takes a part of a body in."""
        if isinstance(self.cycle, _Cycle):
            self.cycle.body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Hands a request on."""
        cycle = self.cycle
        if not isinstance(cycle, _Cycle):
            super().on_message_complete()
            return
        try:
            refusal = self._door.refusal(self.scope)
            if refusal is None:
                cycle.order = self._service.run(cycle.run).ask(asked_in(cycle.query, cycle.body), partial(self._tell, cycle))
            else:
                self._reply(cycle, plain(refusal))
        except Exception as error:
            self._tell(cycle, error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Gives up what nobody waits for any more."""
        super().connection_lost(exc)
        if self._direct is not None and self._direct.order is not None:
            self._direct.disconnected = True
            self._direct.order.give_up()

    def _is_ordinary(self) -> bool:
        if self.cycle is not None and not self.cycle.response_complete:
            return False
        parser = self.parser
        if parser.get_method() != b"POST" or parser.should_upgrade() or not parser.should_keep_alive() or self.expect_100_continue:
            return False
        length = 0
        for name, value in self.headers:
            if name == b"content-length":
                length = int(value)
            elif name == b"transfer-encoding":
                return False
        return length <= _SHORT

    def _tell(self, cycle: _Cycle, result: Any) -> None:
        if isinstance(result, Exception) and not isinstance(result, LamarckError):
            logger.error("an exchange could not be carried out: %s", result, exc_info=result)
            self._reply(cycle, plain(problem(500, "ServiceError", "the server made a mistake, which its log describes")))
        else:
            self._reply(cycle, reply_to(result))

    def _reply(self, cycle: _Cycle, reply: Reply) -> None:
        status, headers, body = reply
        self._metrics.answered(PATH, status, time.perf_counter() - cycle.began)
        cycle.response_complete, cycle.order = True, None
        if cycle.disconnected:
            return
        if not cycle.keep_alive:
            headers = [*headers, _CLOSE]
        lines = [b"%b: %b\r\n" % header for header in headers]
        self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()
