"""The whole population in this process, one interval after the other: the reference that every other engine must agree with."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from lamarck.engines.engine import Train
from lamarck.training import Worker, attempt, raised, seed_everything

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
        error = attempt(train, worker)
        if error is not None:
            assert worker.current is not None
            if first is None:
                first = error
                logger.warning("member %d failed; later failures are only counted", worker.current.member, exc_info=error)
            coordinator.exchange("inline", raised(worker.current, error), claim=False)
    if coordinator.population.ended == "lost":
        raise coordinator.lost() from first
