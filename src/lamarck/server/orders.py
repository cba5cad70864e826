"""What a run is asked to do, gathered into groups: each group is one transaction, and is answered when that is on the disk.

All orders that come in one turn of the event loop are carried out together: the more workers ask at once, the fewer waits for the disk each of
them costs. Orders that cannot be met yet are parked and tried again after every group, first come first served. There is no thread and no lock:
the loop is the only writer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, final

from lamarck._errors import JournalError, ServiceError

__all__ = ["WAIT", "Order", "Orders", "Transaction"]

WAIT = object()
"""What an order comes to that cannot be met yet."""

Transaction = Callable[[], AbstractContextManager[list[Callable[[], object]]]]
"""Makes what is done in a block durable, and then calls what was put into the list; if the block raises, nothing of it has happened."""

logger = logging.getLogger("lamarck.server")


@final
class Order:
    """Something to do, and whom to tell what came of it: a value, or an exception.

    Args:
        do: Does it, inside a transaction; returns `WAIT` if it cannot be done yet, and is called again then.
        tell: Is called once.
        wait: Seconds to wait, if it cannot be done yet.
    """

    __slots__ = ("_do", "_tell", "_timer", "_wait", "over")

    def __init__(self, do: Callable[[], object], tell: Callable[[Any], None], wait: float) -> None:
        self._do, self._tell, self._wait = do, tell, wait
        self._timer: asyncio.TimerHandle | None = None
        self.over = False

    def result(self) -> object:
        """Does it, and returns what came of it."""
        try:
            return self._do()
        except Exception as error:
            return error

    def answer(self, result: object) -> None:
        """Tells what came of it, unless that was told before."""
        if self.over:
            return
        self.over = True
        if self._timer is not None:
            self._timer.cancel()
        try:
            self._tell(result)
        except Exception:  # it has happened, whether it can be told or not
            logger.exception("an answer could not be given")

    def give_up(self) -> None:
        """Waits no longer: is told that there is nothing, and given nothing any more."""
        self.answer(None)

    def park(self) -> None:
        """Waits, but not longer than was asked for."""
        self._timer = asyncio.get_running_loop().call_later(self._wait, self.give_up)


@final
class Orders:
    """Carries orders out in groups.

    Args:
        transaction: What a group is carried out in.
        pause: Seconds after which there is a transaction also if nobody has ordered anything.
    """

    def __init__(self, transaction: Transaction, pause: float) -> None:
        self._transaction, self._pause = transaction, pause
        self._waiting: list[Order] = []
        self._parked: deque[Order] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    def put(self, do: Callable[[], object], tell: Callable[[Any], None], wait: float = 0.0) -> Order:
        """Takes an order; see `Order`.

        Raises:
            ServiceError: If the server is stopping.
        """
        if self._stopped:
            raise _stopping()
        order = Order(do, tell, wait)
        if not self._waiting:
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._carry_out)  # a turn later, when all who are being read have been heard
            if self._timer is None:
                self._timer = loop.call_later(self._pause, self._look_round)
        self._waiting.append(order)
        return order

    async def done(self, do: Callable[[], object], wait: float = 0.0) -> Any:
        """Takes an order and returns what came of it. Whoever is cancelled has given it up.

        Raises:
            Exception: What it came to, if it is one.
        """
        future = asyncio.get_running_loop().create_future()
        order = self.put(do, partial(_settle, future), wait)
        try:
            return await future
        finally:
            order.give_up()

    def stop(self) -> None:
        """Lets go of all who wait, and takes no more orders."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        self._let_go()

    def _let_go(self) -> None:
        for order in self._parked:
            order.answer(_stopping())
        self._parked.clear()

    def _look_round(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._pause, self._look_round)
        if not self._waiting:
            self._carry_out()

    def _carry_out(self) -> None:
        orders, self._waiting = self._waiting, []
        before = self._parked.copy()
        parked, results = list[Order](), list[tuple[Order, object]]()
        try:
            with self._transaction() as answers:
                for order in orders:
                    result = order.result()
                    if result is WAIT:
                        parked.append(order)
                    else:
                        results.append((order, result))
                self._parked.extend(parked)
                self._serve_parked(results)
                answers.extend(partial(order.answer, result) for order, result in results)
                answers.extend(order.park for order in parked)
        except Exception as error:
            logger.error("nothing could be written, and nothing has changed: %s", error, exc_info=not isinstance(error, JournalError))
            self._parked = before
            for order in orders:
                order.answer(error)
        if self._stopped:
            self._let_go()

    def _serve_parked(self, results: list[tuple[Order, object]]) -> None:
        while self._parked:
            order = self._parked[0]
            result = None if order.over else order.result()
            if result is WAIT:
                return  # whom nothing can be given now, and so nobody behind either
            self._parked.popleft()
            results.append((order, result))


def _settle(future: asyncio.Future[Any], result: object) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def _stopping() -> ServiceError:
    return ServiceError("the server is stopping; ask again in a moment")
