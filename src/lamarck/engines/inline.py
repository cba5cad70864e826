"""The whole population in this process, one interval after the other: the reference that every other engine must agree with."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from lamarck._errors import LamarckError, PopulationLost, TrainingError
from lamarck.engines.engine import Train
from lamarck.training import Worker, raised, seed_everything

if TYPE_CHECKING:
    from lamarck.coordinator import Coordinator

__all__ = ["inline"]

logger = logging.getLogger("lamarck")


def inline(train: Train, coordinator: Coordinator) -> None:
    """Trains until the run is over.

    The training function is called once, and once more after each time that it raises: a failed interval is handed out again.

    Args:
        train: The training function.
        coordinator: The run.

    Raises:
        TrainingError: If the training function breaks its contract: it returns before the run is over, or raises before its first interval.
        PopulationLost: If every member failed for good; the cause is the first failure.
    """
    first: Exception | None = None
    while not coordinator.over:
        worker = Worker(lambda message: coordinator.exchange("inline", message), coordinator.checkpoints)
        # The same for every call, so that weights made before the first interval are the same in every process and after every resume.
        seed_everything(coordinator.population.settings.seed & 0xFFFFFFFF)
        try:
            train(worker)
        except LamarckError:
            raise
        except Exception as error:
            if worker.current is None:
                raise TrainingError(f"the training function failed before its first interval: {type(error).__name__}: {error}") from error
            if first is None:
                first = error
                logger.warning("member %d failed; later failures are only counted", worker.current.member, exc_info=error)
            failure = raised(worker.current, error)
            coordinator.exchange("inline", failure, claim=False)
        else:
            if not coordinator.over:
                raise TrainingError("the training function returned before the run was over: iterate `for interval in worker` to its end")
    if coordinator.population.ended == "lost":
        raise PopulationLost("every member failed for good; the first failure is the cause given here") from first
