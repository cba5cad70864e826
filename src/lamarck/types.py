"""What is said in a population: messages, events, and the two questions that a strategy answers.

Everything here is frozen, built by keyword and free of behaviour. Messages (`Report`, `Failure`) come from training; `Interval` goes back to
it; events are what the journal keeps, and the population is their fold.

Terms. *Generation* counts a member's intervals from 0. *Value* is the metric as reported; *fitness* is the internal one, where higher is always
better: ``value`` or ``-value`` by the mode, and ``-inf`` for everything that is not finite.
"""

from __future__ import annotations

import abc
import dataclasses
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, SupportsFloat, SupportsIndex

from lamarck._errors import ReportError, SettingsError
from lamarck._quick import quick

if TYPE_CHECKING:
    import numpy as np

    from lamarck.population import Population
    from lamarck.space import Space

__all__ = [
    "Assigned",
    "Damaged",
    "Ended",
    "Event",
    "Exploit",
    "Explore",
    "Failed",
    "Failure",
    "HParams",
    "Interval",
    "Key",
    "Report",
    "Reported",
    "Retired",
    "Settings",
    "Source",
    "Started",
    "Strategy",
    "Value",
]

Value = bool | int | float | str | None
"""A hyperparameter's value."""

HParams = Mapping[str, Value]
"""A configuration: the active hyperparameters by name."""

Key = tuple[int, int]
"""(member, generation): names a report, and the weights it judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The rules of a run that are plain values.

    Args:
        population_size: Number of members, at least 1.
        interval: Steps that a member trains between two decisions, at least 1. The most influential setting: aim at 15 to 30 generations.
        generations: Intervals that each member trains, at least 1.
        mode: Whether a higher (``"max"``) or lower (``"min"``) value is better.
        seed: Seed of all decisions.
        max_lead: Generations that a member may be ahead of the slowest one. 0, the default, is synchronous and reproducible on any engine;
            ``None`` never waits.
        compare: ``"age"`` compares a member with reports of its own generation or younger, so that a slow machine is not mistaken for a bad
            member; ``"latest"`` with everybody's newest.
        target: Value at which the run ends early, or ``None``.
        max_failures: How often an interval of a member is tried again before the member gives up its weights.
        durable_every: Of each member, every how many generations a checkpoint is flushed to the disk; ``None``, the default, flushes all. What
            is not flushed survives the death of any process, but not a power cut, after which the member goes on from its last flushed one.

    Raises:
        SettingsError: If a value is not allowed; the message says what is.
    """

    population_size: int
    interval: int
    generations: int
    mode: Literal["max", "min"] = "max"
    seed: int = 0
    max_lead: int | None = 0
    compare: Literal["age", "latest"] = "age"
    target: float | None = None
    max_failures: int = 2
    durable_every: int | None = None

    def __post_init__(self) -> None:
        for name in ("population_size", "interval", "generations", "seed", "max_lead", "max_failures", "durable_every"):
            got = getattr(self, name)
            if type(got) not in (int, bool, type(None)) and isinstance(got, SupportsIndex):  # also the whole numbers of NumPy
                object.__setattr__(self, name, operator.index(got))
        for name in ("population_size", "interval", "generations"):
            self._check_whole(name, 1, "a whole number of at least 1")
        if self.mode not in ("max", "min"):
            raise SettingsError(f"mode: got {self.mode!r}; it must be 'max' (higher is better) or 'min'")
        if self.compare not in ("age", "latest"):
            raise SettingsError(f"compare: got {self.compare!r}; it must be 'age' or 'latest'")
        self._check_whole("seed", None, "a whole number")
        if self.max_lead is not None:
            self._check_whole("max_lead", 0, "0 (synchronous), a positive whole number, or None (asynchronous)")
        self._check_whole("max_failures", 0, "a whole number of at least 0")
        if self.durable_every is not None:
            self._check_whole("durable_every", 1, "a whole number of at least 1, or None (every checkpoint)")
        if self.target is not None:
            if not isinstance(self.target, SupportsFloat) or not -float("inf") < float(self.target) < float("inf"):
                raise SettingsError(f"target: got {self.target!r}; it must be a finite number or None")
            object.__setattr__(self, "target", float(self.target))

    def _check_whole(self, name: str, least: int | None, rule: str) -> None:
        got = getattr(self, name)
        if isinstance(got, bool) or not isinstance(got, int) or (least is not None and got < least):
            raise SettingsError(f"{name}: got {got!r}; it must be {rule}")


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """One stretch of training, complete in itself: the same record serves the first start, carry on, exploit and restart after a crash.

    Args:
        member: Who trains.
        generation: Which of the member's intervals this is, from 0.
        hparams: Hyperparameters to train with, exactly.
        start: Step at which the restored weights stand.
        until: Step up to which to train, exclusive.
        restore: Checkpoint to load first, or ``None`` to begin from nothing.
        parent: Report whose weights are loaded: the member's own last one, or its donor's; ``None`` to begin from nothing.
        seed: Seed of this interval's randomness, 32 bits: a function of (run seed, member, generation).
        info: For people, never for decisions: why this interval is what it is.
    """

    member: int
    generation: int
    hparams: HParams
    start: int
    until: int
    restore: str | None
    parent: Key | None
    seed: int
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """Names the interval, and the report that will answer it."""
        return (self.member, self.generation)

    @property
    def copied(self) -> bool:
        """Whether the weights are another member's."""
        return self.parent is not None and self.parent[0] != self.member


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What training says at the end of an interval.

    Args:
        member: Who reports.
        generation: For which of its intervals.
        step: Step reached.
        value: The metric as measured. Anything that is not finite counts as the worst there is.
        checkpoint: Name of the immutable checkpoint that was evaluated. Without one, nobody can copy these weights.
        samples: The single evaluations behind ``value``, e.g. episode returns, for tests that need their spread.
        metrics: Further numbers to keep; no decision looks at them.

    Raises:
        ReportError: If a field has the wrong type.

    Example:
        >>> Report(member=3, generation=7, step=4000, value=0.91, checkpoint="3-7").key
        (3, 7)
    """

    member: int
    generation: int
    step: int
    value: float
    checkpoint: str | None = None
    samples: tuple[float, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("member", "generation", "step"):
            got = getattr(self, name)
            if type(got) is not int or got < 0:
                raise ReportError(f"{name}: got {got!r}; it must be a whole number of at least 0")
        if type(self.value) is not float:
            try:
                object.__setattr__(self, "value", float(self.value))
            except (TypeError, ValueError, OverflowError, RuntimeError):  # PyTorch's own for a tensor of several on a GPU
                raise ReportError(f"value: got {self.value!r}; report a number (NaN is allowed and counts as the worst)") from None

    @property
    def key(self) -> Key:
        """Names the report: a second one with the same key changes nothing."""
        return (self.member, self.generation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What is said instead of a report when an interval came to nothing.

    Args:
        member: Whose interval.
        generation: Which one.
        kind: ``"error"`` (the training function raised), ``"lost"`` (the worker died), ``"timeout"``, or ``"damaged"`` (the checkpoint to
            restore could not be trusted).
        message: One line for people.
        checkpoint: For ``"damaged"``: the name of the checkpoint.
    """

    member: int
    generation: int
    kind: Literal["error", "lost", "timeout", "damaged"]
    message: str = ""
    checkpoint: str | None = None


@quick
@dataclass(frozen=True, slots=True)
class Source:
    """A strategy's answer: what a member goes on from.

    Args:
        weights: Report whose checkpoint is restored.
        hparams: Report whose hyperparameters are taken. The paper copies both from the donor; its ablation copies one of the two.
        explore: Whether the hyperparameters are changed afterwards.
        reason: Why, for people.

    Example:
        >>> Source(weights=(3, 7), hparams=(3, 7), reason="bottom 2 of 10: copied member 3, generation 7").explore
        True
    """

    weights: Key
    hparams: Key
    explore: bool = True
    reason: str = ""


# ---- events: what the journal keeps ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A run began.

    Args:
        settings: Its rules.
        space: Its search space, as `Space.to_dict` gives it.
        strategies: ``"exploit"``, ``"explore"`` and ``"rescue"``, each as `Strategy.to_dict` gives it. Decisions need them, replay does not.
        initial: The configuration that each member starts with.
        info: For people and for `resume`: versions, the training function's name.
    """

    settings: Settings
    space: Mapping[str, Any]
    strategies: Mapping[str, Any]
    initial: tuple[HParams, ...]
    info: Mapping[str, Any] = field(default_factory=dict)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """An interval was handed out: the decision about (member, generation), with all that follows from it."""

    interval: Interval


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A report was acknowledged."""

    report: Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """An interval came to nothing and stays to be done."""

    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """A checkpoint turned out not to be what was saved: nobody restores it again, and the member that tried is decided about anew."""

    member: int
    checkpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired:
    """A member failed for good and nobody could be copied in its place."""

    member: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The run is over: ``"generations"`` all done, ``"target"`` reached, or the population ``"lost"``."""

    reason: Literal["generations", "target", "lost"]


Event = Started | Assigned | Reported | Failed | Damaged | Retired | Ended
"""Everything that a journal may contain."""


# ---- strategies ------------------------------------------------------------------------------------------------------------------------------


class Strategy(abc.ABC):
    """A frozen dataclass with a ``name``: what exploit and explore strategies have in common."""

    __slots__ = ()

    name: ClassVar[str]
    """What the strategy is called in settings, on the command line and in journals."""

    def to_dict(self) -> dict[str, Any]:
        """Describes the strategy in plain JSON values; the registries' ``from_dict`` reverses it."""
        return {"name": self.name} | {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    if isinstance(value, Strategy):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


class Exploit(Strategy):
    """Decides who copies whom.

    Called when a member asks for its next interval, with all the reports that are in by then.
    """

    __slots__ = ()

    @abc.abstractmethod
    def __call__(self, member: int, population: Population, rng: np.random.Generator) -> Source | None:
        """Returns what the member goes on from, or ``None`` to carry on as it is.

        Args:
            member: Who asks. It has at least one record unless it is being rescued.
            population: The state of everybody; `Population.cohort` holds the reports that the member may be compared with.
            rng: Generator keyed by (seed, member, generation).
        """


class Explore(Strategy):
    """Decides how the hyperparameters change after a copy."""

    __slots__ = ()

    @abc.abstractmethod
    def __call__(self, hparams: HParams, member: int, population: Population, space: Space, rng: np.random.Generator) -> HParams:
        """Returns the changed configuration, within the space's bounds.

        Args:
            hparams: What was inherited.
            member: Who will train with the result.
            population: The state of everybody.
            space: Bounds, scales and conditions.
            rng: Generator keyed by (seed, member, generation).
        """
