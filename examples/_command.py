"""What the examples share: their command line, and what they say at the end. Using Lamarck needs none of this."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping
from typing import Any

import lamarck as lk
from lamarck import exploit, explore
from lamarck.engines import inline
from lamarck.engines.processes import Processes
from lamarck.observers.progress import PlainProgress

__all__ = ["settings", "tell"]

RANDOM_SEARCH = {"exploit": exploit.Never(), "explore": explore.Keep(), "rescue": None}
"""Nobody copies anybody: as many members, trained as long, from the same first hyperparameters and weights."""


def settings(description: str, *, population_size: int, generations: int, vectorised: bool = False) -> dict[str, Any]:
    """Reads the command line and returns arguments for `lamarck.run`.

    Args:
        description: The example's docstring, for ``--help``.
        population_size: Members, unless the command line says otherwise.
        generations: Intervals that each member trains, unless it says otherwise.
        vectorised: Whether the population is one program, in each worker.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--population-size", type=int, default=population_size, help=f"members ({population_size})")
    parser.add_argument("--generations", type=int, default=generations, help=f"intervals that each member trains ({generations})")
    parser.add_argument("--workers", type=int, help="processes; 0 trains in this one (as many as there are cores)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all decisions and of all training (0)")
    parser.add_argument("--random-search", action="store_true", help="never copy: what population based training has to beat")
    given = parser.parse_args()
    return {
        "population_size": given.population_size,
        "generations": given.generations,
        "seed": given.seed,
        "engine": _vectorised(given.workers) if vectorised else inline if given.workers == 0 else Processes(workers=given.workers),
        "observers": [PlainProgress()],
        **(RANDOM_SEARCH if given.random_search else {}),
    }


def _vectorised(workers: int | None) -> lk.Vectorised:
    return lk.Vectorised(processes=1 if workers == 0 else workers)


def tell(history: lk.History) -> None:
    """Prints the best value, the schedule behind it, and how far members came without copying anybody."""
    copied = {(copy.member, copy.generation) for copy in history.copies}
    line = history.lineage()
    last = sorted(record.value for record in history.generation(history.settings.generations - 1))
    print(f"{history}; last generation: {last[0]:g} to {last[-1]:g}, median {statistics.median(last):g}")
    print(f"\nschedule of the winner, with {sum(record.key in copied for record in line)} copies in its ancestry:")
    for piece in history.schedule():
        print(f"  steps {piece.start:5} to {piece.until:5}: {_written(piece.hparams)}")
    alone = [r for r in history.records if r.finite and not any(ancestor.key in copied for ancestor in history.lineage(r.key))]
    if not history.copies or not alone:
        return
    best = max(alone, key=lambda record: record.fitness)
    print(f"\nwithout any copy: best {best.value:g}, with {_written(best.hparams)} all the time")
    print("Random search from the same seed is at least as good as that; --random-search shows how good. Compare several seeds.")


def _written(hparams: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in sorted(hparams.items()))
