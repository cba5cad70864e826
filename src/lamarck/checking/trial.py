"""One trial: a scripted worker in a process of its own, and what was seen there."""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing import connection
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, final

from lamarck._errors import CheckpointError, TrainingError
from lamarck.checking.states import Difference, differences
from lamarck.checking.watch import Look, look, user_frames
from lamarck.checkpoints import Checkpoints, open_checkpoints
from lamarck.engines._start import die_with_parent, fork_server, new_process
from lamarck.training import Worker, seed_everything
from lamarck.types import Failure, Interval, Key, Report

__all__ = ["Done", "Job", "Outcome", "Probe", "Trouble", "attempt"]

_PROBE = 999_999
"""Member under whose name the probe saves, so that the bytes are written although the same state is there already."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a trial is told.

    Args:
        train: The training function, pickled.
        checkpoints: Folder for the states.
        script: The intervals to train, one after the other. Each is restored from what its parent's state is called.
        seed: Seed before the training function is called.
        known: States of earlier trials, by the reports that they belong to.
        probe: State to load after the last interval, to see what comes back: its name, or a report of this trial; ``None`` for no probe.
        log: File for what the training function prints.
    """

    train: bytes
    checkpoints: str
    script: tuple[Interval, ...]
    seed: int
    known: Mapping[Key, str]
    probe: Key | str | None
    log: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A reported interval.

    Args:
        key: Which.
        value: The reported value.
        checkpoint: Its state.
        seconds: From the moment the interval was handed out to its report: restoring, training, evaluating and saving.
        look: The user's variables after it; empty without a probe.
    """

    key: Key
    value: float
    checkpoint: str
    seconds: float
    look: Look


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a restore puts back, and what it costs.

    Args:
        look: The user's variables after a state was loaded.
        lossy: Leaves that were saved and are not the same after loading.
        save: Seconds to save what is tracked, durably.
        restore: Seconds to read it and put it back.
        bytes: Size of the saved state.
    """

    look: Look
    lossy: tuple[Difference, ...]
    save: float
    restore: float
    bytes: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why a trial did not come to its end.

    Args:
        kind: ``"raised"``: the training function did. ``"contract"``: it broke its contract with the worker. ``"died"``: its process is gone.
        message: One line.
        trace: The traceback, or the last lines that the process printed.
        after: Intervals that it had reported.
    """

    kind: Literal["raised", "contract", "died"]
    message: str
    trace: str
    after: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a trial.

    Args:
        done: The intervals that were reported.
        start: The user's variables before the first interval; empty without a probe.
        probe: The probe, if one was wanted and the end was reached.
        trouble: Why the end was not reached, or ``None``.
    """

    done: tuple[Done, ...]
    start: Look
    probe: Probe | None
    trouble: Trouble | None


def attempt(job: Job, method: Literal["forkserver", "spawn"]) -> Outcome:
    """Carries out a trial in a new process, and ends that process.

    Args:
        job: The trial.
        method: How the process starts: ``"forkserver"`` has PyTorch imported already, if this process has; ``"spawn"`` is a new interpreter in
            everything, as after a night. Where there is no fork server, everything is spawned.
    """
    context = fork_server("lamarck.checking.trial") if method == "forkserver" else multiprocessing.get_context("spawn")
    mine, theirs = multiprocessing.Pipe(duplex=False)
    # Not a daemon: those may not have children, and data loaders have.
    trial = new_process(context, _child, (theirs, job), name="lamarck-check")
    trial.start()
    theirs.close()
    try:
        # A child of the dead process may hold the pipe open, so that its end alone would not be noticed.
        connection.wait([mine, trial.sentinel])
        if mine.poll():
            with suppress(EOFError):
                outcome: Outcome = mine.recv()
                trial.join(2)
                return outcome
        trial.join(2)
        return _died(trial.exitcode, job)
    finally:
        mine.close()
        trial.kill()
        trial.join()
        trial.close()


def _died(code: int | None, job: Job) -> Outcome:
    how = "" if code is None else f", killed by {signal.Signals(-code).name}" if code < 0 else f" with exit code {code}"
    lines = Path(job.log).read_text(errors="replace").splitlines() if Path(job.log).exists() else []
    trouble = Trouble(kind="died", message=f"the process ended{how}", trace="\n".join(lines[-20:]), after=0)
    return Outcome(done=(), start={}, probe=None, trouble=trouble)


def _child(pipe: Connection, job: Job) -> None:
    threading.Thread(target=die_with_parent, daemon=True).start()
    _print_to(job.log)
    pipe.send(_outcome(job))
    pipe.close()


def _print_to(file: str) -> None:
    """Sends what this process prints to a file: eight trials would print the same eight times."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    for stream in (sys.stdout, sys.stderr):  # by lines, so that what was said before a sudden end is there
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)


def _outcome(job: Job) -> Outcome:
    script = _Script(job, open_checkpoints(job.checkpoints))
    trouble = None
    try:
        train = pickle.loads(job.train)  # noqa: S301 - made by our own parent on this machine, a moment ago
        _call(train, script)
        if not script.worker.over:
            raise TrainingError(
                f"it returned after {len(script.done)} of {len(job.script)} intervals: iterate `for interval in worker` to its end"
            )
    except Exception as error:
        trouble = Trouble(
            kind="contract" if isinstance(error, TrainingError) else "raised",
            message=str(error) if isinstance(error, TrainingError) else f"{type(error).__name__}: {error}",
            trace=_own_trace(error),
            after=len(script.done),
        )
    return Outcome(done=tuple(script.done), start=script.start, probe=script.probe, trouble=trouble)


def _call(train: Callable[[Worker], object], script: _Script) -> None:
    seed_everything(script.job.seed & 0xFFFFFFFF)
    train(script.worker)


@dataclass(slots=True)
class _Script:
    """A transport that decides nothing: it reads the intervals from a list."""

    job: Job
    store: Checkpoints
    done: list[Done] = field(default_factory=list)
    start: Look = field(default_factory=dict)
    probe: Probe | None = None
    worker: Worker = field(init=False)
    known: dict[Key, str] = field(init=False)
    handed: float = 0.0

    def __post_init__(self) -> None:
        self.worker = Worker(self, self.store)
        self.known = dict(self.job.known)

    def __call__(self, message: Report | Failure | None) -> Interval | None:
        seconds = time.perf_counter() - self.handed
        if isinstance(message, Failure):
            raise CheckpointError(f"a state that was just saved cannot be read: {message.message}")
        if message is None:
            self.start = self._look()
        else:
            assert message.checkpoint is not None
            self.known[message.key] = message.checkpoint
            self.done.append(Done(key=message.key, value=message.value, checkpoint=message.checkpoint, seconds=seconds, look=self._look()))
        if len(self.done) == len(self.job.script):
            if self.job.probe is not None:
                with suppress(Exception):  # a state that cannot be loaded is the finding of the trial that has to
                    self.probe = self._probe(self.job.probe if isinstance(self.job.probe, str) else self.known[self.job.probe])
            return None
        interval = self.job.script[len(self.done)]
        self.handed = time.perf_counter()
        return interval if interval.parent is None else replace(interval, restore=self.known[interval.parent])

    def _look(self) -> Look:
        return {} if self.job.probe is None else look(user_frames(sys._getframe(), _call.__code__))

    def _probe(self, name: str) -> Probe:
        """Loads an earlier state, looks, and puts the last one back: the training function may still want to do something with it."""
        begun = time.perf_counter()
        last = self.store.put(_PROBE, 0, self.worker._state())
        saved = time.perf_counter()
        state = self.store.get(name)
        self.worker._load(state)
        restored = time.perf_counter()
        lossy = differences(self.store.get(name), self.worker._state())
        seen = self._look()
        self.worker._load(self.store.get(last))
        return Probe(look=seen, lossy=lossy, save=saved - begun, restore=restored - saved, bytes=self.store.size(name))


def _own_trace(error: BaseException) -> str:
    """The traceback from the user's function on."""
    told = traceback.TracebackException.from_exception(error)
    package = str(Path(__file__).resolve().parent.parent)
    own: list[Any] = [frame for frame in told.stack if not frame.filename.startswith((package, "<frozen importlib"))]
    told.stack = traceback.StackSummary.from_list(own or list(told.stack))
    return "".join(told.format())
