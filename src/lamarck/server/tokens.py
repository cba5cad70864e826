"""Who may do what: random tokens, of which the server keeps only the hashes.

A file of tokens has one line for each: who it is for, when it ends, the SHA-256 of the token, and a name for people. It holds no secret, and
may be edited while the server runs: whoever deletes a line takes the token back.

    worker  2027-01-31  9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08  cluster
    viewer  never       60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752  alice

A token has 256 random bits, so a plain hash of it cannot be guessed from, and needs neither salt nor repetition.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal, final, get_args

from lamarck._errors import SettingsError

__all__ = ["Role", "Tokens", "add_token"]

Role = Literal["worker", "viewer"]
"""Workers may do everything that a run needs; viewers may look."""

logger = logging.getLogger("lamarck.server")

_LINE = re.compile(r"(\w+)\s+(never|\d{4}-\d\d-\d\d)\s+([0-9a-f]{64})(?:\s+(.*))?")


@final
@dataclass(frozen=True, slots=True)
class _Entry:
    role: Role
    until: date | None
    digest: bytes


def add_token(path: Path, role: Role, *, until: date | None = None, label: str = "") -> str:
    """Makes a token and adds its hash to a file, which is made if it is not there.

    Args:
        path: The file.
        role: Who the token is for.
        until: Last day on which it holds (UTC), or ``None`` for ever.
        label: What to call it, for people.

    Returns:
        The token. It is not kept anywhere.

    Raises:
        SettingsError: If the file is not one of tokens, or cannot be written.
    """
    if not label.isprintable() or len(label) > 100:
        raise SettingsError(f"label: got {label!r}; it must be one line of at most 100 characters")
    token = f"lmk-{role}-{secrets.token_urlsafe(32)}"
    line = f"{role}  {'never' if until is None else until.isoformat():<10}  {_digest(token).hex()}  {label}".rstrip() + "\n"
    if path.exists():
        _read(path)
    try:
        path.touch(0o600)
        with path.open("a", encoding="utf-8") as file:
            file.write(line)
    except OSError as error:
        raise SettingsError(f"{path}: the file of tokens cannot be written: {error.strerror}") from None
    return token


@final
class Tokens:
    """The tokens that a server accepts.

    Args:
        path: Their file. It is read again when it changes.
        today: Returns the day, in UTC.

    Raises:
        SettingsError: If there is no such file, or it is not one of tokens.
    """

    def __init__(self, path: Path, *, today: Callable[[], date] = lambda: datetime.now(UTC).date()) -> None:
        self._path, self._today = path, today
        self._entries, self._seen = _read(path), _stamp(path)

    def role(self, token: str) -> Role | None:
        """Returns who a token is for, or ``None`` if it is unknown or has ended.

        It is compared with all that are known, each in constant time, so how long this takes tells nothing about any of them.
        """
        self._look_again()
        digest, found = _digest(token), None
        for entry in self._entries:
            if hmac.compare_digest(entry.digest, digest) and (entry.until is None or self._today() <= entry.until):
                found = entry.role
        return found

    def _look_again(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._entries = _read(self._path)
        except SettingsError as error:
            logger.error("the tokens stay as they were: %s", error)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()


def _read(path: Path) -> list[_Entry]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: the file of tokens cannot be read: {error}; make one with `lamarck token`") from None
    entries = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None or found[1] not in get_args(Role):
            raise SettingsError(f"{path}, line {number}: this is not a line that `lamarck token` writes; delete it, or give another file")
        try:
            until = None if found[2] == "never" else date.fromisoformat(found[2])
        except ValueError:
            raise SettingsError(f"{path}, line {number}: {found[2]!r} is no day; write one as in 2027-01-31, or never") from None
        role: Role = "worker" if found[1] == "worker" else "viewer"
        entries.append(_Entry(role, until, bytes.fromhex(found[3])))
    return entries
