"""What runs on the cluster: an actor, which is a worker's place, with the training function in it.

The actor has two methods. One is the training function, which runs for as long as there is something to train; when the actor dies, so does the
call. The other brings an answer to it and takes along what it says next. What goes to and fro are the bytes of our own records, and files of
weights where they have to go through the driver.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import CheckpointMissing
from lamarck.checkpoints import Weights, open_checkpoints
from lamarck.checkpoints.format import Part, checked_name, packed, unpacked
from lamarck.checkpoints.rows import parted, row_of
from lamarck.engines._start import limit_threads
from lamarck.engines._talk import OVER, converse, told, unloadable

__all__ = ["FETCH", "FILE", "MISSING", "Actor", "Assignment", "Bytes", "Said", "kernel"]

FETCH = b"F"
"""First byte of what a worker says when it needs the weights of a name."""

FILE, MISSING = b"W", b"M"
"""First byte of the answer: here they are; there are none."""

Bytes = NDArray[np.uint8]
"""Bytes that Ray carries as they lie, without a copy on either side."""

Said = tuple[bytes, tuple[Bytes, ...]]
"""What a worker says, and the parts of the file of weights that it says it about; nothing at all if it is to be asked once more."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What an actor is told once, when it starts.

    Args:
        location: Where the weights are, as `open_checkpoints` takes it; ``None`` if they go through the driver.
        mark: A file that shows, where it is seen, that the location is the driver's own folder; ``None`` if it is the same for everybody.
        durable_every: Of each member, every how many generations weights are flushed to the disk.
        kernel: Which system the driver runs on.
        folder: Where the driver stands.
        path: Where it finds modules.
        seed: Seed of the run.
    """

    location: str | None
    mark: str | None
    durable_every: int
    kernel: str
    folder: str
    path: tuple[str, ...]
    seed: int

    def weights(self, ask: Callable[[bytes], tuple[bytes, Bytes | None]]) -> Weights:
        """Returns where a worker that stands here keeps weights: in the driver's store if that can be reached, or else with the driver.

        Args:
            ask: Asks the driver.
        """
        if self.location is None or (self.mark is not None and not _reached(Path(self.mark))):
            return Posted(ask)
        # A flush may take its time beside the next interval only where a machine that fails takes the driver along.
        return open_checkpoints(self.location).flushing(every=self.durable_every, overlap=kernel() == self.kernel)


@final
class Actor:
    """A worker's place on the cluster.

    Args:
        assignment: What it is told.
        train: The training function, pickled by Ray: code that no module holds travels along.
    """

    def __init__(self, assignment: Assignment, train: bytes) -> None:
        self._assignment, self._train = assignment, train
        self._said: SimpleQueue[Said] = SimpleQueue()
        self._answers: SimpleQueue[tuple[bytes, Bytes | None]] = SimpleQueue()

    def train(self) -> None:
        """Trains until the run is over, or the training function cannot go on."""
        logging.getLogger("lamarck").setLevel(logging.WARNING)
        last = self._trained()
        if last is not None:
            self._said.put((last, ()))

    def exchange(self, answer: bytes, file: Bytes | None = None) -> Said:
        """Brings an answer, and takes along what is said next.

        Args:
            answer: The answer; empty if there was no question.
            file: The weights that were asked for. Nobody waits for what is said after them, because as long as a call lasts, so do its
                arguments.
        """
        if answer:
            self._answers.put((answer, file))
        return (b"", ()) if answer[:1] in (OVER, FILE) else self._said.get()

    def _trained(self) -> bytes | None:
        try:
            _stand_where(self._assignment)
            train = pickle.loads(self._train)  # noqa: S301 - made by our driver; whoever can reach the cluster can run code on it anyway
            limit_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))  # which Ray sets to the cores that it has given us
            weights = self._assignment.weights(self._ask)
        except Exception as unfit:
            return told(unloadable(unfit, "install on all nodes what it needs, or send it along: options={'runtime_env': ...}"))

        def say(data: bytes) -> bytes:
            return self._ask(data, weights.handed_over() if isinstance(weights, Posted) else ())[0]

        return converse(train, say, weights, self._assignment.seed)

    def _ask(self, data: bytes, parts: tuple[Bytes, ...] = ()) -> tuple[bytes, Bytes | None]:
        self._said.put((data, parts))
        return self._answers.get()


@final
class Posted:
    """Weights that the driver keeps. They go along with the report that names them, so that it counts only when they are kept.

    Args:
        ask: Asks the driver.
    """

    def __init__(self, ask: Callable[[bytes], tuple[bytes, Bytes | None]]) -> None:
        self._ask = ask
        self._parts: list[Part] = []

    def put(self, member: int, generation: int, state: Any) -> str:
        """Makes a file of a state, which shares its memory until it has been handed over; see `Checkpoints.put`."""
        file = packed(member, generation, state)
        self._parts = file.parts
        return file.name()

    def handed_over(self) -> tuple[Bytes, ...]:
        """Returns the file that was made since it was asked for last, and forgets it."""
        parts, self._parts = self._parts, []
        return tuple(np.frombuffer(part, dtype=np.uint8) for part in parts)

    def get(self, name: str) -> Any:
        """Fetches a state, if its bytes are those that were saved; see `Checkpoints.get`."""
        name, row = parted(name)
        kind, file = self._ask(FETCH + checked_name(name).encode())
        if file is None:
            raise CheckpointMissing(kind[1:].decode())
        return row_of(unpacked(name, _Stream(file), len(file), f"{name} from the driver"), row)


class _Stream:
    """Reads bytes that lie in shared memory."""

    def __init__(self, data: Bytes) -> None:
        self._rest = data

    def readinto(self, buffer: memoryview, /) -> int:
        got = min(len(buffer), len(self._rest))
        np.frombuffer(buffer, dtype=np.uint8)[:got] = self._rest[:got]
        self._rest = self._rest[got:]
        return got


def kernel() -> str:
    """Returns which running system this process is on: when it stops, everything stops that has the same."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return socket.gethostname()


def _reached(mark: Path) -> bool:
    return mark.exists() and os.access(mark.parent, os.W_OK | os.X_OK)


def _stand_where(driver: Assignment) -> None:
    """Goes where the driver stands, and looks where it finds modules, as far as that is here: names mean then what they mean there."""
    with suppress(OSError):
        os.chdir(driver.folder)
    sys.path += [place for place in driver.path if place not in sys.path and os.path.isdir(place)]  # noqa: PTH112
