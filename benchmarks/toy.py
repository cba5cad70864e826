"""What Lamarck costs on the toy of Figure 2, against a bare loop that does the same arithmetic.

The toy is as cheap as training gets: a step is three operations on two numbers. Whatever `lamarck.run` does around it, the decisions, records,
checkpoints and journal in memory, shows in full. The bare loop has none of that: two arrays, a comparison, a copy and noise.

Both are run in two ways: scored at the ready points only, which is all that the decisions need, and scored at every step, as in Algorithm 1 of
the paper and in scripts that draw the figure.

    python benchmarks/toy.py [rounds]
"""

from __future__ import annotations

import sys
import time
from functools import partial

import numpy as np
from numpy.typing import NDArray

from _common import in_turn, machine, median, save, table
from lamarck.demos.figure2 import settings
from lamarck.demos.toy import START
from lamarck.runs import run
from lamarck.training import Worker

STEPS, MEMBERS = 200, 2


def score(theta: NDArray[np.float64]) -> float:
    """Returns the score of the weights."""
    return float(1.2 - (theta**2).sum())


def climb(theta: NDArray[np.float64], slope: NDArray[np.float64], steps: int, curve: list[float] | None) -> None:
    """Trains in place, and notes the score of every step if there is a list to note it in: the arithmetic that both have in common."""
    for _ in range(steps):
        theta += 0.01 * (slope * theta)
        if curve is not None:
            curve.append(score(theta))


def bare(interval: int, every_step: bool, seed: int = 0) -> float:
    """Runs PBT on the toy with nothing around it, and returns the best score."""
    rng = np.random.default_rng(seed)
    thetas = [np.array(START), np.array(START)]
    hs = [np.array([1.0, 0.0]), np.array([0.0, 1.0])]
    scores = [0.0, 0.0]
    curve: list[float] | None = [] if every_step else None
    for start in range(0, STEPS, interval):
        if start:
            best = int(rng.integers(2)) if scores[0] == scores[1] else int(scores[1] > scores[0])
            worst = 1 - best
            thetas[worst] = thetas[best].copy()
            hs[worst] = np.clip(hs[worst] + 0.1 * rng.standard_normal(2), 0.0, 10.0)
        for member in range(MEMBERS):
            climb(thetas[member], -2.0 * hs[member], interval, curve)
            scores[member] = score(thetas[member])
    return max(scores)


def ours(interval: int, every_step: bool, seed: int = 0) -> float:
    """Runs PBT on the toy with Lamarck, in memory, and returns the best score."""
    case = settings(interval)[0]

    def train(worker: Worker) -> None:
        theta = np.array(START)
        worker.track(theta=theta)
        curve: list[float] | None = [] if every_step else None
        for piece in worker:
            climb(theta, -2.0 * np.array([piece.hparams["h0"], piece.hparams["h1"]]), len(piece.steps), curve)
            piece.report(score(theta))

    history = run(
        train,
        case.space,
        population_size=MEMBERS,
        initial=case.initial,
        interval=interval,
        steps=STEPS,
        exploit=case.exploit,
        explore=case.explore,
        seed=seed,
    )
    return history.best.value


def main(rounds: int) -> None:
    """Measures both, in both ways, for both intervals of Figure 2."""
    facts = machine()
    rows, data = [], {}
    for every_step in (False, True):
        for interval in (5, 10):
            name = f"every {interval} steps, scored {'at every step' if every_step else 'there only'}"
            tasks = {"bare loop": partial(bare, interval, every_step), "lamarck.run": partial(ours, interval, every_step)}
            seconds = in_turn(tasks, rounds, clock=time.process_time)
            loop, whole = seconds["bare loop"], seconds["lamarck.run"]
            rows.append(
                (
                    name,
                    *(f"{1e3 * x:.2f}" for x in (min(loop), median(loop), min(whole), median(whole))),
                    f"{min(whole) / min(loop):.2f}",
                    f"{median(whole) / median(loop):.2f}",
                    f"{1e6 * (min(whole) - min(loop)) * interval / STEPS / MEMBERS:.0f}",
                    f"{1e6 * min(whole) / STEPS / MEMBERS:.1f}",
                )
            )
            data[name] = seconds
    header = (
        "decisions",
        "bare min, ms",
        "median",
        "lamarck min, ms",
        "median",
        "ratio of minima",
        "of medians",
        "extra an interval, us",
        "all a member-step, us",
    )
    title = f"Figure 2 toy: {MEMBERS} members, {STEPS} steps, one run of PBT in memory, {rounds} rounds, processor time"
    save("toy", title, table(header, rows), {"seconds": data}, facts)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
