"""The check itself: the trials, one after the other, and what they are compared with."""

from __future__ import annotations

import math
import pickle
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, final

from lamarck._errors import SettingsError
from lamarck.checking import judge
from lamarck.checking.plan import Change, Plan, plan
from lamarck.checking.report import CheckReport, Costs, Effect, Experiment, Finding, Result
from lamarck.checking.states import VALUE, Difference, differences, leaves
from lamarck.checking.trial import Done, Job, Outcome, attempt
from lamarck.checking.watch import Seen
from lamarck.checkpoints import Checkpoints, FolderCheckpoints
from lamarck.engines import Train
from lamarck.space import Space
from lamarck.types import HParams, Interval, Key

__all__ = ["check"]

_QUIET = judge.Noise(relative=0.0, unsteady=frozenset())


def check(
    train: Train, space: Space, *, interval: int = 50, intervals: int = 2, seed: int = 0, tell: Callable[[str], object] = lambda _: None
) -> CheckReport:
    """Finds out whether a training function is fit for population training, before hours are spent on it.

    In a population, weights are saved, restored in other processes, and handed from member to member, and hyperparameters change in between.
    Each of these is done here, and what comes of it is compared, leaf by leaf, with training that was left alone:

    - the same again, in a new process: how repeatable training is, which everything else is judged against;
    - the second half, from the restored state, in a new process: is everything tracked that matters?
    - from nothing and from a restored state, after another member has trained in the same process: is anything left behind?
    - from a restored state with each hyperparameter changed in turn: does it have an effect?

    All happens in processes of its own and in a temporary folder. The training function is called about as often as there are hyperparameters,
    and five times more; what it prints is not shown, and what it writes to files of its own, it writes each time.

    Args:
        train: The training function: a function of a module, because it is sent to other processes.
        space: Its hyperparameters. Training begins in the middle of their ranges.
        interval: Steps of one interval, at least 1. 50 are enough to see most differences; take more if the hyperparameters act late.
        intervals: Intervals of the unbroken training, at least 2, of which the first half is left before the restore.
        seed: Seed of everything.
        tell: Is told what comes next.

    Raises:
        SettingsError: If a number is out of its range, or the function cannot be sent to another process.
        SpaceError: If no configuration meets the space's constraints.
        CheckpointError: If the temporary folder cannot be written.

    Example:
        >>> from lamarck.testing.engine import SPACE, train
        >>> print(check(train, SPACE, interval=4))
        fit for population training
    """
    for name, got, least in (("interval", interval, 1), ("intervals", intervals, 2)):
        if isinstance(got, bool) or not isinstance(got, int) or got < least:
            raise SettingsError(f"{name}: got {got!r}; it must be a whole number of at least {least}")
    try:
        pickled = pickle.dumps(train)
    except Exception as error:
        raise SettingsError(
            f"other processes cannot be given {train!r} ({error}): define the training function at the top level of a module"
        ) from None
    made = plan(space, interval=interval, intervals=intervals, seed=seed)
    with tempfile.TemporaryDirectory(prefix="lamarck-check-") as folder:
        study = _Study(made, pickled, Path(folder), FolderCheckpoints(Path(folder, "checkpoints")), tell)
        study.carry_out()
        return CheckReport(
            experiments=tuple(study.experiments),
            effects=tuple(study.effects),
            findings=tuple(sorted(study.findings, key=lambda finding: not finding.fault)),
            costs=study.costs,
        )


@final
@dataclass(slots=True)
class _Study:
    """What is known so far."""

    plan: Plan
    train: bytes
    folder: Path
    store: Checkpoints
    tell: Callable[[str], object]
    noise: judge.Noise = _QUIET
    base: tuple[Done, ...] = ()
    references: dict[str, Outcome] = field(default_factory=dict)
    experiments: list[Experiment] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    costs: Costs | None = None

    @property
    def saved(self) -> Mapping[Key, str]:
        """The state that is restored, by its report."""
        return {done.key: done.checkpoint for done in self.base if done.key == self.plan.saved}

    def carry_out(self) -> None:
        first = self._attempt("train without a break", self.plan.unbroken(), probe=self.plan.saved)
        if first.trouble is not None:
            self.findings.append(judge.failed("trained without a break", first.trouble))
            return
        self.base = first.done
        bad = [done.value for done in self.base if not math.isfinite(done.value)]
        if bad:
            self.findings.append(judge.not_finite(bad[0]))
            return
        if not differences(self.store.get(self.base[0].checkpoint), self.store.get(self.base[-1].checkpoint)):
            self.findings.append(judge.frozen())
            return
        self._measure(first)
        suspects = judge.left_as_it_was(first, self.plan.split - 1)
        self._repeat(first, suspects)
        self._restore(suspects, () if first.probe is None else first.probe.lossy)
        for change in self.plan.changes:
            self._change(change)

    def _measure(self, first: Outcome) -> None:
        if first.probe is not None:
            last = self.base[-1]
            self.costs = Costs(
                steps=self.plan.interval,
                train=max(0.0, last.seconds - first.probe.save),
                save=first.probe.save,
                restore=first.probe.restore,
                bytes=first.probe.bytes,
            )

    def _repeat(self, first: Outcome, suspects: tuple[Seen, ...]) -> None:
        # A new interpreter in everything, because forked ones share what is drawn once for all of them, such as the order of sets.
        again = self._attempt("train the same again", self.plan.unbroken(), method="spawn", probe=self.saved[self.plan.saved])
        experiment = self._compared("the same again, in a new process", again)
        self.noise = judge.Noise.of(experiment.differences)
        if experiment.differences:
            self.findings.append(judge.unrepeatable(experiment, judge.unlike(first, again, self.plan.split - 1), suspects))

    def _restore(self, suspects: tuple[Seen, ...], lossy: tuple[Difference, ...]) -> None:
        resumed = self._attempt("restore in a new process", self.plan.resumed())
        restored = self._compared("restored in a new process", resumed)
        second = self._attempt("train after another member", self.plan.second())
        leaks = [self._compared("from nothing, after another member", second)]
        leaks.append(self._compared("restored, after another member", self._reference(self.plan.base)))
        if restored.counted:
            self.findings.append(judge.unequal("restore", [restored], suspects, lossy))
        if any(experiment.counted for experiment in leaks):
            self.findings.append(judge.unequal("leak", [experiment for experiment in leaks if experiment.counted], suspects, lossy))

    def _compared(self, name: str, outcome: Outcome) -> Experiment:
        """Compares what a trial reports for member 0 with the unbroken training."""
        if outcome.trouble is not None:
            self.findings.append(judge.failed(name, outcome.trouble))
            self.experiments.append(Experiment(name=name, compared=0))
            return self.experiments[-1]
        reports = {done.key: done for done in outcome.done}
        compared = 0
        found: tuple[Difference, ...] = ()
        for expected in self.base:
            if expected.key in reports and not found:
                before = self._state(expected)
                compared, found = len(leaves(before)), differences(before, self._state(reports[expected.key]))
        self.experiments.append(Experiment(name=name, compared=compared, differences=found, counted=self.noise.beyond(found)))
        self._sweep()
        return self.experiments[-1]

    def _change(self, change: Change) -> None:
        """Gives a hyperparameter other values until one has an effect."""
        name, before = change.name, change.before.get(change.name)
        best, kept = self._effect(change) if change.after else ("untested", None)
        effect = Effect(name=name, before=before, after=tuple(config[name] for config in change.after), result=best)
        self.effects.append(effect)
        if best in {"nothing", "value", "unclear"}:
            self.findings.append(judge.ineffective(effect, kept))

    def _effect(self, change: Change) -> tuple[Result, str | None]:
        """What changing a hyperparameter comes to, and the leaf that has kept the value from before."""
        name, before = change.name, change.before[change.name]
        reference = self._reference(change.before)
        if reference.trouble is not None:
            if change.before != self.plan.base:  # otherwise it has been told
                self.findings.append(judge.failed(f"restored with {dict(change.before)}", reference.trouble))
            return "failed", None
        best: Result = "untested"
        kept: str | None = None
        for config in change.after:
            outcome = self._attempt(f"change {name}", self.plan.copied(config))
            if outcome.trouble is not None:
                self.findings.append(judge.failed(f"restored with {name} = {config[name]}", outcome.trouble))
                return "failed", None
            one, other = self._state(reference.done[-1]), self._state(outcome.done[-1])
            best = max(best, self._result(one, other, before, config[name]), key=_RESULTS.index)
            kept = kept or _kept(name, leaves(other), before)
            self._sweep()
            if best == "state":
                break
        return best, kept

    def _result(self, one: Mapping[str, Any], other: Mapping[str, Any], before: Any, after: Any) -> Result:
        was, now = leaves(one), leaves(other)
        # A state that holds the hyperparameter itself differs in it, whether it is used or not.
        found = [d for d in differences(one, other) if not (_is(was.get(d.leaf), before) and _is(now.get(d.leaf), after))]
        counted = self.noise.beyond(found, floor=0.0)
        if any(difference.leaf != VALUE for difference in counted):
            return "state"
        return "value" if counted else "unclear" if found else "nothing"

    def _reference(self, hparams: HParams) -> Outcome:
        """Training from the restored state with an unchanged configuration, after another member in the same process."""
        key = repr(sorted(hparams.items()))
        if key not in self.references:
            self.references[key] = self._attempt("restore after another member", self.plan.copied(hparams))
        return self.references[key]

    def _attempt(
        self,
        what: str,
        script: tuple[Interval, ...],
        *,
        method: Literal["forkserver", "spawn"] = "forkserver",
        probe: Key | str | None = None,
    ) -> Outcome:
        self.tell(what)
        job = Job(
            train=self.train,
            checkpoints=str(self.folder / "checkpoints"),
            script=script,
            seed=self.plan.seed,
            known=self.saved,
            probe=probe,
            log=str(self.folder / "log"),
        )
        return attempt(job, method)

    def _state(self, done: Done) -> dict[str, Any]:
        state: dict[str, Any] = self.store.get(done.checkpoint)
        return state | {VALUE: done.value}

    def _sweep(self) -> None:
        """Keeps no more states than are compared with later."""
        wanted = [*self.base, *(outcome.done[-1] for outcome in self.references.values() if outcome.done)]
        self.store.sweep([done.checkpoint for done in wanted])


_RESULTS: list[Result] = ["untested", "nothing", "unclear", "value", "state"]
"""From the least to the most."""


def _is(held: Any, value: Any) -> bool:
    """Whether a leaf holds a hyperparameter's value."""
    return type(held) is type(value) and bool(held == value)


def _kept(name: str, held: Mapping[str, Any], before: Any) -> str | None:
    """The leaf that still has the value from before: one of that name, or an optimizer's setting."""
    same = [leaf for leaf, value in held.items() if _is(value, before)]
    named = [leaf for leaf in same if leaf.rpartition("/")[2].rpartition(".")[2] == name]
    settings = [leaf for leaf in same if "param_groups" in leaf and isinstance(before, float)]
    return next(iter([*named, *settings]), None)
