"""Where a script finds its run: on the server that the environment names, or in the script itself."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, final

from lamarck._errors import SettingsError
from lamarck._signals import BATCH, listen
from lamarck.checkpoints import Checkpoints
from lamarck.client import Remote
from lamarck.pbt import PBT
from lamarck.provenance import provenance
from lamarck.runs import Opened, begin, generations_in
from lamarck.space import Space
from lamarck.training import Transport, seed_everything
from lamarck.types import HParams, Settings

__all__ = ["Alone", "Place", "find", "read_space"]


@final
@dataclass(frozen=True, slots=True)
class Place:
    """A run as a script reaches it.

    Args:
        transport: Takes what the script says, and brings back its next interval.
        checkpoints: Where weights are.
        left: Says that the script has left its loop before the run was over; see `lamarck.training.Worker`.
        serve: Is told what trains, and gives its interval back when nobody refers to that any more.
        leave: Gives the interval back now; is told by what error it came to nothing, if it did.
    """

    transport: Transport
    checkpoints: Checkpoints
    left: Callable[[], object] = lambda: None
    serve: Callable[[object], object] = lambda holder: None
    leave: Callable[[object], object] = lambda error: None


_here = threading.local()
"""What the script's thread has joined, by the address and name of the run. One thread trains one member: who joins anew has left."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """What a script trains by when it is alone.

    Args:
        space: Hyperparameters: an object, or a file that ends in ``.toml``, ``.json`` or ``.csv``.
        interval: Steps between two reports.
        steps: Steps in all. Give this or ``generations``.
        generations: Intervals in all.
        population_size: Members, trained one after the other.
        mode: Whether a higher (``"max"``) or lower (``"min"``) value is better.
        seed: Seed of everything.
        initial: Configurations that the first members start with.
        journal: File that the run is written to, and gone on with from; ``None`` keeps it in memory.
        strategies: ``exploit``, ``explore`` and ``rescue`` of `lamarck.PBT`.
    """

    space: Space | str | os.PathLike[str] | None
    interval: int = 1
    steps: int | None = None
    generations: int | None = None
    population_size: int = 1
    mode: Literal["max", "min"] = "max"
    seed: int = 0
    initial: Sequence[HParams] = ()
    journal: str | os.PathLike[str] | None = None
    strategies: Mapping[str, Any] = field(default_factory=dict)


def find(alone: Alone, url: str | None = None, run: str | None = None, token: str | None = None) -> Place:
    """Returns the run that the arguments or the environment name.

    Where ``LAMARCK_URL`` names a server, its run ``LAMARCK_RUN`` (by default ``main``), with ``LAMARCK_TOKEN``; SIGTERM and SIGHUP then give
    the interval back before the script ends. Where it does not, a run of the script's own; there ``LAMARCK_POPULATION`` and ``LAMARCK_JOURNAL``
    come before what the script says.

    Args:
        alone: What holds without a server.
        url: Comes before ``LAMARCK_URL``.
        run: Comes before ``LAMARCK_RUN``.
        token: Comes before ``LAMARCK_TOKEN``.

    Raises:
        SettingsError: If there is no server, and the script does not say enough to do without.
        ServiceError: If the server cannot be reached.
    """
    url = url or os.environ.get("LAMARCK_URL")
    return _alone(alone) if not url else _served(url, run or os.environ.get("LAMARCK_RUN") or "main", token)


def read_space(space: Space | str | os.PathLike[str]) -> Space:
    """Returns a space, from a file if it is none yet.

    Raises:
        SettingsError: If there is no such file.
        SpaceError: If it does not describe a space.
    """
    if isinstance(space, Space):
        return space
    path = Path(space)
    try:
        return Space.from_text(path.read_text(encoding="utf-8"), path.suffix.removeprefix("."))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"space: {str(path)!r} cannot be read: {error}") from None


def _served(url: str, run: str, token: str | None) -> Place:
    patience = os.environ.get("LAMARCK_PATIENCE")
    try:
        seconds = float(patience) if patience else 3600.0
    except ValueError:
        raise SettingsError(f"LAMARCK_PATIENCE: got {patience!r}; it must be a number of seconds") from None
    joined: dict[tuple[str, str], weakref.ref[Remote]] = _here.__dict__.setdefault("joined", {})
    before = joined.get((url, run))
    if before is not None and (old := before()) is not None:  # as in a notebook whose cell has failed, and is run again
        old.drop()
    remote = Remote(url, run=run, token=token, worker=os.environ.get("LAMARCK_WORKER"), ca=os.environ.get("LAMARCK_CA"), patience=seconds)
    joined[url, run] = weakref.ref(remote)
    listen(BATCH)  # a batch system that takes the machine away does not cost the interval the time of its lease
    seed_everything(remote.seed)
    return Place(remote, remote.checkpoints, remote.unattended, remote.serve, remote.drop)


def _alone(alone: Alone) -> Place:
    if alone.space is None:
        raise SettingsError(
            "there is no server to ask, since LAMARCK_URL is not set, and the script says too little to do without: give a space, and how long "
            "to train; or set LAMARCK_URL"
        )
    journal = os.environ.get("LAMARCK_JOURNAL") or alone.journal
    size = os.environ.get("LAMARCK_POPULATION") or str(alone.population_size)
    if not size.isdecimal():
        raise SettingsError(f"LAMARCK_POPULATION: got {size!r}; it must be a whole number of at least 1")
    settings = Settings(
        population_size=int(size),
        interval=alone.interval,
        generations=generations_in(alone.interval, alone.steps, alone.generations),
        mode=alone.mode,
        seed=alone.seed,
    )
    pbt = PBT(space=read_space(alone.space), settings=settings, initial=alone.initial[: int(size)], **alone.strategies)
    opened = Opened(journal, None, "main")
    book, store = opened.__enter__()
    atexit.register(opened.__exit__)
    info = {**provenance(_main), "train": f"{Path(sys.argv[0]).name or 'python'}"}
    coordinator = begin(pbt, book, store, "main", resume=True, info=info)
    seed_everything(settings.seed & 0xFFFFFFFF)
    return Place(lambda message: coordinator.exchange("alone", message), coordinator.checkpoints)


def _main(_: object) -> None:
    """Stands for the script in what a journal says of its run."""
