"""The door: every request shows a token before anything else is looked at.

Without tokens a server listens on this machine alone. There the danger is a web page that talks to it through somebody's browser, so requests
that come from another page, or under another name than this machine's, are refused.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache
from http.cookies import CookieError, SimpleCookie
from typing import final
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lamarck.server.tokens import Tokens
from lamarck.server.wire import problem

__all__ = ["COOKIE", "Door", "Guard", "Patience"]

COOKIE = "lamarck-token"
"""The cookie in which a browser keeps a viewer's token, after ``/?token=...`` was opened once."""

_REMEMBERED = 10_000
_OPEN = frozenset({"/healthz"})
_LOOKING = frozenset({"GET", "HEAD"})
_Headers = Mapping[bytes, bytes]
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})


@final
class Patience:
    """How often an address may fail: ten times, and then once in six seconds.

    Args:
        clock: Seconds that only run forward.

    Example:
        >>> patience = Patience(clock=lambda: 0.0)
        >>> [patience.failed("a") for _ in range(10)].count(None)
        10
        >>> patience.wait("a"), patience.wait("b")
        (6, 0)
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, burst: int = 10, every: float = 6.0) -> None:
        self._clock, self._burst, self._every = clock, burst, every
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, address: str) -> int:
        """Returns for how many seconds an address is not listened to; 0 if it is."""
        left = self._now(address)
        return 0 if left >= 1 else math.ceil((1 - left) * self._every)

    def failed(self, address: str) -> None:
        """Notes a failure."""
        self._left[address] = (self._now(address) - 1, self._clock())
        self._left.move_to_end(address)
        if len(self._left) > _REMEMBERED:  # whoever failed longest ago is nearly as good as new
            self._left.popitem(last=False)

    def _now(self, address: str) -> float:
        left, at = self._left.get(address, (float(self._burst), 0.0))
        return min(float(self._burst), left + (self._clock() - at) / self._every)


@final
class Door:
    """Looks at whoever comes.

    Args:
        tokens: Who may come; ``None`` lets everybody on this machine.
        clock: Seconds that only run forward.
    """

    def __init__(self, tokens: Tokens | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._tokens, self._patience = tokens, Patience(clock)

    def refusal(self, scope: Scope) -> Response | None:
        """Returns what somebody is answered who may not ask for what a request asks for; ``None`` lets it through."""
        headers = dict(reversed(scope["headers"]))  # of one that comes twice, the first counts
        return self._stranger(headers) if self._tokens is None else self._unknown(scope, headers, self._tokens)

    def _stranger(self, headers: _Headers) -> Response | None:
        host, origin = _text(headers, b"host"), headers.get(b"origin")
        if _address(f"//{host}")[0] not in _HERE:
            return problem(403, "NotAllowed", f"this server answers to the names of its own machine only, and was called {host[:100]!r}")
        if origin is not None and _address(origin.decode("latin-1"))[1] != host:
            return problem(403, "NotAllowed", "this server does not answer to other pages")
        return None

    def _unknown(self, scope: Scope, headers: _Headers, tokens: Tokens) -> Response | None:
        looking = scope["method"] in _LOOKING
        token, introduced = _token(headers, looking), None
        if token is None and looking and scope["path"] == "/":
            query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
            token = introduced = query.pop("token", None)
        role = None if token is None else tokens.role(token)
        if role is None:  # who has a good one is let in also if others come from the same address, as from behind one gateway
            return self._turned_away((scope.get("client") or ("?",))[0], token)
        if role == "viewer" and not looking:
            return problem(403, "NotAllowed", "this token is for looking; workers need one that was made for workers")
        if introduced is not None:  # a browser: from now on it shows the cookie, and its history and our logs no token
            answer = RedirectResponse("/" + ("?" + urlencode(query) if query else ""), 303)
            answer.set_cookie(COOKIE, introduced, httponly=True, samesite="strict", secure=scope["scheme"] == "https", max_age=30 * 86400)
            return answer
        return None

    def _turned_away(self, address: str, token: str | None) -> Response:
        wait = self._patience.wait(address)
        if wait:
            return problem(429, "NotAllowed", "too many wrong tokens came from this address; wait a little", {"Retry-After": str(wait)})
        self._patience.failed(address)
        why = "a token is needed" if token is None else "this token is not known here, or has ended"
        cure = "set LAMARCK_TOKEN, or send the header Authorization: Bearer TOKEN; `lamarck token` makes one"
        return problem(401, "NotAllowed", f"{why}: {cure}", {"WWW-Authenticate": "Bearer"})


@final
class Guard:
    """Lets through what may come.

    Args:
        app: What is behind the door.
        door: The door.
    """

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or passes it on."""
        refusal = self._door.refusal(scope) if scope["type"] == "http" and scope["path"] not in _OPEN else None
        await (self._app if refusal is None else refusal)(scope, receive, send)


def _token(headers: _Headers, looking: bool) -> str | None:
    kind, _, token = _text(headers, b"authorization").partition(" ")
    if kind.lower() == "bearer" and token:
        return token.strip()
    if not looking:  # a page elsewhere may make a browser send cookies, but never a header
        return None
    try:
        cookie = SimpleCookie(_text(headers, b"cookie")).get(COOKIE)
    except CookieError:
        return None
    return None if cookie is None else cookie.value


def _text(headers: _Headers, name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1")


@lru_cache(maxsize=256)
def _address(url: str) -> tuple[str | None, str | None]:
    """Host, and host with port, or nothing if it is no address."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None, None
    return parts.hostname, parts.netloc
