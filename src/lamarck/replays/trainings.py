"""Training from scratch by a schedule: each seed is a run of one member, with a journal like any other."""

from __future__ import annotations

import hashlib
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, final

from lamarck._checks import check_whole
from lamarck._errors import PopulationLost, SettingsError
from lamarck._rng import derive_seed
from lamarck._spread import Tell, spread
from lamarck.coordinator import Coordinator, events_of
from lamarck.engines import Train, inline
from lamarck.follow import Follower
from lamarck.history import History
from lamarck.population import Population
from lamarck.provenance import provenance
from lamarck.replays.result import Replay, Replayed
from lamarck.runs import Opened, open_run
from lamarck.schedule import Schedule
from lamarck.types import Event, Reported, Settings

__all__ = ["replay"]


def replay(
    train: Train,
    source: History | Schedule,
    *,
    seeds: int | Sequence[int] = 5,
    schedule: Schedule | None = None,
    member: int | None = None,
    own: bool = True,
    interval: int | None = None,
    mode: Literal["max", "min"] = "max",
    journal: str | os.PathLike[str] | None = None,
    workers: int = 1,
    on_progress: Callable[[int, int], object] = lambda done, total: None,
) -> Replay:
    """Trains models from scratch by a schedule, and says whether the schedule alone is enough.

    A population gives two things: a trained model, and the schedule that its lineage has seen. Whether the second is worth anything without the
    first is answered by training anew, one unbroken life for each seed, without copying.

    Args:
        train: The training function, the same as for `lamarck.run`.
        source: The run whose schedule is followed, or a schedule from elsewhere.
        seeds: How many models to train with fresh seeds, or which seeds. Five show a large difference; claims need more.
        schedule: What to follow instead of what the run's lineage has seen, e.g. that one simplified.
        member: Whose newest weights' lineage; by default that of the best report.
        own: Whether to train once more with the seeds of the lineage's own intervals first. If training depends on nothing but tracked state,
            hyperparameters and the interval's seed, that gives the lineage's value exactly; if it does not, that is worth knowing. Left out
            where there is no lineage, or the schedule is another one.
        interval: Steps between two reports. By default that of the run; for a schedule from elsewhere the longest that has a beginning wherever
            the schedule changes.
        mode: For a schedule from elsewhere: whether a higher (``"max"``) or lower (``"min"``) value is better.
        journal: File that everything is written to, one run for each seed, named after the schedule and the seed; what it holds already is not
            trained again. ``None`` keeps it in memory.
        workers: Processes to train in; more than one needs a journal.
        on_progress: Told how many intervals are done, and how many there are.

    Returns:
        The values, the trainings' histories, and the answer: print it.

    Raises:
        SettingsError: If a setting is not allowed.
        ReportError: If the run, or that member of it, has reported nothing that could be followed.
        TrainingError: If the training function fails for good, or breaks its contract.

    References:
        Jaderberg et al. 2017, "Population Based Training of Neural Networks", arXiv 1711.09846, §4.4, asks the question.

    Example:
        >>> import lamarck as lk
        >>> from lamarck.demos.toy import Toy
        >>> space = lk.Space(h0=lk.Float(0.0, 1.0), h1=lk.Float(0.0, 1.0))
        >>> history = lk.run(Toy().train, space, population_size=4, interval=10, steps=100)
        >>> result = lk.replay(Toy().train, history, seeds=2)
        >>> result.exact, result.again.value == history.best.value
        (True, True)
    """
    followers, original, target = _followers(source, schedule, member, own, interval, mode, seeds)
    check_whole("workers", workers, 1)
    if workers > 1 and journal is None:
        raise SettingsError(f"workers: got {workers}, whose results meet in a journal; give one, as in journal='replay.db'")
    jobs = [
        _Job(train=train, follower=follower, journal=journal if journal is None else Path(journal), workers=workers) for follower in followers
    ]
    total = sum(follower.settings.generations for follower in followers)
    done = sum(job.done() for job in jobs)
    on_progress(done, total)

    def tell(reports: int) -> None:
        nonlocal done
        done += reports
        on_progress(done, total)

    if journal is None:
        histories = [_train(job, tell) for job in jobs]
    else:
        spread(_train, jobs, min(workers, len(jobs)), tell)
        histories = [open_run(journal, name=job.name) for job in jobs]
    followed = jobs[0].follower.schedule
    trained = [
        Replayed(name=job.name, seed=job.follower.settings.seed, until=followed.until, history=history)
        for job, history in zip(jobs, histories, strict=True)
    ]
    again = trained.pop(0) if jobs[0].follower.seeds else None
    return Replay(schedule=followed, original=original, target=target, again=again, fresh=tuple(trained))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    train: Train
    follower: Follower
    journal: Path | None
    workers: int

    @property
    def name(self) -> str:
        """Name of its run: trainings by several schedules can be in one journal."""
        follower = self.follower
        what = f"{follower.schedule.to_text('json')}{follower.settings.interval}{follower.settings.mode}"
        kind = "own" if follower.seeds else f"seed-{follower.settings.seed}"
        return f"{hashlib.blake2b(what.encode(), digest_size=4).hexdigest()}-{kind}"

    def done(self) -> int:
        """How many intervals its journal holds already."""
        if self.journal is None or not self.journal.exists():
            return 0
        with Opened(self.journal, None, self.name) as (book, _):
            assert book is not None
            if self.name not in book.runs():
                return 0
            return sum(isinstance(event, Reported) for event in events_of(book, self.name))


def _train(job: _Job, tell: Tell) -> History:
    """Trains one model, or goes on with it."""
    if job.workers > 1 and (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // job.workers))

    def tick(event: Event, _: Population) -> None:
        if isinstance(event, Reported):
            tell(1)

    with Opened(job.journal, None, job.name) as (book, store):
        if book is not None and job.name in book.runs():
            coordinator = Coordinator.resume(book, job.name, store, observers=[tick])
        else:
            coordinator = Coordinator.start(job.follower, book, job.name, store, info=provenance(job.train), observers=[tick])
        try:
            inline(job.train, coordinator)
        except PopulationLost:
            last = coordinator.population.members[0].last
            if last is None or last.finite:
                raise
        return coordinator.history()


def _followers(
    source: History | Schedule,
    schedule: Schedule | None,
    member: int | None,
    own: bool,
    interval: int | None,
    mode: Literal["max", "min"],
    seeds: int | Sequence[int],
) -> tuple[list[Follower], History | None, tuple[int, int] | None]:
    """What is trained, that with the lineage's own seeds first, with the run and the report that it is held against."""
    if isinstance(source, Schedule):
        followed = source if schedule is None else schedule
        apart = math.gcd(*(piece.until for piece in followed)) if interval is None else interval
        made = partial(_follower, followed, interval=apart, mode=mode)
        return _some([made(seed=seed) for seed in _seeds(seeds, 0)]), None, None
    if not isinstance(source, History):
        raise SettingsError(f"source: got {source!r}; it must be a run that was read, lamarck.open_run('run.db'), or a lamarck.Schedule")
    settings, seen = source.settings, source.schedule(member)
    line = source.lineage(None if member is None else source.member(member)[-1].key)
    rules: dict[str, Any] = {
        "interval": settings.interval if interval is None else interval,
        "mode": settings.mode,
        "space": source.started.space,
    }
    if (schedule is not None and schedule != seen) or rules["interval"] != settings.interval:
        made, own = partial(_follower, seen if schedule is None else schedule, **rules), False
    else:
        made = partial(_follower, seen, generations=len(line), **rules)
    followers = [made(seed=seed) for seed in _seeds(seeds, settings.seed)]
    if own:
        drawn = tuple(derive_seed(settings.seed, record.member, record.generation) for record in line)
        followers.insert(0, made(seed=settings.seed, seeds=drawn))
    return _some(followers), source, line[-1].key


def _some(followers: list[Follower]) -> list[Follower]:
    if not followers:
        raise SettingsError("seeds: got none, and there are no seeds of a lineage to train with; give at least one")
    return followers


def _follower(
    schedule: Schedule, *, interval: int, mode: Literal["max", "min"], seed: int, generations: int | None = None, **more: Any
) -> Follower:
    if isinstance(interval, bool) or not isinstance(interval, int) or interval < 1:
        raise SettingsError(f"interval: got {interval!r}; it must be a whole number of steps, at least 1")
    if generations is None and schedule.until % interval:
        raise SettingsError(
            f"interval: got {interval} for a schedule of {schedule.until} steps; it must divide them, or stretch the schedule: "
            f"schedule.scaled({max(1, round(schedule.until / interval)) * interval})"
        )
    rules = Settings(population_size=1, interval=interval, generations=generations or schedule.until // interval, mode=mode, seed=seed)
    return Follower(settings=rules, schedule=schedule, **more)


def _seeds(seeds: int | Sequence[int], original: int) -> Sequence[int]:
    """Seeds that differ from each other and, where they are only counted, from the original run's."""
    if isinstance(seeds, int):
        if isinstance(seeds, bool) or seeds < 0:
            raise SettingsError(f"seeds: got {seeds!r}; give how many, at least 0, or a list of seeds")
        return range(original + 1, original + 1 + seeds)
    if len(set(seeds)) < len(seeds):
        raise SettingsError(f"seeds: got {list(seeds)}; the same seed twice is the same training twice")
    return seeds
