"""Worker processes on this machine: each a slot on a core or on a share of a GPU, started once and kept.

The parent is one loop without threads: it waits for any worker to say something, passes it to the coordinator, and answers. A worker that dies
is replaced by a new process; nothing ever restarts because of a decision.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.context import BaseContext
from typing import Any, final

from lamarck import _errors, codec
from lamarck._errors import ReportError, SettingsError, StaleReport, TrainingError
from lamarck._signals import STOPS, raise_for, say, stoppable
from lamarck.checkpoints import MemoryCheckpoints, open_checkpoints
from lamarck.coordinator import Coordinator
from lamarck.engines import _child as c
from lamarck.engines._machine import cores
from lamarck.engines._slot import Slot
from lamarck.engines._start import begin, ended, fork_server, new_process
from lamarck.engines.engine import Train
from lamarck.engines.gpus import check_gpus
from lamarck.types import Failure, Report

__all__ = ["Processes", "shared"]

logger = logging.getLogger("lamarck")

_STARTS = 3
"""How often a worker may die in a row without having been given an interval."""

_GRACE = 5.0
"""Seconds that intervals in progress get on SIGTERM or SIGHUP: those who send it kill soon, Docker after 10 seconds."""

_LOOK = 0.5
"""Seconds after which the parent looks round though nothing is said."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """An engine of local worker processes.

    Args:
        workers: Number of processes; by default one for each core, or for each share of a GPU, but never more than members.
        gpus: Devices to spread the workers over, as ``CUDA_VISIBLE_DEVICES`` names them; empty for none.
        per_gpu: Workers that share one device.
        threads: Threads that numerical libraries may use in each worker; by default the cores divided by the workers.
        time_limit: Seconds after which an interval counts as hung and its worker is killed; ``None`` for no limit.
        overlap: Whether a report is acknowledged while the checkpoint behind it is still being flushed to the disk, beside the next interval
            (default: a report then waits for the journal alone). Killing processes loses nothing in either case, because what is written is
            in the system's hands; a power cut may cost each member its newest checkpoint, which is noticed, and then the interval before it
            is trained again.
        preload: Modules to import once, in the server that workers are forked from. By default PyTorch if this process has loaded it: a worker
            then starts in milliseconds instead of seconds.

    Raises:
        SettingsError: If a number is out of its range.

    Example:
        >>> Processes(workers=2).workers
        2
    """

    workers: int | None = None
    gpus: Sequence[str] = ()
    per_gpu: int = 1
    threads: int | None = None
    time_limit: float | None = None
    overlap: bool = True
    preload: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name in ("workers", "per_gpu", "threads"):
            got = getattr(self, name)
            if got is not None and (isinstance(got, bool) or not isinstance(got, int) or got < 1):
                raise SettingsError(f"{name}: got {got!r}; it must be a whole number of at least 1")
        if self.time_limit is not None and not self.time_limit > 0:
            raise SettingsError(f"time_limit: got {self.time_limit!r}; it must be a positive number of seconds, or None")

    def __call__(self, train: Train, coordinator: Coordinator) -> None:
        """Trains until the run is over.

        Raises:
            SettingsError: If the training function cannot be sent to another process, or a GPU is not there.
            TrainingError: If it breaks its contract.
            PopulationLost: If every member failed for good.
            KeyboardInterrupt: On Ctrl-C, after the intervals in progress have been reported; on a second one at once.
            SystemExit: Likewise on SIGTERM or SIGHUP, for which nobody waits longer than a few seconds.
        """
        if coordinator.over:
            return
        check_gpus(self.gpus)
        with shared(coordinator) as location:
            slots = self._slots(train, location, coordinator)
            _Pool(slots, coordinator, self.time_limit, fork_server("lamarck.engines._child", self.preload)).run()
        if coordinator.population.ended == "lost":
            raise coordinator.lost()

    def check(self, train: Train) -> None:
        """Raises `SettingsError` if a training function cannot be sent to another process, or a GPU is not there."""
        check_gpus(self.gpus)
        _pickled(train)

    def environments(self, members: int) -> list[dict[str, str]]:
        """Returns what is set in the environment of each worker: its share of the cores, and its GPU.

        Args:
            members: Size of the population; there are never more workers.

        Example:
            >>> [place["CUDA_VISIBLE_DEVICES"] for place in Processes(gpus=("0", "1"), per_gpu=2, threads=1).environments(8)]
            ['0', '1', '0', '1']
        """
        shares = [gpu for _ in range(self.per_gpu) for gpu in self.gpus]
        size = min(self.workers or len(shares) or cores(), members)
        threads = self.threads or max(1, cores() // size)
        limits = {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR")}
        return [limits | ({"CUDA_VISIBLE_DEVICES": shares[i % len(shares)]} if shares else {}) for i in range(size)]

    def _slots(self, train: Train, location: str, coordinator: Coordinator) -> list[c.Assignment]:
        pickled = _pickled(train)
        return [
            c.Assignment(
                train=pickled,
                checkpoints=location,
                durable_every=coordinator.population.settings.durable_every or 1,
                overlap=self.overlap,
                environment=environment,
                threads=int(environment["OMP_NUM_THREADS"]),
                seed=coordinator.population.settings.seed,
            )
            for environment in self.environments(len(coordinator.population))
        ]


def _pickled(train: Train) -> bytes:
    try:
        return pickle.dumps(train)
    except Exception as error:
        raise SettingsError(
            f"worker processes cannot be given {train!r} ({error}): define the training function at the top level of a module, "
            "or use engine='inline'"
        ) from None


@contextmanager
def shared(coordinator: Coordinator) -> Iterator[str]:
    """Gives a place for weights that all processes see; for a store in memory, a folder in memory for as long as the run lasts."""
    checkpoints = coordinator.checkpoints
    if checkpoints.location is not None:
        yield checkpoints.location
        return
    if not isinstance(checkpoints, MemoryCheckpoints) or checkpoints.names():
        raise SettingsError("worker processes cannot reach checkpoints in this process's memory: give checkpoints=... a folder or URL")
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
    folder = tempfile.mkdtemp(prefix="lamarck-", dir=memory)
    shared = coordinator.checkpoints = open_checkpoints(folder)
    try:
        yield folder
    finally:
        coordinator.rest()
        checkpoints.adopt({name: shared.get(name) for name in shared.names()})
        coordinator.checkpoints = checkpoints
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True)
class _Pool:
    """The loop of the parent."""

    assignments: Sequence[c.Assignment]
    coordinator: Coordinator
    time_limit: float | None
    context: BaseContext
    slots: list[Slot] = field(default_factory=list)
    answers: list[Callable[[], object]] = field(default_factory=list)
    stopping: int | None = None
    until: float = math.inf
    shown: bool = False
    clock: float = 0.0
    looked: float = field(default_factory=time.monotonic)

    def run(self) -> None:
        self.slots = [Slot(assignment) for assignment in self.assignments]
        try:
            with stoppable(STOPS, self._asked), stoppable((signal.SIGTSTP,), self._paused):
                for slot in self.slots:
                    self._start(slot)
                while any(slot.pipe is not None for slot in self.slots) and time.monotonic() < self.until:
                    self._turn()
        finally:
            self._end()
        if self.stopping is not None:
            raise_for(self.stopping)

    def _paused(self, _: int) -> None:
        """Answers Ctrl-Z, which reaches this process alone: the workers stand still for as long as it does."""
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for slot in self.slots:
                if slot.process is not None and slot.process.pid is not None:
                    with suppress(OSError):  # it has not got so far as to lead a group, or is gone
                        os.killpg(slot.process.pid, number)
            if number == signal.SIGSTOP:
                signal.raise_signal(number)  # returns when we are told to go on

    def _asked(self, number: int) -> None:
        """Answers what asks this process to stop; whoever does so twice wants no more to be waited for."""
        if self.stopping is not None:
            raise_for(number)
        self.stopping = number
        busy = f"{sum(slot.pipe is not None and not slot.waiting for slot in self.slots)} interval(s) in progress"
        if number == signal.SIGINT:
            say(f"\nstopping when {busy} are reported; Ctrl-C again stops at once")
        else:
            self.until = time.monotonic() + _GRACE
            say(f"\n{signal.Signals(number).name}: stopping when {busy} are reported, or in {_GRACE:g} seconds")

    def _start(self, slot: Slot) -> None:
        mine, theirs = connection.Pipe()
        # No daemon: data loaders have children of their own.
        begun = new_process(self.context, c.child, (theirs, slot.assignment), name="lamarck-worker")
        begin(begun)
        theirs.close()
        slot.fill(begun, mine)

    def _turn(self) -> None:
        """Waits until somebody says something, dies or hangs, and answers."""
        living: dict[Any, Slot] = {end: slot for slot in self.slots for end in slot.ends()}
        deadlines = [slot.deadline for slot in self.slots if slot.deadline is not None]
        timeout = max(0.0, min([_LOOK, *(deadline - self.clock for deadline in deadlines)]))
        ready = {id(living[watched]): living[watched] for watched in connection.wait(list(living), timeout)}
        self._tick()
        with self.coordinator.batch() as self.answers:  # whoever speaks now is heard with one flush of the journal
            for slot in ready.values():
                said = slot.said()
                if said is None:
                    self._died(slot, "lost")
                elif said:
                    self._heard(slot, said)
            for slot in self.slots:
                if slot.deadline is not None and self.clock > slot.deadline:
                    self._died(slot, "timeout")
            self._serve_waiting()

    def _tick(self) -> None:
        """Moves the clock of the deadlines on. It stands still while this process does, as after Ctrl-Z: the workers may have done so, too."""
        now = time.monotonic()
        self.clock, self.looked = self.clock + min(now - self.looked, 2 * _LOOK), now

    def _heard(self, slot: Slot, data: bytes) -> None:
        kind, body = data[:1], data[1:]
        if kind == c.BROKEN:
            name, _, said = body.decode().partition("\n")
            raise getattr(_errors, name, TrainingError)(said)  # what ends the run is the same error as in one process
        slot.deadline = None
        message: Report | Failure | None = None
        if kind == c.MESSAGE:
            encoded, _, trace = body.partition(b"\n")
            message = codec.decode(encoded)  # type: ignore[assignment]
            if isinstance(message, Failure) and message.kind == "error":
                if self.stopping is None:  # later, whoever asked us to may have ended what it needs
                    if not self.shown:
                        self.shown = True
                        logger.warning("member %d failed; later failures are only counted\n%s", message.member, trace.decode())
                    self.coordinator.exchange(id(slot), message, claim=False)
                self._answer(slot, c.HEARD)
                return
        self._exchange(slot, message)

    def _exchange(self, slot: Slot, message: Report | Failure | None) -> None:
        try:
            interval = self.coordinator.exchange(id(slot), message, claim=self.stopping is None)
        except StaleReport as error:
            self._answer(slot, c.STALE + str(error).encode())
        except ReportError as error:
            self._answer(slot, c.REFUSED + str(error).encode())
        else:
            slot.waiting = interval is None
            if interval is not None:
                slot.deaths = 0
                slot.deadline = None if self.time_limit is None else self.clock + self.time_limit
                self._answer(slot, c.INTERVAL + codec.encode(interval))

    def _serve_waiting(self) -> None:
        for slot in self.slots:
            if not slot.waiting:
                continue
            if self.coordinator.over or self.stopping is not None:
                self._answer(slot, c.OVER)
            else:
                self._exchange(slot, None)

    def _answer(self, slot: Slot, data: bytes) -> None:
        """Says something to a worker as soon as the journal has what it stands on."""

        def send() -> None:
            try:
                if slot.pipe is not None:
                    slot.pipe.send_bytes(data)
            except OSError:
                self._died(slot, "lost")
            if data == c.OVER:
                slot.hang_up()

        self.answers.append(send)

    def _died(self, slot: Slot, kind: Any) -> None:
        """Replaces a worker that is gone; what it was doing is handed out again."""
        process = slot.process
        if slot.pipe is None or process is None:
            return
        slot.hang_up()
        process.join(0 if kind == "timeout" else 5)
        ended(process)  # and what it has started
        code = process.exitcode
        member = self.coordinator.release(id(slot))
        if self.stopping is not None:  # by the one who asked us to: no fault of the member's
            return
        if member is not None:
            interval = self.coordinator.population.members[member].interval
            assert interval is not None
            died = f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
            message = f"no report within {self.time_limit:g} s" if kind == "timeout" else f"the worker process died: {died}"
            failure = Failure(member=member, generation=interval.generation, kind=kind, message=message)
            self.coordinator.exchange(id(slot), failure, claim=False)
        else:
            slot.deaths += 1
            if slot.deaths >= _STARTS and not self.coordinator.over:
                raise TrainingError(
                    f"a worker process died {slot.deaths} times before its first interval (exit code {code}): "
                    "try engine='inline' to see why, and guard the script with `if __name__ == '__main__':`"
                )
        if not self.coordinator.over:
            self._start(slot)

    def _end(self) -> None:
        """Leaves no process behind: those that were told to end get a moment to do so."""
        patience = time.monotonic() + 5.0
        for slot in self.slots:
            told = slot.pipe is None
            slot.hang_up()
            if slot.process is not None:
                if told:
                    slot.process.join(max(0.0, patience - time.monotonic()))
                if ended(slot.process):
                    slot.process.close()
