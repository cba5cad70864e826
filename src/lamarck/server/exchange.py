"""The one request that every worker makes for every interval, answered with as little between as there can be.

It speaks ASGI itself, because the objects that make other routes short to write would cost it more than its decision does.
"""

from __future__ import annotations

from functools import partial
from typing import final
from urllib.parse import unquote_plus

from starlette.types import Receive, Scope, Send

from lamarck import codec
from lamarck._errors import LamarckError, ReportError
from lamarck.server.service import Service
from lamarck.server.wire import TooLarge, error_answer, number_in, problem, truth_in, word_in
from lamarck.types import Ended, Failure, Report

__all__ = ["MAX_BODY", "MAX_WAIT", "Exchange"]

MAX_BODY = 1 << 20
"""Longest report, in bytes."""

MAX_WAIT = 60.0
"""Seconds that a worker may wait for an interval in one request."""

_POLITE = 64 * MAX_BODY
_JSON = (b"content-type", b"application/json")


@final
class Exchange:
    """Takes a report in and hands an interval out.

    Args:
        service: Whose runs are trained.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        try:
            status, headers, body = await self._answer(scope, receive)
        except LamarckError as error:
            await error_answer(error)(scope, receive, send)
        except ConnectionResetError:
            await problem(400, "ServiceError", "the connection broke in the middle of the request")(scope, receive, send)
        else:
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        run = self._service.run(scope["path_params"]["run"])
        query = _query(scope["query_string"])
        worker, token = word_in(query, "worker"), query.get("lease")
        if token is not None:
            word_in(query, "lease")
        claim, wait = truth_in(query, "claim", True), number_in(query, "wait", 0.0, 0.0, MAX_WAIT)
        data = await _body(receive)
        answer = await run.exchange(worker, token, _message(data) if data else None, claim=claim, wait=wait, gone=partial(_gone, receive))
        if answer is None:
            return 204, [], b""
        if isinstance(answer, Ended):
            body, lease = codec.encode(answer), []
        else:
            body, lease = codec.encode(answer.interval), [(b"lamarck-lease", answer.token.encode())]
        return 200, [_JSON, (b"content-length", b"%d" % len(body)), *lease], body


def _query(text: bytes) -> dict[str, str]:
    """Reads parameters; of one that comes twice, the last counts.

    Example:
        >>> _query(b"worker=a%20b&wait=20&odd"), _query(b"")
        ({'worker': 'a b', 'wait': '20', 'odd': ''}, {})
    """
    plain = text.decode("latin-1")
    pairs = [part.partition("=") for part in plain.split("&") if part]
    if "%" in plain or "+" in plain:
        return {unquote_plus(name): unquote_plus(value) for name, _, value in pairs}
    return {name: value for name, _, value in pairs}


async def _body(receive: Receive) -> bytes:
    parts, size, more = list[bytes](), 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size <= MAX_BODY:
            parts.append(part)
        elif size > MAX_BODY + _POLITE:
            break
    if size > MAX_BODY:
        raise TooLarge(f"the report has more than {MAX_BODY:,} bytes; keep large things in checkpoints")
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _gone(receive: Receive) -> None:
    """Returns when the other side has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _message(data: bytes) -> Report | Failure:
    record = codec.decode(data)
    if not isinstance(record, Report | Failure):
        raise ReportError(f"got a {type(record).__name__}; a worker says a Report, a Failure, or nothing")
    return record
