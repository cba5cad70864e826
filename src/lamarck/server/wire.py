"""Between HTTP and what it stands for: bodies of a limited size, parameters that are checked, errors with their status."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive

from lamarck._errors import (
    CheckpointDamaged,
    CheckpointMissing,
    CodecError,
    JournalConflict,
    JournalError,
    LamarckError,
    NotAllowed,
    RunMissing,
    ServiceError,
    SettingsError,
    StaleReport,
)

__all__ = ["TooLarge", "body_of", "error_answer", "json_answer", "json_of", "number_in", "problem", "truth_in", "word_in"]

_STATUS: tuple[tuple[type[LamarckError], int], ...] = (
    (NotAllowed, 403),
    (RunMissing, 404),
    (CheckpointMissing, 404),
    (CheckpointDamaged, 422),
    (StaleReport, 409),
    (JournalConflict, 409),  # another server has the run: to ask this one again is of no use
    (JournalError, 503),
    (ServiceError, 503),
)
_WORD = re.compile(r"[!-~]{1,200}", re.ASCII)
_DEPTH = 100
_POLITE = 1 << 26
"""Bytes too many that are still read, and thrown away: who is interrupted in the middle hears no answer."""


class TooLarge(ServiceError):
    """A request with more in its body than is allowed."""


def problem(status: int, error: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Returns an answer that refuses something."""
    return json_answer({"error": error, "message": message}, status, headers)


def error_answer(error: LamarckError) -> Response:
    """Returns the answer for an error: 409 for what came too late, 503 for what may be tried again, 422 for what cannot be."""
    if isinstance(error, TooLarge):
        return problem(413, "ServiceError", str(error), {"Connection": "close"})
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 422)
    return problem(status, type(error).__name__, str(error), {"Retry-After": "1"} if status == 503 else None)


def json_answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Returns an answer in JSON."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return Response(text.encode(errors="replace"), status, headers, media_type="application/json")


async def body_of(receive: Receive, limit: int) -> bytes:
    """Returns a request's body.

    Args:
        receive: What the request comes through.
        limit: Most bytes.

    Raises:
        TooLarge: If there are more.
        ClientDisconnect: If the other side hangs up before its end.
    """
    parts, size, more = list[bytes](), 0, True
    while more and size <= limit + _POLITE:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size <= limit:
            parts.append(part)
    if size > limit:
        raise TooLarge(f"the request has more than {limit:,} bytes; keep large things in checkpoints")
    return b"".join(parts)


def json_of(data: bytes) -> Any:
    """Reads JSON from outside, strictly.

    Raises:
        CodecError: If it is none, or nested too deep.
    """
    try:
        value = json.loads(data.decode(), parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False).encode()  # half a character can be escaped, but not written again
    except (ValueError, RecursionError) as error:
        raise CodecError(f"the body is not JSON: {error}") from None
    if _depth(value) > _DEPTH:
        raise CodecError(f"the body is nested deeper than {_DEPTH}")
    return value


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _depth(value: Any) -> int:
    depth, layer = 0, [value]
    while layer:
        depth += 1
        layer = [item for it in layer if isinstance(it, dict | list) for item in (it.values() if isinstance(it, dict) else it)]
    return depth


def word_in(query: Mapping[str, str], name: str) -> str:
    """Returns a parameter that names something: 1 to 200 visible ASCII characters.

    Raises:
        SettingsError: If it is missing or of another form.
    """
    got = query.get(name)
    if got is None or not _WORD.fullmatch(got):
        raise SettingsError(f"{name}: got {got!r}; it must be 1 to 200 visible ASCII characters")
    return got


def truth_in(query: Mapping[str, str], name: str, default: bool) -> bool:
    """Returns a parameter that is true or false.

    Raises:
        SettingsError: If it is neither.
    """
    got = query.get(name)
    if got not in (None, "true", "false"):
        raise SettingsError(f"{name}: got {got!r}; it must be true or false")
    return default if got is None else got == "true"


def number_in(query: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    """Returns a parameter that is a number in a range.

    Raises:
        SettingsError: If it is not.
    """
    got = query.get(name)
    if got is None:
        return default
    try:
        value = float(got) if got.isascii() else math.nan
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise SettingsError(f"{name}: got {got!r}; it must be a number from {low:g} to {high:g}")
    return value
