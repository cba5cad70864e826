"""All stacks together: which row holds which weights, and how weights get where they are needed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np

from lamarck._errors import CheckpointDamaged, CheckpointMissing, LamarckError
from lamarck.checkpoints.rows import parted, rows_of, stacked
from lamarck.engines.vectorised.columns import Intervals, Scores
from lamarck.engines.vectorised.stack import Answer, Gone, Held, Host, Layout, Saved
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

    def place(self, groups: Mapping[int, Group], get: Callable[[str], Any]) -> tuple[list[Failure], dict[int, Gone]]:
        """Puts the weights of all rows in place.

        Weights that a stack holds are copied there, or brought over from another stack; all others come from the store. If anything is in the
        way, it is said, not every row is in place, and the same can be asked for again.

        Args:
            groups: What the rows do next, by stack.
            get: Reads a checkpoint.

        Returns:
            Checkpoints that cannot be had, and stacks that died.
        """
        stored, failures = self._read(groups, get)
        if failures:
            return failures, {}
        asked: dict[int, list[tuple[Any, int, Answer]]] = {}
        for stack, group in groups.items():
            wanted: dict[int, list[tuple[int, int]]] = defaultdict(list)
            for row, interval in enumerate(group):
                if interval.restore in self._where and (there := self._where[interval.restore])[0] != stack:
                    wanted[there[0]].append((row, there[1]))
            asked[stack] = [
                (_rows(t for t, _ in pairs), other, self._hosts[other]("take", _rows(s for _, s in pairs))) for other, pairs in wanted.items()
            ]
        layouts = {stack: self._layout(stack, group, stored) for stack, group in groups.items()}  # while those who are asked look
        gone: dict[int, Gone] = {}
        brought = {stack: [(rows, self._answered(other, answer, gone)) for rows, other, answer in parts] for stack, parts in asked.items()}
        if gone:
            return [], gone
        self._forget(groups)
        answers = {
            stack: self._hosts[stack]("arrange", replace(layout, brought=[*layout.brought, *brought[stack]]))
            for stack, layout in layouts.items()
        }
        for stack, answer in answers.items():
            self._answered(stack, answer, gone)
        for stack, group in groups.items():
            if stack not in gone:
                self._where |= {it.restore: (stack, row) for row, it in enumerate(group) if it.restore is not None}
        return [], gone

    def fit(self, groups: Mapping[int, Group]) -> dict[int, Scores | Exception]:
        """Trains and judges the rows, all stacks at once; what a stack raised stands in the place of its scores."""
        self._forget(groups)  # from here on the weights change
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

    def take(self, stacks: Iterable[int], rows: Sequence[int] | None = None) -> dict[int, Any]:
        """Returns the saved form of stacks, or of some of their rows; for a stack that died, `Gone` stands in its place."""
        chosen = None if rows is None else _rows(rows)
        answers = {stack: self._hosts[stack]("take", chosen) for stack in stacks}
        gone: dict[int, Gone] = {}
        taken = {stack: self._answered(stack, answer, gone) for stack, answer in answers.items()}
        return {stack: gone[stack] if stack in gone else saved.open() for stack, saved in taken.items()}

    def name(self, stack: int, names: Sequence[str]) -> None:
        """Says under which names the weights in a stack's rows have been reported."""
        self._where |= {name: (stack, row) for row, name in enumerate(names)}

    def forget(self) -> None:
        """Says that no stack holds anything that is wanted any more."""
        self._where.clear()

    def _forget(self, stacks: Container[int]) -> None:
        self._where = {name: there for name, there in self._where.items() if there[0] not in stacks}

    def _answered(self, stack: int, answer: Answer, gone: dict[int, Gone]) -> Any:
        """Waits for an answer; if the stack died, that is noted, and nobody looks for weights there any more."""
        try:
            return answer()
        except Gone as error:
            gone[stack] = error
            self._forget({stack})
            return None

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

    def _layout(self, stack: int, group: Group, stored: Mapping[str, Any]) -> Layout:
        """Says where the rows come from, but for those that other stacks have."""
        copies = np.full(len(group), -1, dtype=np.int64)
        fresh: list[int] = []
        single: list[tuple[int, Any]] = []
        parts: dict[str, list[tuple[int, int]]] = defaultdict(list)
        brought: list[tuple[Any, Saved]] = []
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
