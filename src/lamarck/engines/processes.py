"""Worker processes on this machine: each a slot on a core or on a share of a GPU, started once and kept.

The parent is one loop without threads: it waits for any worker to say something, passes it to the coordinator, and answers. A worker that dies
is replaced by a new process; nothing ever restarts because of a decision.
"""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import BaseContext
from typing import Any, final

from lamarck._checks import check_whole
from lamarck._errors import SettingsError
from lamarck.coordinator import Coordinator
from lamarck.engines._child import Assignment, child
from lamarck.engines._machine import cores
from lamarck.engines._pool import Pool
from lamarck.engines._shared import shared
from lamarck.engines._slot import ProcessSlot
from lamarck.engines._start import begin, ended, fork_server, new_process
from lamarck.engines.engine import Train
from lamarck.engines.gpus import check_gpus

__all__ = ["Processes"]


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
            if got is not None:
                check_whole(name, got, 1)
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
            _Processes(slots, coordinator, self.time_limit, fork_server("lamarck.engines._child", self.preload)).run()
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

    def _slots(self, train: Train, location: str, coordinator: Coordinator) -> list[Assignment]:
        pickled = _pickled(train)
        return [
            Assignment(
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


@final
class _Processes(Pool[ProcessSlot]):
    """The loop of the parent."""

    worker = "worker process"
    cure = "try engine='inline' to see why, and guard the script with `if __name__ == '__main__':`"

    def __init__(self, assignments: Sequence[Assignment], coordinator: Coordinator, time_limit: float | None, context: BaseContext) -> None:
        super().__init__([ProcessSlot(assignment) for assignment in assignments], coordinator, time_limit)
        self.context = context

    def start(self, slot: ProcessSlot) -> None:
        """Starts a process; see `Pool.start`."""
        mine, theirs = connection.Pipe()
        # No daemon: data loaders have children of their own.
        begun = new_process(self.context, child, (theirs, slot.assignment), name="lamarck-worker")
        begin(begun)
        theirs.close()
        slot.process, slot.pipe, slot.watched = begun, mine, True
        slot.fill()

    def heard(self, timeout: float) -> Iterator[tuple[ProcessSlot, bytes | None]]:
        """Waits at all pipes; see `Pool.heard`."""
        living: dict[Any, ProcessSlot] = {end: slot for slot in self.slots for end in slot.ends()}
        ready = {id(living[watched]): living[watched] for watched in connection.wait(list(living), timeout)}
        for slot in ready.values():
            said = slot.said()
            if said != b"":
                yield slot, said

    def bury(self, slot: ProcessSlot, *, hung: bool) -> str:
        """Ends a process; see `Pool.bury`."""
        process = slot.process
        assert process is not None
        slot.hang_up()
        process.join(0 if hung else 5)
        ended(process)  # and what it has started
        code = process.exitcode
        return f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"

    def end(self) -> None:
        """Ends all processes; see `Pool.end`."""
        patience = time.monotonic() + 5.0
        for slot in self.slots:
            told = slot.pipe is None
            slot.hang_up()
            if slot.process is not None:
                if told:
                    slot.process.join(max(0.0, patience - time.monotonic()))
                if ended(slot.process):
                    slot.process.close()

    def paused(self, number: int) -> None:
        """Lets the workers stand still for as long as this process does; see `Pool.paused`."""
        for sent in (signal.SIGSTOP, signal.SIGCONT):
            for slot in self.slots:
                if slot.process is not None and slot.process.pid is not None:
                    with suppress(OSError):  # it has not got so far as to lead a group, or is gone
                        os.killpg(slot.process.pid, sent)
            if sent == signal.SIGSTOP:
                signal.raise_signal(sent)  # returns when we are told to go on
