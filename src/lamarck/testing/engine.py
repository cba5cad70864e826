"""The Laws that every engine must keep: parametrise a test over `ENGINE_LAWS` and call each with your engine and an empty folder.

    @pytest.mark.parametrize("law", ENGINE_LAWS, ids=lambda law: law.__name__)
    def test_my_engine(law, tmp_path):
        law(MyEngine(workers=2), tmp_path)

The training functions here live at module level, so that engines with processes of their own can import them. An engine for another kind of
task is given `Trainers` of its own, which compute the same numbers; `VECTOR` are those for stacks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np

from lamarck import exploit
from lamarck.checkpoints import open_checkpoints
from lamarck.checkpoints.rows import whole
from lamarck.coordinator import events_of
from lamarck.engines import Engine, Train, inline
from lamarck.history import History
from lamarck.journal import open_journal
from lamarck.runs import checkpoints_of, run
from lamarck.space import Float, Space
from lamarck.testing.stacks import StackedNumbers
from lamarck.training import Worker
from lamarck.types import Assigned, Event, Interval

__all__ = ["ENGINE_LAWS", "PLAIN", "SPACE", "VECTOR", "Trainers", "decisions", "sometimes_nan", "sometimes_raises", "train"]

SPACE = Space(h=Float(0.01, 1.0, log=True))
"""The search space of the training functions here."""


def train(worker: Worker) -> None:
    """Shrinks a number at the rate ``h``, with noise from the interval's seed, and writes down what it was told to do."""
    x, log = np.array([5.0]), list[list[float]]()
    worker.track(x=x, log=log)
    for interval in worker:
        noise = interval.rng.normal(0.0, 0.01, len(interval.steps))
        for i in range(len(interval.steps)):
            x *= 1 - 0.1 * interval.hparams["h"]
            x += noise[i]
        log.append([interval.member, interval.generation, interval.hparams["h"], interval.seed])
        interval.report(-abs(float(x[0])))


def sometimes_raises(worker: Worker) -> None:
    """Like `train`, but the state says when it has raised already, and odd members raise once in generation 1."""
    x = np.array([5.0])
    worker.track(x=x)
    for interval in worker:
        marker = Path(f"raised-{interval.member}-{interval.generation}")
        if interval.member % 2 and interval.generation == 1 and not marker.exists():
            marker.touch()
            x[:] = math.nan  # half-trained weights that nobody must ever see again
            raise RuntimeError("this interval fails once")
        x *= 1 - 0.1 * interval.hparams["h"]
        interval.report(-abs(float(x[0])))


def sometimes_nan(worker: Worker) -> None:
    """Like `train`, but member 0 diverges for good in generation 1."""
    x = np.array([5.0])
    worker.track(x=x)
    for interval in worker:
        x *= math.nan if (interval.member, interval.generation) == (0, 1) else 1 - 0.1 * interval.hparams["h"]
        interval.report(-abs(float(x[0])))


def _written(state: Any) -> tuple[float, list[list[float]]]:
    return float(state["x"][0]), state["log"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Trainers:
    """What an engine trains in the laws, in the form that it takes.

    Args:
        train: Does what `train` does.
        sometimes_raises: Does what `sometimes_raises` does.
        sometimes_nan: Does what `sometimes_nan` does.
        written: Reads the number, and what was written down, from a checkpoint of ``train``.
    """

    train: Train = train
    sometimes_raises: Train = sometimes_raises
    sometimes_nan: Train = sometimes_nan
    written: Callable[[Any], tuple[float, list[list[float]]]] = _written


PLAIN = Trainers()
"""Training functions."""

VECTOR = Trainers(
    train=StackedNumbers(),
    sometimes_raises=StackedNumbers(noise=0.0, fault="raises"),
    sometimes_nan=StackedNumbers(noise=0.0, fault="nan"),
    written=StackedNumbers.written,
)
"""The same for `lamarck.Vectorised`, and for every other engine that takes a `lamarck.VectorTask`."""


def decisions(events: list[Event]) -> dict[tuple[int, int], Interval]:
    """Returns the decision about each (member, generation); the last one, where an interval was decided about again."""
    return {event.interval.key: event.interval for event in events if isinstance(event, Assigned)}


def _nameless(events: list[Event]) -> dict[tuple[int, int], Interval]:
    """Decisions without the names of checkpoints, which say how an engine saves: the parent says whose weights they are."""
    return {key: replace(interval, restore=None) for key, interval in decisions(events).items()}


def _run(engine: Engine, folder: Path, function: Train, **settings: Any) -> tuple[History, list[Event]]:
    journal = folder / "run.db"
    given: dict[str, Any] = {
        "population_size": 5,
        "interval": 4,
        "generations": 5,
        "seed": 1,
        "exploit": exploit.Truncation(bottom=0.4, top=0.4),
    }
    history = run(function, SPACE, journal=journal, engine=engine, **(given | settings))
    with open_journal(journal, readonly=True) as book:
        return history, list(events_of(book, "main"))


def synchronous_decisions_equal_the_inline_engines(engine: Engine, folder: Path, trainers: Trainers = PLAIN) -> None:
    """Law 7."""
    for size in (1, 2, 5):
        for name in ("a", "b"):
            (folder / f"{name}{size}").mkdir()
        _, mine = _run(engine, folder / f"a{size}", trainers.train, population_size=size)
        _, reference = _run(inline, folder / f"b{size}", train, population_size=size)
        assert _nameless(mine) == _nameless(reference), f"population of {size}"


def every_interval_is_trained_once_and_reported(engine: Engine, folder: Path, trainers: Trainers = PLAIN) -> None:
    """Laws 4 and 8, asynchronously."""
    history, _ = _run(engine, folder, trainers.train, max_lead=None, population_size=6)
    assert sorted(record.key for record in history.records) == [(m, g) for m in range(6) for g in range(5)]
    assert history.ended == "generations"


def the_trainer_sees_exactly_what_was_assigned(engine: Engine, folder: Path, trainers: Trainers = PLAIN) -> None:
    """Laws 1 and 2: the saved state of each member tells the story that the journal tells."""
    history, events = _run(engine, folder, trainers.train)
    told = decisions(events)
    store = open_checkpoints(checkpoints_of(folder / "run.db"))
    for member in range(5):
        last = history.member(member)[-1]
        assert last.checkpoint is not None
        x, log = trainers.written(store.get(last.checkpoint))
        assert -abs(x) == last.value
        line = history.lineage(last.key)
        assert log == [[r.member, r.generation, r.hparams["h"], told[r.key].seed] for r in line]


def the_checkpoints_of_the_end_are_there_and_no_others(engine: Engine, folder: Path, trainers: Trainers = PLAIN) -> None:
    """Law 9."""
    history, _ = _run(engine, folder, trainers.train)
    names = set(open_checkpoints(checkpoints_of(folder / "run.db")).names())
    kept = [history.best.checkpoint, *(history.member(member)[-1].checkpoint for member in range(5))]
    assert {whole(name) for name in kept if name is not None} <= names
    assert None not in kept
    assert len(names) <= 5 * 3 + 1


def a_failed_interval_is_repeated_from_the_saved_weights(engine: Engine, folder: Path, trainers: Trainers = PLAIN) -> None:
    """Law 10: the trainer raises."""
    history, _ = _run(engine, folder, trainers.sometimes_raises)
    assert history.ended == "generations"
    assert [(f.member, f.generation, f.kind) for f in sorted(history.failures, key=lambda f: f.member)] == [(1, 1, "error"), (3, 1, "error")]
    assert all(record.finite for record in history.records)


def a_value_that_is_not_finite_is_survived(engine: Engine, folder: Path, trainers: Trainers = PLAIN) -> None:
    """Law 10: the member copies, and nobody copies it."""
    history, events = _run(engine, folder, trainers.sometimes_nan)
    assert math.isnan(history[0, 1].value)
    assert decisions(events)[0, 2].copied
    assert all(copy.donor != (0, 1) for copy in history.copies)
    assert history[0, 2].finite


ENGINE_LAWS: tuple[Callable[..., None], ...] = (
    synchronous_decisions_equal_the_inline_engines,
    every_interval_is_trained_once_and_reported,
    the_trainer_sees_exactly_what_was_assigned,
    the_checkpoints_of_the_end_are_there_and_no_others,
    a_failed_interval_is_repeated_from_the_saved_weights,
    a_value_that_is_not_finite_is_survived,
)
"""Every law, as a function of an engine, an empty folder, and the trainers if they are not `PLAIN`."""
