"""The front door: `run` and `resume` join the machine, a journal, a checkpoint store and an engine."""

from __future__ import annotations

import operator
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, final

from lamarck._checks import check_whole
from lamarck._errors import JournalConflict, SettingsError
from lamarck._signals import BATCH, say, stoppable
from lamarck.checkpoints import Checkpoints, open_checkpoints
from lamarck.coordinator import Coordinator, Observer, events_of
from lamarck.engines import Engine, Train, engine_for
from lamarck.history import History
from lamarck.journal import Journal, open_journal
from lamarck.observers.progress import PlainProgress
from lamarck.pbt import PBT
from lamarck.provenance import provenance
from lamarck.space import Space
from lamarck.types import Event, Exploit, Explore, HParams, Settings, Started

__all__ = ["Opened", "begin", "beside", "checkpoints_of", "generations_in", "load", "open_run", "provenance", "resume", "run"]


def run(
    train: Train,
    space: Space,
    *,
    population_size: int = 8,
    interval: int,
    steps: int | None = None,
    generations: int | None = None,
    mode: Literal["max", "min"] = "max",
    seed: int = 0,
    exploit: Exploit | None = None,
    explore: Explore | None = None,
    rescue: Exploit | Literal["default"] | None = "default",
    initial: Sequence[HParams] = (),
    stratified: bool = True,
    max_lead: int | None = 0,
    compare: Literal["age", "latest"] = "age",
    target: float | None = None,
    max_failures: int = 2,
    durable_every: int | None = None,
    journal: str | os.PathLike[str] | Journal | None = None,
    checkpoints: str | os.PathLike[str] | Checkpoints | None = None,
    name: str = "main",
    resume: bool = False,
    engine: Engine | str = "inline",
    observers: Sequence[Observer] = (),
    progress: bool = True,
    info: Mapping[str, Any] | None = None,
) -> History:
    """Trains a population and returns what happened.

    Args:
        train: The training function; see `lamarck.Worker`.
        space: Hyperparameters to tune.
        population_size: Number of members. 8 is the least that is worth a run; 20 to 40 gain reliably (Jaderberg et al. 2017, §4.4).
        interval: Steps between two decisions; aim at 15 to 30 generations in all.
        steps: Steps that each member trains, a multiple of ``interval``. Give this or ``generations``.
        generations: Intervals that each member trains.
        mode: Whether a higher (``"max"``) or lower (``"min"``) value is better.
        seed: Seed of all decisions and, through each interval's own seed, of training.
        exploit: Who copies whom; by default the worst fifth copies the best fifth.
        explore: What changes afterwards; by default each hyperparameter is multiplied by 0.8 or 1.25, or redrawn one time in four.
        rescue: What a member goes on from when its own weights are lost or not finite; ``None``: nobody else's.
        initial: Configurations that the first members start with; the rest is drawn.
        stratified: Whether the first population is a Latin hypercube.
        max_lead: Generations that a member may be ahead of the slowest; 0 is synchronous, ``None`` never waits.
        compare: ``"age"`` or ``"latest"``; see `lamarck.Settings`.
        target: Value at which the run ends early.
        max_failures: How often a failed interval is tried again before the member gives up its weights.
        durable_every: Of each member, every how many generations the weights are flushed to the disk; see `lamarck.Settings`.
        journal: File that the run is written to, durably, e.g. ``"digits.db"``; ``None`` keeps it in memory.
        checkpoints: Folder or URL for the weights; by default a folder beside the journal, or memory.
        name: Name of the run in the journal.
        resume: Whether to go on with the run if the journal has it already, which is what a job that may be preempted and started again wants.
            The settings must be the same.
        engine: What provides workers; ``"inline"`` trains all members in this process, one after the other. ``"processes"``,
            ``"ray"`` and ``"vectorised"`` are `lamarck.Processes`, `lamarck.Ray` and `lamarck.Vectorised` as they are by default.
        observers: Are told each event after it is safe.
        progress: Whether to write to standard error from time to time how far the run is, and how long the rest will take: first after ten
            seconds, then twenty times at most. `lamarck.observers.progress.progress` is a live display to be given as an observer instead.
        info: Kept in the journal for people.

    Returns:
        The history: ``history.best``, ``history.schedule()``, ``history.table()``.

    Raises:
        SettingsError: If a setting is not allowed, the journal already has a run of that name, or ``checkpoints`` names a place that has some.
        TrainingError: If the training function breaks its contract.
        PopulationLost: If every member failed for good.
        KeyboardInterrupt: On Ctrl-C, after saying how to go on.
        SystemExit: Likewise on SIGTERM or SIGHUP, with the status 143 or 129, unless this process answers them itself or ignores them.

    Example:
        >>> import lamarck as lk
        >>> import numpy as np
        >>> def train(worker):
        ...     x = np.array([1.0])
        ...     worker.track(x=x)
        ...     for interval in worker:
        ...         for step in interval.steps:
        ...             x *= 1 - interval.hparams["rate"]
        ...         interval.report(float(x[0]))
        >>> history = lk.run(train, lk.Space(rate=lk.Float(0.01, 0.5, log=True)), population_size=4, interval=5, steps=20, mode="min")
        >>> history.best.step, history.schedule().until, len(history.records), history.ended
        (20, 20, 16, 'generations')
    """
    settings = Settings(
        population_size=population_size,
        interval=interval,
        generations=generations_in(interval, steps, generations),
        mode=mode,
        seed=seed,
        max_lead=max_lead,
        compare=compare,
        target=target,
        max_failures=max_failures,
        durable_every=durable_every,
    )
    strategies: dict[str, Any] = {"exploit": exploit, "explore": explore}
    given = {key: strategy for key, strategy in strategies.items() if strategy is not None}
    if rescue != "default":
        given["rescue"] = rescue
    pbt = PBT(space=space, settings=settings, initial=initial, stratified=stratified, **given)
    chosen = engine_for(train, engine)
    with Opened(journal, checkpoints, name) as (book, store):
        if isinstance(checkpoints, str | os.PathLike) and not (book is not None and name in book.runs()) and store.names():
            raise SettingsError(
                f"checkpoints: {str(checkpoints)!r} holds weights of another run, which would be swept away; give this one a place of its "
                "own, or delete them"
            )
        told = [*observers, *_progress(book, name, wanted=progress)]
        coordinator = begin(pbt, book, store, name, resume=resume, observers=told, info={**provenance(train), **(info or {})})
        return _train(chosen, train, coordinator, journal)


def resume(
    train: Train,
    journal: str | os.PathLike[str] | Journal,
    *,
    checkpoints: str | os.PathLike[str] | Checkpoints | None = None,
    name: str = "main",
    engine: Engine | str = "inline",
    observers: Sequence[Observer] = (),
    progress: bool = True,
    **changes: Any,
) -> History:
    """Goes on with a run from exactly what its journal holds.

    Args:
        train: The training function; the journal keeps its name, not its code.
        journal: The journal.
        checkpoints: Where the weights are; by default the folder beside the journal.
        name: Name of the run.
        engine: What provides workers; it need not be the one that began the run.
        observers: Are told each event after it is safe.
        progress: Whether to write to standard error from time to time how far the run is; see `run`.
        **changes: ``space=``, ``explore=`` and the like, for what holds Python functions, which a journal cannot.

    Returns:
        The whole history, from the first interval. A run that has ended is returned as it is; but where every member had failed for good, those
        who failed last try again.

    Raises:
        JournalError: If there is no such journal or run.
    """
    if isinstance(journal, str | os.PathLike) and not Path(journal).exists():
        raise SettingsError(f"there is no journal {str(journal)!r} to resume; `run` begins one")
    chosen = engine_for(train, engine)
    with Opened(journal, checkpoints, name) as (book, store):
        assert book is not None
        told = [*observers, *_progress(book, name, wanted=progress)]
        return _train(chosen, train, Coordinator.resume(book, name, store, observers=told, **changes), journal)


def begin(
    pbt: PBT,
    journal: Journal | None,
    checkpoints: Checkpoints,
    name: str,
    *,
    resume: bool,
    observers: Sequence[Observer] = (),
    info: Mapping[str, Any],
) -> Coordinator:
    """Begins a run, or goes on with it.

    Args:
        pbt: The machine.
        journal: Where events go.
        checkpoints: Where weights go.
        name: Name of the run.
        resume: Whether to go on with it if the journal has it already; it must have been begun by the same machine.
        observers: Are told each event.
        info: Kept in the journal for people.

    Raises:
        SettingsError: If the journal has the run and it cannot be gone on with.
    """
    if resume and journal is not None and name in journal.runs():
        _same(pbt, next(iter(events_of(journal, name))), name)
        given = {key: getattr(pbt, key) for key in ("space", "exploit", "explore", "rescue")}
        return Coordinator.resume(journal, name, checkpoints, observers=observers, **given)
    try:
        return Coordinator.start(pbt, journal, name, checkpoints, info=dict(info), observers=observers)
    except JournalConflict:
        assert journal is not None
        raise SettingsError(f"the journal already has a run {name!r}{_what_to_do(History.of(events_of(journal, name)))}") from None


def load(journal: str | os.PathLike[str], checkpoint: str | None = None, *, name: str = "main") -> Any:
    """Reads a checkpoint of a run: what was tracked, by name.

    Args:
        journal: The run's journal.
        checkpoint: Name of the checkpoint; by default the best record's.
        name: Name of the run.

    Raises:
        CheckpointMissing: If it is not kept any more; those of the best and of the last generation are.
    """
    chosen = open_run(journal, name=name).best.checkpoint if checkpoint is None else checkpoint
    if chosen is None:
        raise SettingsError("the best record has no checkpoint that can be read; name another one")
    return open_checkpoints(checkpoints_of(journal, name)).get(chosen)


def open_run(journal: str | os.PathLike[str], *, name: str = "main") -> History:
    """Reads the history of a run, also while it is running."""
    with open_journal(journal, readonly=True) as book:
        return History.of(events_of(book, name))


def checkpoints_of(journal: str | os.PathLike[str], name: str = "main") -> Path:
    """Returns the folder beside a journal that holds a run's weights: ``digits.checkpoints/main`` for ``digits.db``.

    Of a link it is the one beside the file that the link leads to.
    """
    return beside(os.path.realpath(journal) if Path(journal).is_symlink() else journal, ".checkpoints") / name


def beside(journal: str | os.PathLike[str], ending: str, name: str = "main") -> Path:
    """Returns where something that belongs to a run lies by default: beside its journal, under its name, with another ending.

    Example:
        >>> beside("digits.db", ".html").name, beside("digits.db", ".html", "second").name, beside("lr0.1", ".html").name
        ('digits.html', 'digits.second.html', 'lr0.1.html')
    """
    path = Path(journal)
    return path.with_name(path.name.removesuffix(".db") + ("" if name == "main" else f".{name}") + ending)


@final
class Opened:
    """Opens what was given by name and closes it again; what was given open stays open."""

    def __init__(
        self, journal: str | os.PathLike[str] | Journal | None, checkpoints: str | os.PathLike[str] | Checkpoints | None, name: str
    ) -> None:
        if not isinstance(name, str) or name in ("", "..") or Path(name).name != name or not name.isprintable() or len(name.encode()) > 200:
            raise SettingsError(f"name: got {name!r}; it must be a plain name of at most 200 bytes, without folders or control characters")
        self._given = isinstance(journal, Journal)
        if isinstance(journal, str | os.PathLike) and (not Path(journal).name or not _encodable(os.fspath(journal))):
            raise SettingsError(f"journal: got {os.fspath(journal)!r}; it must be the path of a file, e.g. 'run.db'")
        if checkpoints is None and isinstance(journal, str | os.PathLike):
            checkpoints = checkpoints_of(journal, name)
        self.store = checkpoints if isinstance(checkpoints, Checkpoints) else open_checkpoints(checkpoints)
        self.journal = journal if journal is None or isinstance(journal, Journal) else open_journal(journal)

    def __enter__(self) -> tuple[Journal | None, Checkpoints]:
        return self.journal, self.store

    def __exit__(self, *_: object) -> None:
        if self.journal is not None and not self._given:
            self.journal.close()


def _encodable(path: str | bytes) -> bool:
    """Whether the operating system can be given a path."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def _progress(journal: Journal | None, name: str, *, wanted: bool) -> list[Observer]:
    """What tells how far a run is; of a run that goes on, it has to know the past."""
    if not wanted:
        return []
    past = History.of(events_of(journal, name)) if journal is not None and name in journal.runs() else None
    return [PlainProgress() if past is None else PlainProgress(copies=len(past.copies), failures=len(past.failures))]


def _train(engine: Engine, train: Train, coordinator: Coordinator, journal: object) -> History:
    try:
        with stoppable(BATCH):
            engine(train, coordinator)
    except (KeyboardInterrupt, SystemExit):  # the latter by SIGTERM or SIGHUP, or a training function's own
        cure = "the run was in memory and is gone: give journal=... next time"
        if isinstance(journal, str | os.PathLike):
            cure = f"go on with: {_way_on(train, journal, coordinator.run)}"
        say(f"\nstopped after {_reported(coordinator)} of {_total(coordinator)} intervals; {cure}")
        raise
    finally:
        coordinator.rest()
        coordinator.checkpoints.settle(coordinator.population.live())
        coordinator.audience.close()
    return coordinator.history()


def _reported(coordinator: Coordinator) -> int:
    """How many intervals are reported: by the journal, because the population may be ahead of it, or, just when it was interrupted, behind."""
    if coordinator.journal is None:
        return len(coordinator.history().records)
    return sum(event.startswith(b'{"$type":"Reported"') for event in coordinator.journal.read(coordinator.run))


def _way_on(train: Train, journal: str | os.PathLike[str], run: str) -> str:
    """What goes on with a run: the command, or Python if the command could not find what trains by its name."""
    path, text = str(journal), getattr(train, "text", None)
    module, name = getattr(train, "__module__", "?"), getattr(train, "__qualname__", "<object>")
    if isinstance(text, str) or (module != "__main__" and "<" not in name):
        return f"lamarck resume {shlex.quote(path)}" + ("" if run == "main" else f" --name {run}")
    last = name.rpartition(".")[2]
    what = last if last.isidentifier() else "..."
    return f"lamarck.resume({what}, {path!r}" + (")" if run == "main" else f", name={run!r})")


def _what_to_do(past: History) -> str:
    """What somebody can do who would begin a run that is there already."""
    lost = ", and every member failed for good; correct what failed" if past.ended == "lost" else ""
    empty = "" if past.records else ", of which nothing was reported yet"
    unwanted = "" if past.records else "; if it was a false start, delete the file"
    return f"{empty}{lost}: go on with it by resume=True, resume(...) or `lamarck resume`, or give another file or another name{unwanted}"


def _same(pbt: PBT, before: Event, name: str) -> None:
    (now,) = pbt.init()
    assert isinstance(now, Started)
    assert isinstance(before, Started)
    differ = [key for key in ("settings", "space", "strategies") if getattr(now, key) != getattr(before, key)]
    if differ:
        was, got = (", ".join(_shown(it, other, key) for key in differ) for it, other in ((before, now), (now, before)))
        raise SettingsError(f"the journal's run {name!r} was begun with {was}; got {got}. Go on with the same, or give another name or file")


def _shown(it: Started, other: Started, key: str) -> str:
    """What one of two runs has, where it is not what the other has."""
    if key != "settings":
        return f"{key}={getattr(it, key)}"
    pairs = ((name, getattr(it.settings, name), getattr(other.settings, name)) for name in (field.name for field in fields(Settings)))
    return ", ".join(f"{name}={mine!r}" for name, mine, theirs in pairs if mine != theirs)


def _total(coordinator: Coordinator) -> int:
    return coordinator.pbt.settings.population_size * coordinator.pbt.settings.generations


def generations_in(interval: int, steps: int | None, generations: int | None) -> int:
    """Returns how many intervals a member trains, from one of two ways to say it.

    Raises:
        SettingsError: If none or both are given, one is not a whole number, or the steps are not a whole number of intervals.
    """
    interval, steps = _plain(interval), _plain(steps)
    check_whole("interval", interval, 1)
    if (steps is None) == (generations is None):
        raise SettingsError(f"got steps={steps} and generations={generations}; give one of them, how long each member trains")
    if generations is not None:
        return generations
    assert steps is not None
    check_whole("steps", steps, 1)
    if steps % interval:
        near = max(1, steps // interval) * interval
        raise SettingsError(f"got steps={steps} and interval={interval}; steps must be a whole number of intervals, e.g. {near}")
    return steps // interval


def _plain(number: Any) -> Any:
    """Any library's whole number as an ``int``; whatever else it is, to be refused."""
    return operator.index(number) if hasattr(number, "__index__") else number
