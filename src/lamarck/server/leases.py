"""Who trains what, and for how long that is believed: leases, with the tokens that fence off whoever comes back too late.

A lease's token begins with a *fence*: member, generation, the number of failures so far, and a checksum of what to restore. All of it follows
from the journal, and it changes whenever the interval is given up on or decided about anew. A token with another fence is therefore refused for
ever, also by a server that has started again and remembers no lease. A token with the right fence, on a member that nobody holds, belongs to a
worker that has been training all along: it gets its lease back.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from itertools import count
from typing import final

from lamarck.population import Member
from lamarck.types import Interval

__all__ = ["Lease", "Leases", "fence", "member_of"]


def fence(member: Member) -> str | None:
    """Returns what the token of a member's standing interval must begin with, or ``None`` if no interval stands.

    Example:
        >>> from lamarck import Interval, Member
        >>> interval = Interval(member=3, generation=7, hparams={}, start=0, until=9, restore=None, parent=None, seed=0)
        >>> fence(Member(id=3, interval=interval, failures=1)), fence(Member(id=3))
        ('3-7-1-00000000', None)
    """
    interval = member.interval
    if interval is None:
        return None
    return f"{interval.member}-{interval.generation}-{member.failures}-{zlib.crc32((interval.restore or '').encode()):08x}"


def member_of(token: str) -> int | None:
    """Returns the member that a token speaks of, or ``None`` if it is no token.

    Example:
        >>> member_of("3-7-1-00000000-9f86d081"), member_of("x")
        (3, None)
    """
    head = token.partition("-")[0]
    return int(head) if head.isascii() and head.isdecimal() and len(head) < 10 else None


@final
@dataclass(slots=True, kw_only=True)
class Lease:
    """A worker's hold on a member.

    Args:
        worker: Who holds it.
        interval: What it trains.
        message: The same, encoded.
        token: What it shows whenever it speaks of the interval.
        deadline: When the lease ends, on a clock that only runs forward. A heartbeat moves it.
    """

    worker: str
    interval: Interval
    message: bytes
    token: str
    deadline: float


@final
class Leases:
    """All leases of a run, by member, worker and token."""

    def __init__(self) -> None:
        self._by_member: dict[int, Lease] = {}
        self._by_worker: dict[str, Lease] = {}
        self._mine, self._granted = secrets.token_hex(4), count()  # no two grants have the same end, in any process

    def __len__(self) -> int:
        return len(self._by_member)

    def __iter__(self) -> Iterator[Lease]:
        return iter(list(self._by_member.values()))

    def copy(self) -> Leases:
        """Returns the same leases in a table of their own."""
        other = copy(self)
        other._by_member, other._by_worker = self._by_member.copy(), self._by_worker.copy()
        return other

    def of_member(self, member: int) -> Lease | None:
        """Returns who holds a member."""
        return self._by_member.get(member)

    def of_worker(self, worker: str) -> Lease | None:
        """Returns what a worker holds."""
        return self._by_worker.get(worker)

    def token(self, member: Member) -> str:
        """Returns a new token for the standing interval of a member."""
        return f"{fence(member)}-{self._mine}{next(self._granted):x}"

    def put(self, lease: Lease) -> Lease:
        """Notes a lease; the worker holds nothing else from now on."""
        self.drop(lease.worker)
        self._by_member[lease.interval.member] = lease
        self._by_worker[lease.worker] = lease
        return lease

    def drop(self, worker: str) -> Lease | None:
        """Takes back what a worker holds, and returns it."""
        lease = self._by_worker.pop(worker, None)
        if lease is not None:
            del self._by_member[lease.interval.member]
        return lease
