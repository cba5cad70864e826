"""Several runs, or several methods with several runs each, compared as one should: interquartile means with stratified bootstrap intervals.

A run is one sample: its members are not independent. Runs of one method on one task are a *stratum*; resampling draws runs within each stratum
and never across, so a hard task is not drawn more often than it was tried (Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of
the Statistical Precipice", arXiv 2108.13264, §4). The mean of the middle half of all runs is less moved by one lucky or unlucky run than the
mean, and wastes less than the median (ibid., §4.3).

Methods are compared at equal budgets: steps trained by all members together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import SettingsError
from lamarck._rng import generator
from lamarck.history import History

__all__ = ["Comparison", "Estimate", "Group", "bootstrap", "compare", "interquartile_mean", "probability_of_improvement", "progress"]

_PART = 4_000_000
"""Numbers that are resampled at once: 32 MB."""


@final
@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval.

    Args:
        value: The number.
        low: Lower end of the interval; NaN if there is one run of each task.
        high: Upper end.
    """

    value: float
    low: float
    high: float


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Group:
    """What came of one method.

    Args:
        name: Its name.
        runs: How many runs.
        tasks: How many strata they belong to.
        budget: ``float64[T]``; steps of all members together.
        best: ``float64[R, T]``; each run's best value so far.
        curve: ``float64[T]``; interquartile mean of the runs.
        low: ``float64[T]``; lower end of its interval, NaN for one run of each task.
        high: ``float64[T]``; upper end.
        final: The interquartile mean at the budget that all groups have reached.
        better: Probability that a run of this group is better than one of the first group; ``None`` for the first, or if they have no task in
            common.
    """

    name: str
    runs: int
    tasks: int
    budget: NDArray[np.float64]
    best: NDArray[np.float64]
    curve: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    final: Estimate
    better: Estimate | None


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """Groups side by side.

    Args:
        mode: ``"max"`` or ``"min"``.
        budget: Steps of all members together, at which the groups are compared: the least that any run has reached.
        confidence: Of the intervals.
        groups: In the order in which they were given.
    """

    mode: str
    budget: float
    confidence: float
    groups: tuple[Group, ...]


def interquartile_mean(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the mean of the middle half along the first axis: a quarter of the scores, rounded down, is left out at each end.

    Args:
        scores: ``float64[R, ...]``.

    Returns:
        ``float64[...]``. Of fewer than four scores it is the mean.

    Example:
        >>> import numpy as np
        >>> float(interquartile_mean(np.array([0.0, 1.0, 2.0, 100.0])))
        1.5
    """
    cut = len(scores) // 4
    return np.asarray(np.sort(scores, axis=0)[cut : len(scores) - cut].mean(axis=0), dtype=np.float64)


def bootstrap(
    strata: Sequence[NDArray[np.float64]], *, resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the percentile interval of the interquartile mean, by resampling runs within strata.

    Args:
        strata: ``float64[R_i, ...]`` for each stratum.
        resamples: How often; 2,000 is what the authors take for curves.
        confidence: From 0 to 1.
        seed: Of the draws.

    Returns:
        Lower and upper ends, ``float64[...]``. With fewer than about five runs in a stratum they lie too close together.

    Example:
        >>> import numpy as np
        >>> low, high = bootstrap([np.arange(20.0)])
        >>> bool(low < interquartile_mean(np.arange(20.0)) < high)
        True
    """
    rng = generator(seed, -1, 0, "bootstrap")
    choices = [rng.integers(0, len(stratum), (resamples, len(stratum))) for stratum in strata]
    size = sum(stratum.size for stratum in strata)
    part = max(1, _PART // max(1, size))
    made = [
        interquartile_mean(np.concatenate([stratum[choice[i : i + part].T] for stratum, choice in zip(strata, choices, strict=True)]))
        for i in range(0, resamples, part)
    ]
    return _percentiles(np.concatenate(made), confidence)


def probability_of_improvement(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Returns the probability that a random run of one is better than a random run of the other, ties half: Mann and Whitney's U, scaled.

    Args:
        one: ``float64[R]``, higher is better.
        other: ``float64[S]``.

    Example:
        >>> import numpy as np
        >>> probability_of_improvement(np.array([1.0, 2.0]), np.array([1.0, 0.0]))
        0.875
    """
    over, tie = one[:, None] > other[None], one[:, None] == other[None]
    return float(over.mean() + 0.5 * tie.mean())


def progress(history: History) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns what a run has come to for how much.

    Args:
        history: The run.

    Returns:
        ``float64[R]`` each, by report: steps that all members together have trained, and the best value so far (NaN before the first finite).
    """
    steps = [record.step - (0 if record.parent is None else history[record.parent].step) for record in history.records]
    sign = 1.0 if history.settings.mode == "max" else -1.0
    best = np.maximum.accumulate(np.array([record.fitness for record in history.records], dtype=np.float64))
    return np.cumsum(np.array(steps, dtype=np.float64)), np.where(np.isfinite(best), sign * best, math.nan)


def compare(
    groups: Mapping[str, Sequence[History]], *, points: int = 200, resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> Comparison:
    """Compares groups of runs.

    Runs of one group that train different functions are strata of their own, as the tasks of a benchmark are; their values should then be on
    one scale.

    Args:
        groups: Runs by name of the group.
        points: Budgets at which curves are computed, evenly spaced.
        resamples: See `bootstrap`.
        confidence: Of the intervals, between 0 and 1.
        seed: Of the resampling.

    Raises:
        SettingsError: If there is nothing to compare: no group, a group without runs, a run without a finite value, or higher is better in one
            run and lower in another.

    Example:
        >>> from lamarck import History
        >>> from lamarck.pbt import PBT
        >>> from lamarck.space import Float, Space
        >>> from lamarck.testing.simulation import simulate
        >>> from lamarck.types import Settings
        >>> def run(seed):
        ...     rules = Settings(population_size=4, interval=1, generations=3, seed=seed)
        ...     return History.of(simulate(PBT(space=Space(h=Float(0.0, 1.0)), settings=rules), lambda it, _: (it.hparams["h"], None)))
        >>> compared = compare({"some": [run(0), run(1)], "others": [run(2), run(3)]})
        >>> [(group.name, group.runs) for group in compared.groups], compared.budget
        ([('some', 2), ('others', 2)], 12.0)
    """
    _check(groups, points, resamples, confidence)
    mode = next(iter(groups.values()))[0].settings.mode
    sign = 1.0 if mode == "max" else -1.0
    known = {name: [progress(history) for history in runs] for name, runs in groups.items()}
    common = min(float(budget[-1]) for runs in known.values() for budget, _ in runs)
    finals: list[dict[str, NDArray[np.float64]]] = []
    made: list[Group] = []
    for name, runs in groups.items():
        tasks = [str(history.started.info.get("train", "")) for history in runs]
        names = list(dict.fromkeys(tasks))
        first = max(float(budget[np.isfinite(best)][0]) for budget, best in known[name])
        last = min(float(budget[-1]) for budget, _ in known[name])
        grid = np.linspace(min(first, last), last, points)
        best = np.stack([_at(run, grid) for run in known[name]])
        final = np.array([_at(run, np.array([common]))[0] for run in known[name]])
        strata = [np.flatnonzero([task == wanted for task in tasks]) for wanted in names]
        options = {"resamples": resamples, "confidence": confidence, "seed": seed}
        low, high = _interval([best[rows] for rows in strata], **options)  # type: ignore[arg-type]
        ends = _interval([final[rows] for rows in strata], **options)  # type: ignore[arg-type]
        finals.append({task: sign * final[rows] for task, rows in zip(names, strata, strict=True)})
        made.append(
            Group(
                name=name,
                runs=len(runs),
                tasks=len(names),
                budget=grid,
                best=best,
                curve=interquartile_mean(best),
                low=low,
                high=high,
                final=Estimate(float(interquartile_mean(final)), float(ends[0]), float(ends[1])),
                better=_better(finals[-1], finals[0], resamples, confidence, seed) if made else None,
            )
        )
    return Comparison(mode=mode, budget=common, confidence=confidence, groups=tuple(made))


def _check(groups: Mapping[str, Sequence[History]], points: int, resamples: int, confidence: float) -> None:
    if not groups or not all(groups.values()):
        empty = [name for name, runs in groups.items() if not runs]
        raise SettingsError(f"group {empty[0]!r} has no runs" if empty else "there is nothing to compare; give at least one run")
    if points < 2 or resamples < 1 or not 0 < confidence < 1:
        raise SettingsError(
            f"got points={points}, resamples={resamples} and confidence={confidence}; at least 2, at least 1, and between 0 and 1 are allowed"
        )
    modes = {history.settings.mode: name for name, runs in groups.items() for history in runs}
    if len(modes) > 1:
        raise SettingsError(f"higher is better in {modes['max']!r} and lower in {modes['min']!r}; they cannot be compared")
    for name, runs in groups.items():
        if not all(any(record.finite for record in history.records) for history in runs):
            raise SettingsError(f"a run of {name!r} has not reported a finite value; leave it out, and say so")


def _at(run: tuple[NDArray[np.float64], NDArray[np.float64]], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """The best value when a budget has been spent: that of the last report within it, or of the first if there is none yet."""
    budget, best = run
    row = np.searchsorted(budget, grid, side="right") - 1
    return np.asarray(best[np.maximum(row, int(np.argmax(np.isfinite(best))))], dtype=np.float64)


def _interval(
    strata: list[NDArray[np.float64]], *, resamples: int, confidence: float, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if all(len(stratum) < 2 for stratum in strata):
        nothing = np.full(strata[0].shape[1:], math.nan)
        return nothing, nothing
    return bootstrap(strata, resamples=resamples, confidence=confidence, seed=seed)


def _better(
    mine: Mapping[str, NDArray[np.float64]], first: Mapping[str, NDArray[np.float64]], resamples: int, confidence: float, seed: int
) -> Estimate | None:
    """Probability of improvement, averaged over the tasks in common, with its interval (ibid., §4.3)."""
    shared = [task for task in mine if task in first]
    if not shared:
        return None
    value = float(np.mean([probability_of_improvement(mine[task], first[task]) for task in shared]))
    if all(len(mine[task]) < 2 and len(first[task]) < 2 for task in shared):
        return Estimate(value, math.nan, math.nan)
    rng = generator(seed, -1, 1, "bootstrap")
    drawn = np.zeros(resamples)
    for task in shared:
        one, other = mine[task], first[task]
        wins = (one[:, None] > other[None]) + 0.5 * (one[:, None] == other[None])
        rows = rng.integers(0, len(one), (resamples, len(one)))
        columns = rng.integers(0, len(other), (resamples, len(other)))
        drawn += _means(wins, rows, columns) / len(shared)
    low, high = _percentiles(drawn, confidence)
    return Estimate(value, float(low), float(high))


def _means(wins: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean of a matrix with its rows and columns resampled, ``float64[B]``: how often each was drawn is enough to know."""
    counts: list[NDArray[np.float64]] = []
    for drawn, size in ((rows, wins.shape[0]), (columns, wins.shape[1])):
        place = drawn + size * np.arange(len(drawn))[:, None]
        counts.append(np.bincount(place.ravel(), minlength=size * len(drawn)).reshape(len(drawn), size) / size)
    return np.asarray(np.einsum("bi,ij,bj->b", counts[0], wins, counts[1]), dtype=np.float64)


def _percentiles(made: NDArray[np.float64], confidence: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low, high = np.quantile(made, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return low, high
