"""What every guard is."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

from lamarck.guards.census import Census
from lamarck.guards.finding import Finding
from lamarck.space import Space
from lamarck.types import Settings

__all__ = ["Course", "Guard"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A run up to a generation, as guards see it.

    Args:
        settings: Its rules.
        space: Its search space.
        censuses: One for each complete generation, from 0; at least one.
    """

    settings: Settings
    space: Space
    censuses: Sequence[Census]


class Guard(abc.ABC):
    """A frozen dataclass that looks at a run once a generation; its fields are its thresholds."""

    __slots__ = ()

    @abc.abstractmethod
    def __call__(self, course: Course) -> Iterator[Finding]:
        """Yields what the newest generation shows, at a cost that does not grow with the length of the run."""
