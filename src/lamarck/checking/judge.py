"""From what the trials showed to sentences: what is wrong, what probably causes it, and what to do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, final

from lamarck.checking.report import Effect, Experiment, Finding
from lamarck.checking.states import VALUE, Difference
from lamarck.checking.trial import Outcome, Trouble
from lamarck.checking.watch import Kind, Look, Seen

__all__ = ["Noise", "failed", "frozen", "ineffective", "left_as_it_was", "not_finite", "unequal", "unlike", "unrepeatable"]

_ROUNDING = 1e-6
"""Relative difference that counts as rounding: a restored tensor may lie differently in memory, and sums are then taken in another order."""
_MARGIN = 10.0
"""How many times more than two equal runs a restored one must differ to be a fault: two runs are one draw of it, which may be small."""
_SHOWN = 5

_NAMES: dict[Kind, str] = {
    "generator": "a random generator",
    "optimizer": "an optimizer",
    "module": "a module",
    "state": "an object with a state_dict",
    "iterator": "an iterator, whose position cannot be saved",
    "container": "a container",
    "array": "an array",
    "plain": "a plain value",
}
_ADVICE: dict[Kind, str] = {
    "generator": "track {name}, or draw from interval.rng, which starts anew from each interval's seed",
    "optimizer": "track {name}: its momentum and step counts belong to the weights",
    "module": "track {name} as a whole: its state_dict holds the buffers, such as batch-norm statistics, as well as the parameters",
    "state": "track {name}",
    "iterator": "make {name} anew in each interval, shuffled by interval.seed",
    "container": "track {name}, or empty it at the beginning of each interval",
    "array": "track {name}",
    "plain": "compute {name} from interval.start, or keep it in a dict that is tracked",
}
_USUAL = (
    "track everything that training changes and the next interval needs: optimizer, learning rate scheduler, gradient scaler, averaged "
    "weights, batch-norm buffers, random generators of your own, the position in the data"
)
_ONCE = (
    "what is set in a process's first interval only, such as hyperparameters, is what remains of the first member: set it in every interval; "
    "and keep nothing in variables of modules"
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How far equal runs are apart.

    Args:
        relative: Largest relative difference of a leaf; 0 if training is repeatable.
        unsteady: Leaves that are compared exactly and were not the same.
    """

    relative: float
    unsteady: frozenset[str]

    @classmethod
    def of(cls, found: Sequence[Difference]) -> Noise:
        """Measures it, from the differences of two equal runs."""
        return cls(
            relative=max((difference.relative for difference in found if not difference.exact), default=0.0),
            unsteady=frozenset(difference.leaf for difference in found if difference.exact),
        )

    def beyond(self, found: Iterable[Difference], *, floor: float = _ROUNDING) -> tuple[Difference, ...]:
        """Returns the differences that repeating alone does not explain.

        Args:
            found: Differences.
            floor: Relative difference that never counts; by default rounding.
        """
        allowed = max(floor, _MARGIN * self.relative)
        return tuple(difference for difference in found if difference.leaf not in self.unsteady and difference.relative > allowed)


def left_as_it_was(outcome: Outcome, saved: int) -> tuple[Seen, ...]:
    """Returns the user's variables that training changed and a restore does not put back.

    Args:
        outcome: A trial with a probe.
        saved: Index of the report whose state the probe loaded.
    """
    if outcome.probe is None:
        return ()
    return tuple(seen for seen in _moved(outcome.done[saved].look, outcome.probe.look) if _key(seen) in outcome.start)


def unlike(one: Outcome, other: Outcome, saved: int) -> tuple[Seen, ...]:
    """Returns the user's variables that begin differently in two processes, and still differ when both have loaded the same state.

    Args:
        one: The trial whose state was loaded.
        other: The other trial, with a probe that loaded it.
        saved: Index of that state's report.
    """
    if other.probe is None:
        return ()
    begun = {_key(seen) for seen in _moved(one.start, other.start)}
    return tuple(seen for seen in _moved(one.done[saved].look, other.probe.look) if _key(seen) in begun and seen.kind != "iterator")


def failed(what: str, trouble: Trouble) -> Finding:
    """A trial that did not come to its end."""
    after = {0: "", 1: " after its first report"}.get(trouble.after, f" after {trouble.after} reports")
    title = {
        "raised": f"The training function raises{after}: {trouble.message}",
        "contract": f"The training function breaks its contract{after}: {trouble.message}",
        "died": f"The training function ends its process: {trouble.message}",
    }[trouble.kind]
    return Finding(kind="failed", fault=True, title=title, evidence=(f"when: {what}",), trace=trouble.trace)


def frozen() -> Finding:
    """A state that training does not change."""
    return Finding(
        kind="frozen",
        fault=True,
        title="Nothing that is tracked changes in training.",
        evidence=("the saved state is the same after the first interval and after the last",),
        advice="track the objects that are trained, not copies of them, and change them in place",
    )


def not_finite(value: float) -> Finding:
    """A value that says nothing."""
    return Finding(
        kind="value",
        fault=True,
        title=f"The reported value is {value} in the middle of the search space.",
        advice="narrow the ranges to where training is stable, or correct the evaluation: on such numbers nothing can be compared",
    )


def unrepeatable(experiment: Experiment, unlike: Sequence[Seen], suspects: Sequence[Seen]) -> Finding:
    """Two equal runs that differ."""
    setup = _strong(unlike)
    evidence = [f"two equal runs: {experiment.result}", *_shown(experiment.differences)]
    if setup:
        evidence += [f"differs from the beginning, in each process, and is not put back by a restore: {text}" for text in _listed(setup)]
        advice = "seed it, sort what comes from a set, or track it: in a worker process that starts later, it would not be what it was"
    else:
        evidence += [f"changes in training, and is not put back by a restore: {text}" for text in _listed(_strong(suspects))]
        advice = (
            "differences after a restore are judged against this; to see smaller ones, make training repeatable: seeded generators, no clock, "
            "and, on a GPU, torch.use_deterministic_algorithms(True)"
        )
    return Finding(
        kind="repeat", fault=bool(setup), title="Training itself is not repeatable: equal runs differ.", evidence=tuple(evidence), advice=advice
    )


def unequal(
    kind: Literal["restore", "leak"], experiments: Sequence[Experiment], suspects: Sequence[Seen], lossy: Sequence[Difference]
) -> Finding:
    """Training that depends on more than the state, the hyperparameters and the interval.

    Args:
        kind: ``"restore"``, or ``"leak"`` from one member to the next.
        experiments: Those that showed it.
        suspects: What is not put back by a restore.
        lossy: What is saved, and not the same after loading.
    """
    named = _strong(suspects) or suspects
    evidence = []
    for experiment in experiments:
        evidence += [f"{experiment.name}: {experiment.result}", *_shown(experiment.counted)]
        if [difference.leaf for difference in experiment.counted] == [VALUE]:
            evidence.append("all that is tracked is the same, so what differs is used in evaluation only, as batch-norm statistics are")
    evidence += [f"saved, but not put back by loading: {difference.leaf}, {difference.text}" for difference in lossy[:_SHOWN]]
    evidence += [f"not put back by a restore: {text}" for text in _listed(named)]
    advice = "; ".join(dict.fromkeys(_ADVICE[seen.kind].format(name=seen.owner) for seen in named[:_SHOWN]))
    if lossy:
        advice = "make loading the inverse of saving"
    title = {
        "restore": "Going on from a saved state in a new process is not the same as going on.",
        "leak": "What one member leaves behind in the process changes the next one.",
    }[kind]
    return Finding(kind=kind, fault=True, title=title, evidence=tuple(evidence), advice=advice or (_ONCE if kind == "leak" else _USUAL))


def ineffective(effect: Effect, kept: str | None) -> Finding:
    """A hyperparameter that changes nothing, or too little to see.

    Args:
        effect: What was tried.
        kept: Leaf of the state that still holds the value from before, if there is one.
    """
    name, tried = effect.name, " and ".join(map(_value, effect.after))
    if effect.result == "value":
        return Finding(
            kind="hyperparameter",
            fault=False,
            title=f"{name} changes the reported value, but nothing that is trained.",
            evidence=(f"tried: {tried} instead of {_value(effect.before)}",),
            advice="judge members by a value that no hyperparameter enters, or the population tunes the ruler",
        )
    if effect.result == "unclear":
        return Finding(
            kind="hyperparameter",
            fault=False,
            title=f"Whether {name} has an effect after a restore cannot be told: it changes no more than a repetition does.",
            evidence=(f"tried: {tried} instead of {_value(effect.before)}",),
            advice="make training repeatable, or check with longer intervals",
        )
    where = [f"{kept} is still {_value(effect.before)}: the restored state has overwritten the new value"] if kept else []
    call = f"lk.torch.set_hparams(optimizer, {_argument(kept, name)}=interval.hparams[{name!r}])"
    return Finding(
        kind="hyperparameter",
        fault=True,
        title=f"{name} has no effect after a restore.",
        evidence=(f"tried: {tried} instead of {_value(effect.before)}; state and value stay the same", *where),
        advice="set it at the beginning of every interval, not once before or in the first one"
        + (f": {call}" if kept else "; if it acts only later in training than this check went, it is all right"),
    )


def _key(seen: Seen) -> str:
    return f"{seen.owner}{'/' if seen.leaf else ''}{seen.leaf} in {seen.where}"


def _moved(before: Look, after: Look) -> Iterator[Seen]:
    return (seen for key, seen in before.items() if key in after and after[key].digest != seen.digest)


def _strong(suspects: Iterable[Seen]) -> list[Seen]:
    """Without numbers and texts, of which every program has many that do not matter."""
    order: list[Kind] = ["generator", "optimizer", "module", "state", "iterator", "container", "array"]
    return sorted((seen for seen in suspects if seen.kind in order), key=lambda seen: order.index(seen.kind))


def _listed(suspects: Sequence[Seen]) -> list[str]:
    """One line for each variable, with the leaves of those that have a state."""
    lines = []
    for (owner, where, kind, name), group in groupby(suspects, key=lambda seen: (seen.owner, seen.where, seen.kind, seen.type)):
        parts = [seen.leaf for seen in group if seen.leaf]
        some = f": {', '.join(parts[:3])}{f' and {len(parts) - 3} more' if len(parts) > 3 else ''}" if parts else ""
        lines.append(f"{owner} in {where}, {_NAMES[kind]} ({name}){some}")
    return lines[:_SHOWN]


def _shown(found: Sequence[Difference]) -> list[str]:
    worst = sorted(found, key=lambda difference: -difference.relative)[:_SHOWN]
    more = len(found) - len(worst)
    return [f"  {difference.leaf}: {difference.text}" for difference in worst] + ([f"  and {more} more"] if more else [])


def _argument(kept: str | None, name: str) -> str:
    """What the optimizer calls it."""
    last = (kept or name).rpartition(".")[2]
    return name if last.isdigit() or not last.isidentifier() else last


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) and math.isfinite(value) else str(value)
