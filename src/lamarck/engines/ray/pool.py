"""The driver's loop over its actors."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np

from lamarck import codec
from lamarck._checks import one_line
from lamarck._errors import CheckpointMissing
from lamarck.checkpoints import FolderCheckpoints
from lamarck.checkpoints.format import Packed, checked_name
from lamarck.coordinator import Coordinator
from lamarck.engines._pool import Pool, Slot
from lamarck.engines._talk import MESSAGE, OVER
from lamarck.engines.ray.actor import FETCH, FILE, MISSING, Assignment, Bytes
from lamarck.engines.ray.cluster import load_ray, told
from lamarck.types import Failure, Report

__all__ = ["Actors"]

logger = logging.getLogger("lamarck")

_PATIENCE = 5.0
"""Seconds that actors get to end in order."""

_SOON, _SELDOM = 15.0, 300.0
"""Seconds after which it is said, and said again, that workers have not begun."""


@final
class ActorSlot(Slot):
    """A place for an actor.

    Args:
        store: Keeps the weights that it sends, if it is to send any. Each place has its own, because a store waits for the flush before.

    Attributes:
        actor: The actor.
        life: The call that trains, which ends with the actor; ``None`` once it has come to its own end.
        words: The call that brings what it says next; ``None`` if it is waiting for an answer.
        asked: When the cluster was asked for it, on the clock of the pool.
        leaving: Whether it was told that the run is over.
        cause: What it died of.
    """

    def __init__(self, store: FolderCheckpoints | None) -> None:
        super().__init__()
        self.store = store
        self.actor: Any = None
        self.life: Any = None
        self.words: Any = None
        self.asked = 0.0
        self.talking = self.leaving = False
        self.cause = ""

    @property
    def filled(self) -> bool:
        """Whether there is an actor that we still talk to, be it one that has no room yet; see `Slot.filled`."""
        return self.talking

    def tell(self, data: bytes, file: Bytes | None = None) -> None:
        """Calls the actor, which is how its next words come as well; see `Slot.tell`."""
        self.leaving = data == OVER
        self.words = self.actor.exchange.remote(data, file)

    def hang_up(self) -> None:
        """Listens no more; see `Slot.hang_up`."""
        super().hang_up()
        self.talking, self.words = False, None


@final
class Actors(Pool[ActorSlot]):
    """The loop of the driver.

    Args:
        size: How many workers.
        coordinator: The run.
        time_limit: Seconds after which an interval counts as hung.
        made: The actor class, with all its options.
        given: What each actor is given.
        asked: What each actor asks the cluster for.
    """

    worker = "worker"
    cure = "every node needs Lamarck and what the training function imports; try engine='inline' to see whether it is the function itself"

    def __init__(
        self,
        size: int,
        coordinator: Coordinator,
        time_limit: float | None,
        made: Any,
        given: tuple[Assignment, Any],
        asked: Mapping[str, float],
    ) -> None:
        location = coordinator.checkpoints.location
        assert location is not None
        every = coordinator.population.settings.durable_every or 1
        stores = [None if "://" in location else FolderCheckpoints(location, every=every, overlap=True) for _ in range(size)]
        super().__init__([ActorSlot(store) for store in stores], coordinator, time_limit)
        self.ray, self.made, self.given, self.asked = load_ray(), made, given, asked
        self.remark = _SOON

    def start(self, slot: ActorSlot) -> None:
        """Asks the cluster for an actor, which comes when there is room; see `Pool.start`."""
        slot.actor = self.made.remote(*self.given)
        slot.life, slot.asked, slot.talking = slot.actor.train.remote(), self.clock, True
        slot.tell(b"")
        slot.fill()

    def heard(self, timeout: float) -> Iterator[tuple[ActorSlot, bytes | None]]:
        """Waits for calls to return; see `Pool.heard`."""
        self._remark()
        watched = {call: slot for slot in self.slots if slot.talking for call in (slot.words, slot.life) if call is not None}
        ready, _ = self.ray.wait(list(watched), num_returns=1, timeout=timeout)
        if ready:  # and all others that are, at once
            ready, _ = self.ray.wait(list(watched), num_returns=len(watched), timeout=0)
        returned = set(ready)
        for slot in {id(watched[call]): watched[call] for call in ready}.values():
            try:
                if slot.words in returned:
                    said, parts = self.ray.get(slot.words)
                elif self.ray.get(slot.life) is None:
                    slot.life = None  # its last words are on their way
                    continue
            except self.ray.exceptions.RayError as error:
                slot.cause = _cause(error)
                yield slot, None
                continue
            slot.words = None
            if not said:
                slot.tell(b"")
            elif said[:1] == FETCH:
                self._fetch(slot, said[1:].decode())
            else:
                yield slot, _kept(slot.store, said, parts) if parts and said[:1] == MESSAGE else said

    def bury(self, slot: ActorSlot, *, hung: bool) -> str:
        """Ends an actor; see `Pool.bury`."""
        slot.hang_up()
        self.ray.kill(slot.actor)
        slot.life = slot.actor = None
        return slot.cause

    def end(self) -> None:
        """Ends all actors; see `Pool.end`."""
        leaving = [slot.life for slot in self.slots if slot.leaving and slot.life is not None]
        if leaving:
            self.ray.wait(leaving, num_returns=len(leaving), timeout=_PATIENCE)
        for slot in self.slots:
            slot.hang_up()
            if slot.actor is not None:
                self.ray.kill(slot.actor)
                slot.life = slot.actor = None

    def _fetch(self, slot: ActorSlot, name: str) -> None:
        assert slot.store is not None
        try:
            slot.tell(FILE, np.fromfile(slot.store.file(name), dtype=np.uint8))
        except CheckpointMissing as error:
            slot.tell(MISSING + str(error).encode())

    def _remark(self) -> None:
        """Says that workers have not begun: soon, and then seldom."""
        late = [slot for slot in self.slots if slot.talking and not slot.begun and self.clock - slot.asked > _SOON]
        if not late or self.clock < self.remark:
            return
        self.remark = self.clock + _SELDOM
        asked = {name: amount for name, amount in self.asked.items() if amount > 0}
        there, free = self.ray.cluster_resources(), self.ray.available_resources()
        logger.warning(
            "%d of %d workers have not begun after %.0f s; %s. Each asks for %s; the cluster has %s, of which are free: %s. If it does "
            "not grow by itself, ask for less",
            *(
                len(late),
                len(self.slots),
                _SOON,
                "the run waits for one" if len(late) == len(self.slots) else "the run goes on with the others",
            ),
            *(told(asked), told(there, asked), told(free, asked)),
        )


def _kept(store: FolderCheckpoints | None, said: bytes, parts: Sequence[Bytes]) -> bytes:
    """Keeps the weights that a message brings; returns the message, or what is to be heard instead."""
    assert store is not None
    message = codec.decode(said[1:].partition(b"\n")[0])
    if not isinstance(message, Report) or message.checkpoint is None:
        return said
    name = store.keep(Packed(checked_name(message.checkpoint).rpartition("-")[0], [part.data for part in parts]))
    if name == message.checkpoint:
        return said
    changed = "the weights changed while they were sent; does something beside the training function write to them?"
    return MESSAGE + codec.encode(Failure(member=message.member, generation=message.generation, kind="lost", message=changed))


def _cause(error: Exception) -> str:
    """What an actor died of, in a line: Ray says first whose death it is, and then why."""
    said = str(error)
    _, why, rest = said.partition("The actor is dead because ")
    return one_line(rest if why else said)[:500]
