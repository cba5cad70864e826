"""One run of the service: its coordinator, and the leases on its members.

Whatever changes a run is an *order*. All orders that come in one turn of the event loop are carried out together, in a single transaction, and
only when that is on the disk are they answered: the more workers ask at once, the fewer waits for the disk each of them costs. Claims that
cannot be met yet are parked and tried again after every batch, first come first served. There is no thread and no lock: the loop is the only
writer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, final

from lamarck._errors import JournalError, LamarckError, ReportError, ServiceError, StaleReport, StrategyError
from lamarck.coordinator import Coordinator
from lamarck.population import Population
from lamarck.server.leases import Lease, Leases, fence, member_of
from lamarck.server.source import MemberState
from lamarck.types import Ended, Failure, Report

__all__ = ["Answer", "Run"]

Answer = Lease | Ended | None
"""What a worker is told: its next interval, that the run is over, or that there is nothing to train now."""

Gone = Callable[[], Coroutine[Any, Any, None]]

logger = logging.getLogger("lamarck.server")

_MEMORY = 3600.0
"""Seconds for which it is remembered what a worker said last."""

_WAIT = object()


@final
@dataclass(slots=True, eq=False)
class _Order:
    do: Callable[[], object]
    future: asyncio.Future[Any]
    wait: float = 0.0
    gone: Gone | None = None
    given_up: bool = False

    def park(self) -> None:
        """Waits, but not longer than was asked for, and not for somebody who is not there any more."""
        loop = self.future.get_loop()
        timer = loop.call_later(self.wait, self.give_up)
        self.future.add_done_callback(lambda _: timer.cancel())
        if self.gone is not None:
            watch = asyncio.ensure_future(self.gone())
            watch.add_done_callback(lambda _: self.give_up())
            self.future.add_done_callback(lambda _: watch.cancel())

    def give_up(self) -> None:
        """Is told, when it has waited long enough, that there is nothing."""
        self.given_up = True
        if not self.future.done():
            self.future.set_result(None)


@final
@dataclass(slots=True)
class _Asked:
    worker: str
    token: str | None
    message: Report | Failure | None
    claim: bool
    patient: bool


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
        self._orders: list[_Order] = []
        self._parked: deque[_Order] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        # Who trained these when the server stopped may be training still: until a lease has passed nobody else gets them.
        self._reserved: set[int] = set(self.population.standing) if reserve else set()
        self._reserved_until = self._ticked + lease
        for member in self._reserved:
            coordinator.hold(_reserved(member), member)

    async def exchange(
        self,
        worker: str,
        token: str | None,
        message: Report | Failure | None,
        *,
        claim: bool = True,
        wait: float = 0.0,
        gone: Gone | None = None,
    ) -> Answer:
        """Takes in what a worker says and hands it its next interval; when this returns, both are on the disk.

        Args:
            worker: Who asks.
            token: Of the lease that the message is about.
            message: What came of it, or ``None``.
            claim: Whether the worker wants another interval.
            wait: Seconds to wait for one, if there is none yet.
            gone: Returns when the worker has hung up, and nobody would hear the answer.

        Raises:
            StaleReport: If the interval is not this worker's any more.
            ReportError: If the report cannot be counted.
            JournalError: If nothing can be written; then nothing has changed.
        """
        asked = _Asked(worker, token, message, claim, wait > 0)
        order = self._order(lambda: self._exchange(asked), wait, gone)
        try:
            answer: Answer = await order.future
            return answer
        finally:
            order.given_up = True

    async def heartbeat(self, worker: str, token: str) -> None:
        """Prolongs a lease.

        Raises:
            StaleReport: If it is not this worker's any more.
        """
        lease = self._leases.of_worker(worker)
        if lease is not None and lease.token == token:
            lease.deadline = self._clock() + self.lease
        else:
            await self._order(lambda: self._adopt(worker, token)).future

    async def release(self, worker: str, token: str) -> None:
        """Gives an interval back, to be trained by somebody else; this is not a failure. A lease that is over already is no error."""
        await self._order(lambda: self._release(worker, token)).future

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
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        self._answer([(order, ServiceError("the server is stopping; ask again in a moment")) for order in self._parked])
        self._parked.clear()

    # ---- orders ------------------------------------------------------------------------------------------------------------------------------

    def _order(self, do: Callable[[], object], wait: float = 0.0, gone: Gone | None = None) -> _Order:
        if self._stopped:
            raise ServiceError("the server is stopping; ask again in a moment")
        loop = asyncio.get_running_loop()
        order = _Order(do, loop.create_future(), wait, gone)
        if not self._orders:
            loop.call_soon(loop.call_soon, self._batch)  # a turn later, when all who are being read have been heard
        self._orders.append(order)
        if self._timer is None:
            self._timer = loop.call_later(self.lease / 8, self._look_round)
        return order

    def _look_round(self) -> None:
        """Looks for lost workers also when nobody says anything."""
        self._timer = asyncio.get_running_loop().call_later(self.lease / 8, self._look_round)
        if not self._orders:
            self._batch()

    def _batch(self) -> None:
        orders, self._orders = self._orders, []
        before = self._leases.copy(), self._said.copy(), self._reserved.copy(), self._parked.copy()
        parked, results = list[_Order](), list[tuple[_Order, object]]()
        try:
            with self.coordinator.batch() as answers:
                self._tick()
                for order in orders:
                    result = _result(order)
                    if result is _WAIT:
                        parked.append(order)
                    else:
                        results.append((order, result))
                self._parked.extend(parked)
                self._serve_parked(results)
                answers.append(lambda: self._answer(results))
                answers.extend(order.park for order in parked)
        except Exception as error:
            logger.error("nothing could be written, and nothing has changed: %s", error, exc_info=not isinstance(error, JournalError))
            self._leases, self._said, self._reserved, self._parked = before
            self._answer([(order, error) for order in orders])

    def _serve_parked(self, results: list[tuple[_Order, object]]) -> None:
        while self._parked:
            order = self._parked[0]
            result = None if order.given_up else _result(order)
            if result is _WAIT:
                return  # whom nothing can be given now, and so nobody behind either
            self._parked.popleft()
            results.append((order, result))

    def _answer(self, results: list[tuple[_Order, object]]) -> None:
        for order, result in results:
            if order.future.done():
                continue
            if isinstance(result, Exception):
                order.future.set_exception(result)
            else:
                order.future.set_result(result)
        if self.coordinator.population is not self.population:
            self.population = self.coordinator.population
            changed, self.changed = self.changed, asyncio.Event()
            changed.set()

    # ---- what orders do, inside a batch ------------------------------------------------------------------------------------------------------

    def _exchange(self, asked: _Asked) -> object:
        if asked.message is not None and asked.token is None:
            raise ReportError("lease is missing; a report shows the lease of its interval, which came with it")
        self._seen[asked.worker] = self._clock()
        if asked.message is not None and (self._said.get(asked.worker) == asked.token or not self._is_new(asked)):
            asked.message = None  # heard before
        if asked.message is None:
            held = self._leases.of_worker(asked.worker)
            if not asked.claim or held is not None:  # whose answer was lost on its way, or whose words come late
                return held if asked.claim else None
        coordinator = self.coordinator
        try:
            interval = coordinator.exchange(asked.worker, asked.message, claim=asked.claim)
        except StrategyError:  # the report itself is kept
            self._heard(asked)
            raise
        self._heard(asked)
        if interval is not None:
            member = coordinator.population.members[interval.member]
            return self._leases.grant(asked.worker, member, deadline=self._clock() + self.lease)
        if coordinator.over:
            reason: Any = coordinator.population.ended
            return Ended(reason=reason)
        return _WAIT if asked.patient and asked.claim else None

    def _heard(self, asked: _Asked) -> None:
        """Notes that a message is in the journal, or will be when the batch is, and that its lease has served."""
        self._leases.drop(asked.worker)
        if asked.message is not None:
            self._said[asked.worker], asked.message = asked.token, None

    def _is_new(self, asked: _Asked) -> bool:
        """Whether a message is this worker's to say and was not heard before; refuses what comes from the dead."""
        message, population = asked.message, self.coordinator.population
        assert message is not None
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
        self._leases.put(Lease(worker=worker, interval=member.interval, token=token, deadline=self._clock() + self.lease))
        return True

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


def _result(order: _Order) -> object:
    try:
        return order.do()
    except Exception as error:
        return error


def _same(population: Population, report: Report) -> bool:
    """Whether a report is the one that was acknowledged."""
    try:
        record = population.record(report.key)
    except ReportError:
        return False
    return (record.step, repr(record.value), record.checkpoint) == (report.step, repr(report.value), report.checkpoint)
