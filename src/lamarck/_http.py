"""Requests to a server of the service: one connection that is kept, and patience with servers that are away for a while.

Everything that is asked here may be asked twice: reports are known by their leases, checkpoints by their names. So whatever goes wrong on the
way is tried again, with pauses that grow, until an answer comes or the patience ends.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import IO, Any, NoReturn, final
from urllib.parse import urlsplit

from lamarck import _errors
from lamarck._errors import LamarckError, NotAllowed, ServiceError, SettingsError

__all__ = ["Answer", "Connection", "refused"]

_AGAIN = frozenset({408, 425, 429, 502, 503, 504})
_FAULTS = (OSError, http.client.HTTPException)
_PAUSE = 0.05
_LONGEST = 10.0

Body = bytes | Iterable[bytes]


@final
@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said.

    Args:
        status: HTTP status, below 400 or one that was asked for.
        headers: Its headers; names are matched without case.
        body: All of it.
    """

    status: int
    headers: Message
    body: bytes


@final
class _Lines:
    """Reads lines, and remembers the last one."""

    def __init__(self, inner: IO[bytes]) -> None:
        self.inner, self.last = inner, b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def readline(self, limit: int = -1) -> bytes:
        self.last = self.inner.readline(limit)
        return self.last


class _WholeResponse(http.client.HTTPResponse):
    """Refuses an answer whose headers break off; its base takes the end of the connection for the end of the headers."""

    def begin(self) -> None:
        """Reads the headers."""
        inner: Any = self.fp
        lines: Any = _Lines(inner)
        self.fp = lines
        super().begin()
        if self.fp is lines:
            self.fp = inner
        if lines.last.strip() or not lines.last:
            raise http.client.IncompleteRead(lines.last)
        if self.length is None and not self.chunked:
            raise http.client.IncompleteRead(b"")  # nobody could tell whether the body was whole


@final
class Connection:
    """A connection to a server, which is made anew whenever it breaks. One thread at a time may use it.

    Args:
        url: ``http://host:port`` or ``https://host``, with a path before ours if there is one.
        token: What proves that we may; by default the environment variable ``LAMARCK_TOKEN``.
        ca: File of the certificates to trust, for a server that signed its own; by default the system's.
        timeout: Seconds to wait for a single answer, beyond what the server was asked to wait.
        patience: Seconds to go on trying.

    Raises:
        SettingsError: If the URL is not one.
    """

    def __init__(
        self, url: str, token: str | None = None, *, ca: str | os.PathLike[str] | None = None, timeout: float = 30.0, patience: float = 3600.0
    ) -> None:
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError as error:
            raise SettingsError(f"url: got {url!r}: {error}; give one like http://host:8765") from None
        if parts.scheme not in ("http", "https") or not self._host or parts.query or parts.fragment or parts.username:
            raise SettingsError(f"url: got {url!r}; give one like http://host:8765 or https://host, without a user, a query or a fragment")
        self.url, self._base = url.rstrip("/"), parts.path.rstrip("/")
        self._tls = ssl.create_default_context(cafile=ca) if parts.scheme == "https" else None
        given = os.environ.get("LAMARCK_TOKEN") if token is None else token
        if given is not None and not (given.isascii() and given.isprintable()):
            raise SettingsError("token: it must be printable ASCII; was it copied whole?")
        self._headers = {} if not given else {"Authorization": f"Bearer {given}"}
        self._token, self._ca = token, ca
        self._timeout, self.patience = timeout, patience
        self._open: http.client.HTTPConnection | None = None
        self._dice = random.Random(os.urandom(8))  # noqa: S311 - spreads retries; the global generator is the user's

    def twin(self) -> Connection:
        """Returns another connection to the same server, for another thread."""
        return Connection(self.url, self._token, ca=self._ca, timeout=self._timeout, patience=self.patience)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        wait: float = 0.0,
        fine: tuple[int, ...] = (),
    ) -> Answer:
        """Asks until there is an answer.

        Args:
            method: ``"GET"`` and so on.
            path: From ``/v1`` on.
            body: What to send.
            headers: What to send beside it.
            wait: Seconds that the server was asked to wait.
            fine: Statuses from 400 on that are no errors here.

        Raises:
            LamarckError: The server's own, if it refused.
            ServiceError: If it could not be reached for as long as the patience lasts.
        """
        end, pause = time.monotonic() + self.patience, _PAUSE
        while True:
            try:
                response = self.send(method, path, body, headers=headers, wait=wait)
                answer = Answer(response.status, response.headers, response.read())
            except _FAULTS as error:
                self.close()
                if isinstance(error, ssl.SSLCertVerificationError):
                    raise ServiceError(f"{self.url}: the server's certificate is not trusted ({error.verify_message}); give ca=...") from None
                why, after = f"{type(error).__name__}: {error}", 0.0
            else:
                if answer.status not in _AGAIN or answer.status in fine:
                    if answer.status < 400 or answer.status in fine:
                        return answer
                    refused(answer.status, answer.body)
                why, after = f"status {answer.status}: {_message(answer.body)}", _seconds(answer.headers.get("Retry-After"))
            pause = min(_LONGEST, pause * 2)
            rest = max(after, pause * self._dice.uniform(0.5, 1.0))
            if time.monotonic() + rest > end:
                raise ServiceError(f"{self.url} gave no answer for {self.patience:g} s ({why}); is it running, and is this its address?")
            time.sleep(rest)

    def send(
        self, method: str, path: str, body: Body = b"", *, headers: Mapping[str, str] | None = None, wait: float = 0.0
    ) -> http.client.HTTPResponse:
        """Asks once and returns the answer, whose body is still to be read.

        Raises:
            OSError: If the connection breaks; also `http.client.HTTPException`. `close` it then.
        """
        connection = self._open
        if connection is None:
            if self._tls is None:
                connection = http.client.HTTPConnection(self._host, self._port)
            else:
                connection = http.client.HTTPSConnection(self._host, self._port, context=self._tls)
            connection.response_class = _WholeResponse
            self._open = connection
        connection.timeout = self._timeout + wait
        if connection.sock is not None:
            connection.sock.settimeout(self._timeout + wait)
        connection.request(method, self._base + path, body or None, {**self._headers, **(headers or {})})
        return connection.getresponse()

    def close(self) -> None:
        """Lets go of the connection; the next request makes another."""
        connection, self._open = self._open, None
        if connection is not None:
            connection.close()

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):  # it was never made, or everything ends
            self.close()


def refused(status: int, body: bytes) -> NoReturn:
    """Raises what a server has refused something with.

    Raises:
        LamarckError: Always: the one that the server named, if it is one.
    """
    try:
        named = json.loads(body)
        kind, message = getattr(_errors, str(named["error"]), None), str(named["message"])
    except (ValueError, TypeError, KeyError):
        kind, message = None, _message(body)
    if status in (401, 403):
        raise NotAllowed(message)
    if isinstance(kind, type) and issubclass(kind, LamarckError):
        raise kind(message)
    raise ServiceError(f"the server refused this with status {status}: {message}")


def _message(body: bytes) -> str:
    text = body[:300].decode(errors="replace")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, TypeError, KeyError):
        return text or "no explanation"


def _seconds(text: str | None) -> float:
    try:
        return min(60.0, max(0.0, float(text or 0)))
    except ValueError:
        return 0.0
