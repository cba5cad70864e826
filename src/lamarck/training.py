"""What a training function holds: an iterator over intervals, with the right weights in place at the beginning of each."""

from __future__ import annotations

import inspect
import logging
import operator
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, SupportsIndex, final

import numpy as np

from lamarck._errors import (
    CheckpointDamaged,
    CheckpointMissing,
    LamarckError,
    ReportError,
    SettingsError,
    StaleReport,
    TrainingError,
    first_line,
)
from lamarck._signals import hush
from lamarck.checkpoints import MemoryCheckpoints, Weights
from lamarck.tracking import Tracked, tracked
from lamarck.types import Failure, Interval, Report

__all__ = ["ActiveInterval", "Transport", "Worker", "attempt", "check_train", "raised", "seed_everything"]

Transport = Callable[[Report | Failure | None], Interval | None]
"""Carries what a worker says to whoever decides, and brings back its next interval; ``None`` when the run is over."""


logger = logging.getLogger("lamarck")


@final
class ActiveInterval:
    """One stretch of training, with the weights in place and the question how it went still open.

    Attributes:
        member: Who trains, from 0.
        generation: Which of the member's intervals this is, from 0.
        hparams: The hyperparameters to train with. Set them after every restore: a restored optimizer holds its donor's.
        start: Step at which the weights stand.
        until: Step up to which to train, exclusive.
        seed: Seed for whatever is random in this interval, 32 bits. Python's, numpy's and PyTorch's global generators already start from it.
        copied: Whether the weights are another member's.
        parent: Report that the weights come from, or ``None`` at the very beginning.
    """

    def __init__(self, interval: Interval, finish: Callable[[Report], None], save: Callable[[Interval], str | None]) -> None:
        self.member, self.generation = interval.member, interval.generation
        self.hparams: dict[str, Any] = dict(interval.hparams)
        self.start, self.until, self.seed = interval.start, interval.until, interval.seed
        self.copied, self.parent = interval.copied, interval.parent
        self.reported = False
        self._interval, self._finish, self._save = interval, finish, save

    @property
    def key(self) -> tuple[int, int]:
        """(member, generation)."""
        return (self.member, self.generation)

    @property
    def steps(self) -> range:
        """The steps to train: ``range(start, until)``."""
        return range(self.start, self.until)

    @property
    def rng(self) -> np.random.Generator:
        """A new generator that starts from the interval's seed."""
        return np.random.default_rng(self.seed)

    def report(
        self, value: float, *, samples: Sequence[float] = (), metrics: Mapping[str, float] | None = None, step: int | None = None
    ) -> None:
        """Saves the tracked objects and says how good they are. When this returns, the report is in the journal.

        Args:
            value: The metric that the population is judged by. NaN and infinity count as the worst there is.
            samples: The single evaluations behind the value, e.g. episode returns.
            metrics: Further numbers to keep.
            step: Step reached, if the interval ended early; by default ``until``.

        Raises:
            TrainingError: If the interval has been reported before, or nothing is tracked.
            ReportError: If the value, a sample or a metric is not a number, or the step not a whole one of this interval.
        """
        if self.reported:
            raise TrainingError(
                f"member {self.member} has already reported generation {self.generation}; report once, at the end of the interval"
            )
        report = Report(
            member=self.member,
            generation=self.generation,
            step=self.until if step is None else _whole("step", step),
            value=value,
            samples=_numbers("samples", samples),
            metrics={} if metrics is None else _named("metrics", metrics),
            checkpoint=self._save(self._interval),
        )
        self._finish(report)
        self.reported = True


@final
class Worker:
    """A slot that trains: iterate over it, and train each interval as it says.

    Args:
        transport: How to reach whoever decides.
        checkpoints: Where weights are kept.
        left: Is called when the loop over the intervals is left, by an error or otherwise, before the run is over.

    Example:
        A training function for a single number; `lamarck.run` calls it with a worker.

        >>> import numpy as np
        >>> import lamarck as lk
        >>> def train(worker):
        ...     x = np.array([1.0])
        ...     worker.track(x=x)
        ...     for interval in worker:
        ...         for step in interval.steps:
        ...             x -= interval.hparams["lr"] * 2 * x
        ...         interval.report(-float(x[0] ** 2))
        >>> history = lk.run(train, lk.Space(lr=lk.Float(0.01, 0.4)), population_size=4, interval=5, generations=4)
        >>> history.best.value > -1e-3
        True
    """

    def __init__(self, transport: Transport, checkpoints: Weights, *, left: Callable[[], object] = lambda: None) -> None:
        self._transport, self._checkpoints, self._left = transport, checkpoints, left
        self._tracked: dict[str, Tracked] = {}
        self._fresh: Callable[[int], object] | None = None
        self._begun = False
        self._origin = MemoryCheckpoints()
        self._holds: str | None = None
        self._next: Interval | None = None
        self.current: Interval | None = None

    def track(self, **things: Any) -> None:
        """Names what makes up a member's state; it is saved with each report and put back at the beginning of an interval where needed.

        Args:
            **things: See `lamarck.tracking.tracked` for what can be given. Everything that training changes and that the next interval needs
                belongs here: model, optimizer, learning rate scheduler, running statistics.

        Raises:
            TrainingError: If a thing cannot be tracked, or training has begun.
        """
        if self._begun:
            raise TrainingError("track everything before the first interval: what was trained until now would have been saved without it")
        self._tracked |= {name: tracked(name, thing) for name, thing in things.items()}

    def on_fresh(self, reset: Callable[[int], object]) -> None:
        """Sets what to do when a member starts from nothing, after the tracked objects were put back as they first stood.

        Without it, all members start from the same weights.

        Args:
            reset: Called with the interval's seed, e.g. to draw new initial weights.
        """
        self._fresh = reset

    def __iter__(self) -> Iterator[ActiveInterval]:
        self._next = self._transport(None)
        if not self._begun:
            self._begun = True
            self._origin.put(0, 0, self._state())
        while self._next is not None:
            current = self.current = self._next
            if self._restored(current):
                active = ActiveInterval(current, self._finish, self._save)
                try:
                    yield active
                except GeneratorExit:
                    if self.current is current:  # and not another loop's, which goes on
                        self._left()
                    raise
                if not active.reported:
                    raise TrainingError(
                        f"member {active.member} ended generation {active.generation} without a report; call interval.report(value) in the loop"
                    )
        self.current = None

    @property
    def over(self) -> bool:
        """Whether there is nothing left to train."""
        return self._begun and self._next is None

    def _state(self) -> dict[str, Any]:
        return {name: thing.save() for name, thing in self._tracked.items()}

    def _load(self, state: dict[str, Any]) -> None:
        for name, thing in self._tracked.items():
            thing.load(state[name])

    def _restored(self, interval: Interval) -> bool:
        """Puts the weights in place, or says that they are damaged and takes the next interval instead."""
        seed_everything(interval.seed)
        if interval.restore is None:
            self._load(self._origin.get("0-0"))
            if self._fresh is not None:
                self._fresh(interval.seed)
        elif interval.restore != self._holds:
            try:
                self._load(self._checkpoints.get(interval.restore))
            except (CheckpointDamaged, CheckpointMissing) as error:
                self._holds = None
                member, generation = interval.key
                self._say(Failure(member=member, generation=generation, kind="damaged", message=str(error), checkpoint=interval.restore))
                return False
        self._holds = None  # from here on the weights change
        return True

    def _save(self, interval: Interval) -> str | None:
        if not self._tracked:
            raise TrainingError(
                "nothing is tracked, so nobody could copy these weights: call worker.track(model=..., optimizer=...) before the loop"
            )
        return self._checkpoints.put(interval.member, interval.generation, self._state())

    def _finish(self, report: Report) -> None:
        if self._say(report):
            self._holds = report.checkpoint

    def _say(self, message: Report | Failure) -> bool:
        """Says what came of an interval and takes the next; returns whether it still counted."""
        try:
            self._next = self._transport(message)
        except StaleReport as error:
            logger.warning("%s", error)
            self._next = self._transport(None)
            return False
        return True


def attempt(train: Callable[[Worker], object], worker: Worker) -> Exception | None:
    """Calls a training function once, and holds it to its contract.

    Args:
        train: The training function.
        worker: What it is called with.

    Returns:
        What it raised in an interval, which can be tried again; ``None`` when the run is over.

    Raises:
        SettingsError: If it cannot be called with a worker.
        TrainingError: If it breaks its contract: it returns before the run is over, or raises before its first interval.
        LamarckError: If it was told that it cannot go on.
    """
    check_train("the training function", train)
    try:
        train(worker)
    except LamarckError:
        raise
    except Exception as error:
        if isinstance(error, OSError):
            hush()  # what could not be printed on a terminal that is gone does not fail again
        if worker.current is None:
            raise TrainingError(f"the training function failed before its first interval: {type(error).__name__}: {error}") from error
        return error
    if not worker.over:
        raise TrainingError("the training function returned before the run was over: iterate `for interval in worker` to its end")
    return None


def check_train(where: str, train: object) -> None:
    """Raises `SettingsError` unless something can be called with a worker and nothing else.

    Args:
        where: What to call it in the message.
        train: What should be a training function.

    Example:
        >>> check_train("train.py:train", lambda: None)
        Traceback (most recent call last):
            ...
        lamarck._errors.SettingsError: train.py:train: got a function with the arguments (); a training function takes a worker and nothing
            else: def train(worker): ...
    """
    if not callable(train):
        got = repr(train)
    else:
        try:
            signature = inspect.signature(train)
        except (TypeError, ValueError):  # what is written in C may not tell
            return
        try:
            signature.bind(None)
        except TypeError:
            got = f"a function with the arguments {signature}"
        else:
            return
    raise SettingsError(f"{where}: got {got}; a training function takes a worker and nothing else: def train(worker): ...")


def raised(interval: Interval, error: Exception) -> Failure:
    """Says that the training function raised in an interval.

    Args:
        interval: The interval.
        error: What it raised.
    """
    message = f"{type(error).__name__}: {first_line(error)}"[:500]
    return Failure(member=interval.member, generation=interval.generation, kind="error", message=message)


def seed_everything(seed: int) -> None:
    """Seeds the global generators of Python, numpy and, where it is loaded, PyTorch.

    Lamarck itself never draws from them. Training code does, and in a population it must do so independently of which members trained before in
    the same process.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - it is the user's global generator that is meant
    if (torch := sys.modules.get("torch")) is not None:
        torch.default_generator.manual_seed(seed)
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(seed)


def _number(where: str, got: object) -> float:
    try:
        return float(got)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, RuntimeError):  # PyTorch's own for a tensor of several
        raise ReportError(f"{where}: got {got!r}; give one number") from None


def _numbers(where: str, got: object) -> tuple[float, ...]:
    try:
        items = list(got)  # type: ignore[call-overload]
    except TypeError:
        raise ReportError(f"{where}: got {got!r}; give a sequence of numbers") from None
    return tuple(_number(where, item) for item in items)


def _named(where: str, got: object) -> dict[str, float]:
    if not isinstance(got, Mapping) or not all(isinstance(name, str) and name[:1] != "$" for name in got):
        raise ReportError(f"{where}: got {got!r}; give a mapping from names, which do not begin with '$', to numbers")
    return {name: _number(f"{where}[{name!r}]", number) for name, number in got.items()}


def _whole(where: str, got: object) -> int:
    if not isinstance(got, SupportsIndex):
        raise ReportError(f"{where}: got {got!r}; give a whole number")
    return operator.index(got)
