"""What a check found, as data: the terminal draws it, and programs read it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, final

from lamarck.checking.states import Difference

__all__ = ["CheckReport", "Costs", "Effect", "Experiment", "Finding", "Result"]

Result = Literal["untested", "nothing", "unclear", "value", "state", "failed"]
"""What changing a hyperparameter can come to; see `Effect`."""

_SHARE = 0.02
"""Share of the training time that saving, restoring and reporting may take: less than times of equal runs scatter by."""
_REPORT = 0.002
"""Seconds from a report to the next interval, beside the weights: a durable journal on an ordinary disk."""
_FEWEST, _MOST = 15, 30


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that the user should know.

    Args:
        kind: ``"failed"``: training did not come to its end. ``"frozen"``: nothing that is tracked changes. ``"restore"``: going on from a
            saved state is not the same as going on. ``"leak"``: a member depends on who trained before in the same process.
            ``"hyperparameter"``: one has no effect. ``"repeat"``: training is not repeatable. ``"value"``: the value is not finite.
        fault: Whether it makes the function unfit; otherwise it is a warning.
        title: One sentence.
        evidence: What was measured, and what probably causes it; one line each.
        advice: What to do.
        trace: Traceback or output, if there is one.
    """

    kind: Literal["failed", "frozen", "restore", "leak", "hyperparameter", "repeat", "value"]
    fault: bool
    title: str
    evidence: tuple[str, ...] = ()
    advice: str = ""
    trace: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One comparison with the unbroken training.

    Args:
        name: What was done instead.
        compared: Leaves that were compared, the reported value among them; 0 if it did not come to that.
        differences: Those that differ, in the first generation that differs.
        counted: Those of them that are more than rounding, and more than what equal runs differ by.
    """

    name: str
    compared: int
    differences: tuple[Difference, ...] = ()
    counted: tuple[Difference, ...] = ()

    @property
    def result(self) -> str:
        """The outcome in a few words."""
        if not self.compared:
            return "failed"
        if not self.differences:
            return "identical"
        far = max(difference.relative for difference in self.differences)
        size = "" if math.isinf(far) else f", up to {far:.1e} relative"
        many = f"{len(self.differences)} of {self.compared} leaves differ{size}"
        return many if self.counted else f"{many}: negligible"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one hyperparameter changes after a restore.

    Args:
        name: Which.
        before: Its value in the configuration that is compared with.
        after: The values that it was given instead.
        result: ``"state"``: the trained state changes. ``"value"``: only the reported value does. ``"nothing"``. ``"unclear"``: not more than
            what equal runs differ by. ``"failed"``: training did. ``"untested"``: it has one value, or cannot be changed alone.
    """

    name: str
    before: Any
    after: tuple[Any, ...]
    result: Result


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What an interval costs, in seconds.

    Args:
        steps: Steps of the interval that was measured.
        train: Training and evaluating it.
        save: Saving what is tracked, durably, to the temporary folder.
        restore: Reading it and putting it back.
        bytes: Size of a saved state.

    Example:
        >>> costs = Costs(steps=50, train=1.0, save=0.03, restore=0.008, bytes=10_000_000)
        >>> round(costs.share, 3), costs.recommended, costs.training
        (0.04, 100, (1500, 3000))
    """

    steps: int
    train: float
    save: float
    restore: float
    bytes: int

    @property
    def overhead(self) -> float:
        """Seconds of an interval that do not train: saving, restoring and reporting."""
        return self.save + self.restore + _REPORT

    @property
    def timed(self) -> bool:
        """Whether training took long enough to be told from the scatter of saving, which is measured together with it."""
        return self.train > self.save / 10

    @property
    def share(self) -> float:
        """Overhead of the interval that was measured, as a share of its training time."""
        return self.overhead / max(self.train, 1e-9)

    @property
    def recommended(self) -> int:
        """Fewest steps between two decisions that keep the overhead under 2 %, rounded up to two digits."""
        steps = max(1, math.ceil(self.overhead / _SHARE * self.steps / max(self.train, 1e-9)))
        unit = int(10 ** max(0, len(str(steps)) - 2))
        return math.ceil(steps / unit) * unit

    @property
    def training(self) -> tuple[int, int]:
        """Steps of a whole training that the recommended interval divides into 15 and into 30 generations."""
        return _FEWEST * self.recommended, _MOST * self.recommended


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """Whether a training function is fit for population training.

    Args:
        experiments: The comparisons, that of two equal runs first.
        effects: One for each hyperparameter; empty if it did not come to that.
        findings: Faults first, then warnings.
        costs: What an interval costs, or ``None`` if it could not be measured.
    """

    experiments: tuple[Experiment, ...] = ()
    effects: tuple[Effect, ...] = ()
    findings: tuple[Finding, ...] = ()
    costs: Costs | None = None

    @property
    def fit(self) -> bool:
        """Whether no fault was found."""
        return not self.faults

    @property
    def faults(self) -> tuple[Finding, ...]:
        """What has to be put right."""
        return tuple(finding for finding in self.findings if finding.fault)

    @property
    def verdict(self) -> str:
        """The result in one sentence."""
        if self.faults:
            return f"not fit for population training: {len(self.faults)} {'fault' if len(self.faults) == 1 else 'faults'}"
        warned = len(self.findings)
        return "fit for population training" + (f", with {warned} {'warning' if warned == 1 else 'warnings'}" if warned else "")

    def __str__(self) -> str:
        return "\n".join([self.verdict, *self._lines()])

    def _lines(self) -> Iterator[str]:
        for finding in self.findings:
            yield f"{'fault' if finding.fault else 'warning'}: {finding.title}"
            yield from (f"  {line}" for line in (*finding.evidence, finding.advice) if line)
