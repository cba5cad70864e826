"""All stacks together: which row holds which weights, and how weights get where they are needed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np

from lamarck._errors import CheckpointDamaged, CheckpointMissing, LamarckError
from lamarck.checkpoints.rows import parted, rows_of, stacked
from lamarck.engines.vectorised.columns import Intervals, Scores
from lamarck.engines.vectorised.stack import Held, Host, Layout, Saved
from lamarck.types import Failure, Interval

__all__ = ["Fleet", "Group"]

Group = Sequence[Interval]
"""What the rows of one stack do next, in the order of the rows."""


@final
class Fleet:
    """Stacks that share a population. Each member belongs to one of them for good, so that most weights never move.

    Args:
        hosts: How to reach each stack.
        population_size: Number of members, dealt out in equal stretches.
    """

    def __init__(self, hosts: Sequence[Host], population_size: int) -> None:
        self._hosts = hosts
        self._home = np.arange(population_size) * len(hosts) // population_size
        self._where: dict[str, tuple[int, int]] = {}

    def grouped(self, intervals: Sequence[Interval]) -> dict[int, list[Interval]]:
        """Returns the intervals of each stack that has any."""
        groups: dict[int, list[Interval]] = defaultdict(list)
        for interval in sorted(intervals, key=lambda interval: interval.member):
            groups[int(self._home[interval.member])].append(interval)
        return dict(groups)

    def place(self, groups: Mapping[int, Group], get: Callable[[str], Any]) -> list[Failure]:
        """Puts the weights of all rows in place, or says which checkpoints cannot be had and changes nothing.

        Weights that a stack holds are copied there, or brought over from another stack; all others come from the store.

        Args:
            groups: What the rows do next, by stack.
            get: Reads a checkpoint.
        """
        stored, failures = self._read(groups, get)
        if failures:
            return failures
        asked: dict[int, list[tuple[Any, Any]]] = {}
        for stack, group in groups.items():
            wanted: dict[int, list[tuple[int, int]]] = defaultdict(list)
            for row, interval in enumerate(group):
                if interval.restore in self._where and (there := self._where[interval.restore])[0] != stack:
                    wanted[there[0]].append((row, there[1]))
            asked[stack] = [
                (_rows(t for t, _ in pairs), self._hosts[other]("take", _rows(s for _, s in pairs))) for other, pairs in wanted.items()
            ]
        brought = {stack: [(rows, answer()) for rows, answer in pairs] for stack, pairs in asked.items()}
        answers = [self._hosts[stack]("arrange", self._layout(stack, group, brought[stack], stored)) for stack, group in groups.items()]
        for answer in answers:
            answer()
        return []

    def fit(self, groups: Mapping[int, Group]) -> dict[int, Scores | Exception]:
        """Trains and judges the rows, all stacks at once; what a stack raised stands in the place of its scores."""
        self._where.clear()  # from here on the weights change
        answers = {stack: self._hosts[stack]("fit", Intervals.of(group)) for stack, group in groups.items()}
        outcomes: dict[int, Scores | Exception] = {}
        for stack, answer in answers.items():
            try:
                outcomes[stack] = answer()
            except LamarckError:
                raise
            except Exception as error:
                outcomes[stack] = error
        return outcomes

    def take(self, stacks: Sequence[int], rows: Sequence[int] | None = None) -> list[Any]:
        """Returns the saved form of stacks, or of some of their rows."""
        chosen = None if rows is None else _rows(rows)
        answers = [self._hosts[stack]("take", chosen) for stack in stacks]
        return [answer().open() for answer in answers]

    def name(self, stack: int, names: Sequence[str]) -> None:
        """Says under which names the weights in a stack's rows have been reported."""
        self._where |= {name: (stack, row) for row, name in enumerate(names)}

    def _read(self, groups: Mapping[int, Group], get: Callable[[str], Any]) -> tuple[dict[str, Any], list[Failure]]:
        needed: dict[str, list[Interval]] = defaultdict(list)
        for group in groups.values():
            for interval in group:
                if interval.restore is not None and interval.restore not in self._where:
                    needed[parted(interval.restore)[0]].append(interval)
        stored, failures = {}, []
        for name, intervals in needed.items():
            try:
                stored[name] = get(name)["state"]
            except (CheckpointDamaged, CheckpointMissing) as error:
                failures += [
                    Failure(member=it.member, generation=it.generation, kind="damaged", message=str(error), checkpoint=it.restore)
                    for it in intervals
                ]
        return stored, failures

    def _layout(self, stack: int, group: Group, brought: list[tuple[Any, Saved]], stored: Mapping[str, Any]) -> Layout:
        copies = np.full(len(group), -1, dtype=np.int64)
        fresh: list[int] = []
        single: list[tuple[int, Any]] = []
        parts: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for row, interval in enumerate(group):
            there = None if interval.restore is None else self._where.get(interval.restore)
            if interval.restore is None:
                fresh.append(row)
            elif there is None:
                name, part = parted(interval.restore)
                if part is None:
                    single.append((row, stored[name]))
                else:
                    parts[name].append((row, part))
            elif there[0] == stack:
                copies[row] = there[1]
        if single:
            brought.append((_rows(row for row, _ in single), Held(stacked([state for _, state in single]))))
        brought += [(_rows(row for row, _ in pairs), Held(rows_of(stored[name], _rows(s for _, s in pairs)))) for name, pairs in parts.items()]
        return Layout(seeds=_rows(it.seed for it in group), copies=copies, fresh=_rows(fresh), brought=brought)


def _rows(rows: Any) -> Any:
    return np.fromiter(rows, dtype=np.int64)
