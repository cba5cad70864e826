"""Whom a member is compared with: the reports of a population that count at one age, as columns."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from lamarck._rng import lots
from lamarck.types import Key

if TYPE_CHECKING:
    from lamarck.record import Record

__all__ = ["Cohort"]


@final
class Cohort:
    """The reports that one member is compared with: at most one of each member.

    Args:
        fitness: ``float64[N]``; NaN where a member has no comparable report, ``-inf`` where its value was not finite.
        generation: ``int64[N]``; the report's generation, -1 where there is none.
        donor: ``bool[N]``; whether the weights may be copied (saved, sound and finite).
        seed: Seed of the run, for the order of exact ties.
        age: Generation up to which reports count, or ``None`` for all.
    """

    def __init__(
        self, fitness: NDArray[np.float64], generation: NDArray[np.int64], donor: NDArray[np.bool_], seed: int, age: int | None
    ) -> None:
        self.fitness, self.generation, self.donor, self.seed, self.age = fitness, generation, donor, seed, age

    @cached_property
    def size(self) -> int:
        """How many members have a comparable report."""
        return int(np.count_nonzero(self.generation >= 0))

    @cached_property
    def _lots(self) -> NDArray[np.uint64]:
        return lots(self.seed, -1 if self.age is None else self.age, len(self.fitness))

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """Members with a comparable report, best first; exact ties in a random order that is the same for everybody."""
        keys = -self.fitness
        order = keys.argsort()[: self.size]  # NaN, which is "none", comes last
        ranked = keys[order]
        if (ranked[1:] == ranked[:-1]).any():
            order = np.lexsort((self._lots, keys))[: self.size]
        return order

    @cached_property
    def _places(self) -> NDArray[np.intp]:
        places = np.empty(len(self.fitness), dtype=np.intp)
        places[self.order] = np.arange(self.size)
        return places

    @cached_property
    def best(self) -> int | None:
        """The first donor in `order`, or ``None`` if there is no donor; found without sorting everybody."""
        fitness = np.where(self.donor, self.fitness, -np.inf)
        first = int(fitness.argmax())
        if not self.donor[first]:
            return None
        tied = fitness == fitness[first]
        if np.count_nonzero(tied) == 1:
            return first
        among = np.flatnonzero(tied)
        return int(among[self._lots[among].argmin()])

    def rank(self, member: int) -> int:
        """Returns how many members are better: 0 for the best.

        Raises:
            KeyError: If the member has no comparable report.
        """
        if self.generation[member] < 0:
            raise KeyError(member)
        if "order" in self.__dict__:  # somebody has had everybody sorted
            return int(self._places[member])
        mine = self.fitness[member]
        better = int(np.count_nonzero(self.fitness > mine))
        ties = self.fitness == mine
        if np.count_nonzero(ties) > 1:
            better += int(np.count_nonzero(ties & (self._lots < self._lots[member])))
        return better

    def key(self, member: int) -> Key:
        """Returns the key of a member's comparable report."""
        return (member, int(self.generation[member]))

    def updated(self, records: Iterable[Record]) -> Cohort:
        """Returns the cohort with more reports.

        Args:
            records: Reports that count at this age, in the order of acknowledgement; each is newer than what is known of its member.
        """
        fitness, generation, donor = self.fitness.copy(), self.generation.copy(), self.donor.copy()
        for record in records:
            j = record.member
            fitness[j], generation[j], donor[j] = record.fitness, record.generation, record.sound
        return Cohort(fitness, generation, donor, self.seed, self.age)
