"""What came of replays, and what follows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from lamarck._student import confidence
from lamarck.history import History
from lamarck.schedule import Schedule

__all__ = ["Replay", "Replayed"]


@final
@dataclass(frozen=True, kw_only=True)
class Replayed:
    """One model, trained from scratch by a schedule.

    Args:
        name: Name of its run, where there is a journal: ``lamarck.load(journal, one.checkpoint, name=one.name)`` reads the model.
        seed: Seed of its training.
        until: Step at which the schedule ends.
        history: What happened, as a run of one member.
    """

    name: str
    seed: int
    until: int
    history: History

    @property
    def value(self) -> float:
        """The value at the end of the schedule; NaN if training diverged before."""
        last = self.history.records[-1]
        return last.value if last.finite else math.nan

    @property
    def checkpoint(self) -> str | None:
        """The model at the end of the schedule."""
        return self.history.records[-1].checkpoint

    @property
    def complete(self) -> bool:
        """Whether it came to the end of the schedule, or diverged: not where a checkpoint was lost and intervals had to be trained again."""
        last = self.history.records[-1]
        return last.step >= self.until or not last.finite

    @property
    def values(self) -> NDArray[np.float64]:
        """``float64[reports, 2]``: step and value of each report, NaN where a value was not finite."""
        return np.array([(record.step, record.value if record.finite else math.nan) for record in self.history.records])


@final
@dataclass(frozen=True, kw_only=True)
class Replay:
    """A schedule, trained by from scratch, beside the run that found it.

    Args:
        schedule: What was followed.
        original: The run that it comes from; ``None`` for a schedule from elsewhere.
        target: The report that ends the lineage whose schedule it is; ``None`` without an original.
        again: The training with the lineage's own seeds, if it was asked for.
        fresh: Trainings with seeds of their own.
    """

    schedule: Schedule
    original: History | None = None
    target: tuple[int, int] | None = None
    again: Replayed | None = None
    fresh: tuple[Replayed, ...] = ()

    @property
    def mode(self) -> str:
        """Whether a higher (``"max"``) or lower (``"min"``) value is better."""
        first = self.again or self.fresh[0]
        return first.history.settings.mode

    @property
    def values(self) -> NDArray[np.float64]:
        """``float64[seeds]``: final values of the fresh trainings, NaN where one diverged."""
        return np.array([one.value for one in self.fresh])

    @property
    def found(self) -> float | None:
        """The value that the population reached by this schedule."""
        return None if self.original is None or self.target is None else self.original[self.target].value

    @property
    def median(self) -> float | None:
        """The median of the population's final values, infinitely bad ones included; ``None`` without an original."""
        if self.original is None:
            return None
        sign = 1.0 if self.mode == "max" else -1.0
        newest = {record.member: record for record in self.original.records}
        return sign * float(np.median([record.fitness for record in newest.values()]))

    @property
    def exact(self) -> bool | None:
        """Whether the training with the lineage's own seeds gave the lineage's value to the last bit; ``None`` if it was not tried."""
        if self.again is None or self.found is None:
            return None
        value = self.again.history.records[-1].value
        return value == self.found or (math.isnan(value) and math.isnan(self.found))

    @property
    def verdict(self) -> str:
        """Whether the schedule alone is enough, in one sentence that claims no more than the seeds show."""
        finite = self.values[np.isfinite(self.values)]
        found, median = self.found, self.median
        if len(finite) < len(self.values):
            return f"The schedule alone is not reliable: {len(self.values) - len(finite)} of {len(self.values)} trainings diverged."
        if found is not None and not math.isfinite(found):
            return "The report whose schedule this is was not finite: there is nothing to hold the trainings against."
        if found is None or median is None or len(finite) < 2:
            return "Two seeds or more, and the run that found the schedule, are needed to say whether it is enough."
        sign = 1.0 if self.mode == "max" else -1.0
        low, high = sorted(sign * limit for limit in confidence(finite)[1:])
        if low > sign * median:
            if high >= sign * found:
                return "The schedule alone is enough: trained by it from scratch, models are as good as the best that the population found."
            return "The schedule alone carries much of the gain: better than the population's median, but not as good as the best it found."
        if high >= sign * found:
            return f"{len(finite)} seeds do not decide whether the schedule alone is enough: their spread is too wide. Train more."
        return "The schedule alone is not enough: the rest of the population's gain is in the weights it selected, or was luck of selection."

    def __str__(self) -> str:
        lines = []
        if self.again is not None:
            same = "exactly the lineage's value" if self.exact else f"and not the lineage's {self.found:.6g}"
            lines.append(f"with the lineage's own seeds: {self.again.value:.6g}, {same}")
            if not self.exact:
                lines.append(
                    "  so training depends on something besides tracked state, hyperparameters and the interval's seed: try `lamarck check`"
                )
        if self.fresh:
            finite = self.values[np.isfinite(self.values)]
            line = f"with {len(self.fresh)} fresh seed{'' if len(self.fresh) == 1 else 's'}: "
            if len(finite) > 1:
                mean, low, high = confidence(finite)
                line += f"mean {mean:.6g}, 95 % confidence interval {low:.6g} to {high:.6g}"
            else:
                line += f"{finite[0]:.6g}" if len(finite) else "none finite"
            lines.append(line + (f", {len(self.fresh) - len(finite)} diverged" if len(finite) < len(self.fresh) else ""))
        for one in (*self.fresh, *([] if self.again is None else [self.again])):
            if not one.complete:
                step = one.history.records[-1].step
                lines.append(f"  seed {one.seed} ended at step {step} of {one.until}, its checkpoint was lost: replay into another journal")
        if self.found is not None and self.median is not None:
            lines.append(f"the population: best {self.found:.6g}, median at the end {self.median:.6g}")
        if self.fresh:
            lines.append(self.verdict)
        return "\n".join(lines)
