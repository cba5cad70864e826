"""The one request that every worker makes for every interval: what it says, and what it is answered.

It is answered without the framework wherever that can be (`lamarck.server.direct`), because the objects that make other routes short to write
would cost it more than its decision does. What is said here holds both ways.
"""

from __future__ import annotations

import asyncio
from typing import final
from urllib.parse import unquote_plus

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lamarck import codec
from lamarck._errors import LamarckError, ReportError
from lamarck.server.leases import Lease
from lamarck.server.run import Answer, Asked
from lamarck.server.service import Service
from lamarck.server.wire import body_of, error_answer, number_in, problem, truth_in, word_in
from lamarck.types import Failure, Report

__all__ = ["MAX_BODY", "MAX_WAIT", "PATH", "Exchange", "Reply", "asked_in", "plain", "reply_to"]

PATH = "/v1/runs/{run}/exchange"
"""Where it is asked."""

MAX_BODY = 1 << 20
"""Longest report, in bytes."""

MAX_WAIT = 60.0
"""Seconds that a worker may wait for an interval in one request."""

Reply = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers and body."""

_JSON = (b"content-type", b"application/json")


def asked_in(query: bytes, body: bytes) -> Asked:
    """Reads what a worker says.

    Args:
        query: The parameters, as they stand in the address; of one that comes twice, the last counts.
        body: The message, or nothing.

    Raises:
        LamarckError: If that is not what a worker may say.

    Example:
        >>> asked_in(b"worker=a%2Fb&claim=false", b"")
        Asked(worker='a/b', token=None, message=None, claim=False, wait=0.0)
    """
    plain = query.decode("latin-1")
    pairs = [part.partition("=") for part in plain.split("&") if part]
    given = {name: value for name, _, value in pairs}
    if "%" in plain or "+" in plain:
        given = {unquote_plus(name): unquote_plus(value) for name, value in given.items()}
    worker, token = word_in(given, "worker"), given.get("lease")
    if token is not None:
        word_in(given, "lease")
    claim, wait = truth_in(given, "claim", True), number_in(given, "wait", 0.0, 0.0, MAX_WAIT)
    message = codec.decode(body) if body else None
    if message is not None and not isinstance(message, Report | Failure):
        raise ReportError(f"got a {type(message).__name__}; a worker says a Report, a Failure, or nothing")
    return Asked(worker, token, message, claim, wait)


def plain(response: Response) -> Reply:
    """Returns an answer without the framework's object around it."""
    return response.status_code, response.raw_headers, bytes(response.body)


def reply_to(result: Answer | LamarckError) -> Reply:
    """Writes what came of it."""
    if result is None:
        return 204, [], b""
    if isinstance(result, LamarckError):
        return plain(error_answer(result))
    if isinstance(result, Lease):
        body, lease = result.message, [(b"lamarck-lease", result.token.encode())]
    else:
        body, lease = codec.encode(result), []
    return 200, [_JSON, (b"content-length", b"%d" % len(body)), *lease], body


@final
class Exchange:
    """Takes a report in and hands an interval out.

    Args:
        service: Whose runs are trained.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, as an ASGI application."""
        try:
            run, body = self._service.run(scope["path_params"]["run"]), await body_of(receive, MAX_BODY)
            exchange, gone = asyncio.ensure_future(run.exchange(asked_in(scope["query_string"], body))), asyncio.ensure_future(_gone(receive))
            try:
                await asyncio.wait((exchange, gone), return_when=asyncio.FIRST_COMPLETED)
                if not exchange.done():
                    raise ClientDisconnect
                status, headers, content = reply_to(await exchange)
            finally:
                exchange.cancel()
                gone.cancel()
        except LamarckError as error:
            status, headers, content = reply_to(error)
        except ClientDisconnect:
            await problem(400, "ServiceError", "the connection broke in the middle of the request")(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})


async def _gone(receive: Receive) -> None:
    """Returns when the other side has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass
