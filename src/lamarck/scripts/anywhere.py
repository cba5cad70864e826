"""One line that makes a script a worker, wherever it is started."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal

from lamarck.scripts.place import Alone, find
from lamarck.space import Space
from lamarck.training import Worker
from lamarck.types import HParams

__all__ = ["worker"]


def worker(
    space: Space | str | os.PathLike[str] | None = None,
    *,
    interval: int = 1,
    steps: int | None = None,
    generations: int | None = None,
    population_size: int = 1,
    mode: Literal["max", "min"] = "max",
    seed: int = 0,
    initial: Sequence[HParams] = (),
    journal: str | os.PathLike[str] | None = None,
    **strategies: Any,
) -> Worker:
    """Returns the worker of this script: alone, under ``lamarck run script.py``, or joined to a server, by the environment alone.

    =======================  ============================================================================================================
    ``LAMARCK_URL``          the server to join; without it, the script is alone, and what is said below holds
    ``LAMARCK_RUN``          name of the run there; by default ``main``
    ``LAMARCK_TOKEN``        what the server was told to let workers in by
    ``LAMARCK_WORKER``       what to call this worker, each another name; by default the machine, the process and something random
    ``LAMARCK_CA``           file of the certificates to trust, for a server that signed its own
    ``LAMARCK_PATIENCE``     seconds to go on trying when the server does not answer; by default an hour
    ``LAMARCK_POPULATION``   alone: members, trained one after the other in this process
    ``LAMARCK_JOURNAL``      alone: file that the run is written to, and gone on with from
    =======================  ============================================================================================================

    Joined to a run, the script trains what that run says; alone, a population of one by default, which is plain training with the first
    configuration of ``initial``, or one that is drawn.

    Args:
        space: Alone: hyperparameters, as an object or a file that ends in ``.toml``, ``.json`` or ``.csv``.
        interval: Alone: steps between two reports.
        steps: Alone: steps in all. Give this or ``generations``.
        generations: Alone: intervals in all.
        population_size: Alone: members, trained one after the other.
        mode: Alone: whether a higher (``"max"``) or lower (``"min"``) value is better.
        seed: Alone: seed of everything.
        initial: Alone: configurations that the first members start with.
        journal: Alone: file that the run is written to, and gone on with from; ``None`` keeps it in memory.
        **strategies: Alone: ``exploit``, ``explore`` and ``rescue``, as `lamarck.run` takes them.

    Raises:
        SettingsError: If there is no server, and the script does not say enough to do without.
        ServiceError: If the server cannot be reached.

    Example:
        >>> import numpy as np
        >>> import lamarck as lk
        >>> worker = lk.worker(lk.Space(lr=lk.Float(0.01, 0.4)), interval=5, steps=20, initial=[{"lr": 0.1}])
        >>> x = np.array([1.0])
        >>> worker.track(x=x)
        >>> for interval in worker:
        ...     for step in interval.steps:
        ...         x -= interval.hparams["lr"] * 2 * x
        ...     interval.report(-float(x[0] ** 2))
        >>> worker.over, bool(abs(x[0]) < 0.02)
        (True, True)
    """
    place = find(
        Alone(
            space=space,
            interval=interval,
            steps=steps,
            generations=generations,
            population_size=population_size,
            mode=mode,
            seed=seed,
            initial=initial,
            journal=journal,
            strategies=strategies,
        )
    )
    joined = Worker(place.transport, place.checkpoints, left=place.left)
    place.serve(joined)
    return joined
