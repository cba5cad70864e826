"""Which strategy ends best for the same work? Six ways to spend one budget, on five cheap problems; and what PB2 costs.

*plain* and *deceptive* are the toys of Chebykin et al. 2025: in the one the greedy schedule is the best there is, in the other the
hyperparameter should fall linearly, and letting it fall at once looks better at first. The *noisy quadratic* is that of Wu et al. 2018 (arXiv
1803.02021), with its short-horizon bias, sampled exactly interval by interval. *digits* is a small network on scikit-learn's images, selected
on validation images and scored on others. *cliff* is a toy of our own, in which rates that look good for long make training collapse.

All methods train as many members for as many steps, from the same first hyperparameters and seeds. One run is one sample. Settings were
fixed beforehand, the same for all problems but for the periods, which have to fit the number of generations: the defaults of the library, and
truncation of a quarter.

    python benchmarks/strategies.py [seeds]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _common import machine, save, table
from lamarck._rng import generator
from lamarck.comparison import bootstrap, interquartile_mean, probability_of_improvement
from lamarck.exploit import Backtracking, MultiFrequency, Never, Top, Truncation
from lamarck.explore import PB2, Keep, Perturb, PerturbOrResample
from lamarck.history import History
from lamarck.pbt import PBT
from lamarck.population import replay
from lamarck.space import Float, Space
from lamarck.testing.simulation import simulate
from lamarck.types import Exploit, Explore, Interval, Settings

Array = NDArray[np.float64]
Step = Callable[[Interval, Any], tuple[float, Any]]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something to train.

    Args:
        about: For the table.
        space: What is tuned.
        settings: Members, steps and generations; the seed is that of the run.
        periods: Of `MultiFrequency`.
        begin: Seed -> a fresh problem: how an interval is trained, and how the model of a report is scored in the end.
    """

    about: str
    space: Space
    settings: Mapping[str, Any]
    periods: tuple[int, ...]
    begin: Callable[[int], tuple[Step, Callable[[History], float]]]


def best_value(history: History) -> float:
    """The value by which the winner was chosen; it is exact here."""
    return history.best.value


def toy(deceptive: bool) -> Callable[[int], tuple[Step, Callable[[History], float]]]:
    """theta shrinks by 0.002 (2 - h) a step; deceptively, less by a penalty, which it remembers, for having left the line from 1 to 0."""

    def step(interval: Interval, state: Any) -> tuple[float, Any]:
        theta, penalty, done = state or (0.9, 0.0, 0)
        h = float(interval.hparams["h"])  # type: ignore[arg-type]
        penalty += 0.2 * abs(h - (1000 - 20 * done) / 1000) if deceptive else 0.0
        theta *= (1 - 0.002 * max(2 - h - penalty, 0.0)) ** 20
        return 1.2 - theta**2, (theta, penalty, done + 1)

    return lambda seed: (step, best_value)


CURVATURE = np.logspace(-3, 0, 50)


def quadratic(seed: int) -> tuple[Step, Callable[[History], float]]:
    """SGD on a quadratic whose gradients are noisy: the k steps of an interval in one, which has the same distribution."""
    first = generator(seed, -1, 0, "quadratic").normal(size=50) * np.sqrt(1 / CURVATURE)

    def step(interval: Interval, state: Any) -> tuple[float, Array]:
        theta = first if state is None else state
        k, lr = interval.until - interval.start, float(interval.hparams["lr"])  # type: ignore[arg-type]
        shrink = 1 - lr * CURVATURE
        left = (1 - shrink ** (2 * k)) / (1 - shrink**2)
        noise = np.random.default_rng(interval.seed).normal(size=50) * lr * np.sqrt(CURVATURE * left)
        theta = shrink**k * theta + noise
        return float(0.5 * CURVATURE @ theta**2), theta

    return step, best_value


@cache
def images() -> tuple[Array, NDArray[np.int64]]:
    """Scikit-learn's handwritten digits, in an order of their own."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    return pixels[order] / 16.0, labels[order].astype(np.int64)


def loss(weights: list[Array], part: slice) -> float:
    """Mean cross-entropy in nats."""
    x, y = (column[part] for column in images())
    with np.errstate(all="ignore"):  # a network that has diverged
        logits = np.maximum(x @ weights[0] + weights[1], 0) @ weights[2] + weights[3]
        logits -= logits.max(axis=1, keepdims=True)
        return float((np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(y)), y]).mean())


def digits(seed: int) -> tuple[Step, Callable[[History], float]]:
    """64-16-10 with ReLU, SGD with momentum, batches of 32 out of 200 images; selected on 400, scored on 1,197."""
    rng = generator(seed, -1, 0, "digits")
    shapes = ((64, 16), (16,), (16, 10), (10,))
    first = [rng.normal(size=shape) * (2 / shape[0]) ** 0.5 if len(shape) > 1 else np.zeros(shape) for shape in shapes]
    tested: dict[tuple[int, int], float] = {}
    images_, labels = images()
    x_all, y_all = images_[:200], np.eye(10)[labels[:200]]

    def step(interval: Interval, state: Any) -> tuple[float, Any]:
        weights, speed = state or (first, [np.zeros(shape) for shape in shapes])
        lr, decay, momentum = (float(interval.hparams[name]) for name in ("lr", "decay", "momentum"))  # type: ignore[arg-type]
        draws = np.random.default_rng(interval.seed).integers(0, 200, (interval.until - interval.start, 32))
        with np.errstate(all="ignore"):
            for batch in draws:
                x, y = x_all[batch], y_all[batch]
                hidden = np.maximum(x @ weights[0] + weights[1], 0)
                p = np.exp((out := hidden @ weights[2] + weights[3]) - out.max(axis=1, keepdims=True))
                slope = (p / p.sum(axis=1, keepdims=True) - y) / 32
                back = (slope @ weights[2].T) * (hidden > 0)
                slopes = (x.T @ back, back.sum(0), hidden.T @ slope, slope.sum(0))
                speed = [momentum * v - lr * (g + decay * w) for w, v, g in zip(weights, speed, slopes, strict=True)]
                weights = [w + v for w, v in zip(weights, speed, strict=True)]
        tested[interval.key] = loss(weights, slice(600, None))
        return loss(weights, slice(200, 600)), (weights, speed)

    return step, lambda history: tested[history.best.key]


SAFE, CLIFF, LEAST, STRAIN = 1.0, 15, 0.3, 1.0


def cliff(seed: int) -> tuple[Step, Callable[[History], float]]:
    """A model gains h in each interval. Up to the cliff it bears any rate, from there on 0.3; what is more adds to a strain that nobody sees.

    Under a strain of more than 1 it collapses and has to begin anew; a lower rate relieves it. The most that can be gained in 40 intervals is
    what is safe, and one strain more: 15 + 25 * 0.3 + 1 = 23.5.
    """

    def step(interval: Interval, state: Any) -> tuple[float, Any]:
        gained, strain = state or (0.0, 0.0)
        h = float(interval.hparams["h"])  # type: ignore[arg-type]
        strain = max(0.0, strain + h - (SAFE if interval.start < CLIFF * 20 else LEAST))
        gained, strain = (0.0, 0.0) if strain > STRAIN else (gained + h, strain)
        return gained, (gained, strain)

    return step, best_value


TOY = {
    "space": Space(h=Float(1e-4, 1.1, init=(0.9, 1.1), bounds="clip")),
    "settings": {"population_size": 16, "interval": 20, "generations": 50},
    "periods": (1, 10),
}

PROBLEMS = {
    "plain": Problem(about="best value, at most 1.1997", begin=toy(False), **TOY),  # type: ignore[arg-type]
    "deceptive": Problem(about="best value, at most 1.1979", begin=toy(True), **TOY),  # type: ignore[arg-type]
    "cliff": Problem(
        about="best value, at most 23.5",
        space=Space(h=Float(0.0, 1.0)),
        settings={"population_size": 8, "interval": 20, "generations": 40},
        periods=(1, 5),
        begin=cliff,
    ),
    "noisy quadratic": Problem(
        about="loss, lower is better",
        space=Space(lr=Float(1e-3, 1.0, log=True)),
        settings={"population_size": 8, "interval": 80, "generations": 25, "mode": "min"},
        periods=(1, 5),
        begin=quadratic,
    ),
    "digits": Problem(
        about="test loss, lower is better",
        space=Space(lr=Float(1e-4, 3.0, log=True), decay=Float(1e-6, 0.1, log=True), momentum=Float(0.0, 0.99)),
        settings={"population_size": 8, "interval": 60, "generations": 20, "mode": "min"},
        periods=(1, 5),
        begin=digits,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way of spending the budget."""

    exploit: Exploit | None = None
    explore: Explore = field(default_factory=PerturbOrResample)
    rescue: bool = True


QUARTER = Truncation(bottom=0.25, top=0.25)

METHODS = {
    "PBT": Method(exploit=QUARTER),
    "PBT, backtracking": Method(exploit=Backtracking(QUARTER)),
    "MF-PBT": Method(),
    "PB2": Method(exploit=QUARTER, explore=PB2()),
    "selection only": Method(exploit=QUARTER, explore=Keep()),
    "random search": Method(exploit=Never(), explore=Keep(), rescue=False),
}


def ends(problem: Problem, method: Method, seed: int) -> float:
    """Trains one population and returns the score of the model that it hands over."""
    step, score = problem.begin(seed)
    exploit = method.exploit or MultiFrequency(periods=problem.periods)
    rescue = (exploit if method.exploit is None else Top()) if method.rescue else None
    settings = Settings(seed=seed, **problem.settings)
    pbt = PBT(space=problem.space, settings=settings, exploit=exploit, explore=method.explore, rescue=rescue)
    return score(History.of(simulate(pbt, step)))


def compared(seeds: int) -> tuple[str, dict[str, Any]]:
    """The table, and every run's score."""
    scores: dict[str, dict[str, list[float]]] = {name: {method: [] for method in METHODS} for name in PROBLEMS}
    for name, problem in PROBLEMS.items():
        for seed in range(seeds):
            for method, how in METHODS.items():
                scores[name][method].append(ends(problem, how, seed))
        print(f"{name}: done after {time.process_time():.0f} s of processor time", file=sys.stderr, flush=True)
    rows = []
    for name, problem in PROBLEMS.items():
        sign = -1.0 if problem.settings.get("mode") == "min" else 1.0
        first = np.array(scores[name]["PBT"])
        for method in METHODS:
            mine = np.array(scores[name][method])
            low, high = bootstrap([mine])
            better = "" if method == "PBT" else f"{probability_of_improvement(sign * mine, sign * first):.2f}"
            rows.append((f"{name} ({problem.about})", method, f"{float(interquartile_mean(mine)):.4f}", f"{low:.4f} to {high:.4f}", better))
    header = ("problem", "method", "interquartile mean", "95 % interval", "P(better than PBT)")
    return table(header, rows), {"scores": scores}


def costs() -> tuple[str, dict[str, Any]]:
    """Milliseconds of processor time that PB2 takes to choose, with three numbers and a full window, after many reports."""
    space = Space(lr=Float(1e-5, 1e-1, log=True), wd=Float(1e-6, 1e-2, log=True), dropout=Float(0.0, 0.6))
    rows, data = [], {}
    for members, generations in ((4, 40), (4, 400), (8, 40), (32, 20), (100, 10)):

        def step(interval: Interval, state: Any) -> tuple[float, float]:
            h = space.to_unit([interval.hparams])[0]
            value = (state or 0.0) + float(h @ (1 - h)) + 0.1 * float(np.random.default_rng(interval.seed).normal())
            return value, value

        settings = Settings(population_size=members, interval=10, generations=generations + 1)
        events = simulate(PBT(space=space, settings=settings, explore=Perturb(), exploit=QUARTER), step)
        now = replay(events[: 1 + 2 * members * generations])
        assert now is not None
        worst = now.cohort(0).order[::-1][: max(1, members // 4)].tolist()
        taken = []
        for member in worst:
            last = now.members[member].last
            assert last is not None
            began = time.process_time()
            PB2()(last.hparams, member, now, space, generator(0, member, generations, "decide"))
            taken.append(1e3 * (time.process_time() - began))
        rest = f"{float(np.median(taken[1:])):.0f}" if taken[1:] else ""
        rows.append((str(members), str(members * generations), f"{taken[0]:.0f}", rest))
        data[f"{members} members, {generations} generations"] = taken
    header = ("members", "reports so far", "first of a generation, ms", "others of it, median")
    return table(header, rows), {"milliseconds": data}


def main(seeds: int) -> None:
    """Measures both."""
    facts = machine(("lamarck", "numpy", "scikit-learn"))
    text, data = compared(seeds)
    cost, more = costs()
    words = "What PB2 costs, a window of 100 reports, three numbers, processor time. Who decides first in a generation fits the model:"
    page = f"{text}\n\n{words}\n\n{cost}"
    save("strategies", f"Six strategies at equal budgets, {seeds} seeds", page, data | more, facts)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
