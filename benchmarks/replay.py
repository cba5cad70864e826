"""The paper's question on digits: is the schedule that a population found enough, without the population?

For each seed a population is trained on handwritten digits (`lamarck.demos.digits_task`: 200 training images, 400 to judge by, 1,197 to test).
Then, with the same steps for each network:

* the population's best: the network with the lowest validation loss among all reports;
* the replayed schedule: networks trained from scratch by its lineage's schedule, with fresh seeds, taken as they are at its end;
* the simplified schedule: the same with the fewest pieces within a quarter of each range (one step of the batch size);
* the best fixed configuration: random search with the whole budget of the population names one configuration, and networks are trained from
  scratch by it with fresh seeds, to the step at which it was best;
* random search: the network that the same search selects.

Replays and fixed configurations come several to a seed, and their mean is taken, because one lucky seed is not the schedule's merit. Everything
is judged by the test images, which nothing was selected by. Differences are paired by seed; their confidence intervals are from a bootstrap
over seeds. Each population's schedule is also trained by with the lineage's own seeds, which must give the network's value again, exactly.

    python benchmarks/replay.py [seeds] [journal folder]

Every run has a journal in the folder, and a benchmark that was interrupted goes on where it was.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import lamarck as lk
from _common import machine, save, table
from lamarck.demos.digits import METHODS
from lamarck.demos.digits_task import SPACE, Score, evaluate, network, train

MEMBERS, GENERATIONS, INTERVAL = 16, 20, 30
REPLAYS = 5
"""Fresh trainings for each schedule and each fixed configuration."""

LABELS = {
    "best": "population's best",
    "replay": "replayed schedule",
    "simple": "simplified schedule",
    "fixed": "best fixed configuration",
    "random": "random search's best",
}
METRICS: Mapping[str, Callable[[Score], float]] = {"test loss": lambda score: score.loss, "test accuracy": lambda score: score.accuracy}


def searched(journal: Path, strategies: Mapping[str, Any], seed: int) -> lk.History:
    """Trains a population, or goes on with it."""
    rules: dict[str, Any] = {"population_size": MEMBERS, "interval": INTERVAL, "generations": GENERATIONS, "seed": seed}
    return lk.run(train, SPACE, **rules, mode="min", journal=journal, resume=True, **strategies)


def tested(state: Mapping[str, Any]) -> Score:
    """Returns how good a saved network is on the test images."""
    model = network()
    model.load_state_dict(state["model"])
    return evaluate(model, "test")


def replayed(history: lk.History, journal: Path, schedule: lk.Schedule) -> list[Score]:
    """Trains networks from scratch by a schedule and tests each as it is at the end."""
    # Seeds far from those of all searches: nobody's first weights are met again.
    seeds = [10_000 + 100 * history.settings.seed + number for number in range(REPLAYS)]
    result = lk.replay(train, history, schedule=schedule, seeds=seeds, journal=journal)
    if result.exact is False:
        raise SystemExit(f"seed {history.settings.seed}: the lineage's own seeds did not give its value again\n{result}")
    return [tested(lk.load(journal, one.checkpoint, name=one.name)) for one in result.fresh]


def fixed(history: lk.History) -> lk.Schedule:
    """Returns the best configuration of a search, up to the step at which it was best."""
    best = history.best
    return lk.Schedule((lk.Piece(0, best.step, best.hparams),))


def study(seed: int, folder: Path) -> dict[str, list[Score]]:
    """Returns the tested networks of one seed, by method."""
    pbt, random = METHODS
    journals = {name: folder / f"{name}-{seed}.db" for name in ("pbt", "random", "replay", "simple", "fixed")}
    found, search = searched(journals["pbt"], pbt.strategies, seed), searched(journals["random"], random.strategies, seed)
    return {
        "best": [tested(lk.load(journals["pbt"]))],
        "replay": replayed(found, journals["replay"], found.schedule()),
        "simple": replayed(found, journals["simple"], found.schedule().simplified(0.25, SPACE)),
        "fixed": replayed(search, journals["fixed"], fixed(search)),
        "random": [tested(lk.load(journals["random"]))],
    }


def bootstrap(sample: NDArray[np.float64], draws: int = 10_000) -> tuple[float, float, float]:
    """Returns the mean of ``float64[seeds]`` and its 95 % percentile bootstrap interval over seeds."""
    rng = np.random.default_rng(0)
    means = rng.choice(sample, (draws, len(sample))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(sample.mean()), float(low), float(high)


def main(seeds: int, folder: Path) -> None:
    """Trains everything, and writes what came of it."""
    torch.set_num_threads(1)
    facts = machine(("lamarck", "numpy", "torch", "scikit-learn"))
    scores = []
    for seed in range(seeds):
        scores.append(study(seed, folder))
        print(f"seed {seed}: " + ", ".join(f"{name} {np.mean([s.loss for s in got]):.4f}" for name, got in scores[-1].items()), flush=True)
    parts, data = [], {}
    for metric, measure in METRICS.items():
        means = {name: np.array([np.mean([measure(score) for score in of[name]]) for of in scores]) for name in LABELS}
        rows = []
        for name, sample in means.items():
            mean, low, high = bootstrap(sample)
            gap = ("",) if name == "replay" else (shown(*bootstrap(means["replay"] - sample), "+"),)
            rows.append((LABELS[name], f"{mean:.4f} [{low:.4f}, {high:.4f}]", *gap))
        parts.append(table((metric, "mean [95 % interval]", "replayed schedule minus this, paired"), rows))
        data[metric] = {name: [[measure(score) for score in of[name]] for of in scores] for name in LABELS}
    title = (
        f"Replay on digits: {MEMBERS} members x {GENERATIONS} generations x {INTERVAL} steps, {seeds} seeds, "
        f"{REPLAYS} fresh trainings a seed for schedules and fixed configurations"
    )
    save("replay", title, "\n\n".join(parts), {"scores": data}, facts)


def shown(mean: float, low: float, high: float, sign: str = "") -> str:
    """Writes a number with its interval."""
    return f"{mean:{sign}.4f} [{low:{sign}.4f}, {high:{sign}.4f}]"


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    if len(sys.argv) > 2:
        Path(sys.argv[2]).mkdir(parents=True, exist_ok=True)
        main(count, Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(count, Path(scratch))
