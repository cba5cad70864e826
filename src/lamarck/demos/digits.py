"""Population based training against random search on handwritten digits: a better network for the same work?

Both methods train as many members for as many steps, from the same first hyperparameters and the same first weights; the only difference is
that the members of one copy each other. Each run hands over one network, whichever had the lowest validation loss at any report. Only that
one is shown the test images, because a score that has selected is no longer an estimate.
"""

from __future__ import annotations

import csv
import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import SettingsError, require
from lamarck._spread import Tell, spread
from lamarck._student import confidence
from lamarck.exploit import Never
from lamarck.explore import Keep
from lamarck.history import History
from lamarck.journal import open_journal
from lamarck.population import Population
from lamarck.runs import load, open_run, run
from lamarck.types import Event, Reported, Settings

if TYPE_CHECKING:
    from lamarck.demos.digits_task import Score

__all__ = ["METHODS", "METRICS", "DigitsResult", "Method", "Outcome", "digits", "progress", "render"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way of spending the budget.

    Args:
        name: In file names.
        label: In tables and figures.
        strategies: Arguments of `lamarck.run`; what is not given is the library's default.
    """

    name: str
    label: str
    strategies: Mapping[str, Any] = field(default_factory=dict)


METHODS = (
    Method(name="pbt", label="PBT"),
    # Whoever diverges starts anew instead of being rescued: to copy a neighbour would be population based training.
    Method(name="random", label="random search", strategies={"exploit": Never(), "explore": Keep(), "rescue": None}),
)
"""What is compared; the difference is the first one's advantage over the second."""


@final
@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One run, and the network that it hands over.

    Args:
        method: How it was trained.
        seed: Seed of the run.
        journal: Where it is kept.
        history: What happened; ``history.best`` is the report of the network that was selected.
        validation: Its score on the images that selected it.
        test: Its score on images that nothing was chosen by.
    """

    method: Method
    seed: int
    journal: Path
    history: History
    validation: Score
    test: Score


METRICS: Mapping[str, Callable[[Outcome], float]] = {
    "validation loss": lambda outcome: outcome.validation.loss,
    "test loss": lambda outcome: outcome.test.loss,
    "validation accuracy": lambda outcome: outcome.validation.accuracy,
    "test accuracy": lambda outcome: outcome.test.accuracy,
}
"""What is measured of each network: cross-entropy in nats, and the share of images recognised."""


@final
@dataclass(frozen=True, kw_only=True)
class DigitsResult:
    """What came of the demo.

    Args:
        outcomes: One for each seed and method, the methods of a seed together.
        files: What was written, the pictures first.
        seconds: How long it took.
    """

    outcomes: tuple[Outcome, ...]
    files: tuple[Path, ...]
    seconds: float

    def of(self, method: Method) -> tuple[Outcome, ...]:
        """Returns the runs of a method, by seed."""
        return tuple(outcome for outcome in self.outcomes if outcome.method.name == method.name)

    def sample(self, metric: str, method: Method) -> NDArray[np.float64]:
        """Returns a metric for each seed: ``float64[seeds]``."""
        return np.array([METRICS[metric](outcome) for outcome in self.of(method)])


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    method: Method
    settings: Settings
    journal: Path

    def done(self) -> int:
        """How many reports are in its journal already; raises if they are of another run."""
        if not self.journal.exists():
            return 0
        with open_journal(self.journal, readonly=True) as book:
            if not book.runs():
                return 0
        history = open_run(self.journal)
        if history.settings != self.settings:
            raise SettingsError(f"{str(self.journal)!r} holds a run with other settings; choose another folder, or remove what is there")
        return len(history.records)


def digits(
    out: Path,
    seeds: int = 5,
    *,
    population_size: int = 16,
    generations: int = 20,
    interval: int = 30,
    workers: int | None = None,
    on_progress: Callable[[int, int], object] = lambda done, total: None,
) -> DigitsResult:
    """Trains populations on handwritten digits by both methods, and writes journals, tables and pictures into a folder.

    A run whose journal is there already is gone on with, or only read if it has ended: an interrupted demo is finished by starting it again.

    Args:
        out: Folder, made if it does not exist.
        seeds: Runs of each method, from seed 0; at least 2. Five show a large effect, 25 to 30 would establish one.
        population_size: Members of each run.
        generations: Intervals that each member trains; 15 to 30 leave time for a schedule without judging too early.
        interval: Steps between two decisions; 30 are about five passes over the training images.
        workers: Processes, each with one thread; by default as many as there are processors. The results do not depend on it.
        on_progress: Told how many intervals are done, and how many there are.

    Raises:
        SettingsError: If a setting is not allowed, or the folder holds the demo with other settings.
        MissingExtra: If PyTorch, scikit-learn or matplotlib is not installed.
        TrainingError: If a process ends badly.
    """
    begun = time.monotonic()
    for module in ("torch", "sklearn", "matplotlib", "fsspec", "blake3"):
        require(module, "demo", "The digits demo")
    from lamarck.demos import digits_plot

    if seeds < 2:
        raise SettingsError(f"seeds: got {seeds!r}; it must be a whole number of at least 2, since one run says nothing about the spread")
    if workers is not None and workers < 1:
        raise SettingsError(f"workers: got {workers!r}; it must be a whole number of at least 1, or None for one on each processor")
    jobs = [
        _Job(
            method=method,
            settings=Settings(population_size=population_size, interval=interval, generations=generations, mode="min", seed=seed),
            journal=out / f"digits-{method.name}-seed{seed}.db",
        )
        for seed in range(seeds)
        for method in METHODS
    ]
    out.mkdir(parents=True, exist_ok=True)
    done, total = sum(job.done() for job in jobs), len(jobs) * population_size * generations
    on_progress(done, total)

    def tell(intervals: int) -> None:
        nonlocal done
        done += intervals
        on_progress(done, total)

    spread(_train, jobs, min(workers or os.cpu_count() or 1, len(jobs)), tell)
    outcomes = tuple(map(_outcome, jobs))
    files = (*digits_plot.draw(outcomes, out), *_write(outcomes, out), *(job.journal for job in jobs))
    return DigitsResult(outcomes=outcomes, files=files, seconds=time.monotonic() - begun)


def progress(history: History) -> NDArray[np.float64]:
    """Returns the best value up to each generation: ``float64[generations]``."""
    values = np.full((history.settings.generations, history.settings.population_size), np.inf)
    for record in history.records:
        if record.finite:
            values[record.generation, record.member] = record.value
    return np.minimum.accumulate(values.min(axis=1))


def _train(job: _Job, tell: Tell) -> None:
    from lamarck.demos.digits_task import SPACE, train

    def tick(event: Event, _: Population) -> None:
        if isinstance(event, Reported):
            tell(1)

    run(train, SPACE, **dataclasses.asdict(job.settings), **job.method.strategies, journal=job.journal, resume=True, observers=[tick])


def _outcome(job: _Job) -> Outcome:
    from lamarck.demos.digits_task import evaluate, network

    model = network()
    model.load_state_dict(load(job.journal)["model"])
    return Outcome(
        method=job.method,
        seed=job.settings.seed,
        journal=job.journal,
        history=open_run(job.journal),
        validation=evaluate(model, "validation"),
        test=evaluate(model, "test"),
    )


def _write(outcomes: Sequence[Outcome], out: Path) -> tuple[Path, Path]:
    scores, schedules = out / "digits-scores.csv", out / "digits-schedules.csv"
    names = _names(outcomes[0].history)
    with scores.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["method", "seed", "member", "generation", "step", *METRICS])
        for outcome in outcomes:
            best = outcome.history.best
            measured = (measure(outcome) for measure in METRICS.values())
            table.writerow([outcome.method.name, outcome.seed, best.member, best.generation, best.step, *measured])
    with schedules.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["method", "seed", "start", "until", *names])
        for outcome in outcomes:
            for piece in outcome.history.schedule():
                table.writerow([outcome.method.name, outcome.seed, piece.start, piece.until, *(piece.hparams[name] for name in names)])
    return scores, schedules


# ---- the table ------------------------------------------------------------------------------------------------------------------------------


def render(result: DigitsResult) -> str:
    """Returns the result as text: means over seeds, every seed, and the schedule that the first run found."""
    first, second = METHODS
    shown = result.of(first)[0]
    settings = shown.history.settings
    head = (
        f"{settings.population_size} members x {settings.generations} generations x {settings.interval} steps, "
        f"{len(result.of(first))} seeds; mean and 95 % confidence interval (Student's t)"
    )
    means = [["", first.label, second.label, f"{first.label} - {second.label}, paired"]]
    for metric in METRICS:
        one, two = (result.sample(metric, method) for method in (first, second))
        means.append([metric, _interval(one), _interval(two), _interval(one - two, "+")])
    seeds = [["test loss", *(f"seed {outcome.seed}" for outcome in result.of(first))]]
    seeds += [[method.label, *(f"{loss:.3f}" for loss in result.sample("test loss", method))] for method in METHODS]
    names = _names(shown.history)
    schedule = [["steps", *(name.replace("_", " ") for name in names)]]
    schedule += [[f"{piece.start} to {piece.until}", *(f"{piece.hparams[name]:.3g}" for name in names)] for piece in shown.history.schedule()]
    found = f"Schedule of the network that {first.label} selected, seed {shown.seed}"
    return "\n".join([head, "", *_aligned(means), "", *_aligned(seeds), "", found, "", *_aligned(schedule), ""])


def _names(history: History) -> tuple[str, ...]:
    """In the order of the space; that of a configuration says nothing."""
    return history.space.names


def _interval(sample: NDArray[np.float64], sign: str = "") -> str:
    mean, low, high = confidence(sample)
    return f"{mean:{sign}z.4f} [{low:{sign}z.4f}, {high:{sign}z.4f}]"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]
