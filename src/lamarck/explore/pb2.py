"""A Gaussian process instead of luck."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from lamarck._checks import check_strategy, check_whole
from lamarck.explore._climb import climb
from lamarck.explore._gp import Posterior, fitted
from lamarck.explore.perturb_or_resample import PerturbOrResample
from lamarck.population import RECENT, Population, Record
from lamarck.space import Float, Int, Space
from lamarck.types import Explore, HParams

__all__ = ["PB2"]

_Array = NDArray[np.float64]

_CANDIDATES, _REFINED = 256, 4
"""Random places that are looked at, and from how many of the best it goes uphill."""

_GRAIN = 3
"""Digits of a chosen place in the unit cube: so coarse that the last bits of linear algebra, which differ between machines, do not matter."""

_LARGEST = 1e100
"""Values beyond are left out: their differences or squares would overflow."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PB2(Explore):
    """Population Based Bandits: chooses numbers by a model of what raised the value, where others perturb at random.

    It goes with `Truncation`, and was made for populations of 4 to 8, in which luck does not suffice. The model is a Gaussian process.

    *Data.* Each of the last ``window`` reports of the whole population is a row: when its interval began (in intervals), the value of the
    weights that it began with, the hyperparameters, and by how much the value rose per step. The value before a copy is the donor's, so no
    difference spans a copy. Reports that are not finite, or began from nothing, are left out.

    *Model.* Hyperparameters are places in the unit cube on their own, perhaps logarithmic, scales; the value before is scaled to 0 to 1 over
    the window; gains are standardised and clipped to [-2, 2]. The kernel is squared exponential with a length scale for each hyperparameter
    and one for the value before, times (1 - epsilon)^(|t - t'| / 2): what is long past counts less. Everything is fitted by maximum likelihood.

    *Choice.* The hyperparameters that maximise mean + kappa times standard deviation now, for weights of the value that was taken over, with
    kappa = sqrt(0.2 log(0.4 n)) for n rows. Two things narrow the standard deviation as if their outcome were known already: what those ahead
    have just trained with and will go on with, and what those behind, who are replaced as well, would choose before. So the members of one
    generation try different things, though none of them has to wait for another. Chosen places are rounded to a thousandth of the range.

    Modelled are `Float` and `Int` without a condition; whole numbers are rounded. Choices, constants and what exists only under a condition are
    left to ``inner``, as in PB2-Rand; and so is everything as long as there are fewer than two rows for each length scale, or all
    gains are equal. Where there are constraints, the best place that satisfies them is taken.

    The first decision of a generation costs up to a tenth of a second and the others a third of that; in an asynchronous run each is a first.
    That does not grow with the run or the population. It is nothing beside minutes of training, and much beside a toy.

    Args:
        window: Reports that are learnt from, 10 to 256. 100, as in BG-PBT: the cost grows with the cube, and what is older says little.
        inner: Strategy for the rest, and for the beginning.

    Raises:
        SettingsError: If ``window`` is not such a number, or ``inner`` not an explore strategy.

    References:
        Parker-Holder, Nguyen, Roberts 2020, "Provably Efficient Online Hyperparameter Optimization with Population-Based Bandits", NeurIPS,
        arXiv 2002.02518, Algorithms 1 and 2. Other than in the authors' code and Ray Tune's, scales are those of the space, the spread is the
        standard deviation and not the variance, and length scales are separate. PB2-Rand: Parker-Holder et al. 2021, arXiv 2106.15883. The
        window: Wan et al. 2022, arXiv 2207.09405.

    Example:
        >>> from lamarck.history import History
        >>> from lamarck.pbt import PBT
        >>> from lamarck.space import Float, Space
        >>> from lamarck.testing.simulation import simulate
        >>> from lamarck.types import Settings
        >>> pbt = PBT(space=Space(h=Float(0.0, 1.0)), settings=Settings(population_size=4, interval=1, generations=12), explore=PB2())
        >>> def step(interval, state):  # rises fastest at h = 0.7
        ...     weights = (state or 0.0) + 1 - (interval.hparams["h"] - 0.7) ** 2
        ...     return weights, weights
        >>> chosen = History.of(simulate(pbt, step)).records[-4:]
        >>> any(abs(record.hparams["h"] - 0.7) < 0.05 for record in chosen)
        True
    """

    name: ClassVar[str] = "pb2"

    window: int = 100
    inner: Explore = field(default_factory=PerturbOrResample)

    def __post_init__(self) -> None:
        check_whole("pb2: window", self.window, 10, RECENT)
        check_strategy("pb2: inner", self.inner, Explore, "PerturbOrResample()")

    def __call__(self, hparams: HParams, member: int, population: Population, space: Space, rng: np.random.Generator) -> dict[str, Any]:
        """Returns the configuration that promises most."""
        names = [name for name in sorted(hparams) if isinstance(space[name], Float | Int) and space[name].when is None]
        rows = [record for record in population.recent(member, self.window) if _usable(record, names, space)] if names else []
        now = _beginning(population, member)
        y = _standardised(np.array([(record.fitness - record.trail[-2]) / (record.step - record.start) for record in rows]))
        if now is None or y is None or len(rows) < 2 * (len(names) + 1):
            return dict(self.inner(hparams, member, population, space, rng))
        rest = {name: value for name, value in sorted(hparams.items()) if name not in names}
        if rest:
            rest = dict(self.inner(rest, member, population, space, rng))
        times = np.array([record.start for record in rows]) / population.settings.interval
        values = np.array([[record.trail[-2], record.fitness] for record in rows])
        scaled = _scaled(np.append(values[:, 0], now[1]), values)
        points = np.column_stack([times, scaled[:-1], _places(rows, names, space)])
        places = _promising(points, y, np.array([now[0], scaled[-1]]), *_others(population, member, names, space), rng)
        choices = (rest | _configuration(place, names, space) for place in places)
        chosen = next((each for each in choices if space.satisfied(each)), rest | _configuration(places[0], names, space))
        return {name: chosen[name] for name in hparams}


def _beginning(population: Population, member: int) -> tuple[float, float] | None:
    """When the interval to come begins, in intervals, and the fitness of the weights that it begins with; ``None`` if nobody knows."""
    state = population.members[member]
    record = state.last
    if state.interval is not None and state.interval.parent is not None:
        record = population.record(state.interval.parent)
    if record is None or not abs(record.fitness) < _LARGEST:
        return None
    return record.step / population.settings.interval, record.fitness


def _usable(record: Record, names: Sequence[str], space: Space) -> bool:
    """Whether a report says how much was gained, and with which hyperparameters."""
    known = len(record.trail) > 1 and max(abs(record.trail[-2]), abs(record.fitness)) < _LARGEST
    return known and record.step > record.start and _inside(record, names, space)


def _standardised(gains: _Array) -> _Array | None:
    """Targets of mean 0 and variance 1, clipped; ``None`` if they do not differ by more than the last bits."""
    spread = gains.std() if gains.size else 0.0
    if not spread > 1e-12 * np.abs(gains).max(initial=0.0):
        return None
    return np.asarray(np.clip((gains - gains.mean()) / spread, -2.0, 2.0), dtype=np.float64)


def _scaled(values: _Array, known: _Array) -> _Array:
    """Values as shares of the range of the known ones."""
    low, high = known.min(), known.max()
    with np.errstate(over="ignore"):  # a range of next to nothing
        return np.asarray(np.clip((values - low) / ((high - low) or 1.0), 0.0, 1.0), dtype=np.float64)


def _inside(record: Record, names: Sequence[str], space: Space) -> bool:
    """Whether a configuration has a place in the cube: a resumed run's bounds may be narrower than they were."""
    return all(name in record.hparams and space[name].contains(record.hparams[name]) for name in names)


def _places(records: Sequence[Record], names: Sequence[str], space: Space) -> _Array:
    """``float64[N, D]``: configurations as places in the unit cube."""
    return np.array([[space[name].to_unit(record.hparams[name]) for name in names] for record in records]).reshape(-1, len(names))


def _others(population: Population, member: int, names: Sequence[str], space: Space) -> tuple[_Array, int]:
    """What those who rank ahead have trained with and will probably go on with, the best hundred of them, and how many rank behind."""
    cohort = population.cohort(member)
    order = cohort.order.tolist()
    rank = cohort.rank(member) if cohort.generation[member] >= 0 else len(order)
    ahead = [population.record(cohort.key(j)) for j in order[:rank][:100]]
    return _places([record for record in ahead if _inside(record, names, space)], names, space), min(max(0, len(order) - rank - 1), 100)


def _promising(points: _Array, y: _Array, now: _Array, ahead: _Array, behind: int, rng: np.random.Generator) -> _Array:
    """``float64[K, D]``: places in the unit cube, the most promising first."""
    dimensions = ahead.shape[1]
    kernel = fitted(points, y)
    kappa = math.sqrt(max(0.0, 0.2 * math.log(0.4 * len(y))))
    candidates = np.column_stack([np.broadcast_to(now, (_CANDIDATES, 2)), rng.random((_CANDIDATES, dimensions))])
    pending = np.column_stack([np.broadcast_to(now, (len(ahead), 2)), ahead])
    if behind:
        pending = np.concatenate([pending, Posterior(kernel, points, y, pending).batch(candidates, kappa, behind)])
    seen = Posterior(kernel, points, y, pending)
    mean, spread = seen(candidates)
    order = (-(mean + kappa * spread)).argsort(kind="stable")

    def promise(place: _Array) -> tuple[float, _Array]:
        bound, slope = seen.promise(np.concatenate([now, place]), kappa)
        return bound, slope[2:]

    low, high = np.zeros(dimensions), np.ones(dimensions)
    refined = sorted(
        (climb(promise, start[2:], low, high, steps=30, tolerance=1e-3) for start in candidates[order[:_REFINED]]), key=lambda one: -one[0]
    )
    return np.concatenate([[place for _, place in refined], candidates[order, 2:]])


def _configuration(place: _Array, names: Sequence[str], space: Space) -> dict[str, Any]:
    return {name: space[name].from_unit(round(u, _GRAIN)) for name, u in zip(names, place.tolist(), strict=True)}
