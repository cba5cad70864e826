"""One run of the service: its coordinator, and the leases on its members.

Whatever changes a run is an order (`lamarck.server.orders`): there is one writer, and what is answered is on the disk.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, final

from lamarck._errors import CheckpointError, LamarckError, ReportError, StaleReport, StrategyError
from lamarck.coordinator import Coordinator
from lamarck.population import Population
from lamarck.server.leases import Lease, Leases, fence, member_of
from lamarck.server.orders import WAIT, Order, Orders
from lamarck.server.source import MemberState
from lamarck.types import Ended, Failure, Interval, Report

__all__ = ["Answer", "Asked", "Run"]

Answer = Lease | Ended | None
"""What a worker is told: its next interval, that the run is over, or that there is nothing to train now."""

logger = logging.getLogger("lamarck.server")

_MEMORY = 3600.0
"""Seconds for which it is remembered what a worker said last."""


@final
@dataclass(frozen=True, slots=True)
class Asked:
    """What a worker says and wants in one request.

    Args:
        worker: Who asks.
        token: Of the lease that the message is about.
        message: What came of it, or ``None``.
        claim: Whether the worker wants another interval.
        wait: Seconds to wait for one, if there is none yet.
    """

    worker: str
    token: str | None = None
    message: Report | Failure | None = None
    claim: bool = True
    wait: float = 0.0


@final
class Run:
    """A run that workers all over the network train.

    Args:
        coordinator: The run. Nobody else may use it from now on.
        location: Where workers find the checkpoints themselves, or ``None`` if they go through the server.
        lease: Seconds without a word after which a worker counts as lost.
        reserve: Whether somebody may still be training what was handed out before, so that it waits for a lease; ``False`` where all workers
            have ended with whoever kept the run.
        clock: Seconds that only run forward.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        *,
        location: str | None = None,
        lease: float = 60.0,
        reserve: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.coordinator, self.location, self.lease = coordinator, location, lease
        self.population: Population = coordinator.population
        self.changed = asyncio.Event()
        self._clock, self._ticked = clock, clock()
        self._leases = Leases()
        self._said: dict[str, str | None] = {}  # the token of each worker's last message: one that comes twice is known by it
        self._seen: dict[str, float] = {}
        self._orders = Orders(self._transaction, lease / 8)  # which also looks for lost workers when nobody says anything
        # Who trained these when the server stopped may be training still: until a lease has passed nobody else gets them.
        self._reserved: set[int] = set(self.population.standing) if reserve else set()
        self._reserved_until = self._ticked + lease
        for member in self._reserved:
            coordinator.hold(_reserved(member), member)

    def ask(self, asked: Asked, tell: Callable[[Any], None]) -> Order:
        """Takes in what a worker says and hands it its next interval; when it is told which, both are on the disk.

        Args:
            asked: What it says.
            tell: Is called with the `Answer`, or with what `exchange` would raise.

        Returns:
            The order, for whoever goes before that to give it up.
        """
        return self._orders.put(partial(self._exchange, asked), tell, asked.wait)

    async def exchange(self, asked: Asked) -> Answer:
        """Does what `ask` does, for whoever can await the answer.

        Raises:
            StaleReport: If the interval is not this worker's any more.
            ReportError: If the report cannot be counted.
            JournalError: If nothing can be written; then nothing has changed.
        """
        answer: Answer = await self._orders.done(partial(self._exchange, asked), asked.wait)
        return answer

    def has(self, member: int, generation: int) -> bool:
        """Returns whether there is, was or will be such an interval."""
        return member < len(self.population) and generation < self.population.settings.generations

    async def heartbeat(self, worker: str, token: str) -> None:
        """Prolongs a lease.

        Raises:
            StaleReport: If it is not this worker's any more.
        """
        lease = self._leases.of_worker(worker)
        if lease is not None and lease.token == token:
            lease.deadline = self._clock() + self.lease
        else:
            await self._orders.done(partial(self._adopt, worker, token))

    async def release(self, worker: str, token: str) -> None:
        """Gives an interval back, to be trained by somebody else; this is not a failure. A lease that is over already is no error."""
        await self._orders.done(partial(self._release, worker, token))

    def members(self) -> list[MemberState]:
        """Returns what each member is doing."""
        population, over = self.population, self.population.ended is not None
        states = []
        for member in population.members:
            lease = self._leases.of_member(member.id)
            if member.retired:
                states.append(MemberState(member=member.id, state="retired"))
            elif lease is not None and member.interval is not None:
                states.append(MemberState(member=member.id, state="training", worker=lease.worker))
            elif over or population.generations[member.id] >= population.settings.generations:
                states.append(MemberState(member=member.id, state="done"))
            else:
                states.append(MemberState(member=member.id, state="waiting" if member.interval is None else "lost"))
        return states

    def lease_of(self, worker: str) -> Lease | None:
        """Returns what a worker holds; any thread may ask."""
        return self._leases.of_worker(worker)

    @property
    def leases(self) -> int:
        """Number of intervals that are being trained."""
        return len(self._leases)

    def stop(self) -> None:
        """Lets go of all who wait, and takes no more orders."""
        self._orders.stop()

    @contextmanager
    def _transaction(self) -> Iterator[list[Callable[[], object]]]:
        before = self._leases.copy(), self._said.copy(), self._reserved.copy()
        try:
            with self.coordinator.batch() as answers:
                self._tick()
                yield answers
                answers.append(self._moved)
        except CheckpointError as error:  # from the sweep: all is written and answered by then
            logger.warning("old checkpoints could not be deleted, which is tried again later: %s", error)
        except BaseException:
            self._leases, self._said, self._reserved = before
            raise

    def _moved(self) -> None:
        if self.coordinator.population is not self.population:
            self.population = self.coordinator.population
            changed, self.changed = self.changed, asyncio.Event()
            changed.set()

    # ---- what orders do, inside a transaction ------------------------------------------------------------------------------------------------

    def _exchange(self, asked: Asked) -> object:
        message = asked.message
        if message is not None and asked.token is None:
            raise ReportError("lease is missing; a report shows the lease of its interval, which came with it")
        self._seen[asked.worker] = self._clock()
        if message is not None and (self._said.get(asked.worker) == asked.token or not self._is_new(asked, message)):
            message = None  # heard before
        if message is None:
            held = self._leases.of_worker(asked.worker)
            if not asked.claim or held is not None:  # whose answer was lost on its way, or whose words come late
                return held if asked.claim else None
        coordinator = self.coordinator
        try:
            interval = coordinator.exchange(asked.worker, message, claim=asked.claim)
        except StrategyError:  # the report itself is kept
            self._heard(asked)
            raise
        self._heard(asked)
        if interval is not None:
            member = coordinator.population.members[interval.member]
            return self._grant(asked.worker, interval, self._leases.token(member))
        if coordinator.over:
            reason: Any = coordinator.population.ended
            return Ended(reason=reason)
        return WAIT if asked.claim and asked.wait > 0 else None

    def _heard(self, asked: Asked) -> None:
        """Notes that a message is in the journal, or will be with this transaction, and that its lease has served."""
        self._leases.drop(asked.worker)
        if asked.message is not None:
            self._said[asked.worker] = asked.token

    def _is_new(self, asked: Asked, message: Report | Failure) -> bool:
        """Whether a message is this worker's to say and was not heard before; refuses what comes from the dead."""
        population = self.coordinator.population
        if not 0 <= message.member < len(population):
            raise ReportError(f"got member {message.member}; this population has members 0 to {len(population) - 1}")
        lease = self._leases.of_member(message.member)
        key = (message.member, message.generation)
        if lease is None and asked.token is not None and self._fits(asked.worker, asked.token):
            lease = self._leases.of_member(message.member)
        if lease is not None and (lease.worker, lease.token, lease.interval.key) == (asked.worker, asked.token, key):
            return True
        if isinstance(message, Report) and _same(population, message):
            return False
        raise StaleReport(
            f"member {message.member}, generation {message.generation}, is not this worker's any more: no word came for {self.lease:g} s, or "
            "another one has reported it; throw this work away and ask for the next interval"
        )

    def _fits(self, worker: str, token: str) -> bool:
        """Gives a worker back what it has been training all along, if nobody else does."""
        number, population = member_of(token), self.coordinator.population
        if number is None or number >= len(population) or self._leases.of_member(number) is not None:
            return False
        member = population.members[number]
        mark = fence(member)
        if mark is None or member.interval is None or not token.startswith(f"{mark}-"):
            return False
        self.coordinator.release(worker)
        self.coordinator.hold(worker, number)
        self._reserved.discard(number)
        self._grant(worker, member.interval, token)
        return True

    def _grant(self, worker: str, interval: Interval, token: str) -> Lease:
        message, deadline = self.coordinator.message(interval), self._clock() + self.lease
        return self._leases.put(Lease(worker=worker, interval=interval, message=message, token=token, deadline=deadline))

    def _adopt(self, worker: str, token: str) -> None:
        lease = self._leases.of_worker(worker)
        if (lease is None or lease.token != token) and not self._fits(worker, token):
            raise StaleReport(f"the lease {token} is over: no word came for {self.lease:g} s, or its interval is settled")

    def _release(self, worker: str, token: str) -> None:
        lease = self._leases.of_worker(worker)
        if lease is not None and lease.token == token:
            self._leases.drop(worker)
            self.coordinator.release(worker)

    def _tick(self) -> None:
        """Takes back what nobody has spoken of for too long."""
        now = self._clock()
        passed = now - self._ticked
        if passed < self.lease / 8:
            return
        self._ticked = now
        if passed > self.lease / 2:  # this process stood still, not the workers
            self._reserved_until += passed
            for lease in self._leases:
                lease.deadline += passed
        if self._reserved and now > self._reserved_until:
            for member in self._reserved:
                self.coordinator.release(_reserved(member))
            self._reserved = set()
        for lease in self._leases:
            if lease.deadline < now:
                try:
                    self._lost(lease)
                except LamarckError as error:
                    logger.error("member %d was lost, and it cannot be said how to go on: %s", lease.interval.member, error)
        for worker in [worker for worker, at in self._seen.items() if at < now - _MEMORY and self._leases.of_worker(worker) is None]:
            del self._seen[worker]
            self._said.pop(worker, None)
            self.coordinator.release(worker)

    def _lost(self, lease: Lease) -> None:
        self._leases.drop(lease.worker)
        self.coordinator.release(lease.worker)
        message = f"no word from worker {lease.worker} for {self.lease:g} s"
        failure = Failure(member=lease.interval.member, generation=lease.interval.generation, kind="lost", message=message)
        self.coordinator.exchange(lease.worker, failure, claim=False)


def _reserved(member: int) -> Hashable:
    return ("reserved", member)


def _same(population: Population, report: Report) -> bool:
    """Whether a report is the one that was acknowledged."""
    try:
        record = population.record(report.key)
    except ReportError:
        return False
    return (record.step, repr(record.value), record.checkpoint) == (report.step, repr(report.value), report.checkpoint)
