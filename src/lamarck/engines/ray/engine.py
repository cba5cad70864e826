"""An engine whose workers are actors on a Ray cluster."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from lamarck._checks import check_whole
from lamarck._errors import SettingsError
from lamarck.checkpoints import FolderCheckpoints
from lamarck.coordinator import Coordinator
from lamarck.engines._shared import shared
from lamarck.engines.engine import Train
from lamarck.engines.ray.actor import Actor, Assignment, kernel
from lamarck.engines.ray.cluster import joined, load_ray, room, told
from lamarck.engines.ray.pool import Actors

__all__ = ["Ray"]

_OURS = ("max_restarts", "max_task_retries", "max_concurrency", "lifetime", "name", "num_cpus", "num_gpus")
"""Options of actors that this engine sets by itself."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Ray:
    """An engine of workers on a Ray cluster.

    The process that calls `lamarck.run` is the driver: it decides, and writes the journal. Each worker is one actor, which is started once and
    kept. The cluster is the one that the program has connected to with ``ray.init``, or else the one that the environment names
    (``RAY_ADDRESS``), or else this machine alone, for as long as the run lasts.

    Weights go straight to where the run keeps them if that is a URL, or a folder that the worker sees as well; each worker looks whether it
    does. Otherwise they go through the driver, over Ray, in the form in which they are kept.

    Args:
        workers: Number of actors; by default as many as the cluster has room for now, but never more than members. If there is room for fewer
            than asked for, the run begins with those, and the others join when the cluster has grown.
        cpus_per_worker: Cores that each worker asks the cluster for, and threads of its numerical libraries.
        gpus_per_worker: GPUs, or a share of one, as 0.5 for two workers on each. A worker sees no others.
        time_limit: Seconds after which an interval counts as hung and its worker is killed; ``None`` for no limit.
        through_driver: Whether weights go through the driver even from workers that see its folder.
        options: More options of the actors, as Ray's own ``options`` takes them: ``{"resources": {"a100": 1}, "runtime_env": {"pip": [...]}}``.

    Raises:
        SettingsError: If a number is out of its range, or an option is not free to choose.

    Example:
        >>> Ray(workers=8, gpus_per_worker=0.5).asked
        {'CPU': 1.0, 'GPU': 0.5}
    """

    workers: int | None = None
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0
    time_limit: float | None = None
    through_driver: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.workers is not None:
            check_whole("workers", self.workers, 1)
        for name in ("cpus_per_worker", "gpus_per_worker"):
            got = getattr(self, name)
            if isinstance(got, bool) or not isinstance(got, int | float) or not (0 <= got < 1 or (got >= 1 and got == int(got))):
                raise SettingsError(f"{name}: got {got!r}; it must be a share of one, as in 0.5, or a whole number")
        if self.time_limit is not None and not self.time_limit > 0:
            raise SettingsError(f"time_limit: got {self.time_limit!r}; it must be a positive number of seconds, or None")
        if ours := [name for name in self.options if name in _OURS]:
            raise SettingsError(
                f"options: got {ours[0]!r}, which is not free to choose here; cpus_per_worker and gpus_per_worker say the numbers"
            )

    @property
    def asked(self) -> dict[str, float]:
        """What each worker asks the cluster for, by Ray's names."""
        more = {name: float(amount) for name, amount in self.options.get("resources", {}).items()}
        memory = {"memory": float(self.options["memory"])} if self.options.get("memory") else {}
        return {"CPU": float(self.cpus_per_worker), "GPU": float(self.gpus_per_worker)} | more | memory

    def check(self, train: Train) -> None:
        """Raises `SettingsError` if a training function cannot be sent to the cluster, and `MissingExtra` if Ray is not installed."""
        _pickled(train)

    def __call__(self, train: Train, coordinator: Coordinator) -> None:
        """Trains until the run is over.

        Raises:
            SettingsError: If the training function cannot be sent to the cluster, there is no cluster, or no worker would ever fit into it.
            TrainingError: If the training function breaks its contract.
            PopulationLost: If every member failed for good.
            KeyboardInterrupt: On Ctrl-C, after the intervals in progress have been reported; on a second one at once.
        """
        if coordinator.over:
            return
        pickled, ray = _pickled(train), load_ray()
        with joined() as alone, shared(coordinator) as location, self._assigned(location, coordinator) as assignment:
            size = self._size(ray, len(coordinator.population), alone=alone)
            options = {"num_cpus": self.cpus_per_worker, "num_gpus": self.gpus_per_worker, "max_restarts": 0, "max_task_retries": 0}
            made = ray.remote(Actor).options(max_concurrency=2, **options, **self.options)
            Actors(size, coordinator, self.time_limit, made, (assignment, ray.put(pickled)), self.asked).run()
        if coordinator.population.ended == "lost":
            raise coordinator.lost()

    def _size(self, ray: Any, members: int, *, alone: bool) -> int:
        """How many workers there are to be."""
        fit = room(ray.nodes(), self.asked)
        if fit == 0 and alone:
            asked = {name: amount for name, amount in self.asked.items() if amount > 0}
            raise SettingsError(
                f"each worker asks for {told(asked)}, and this machine has {told(ray.cluster_resources(), asked)}: ask for less, "
                "or connect to a cluster first, with ray.init(...) or RAY_ADDRESS"
            )
        return min(self.workers or (members if fit is None else max(1, fit)), members)

    @contextmanager
    def _assigned(self, location: str, coordinator: Coordinator) -> Iterator[Assignment]:
        """Gives what actors are told, and keeps true what it says."""
        settings = coordinator.population.settings
        given: dict[str, Any] = {"durable_every": settings.durable_every or 1, "kernel": kernel(), "seed": settings.seed}
        given |= {"folder": str(Path.cwd()), "path": tuple(filter(None, sys.path))}
        if "://" in location:
            yield Assignment(location=location, mark=None, **given)
        elif self.through_driver:
            yield Assignment(location=None, mark=None, **given)
        else:
            with FolderCheckpoints(location).marked() as mark:
                yield Assignment(location=location, mark=str(mark), **given)


def _pickled(train: Train) -> bytes:
    ray = load_ray()
    try:
        pickled: bytes = ray.cloudpickle.dumps(train)
    except Exception as error:
        raise SettingsError(
            f"the cluster cannot be given {train!r} ({error}): a training function must not hold what cannot leave this process, as open "
            "files, locks and connections; make them inside"
        ) from None
    return pickled
