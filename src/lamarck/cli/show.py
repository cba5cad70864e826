"""``lamarck show``."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from lamarck._checks import one_line
from lamarck.cli._text import Column, configuration, console, number, sparkline, tables
from lamarck.cli.findings import render
from lamarck.cli.read import JournalFile, RunName, read
from lamarck.diversity import diversity, takeover
from lamarck.guards import findings_of
from lamarck.history import History
from lamarck.observers.progress import clock_text, counted
from lamarck.plots.data import drawable, window
from lamarck.plots.data import values as values_of
from lamarck.population import Member, Population, Record
from lamarck.space import Constant, Float, Int
from lamarck.types import Failure

__all__ = ["EXAMPLES", "show"]

EXAMPLES = """Examples:

  lamarck show train.db
  watch --color lamarck show train.db
  lamarck show large.db --all
"""

_ANCESTRY = 30
"""Stretches of the winner's ancestry that are shown; earlier ones are left out."""

_LOST = 0.05
"""Spread below which a hyperparameter is as good as the same everywhere."""

_LATEST = 5
"""Copies and failures that are listed."""

_ABSENT = object()


_MOST = 40
"""Members that are shown; of more, the best three quarters of that."""

_COURSE = 24
"""Characters of the course of a number over the whole run."""


def show(
    journal: JournalFile,
    /,
    *,
    everybody: Annotated[bool, Parameter(name="--all", help="Show all members, however many there are.", negative=())] = False,
    name: RunName = "main",
) -> None:
    """Show the members, the best and its ancestry, and what variety is left.

    Works while the run is going on.
    """
    history, population = read(journal, name)
    space = history.space
    names = [name for name in space if not isinstance(space[name], Constant)]
    out = console()
    for part in _parts(history, population, journal, names, out.width, len(population) if everybody else _MOST):
        out.print(part)


def _parts(history: History, population: Population, journal: Path, names: Sequence[str], width: int, most: int) -> Iterator[RenderableType]:
    yield _header(history, population, journal, names)
    yield ""
    yield from _members(history, population, names, width, most)
    if population.best is not None:
        yield ""
        yield from _course(history, width)
        yield ""
        yield from _ancestry(history.lineage(), names, width)
        yield ""
        yield _variety(history, names)
    if findings := findings_of(history):
        yield ""
        yield from render(findings, width)
    yield from _latest("Latest copies", [(copy.member, copy.generation, copy.reason) for copy in history.copies])
    yield from _latest("Latest failures", [(it.member, it.generation, _failure(it)) for it in history.failures])
    yield from _latest("Retired", [(member, len(history.member(member)), reason) for member, reason in history.retired.items()])


# ---- the header ------------------------------------------------------------------------------------------------------------------------------


def _header(history: History, population: Population, journal: Path, names: Sequence[str]) -> Text:
    settings, info = history.settings, history.started.info
    text = Text()
    text.append(one_line(f"{info.get('train', journal)}"), style="bold")
    better = "higher" if settings.mode == "max" else "lower"
    plan = f"{counted(settings.generations, 'generation', 'generations')} of {counted(settings.interval, 'step', 'steps')}"
    text.append(f"  population of {settings.population_size}, {plan}, {better} is better\n")
    strategies = (f"{key} {_strategy(history.started.strategies.get(key))}" for key in ("exploit", "explore"))
    text.append("  ".join(strategies) + f"  seed {settings.seed}\n", style="dim")
    total = settings.population_size * settings.generations
    text.append(f"{len(history.records)} of {total} intervals, {counted(len(history.copies), 'copy', 'copies')}, ")
    text.append(counted(len(history.failures), "failure", "failures"), style="bold red" if history.failures else "")
    if history.ended is None:
        text.append(f", {history.status}; last written {clock_text(_age(journal))} ago\n")
    else:
        text.append(f", {history.status}\n")
    best = population.best
    if best is None:
        text.append("no finite value yet", style="bold")
    else:
        text.append(f"best {best.value:.6g}", style="bold green")
        text.append(f" by member {best.member}, generation {best.generation}, step {best.step:,}: {configuration(best.hparams, names)}")
    return text


def _strategy(description: object) -> str:
    match description:
        case {"name": str(name), **settings}:
            given = ", ".join(f"{key}={_strategy(value)}" for key, value in settings.items())
            return f"{name}({given})" if given else name
        case dict():
            return "{" + ", ".join(f"{key}: {_strategy(value)}" for key, value in description.items()) + "}"
        case list():
            return "/".join(map(_strategy, description))
        case _:
            return number(description)


def _age(journal: Path) -> float:
    """Seconds since the journal was last written; an empty log beside it is a reader's."""
    log = journal.with_name(f"{journal.name}-wal")
    written = [file.stat().st_mtime for file in (journal, log) if file.exists() and file.stat().st_size]
    return max(0.0, time.time() - max(written))


# ---- the members -----------------------------------------------------------------------------------------------------------------------------


def _members(history: History, population: Population, names: Sequence[str], width: int, most: int) -> Iterator[RenderableType]:
    """The members, best first."""
    low, high = window(drawable([record.value for record in history.records]))
    records = {member.id: history.member(member.id) for member in population.members}
    newest = {i: mine[-1] if mine else None for i, mine in records.items()}
    members = sorted(population.members, key=lambda member: -last.fitness if (last := newest[member.id]) else math.inf)
    left = members[3 * most // 4 :] if len(members) > most else []
    members = members[: len(members) - len(left)]
    best = None if population.best is None else population.best.member
    hparams = [last.hparams if (last := newest[member.id]) else population.initial[member.id] for member in members]
    columns = [
        Column(title="member", cells=[f"★ {member.id}" if member.id == best else str(member.id) for member in members]),
        Column(title="value", cells=[f"{last.value:.5g}" if (last := newest[member.id]) else "" for member in members]),
        Column(title="over time", cells=[_bars([r.value for r in records[member.id]], low, high) for member in members], right=False),
        Column(title="generations", cells=[_state(member, newest[member.id], history) for member in members], right=False),
        Column(title="from", cells=[_origin(newest[member.id]) for member in members], right=False),
        Column(title="founder", cells=[str(history.founders[last.key][0]) if (last := newest[member.id]) else "" for member in members]),
        *(Column(title=name, cells=[number(given[name]) if name in given else "" for given in hparams]) for name in names),
    ]
    styles = ["green" if member.id == best else "dim" if member.retired else "" for member in members]
    yield from tables(columns, width, styles=styles)
    if left:
        lowest, highest = left[-1], left[0]
        ends = " to ".join(f"{last.value:.5g}" if (last := newest[member.id]) else "no value" for member in (highest, lowest))
        yield Text(f"and {len(left)} more, {ends}; see all of them with --all", style="dim")


def _bars(values: Sequence[float], low: float, high: float, *, width: int = 16) -> Text:
    return Text(sparkline(values, low, high, width=width), style="cyan")


def _state(member: Member, newest: Record | None, history: History) -> str:
    done, total = newest.generation + 1 if newest else 0, history.settings.generations
    if member.retired:
        return f"{done}/{total} retired"
    if done == total:
        return f"{done}/{total} done"
    if history.ended is not None:
        return f"{done}/{total} stopped"
    if member.interval is None:
        return f"{done}/{total} waiting"
    return f"{done}/{total} " + (f"failed {member.failures}×" if member.failures else "training")


def _origin(record: Record | None) -> str:
    if record is None:
        return ""
    if record.parent is None:
        return "start"
    return "itself" if record.parent[0] == record.member else f"member {record.parent[0]}"


# ---- the best --------------------------------------------------------------------------------------------------------------------------------


def _course(history: History, width: int) -> Iterator[RenderableType]:
    """How the best value so far has grown, and each numeric hyperparameter on the way to it, over the range that the space allows."""
    corners = values_of(history).best
    if not len(corners):  # no value that can be drawn
        return
    steps = np.linspace(corners[0, 0], corners[-1, 0], _COURSE)
    best = corners[np.searchsorted(corners[:, 0], steps, side="right") - 1, 1]
    line, space = history.lineage(), history.space
    low, high = sorted((float(best[0]), float(best[-1])))
    rows: list[tuple[str, Text, str]] = [("best so far", _bars(best.tolist(), low, high, width=_COURSE), f"{best[0]:.4g} to {best[-1]:.4g}")]
    for name in space:
        parameter = space[name]
        if isinstance(parameter, Float | Int):
            given = [record.hparams.get(name) for record in line]
            unit = [math.nan if value is None else parameter.to_unit(value) for value in given]  # type: ignore[arg-type]
            ends = [number(value) for value in (given[0], given[-1]) if value is not None]
            rows.append((name, _bars(unit, 0.0, 1.0, width=_COURSE), " to ".join(ends) + (", log scale" if parameter.log else "")))
    columns = [
        Column(title="", cells=[row[0] for row in rows]),
        Column(title="", cells=[row[1] for row in rows], right=False),
        Column(title="from first to last", cells=[row[2] for row in rows], right=False),
    ]
    yield from tables(columns, width, title="Course of the best")


def _ancestry(line: Sequence[Record], names: Sequence[str], width: int) -> Iterator[RenderableType]:
    """The life of the best weights: one row for each stretch by one member with one configuration."""
    stretches: list[list[Record]] = []
    for record in line:
        if stretches and stretches[-1][-1].member == record.member and stretches[-1][-1].hparams == record.hparams:
            stretches[-1].append(record)
        else:
            stretches.append([record])
    before: list[Record | None] = [None, *(stretch[-1] for stretch in stretches[:-1])]
    rows = list(zip(before, stretches, strict=True))[-_ANCESTRY:]
    columns = [
        Column(title="steps", cells=[f"{0 if was is None else was.step:,} to {now[-1].step:,}" for was, now in rows]),
        Column(
            title="member",
            cells=[f"└ {now[0].member}" if was and was.member != now[0].member else f"{now[0].member}" for was, now in rows],
            right=False,
        ),
        Column(title="value", cells=[f"{now[-1].value:.5g}" for _, now in rows]),
        *(Column(title=name, cells=[_changed(name, now[0], was) for was, now in rows]) for name in names),
    ]
    left_out = len(stretches) - len(rows)
    title = "Ancestry of the best" + (f", the last {len(rows)} of {len(stretches)} stretches" if left_out else "")
    yield from tables(columns, width, title=title)


def _changed(name: str, now: Record, before: Record | None) -> Text:
    """A value, strong where it differs from the one before."""
    if name not in now.hparams:
        return Text("")
    same = before is not None and before.hparams.get(name, _ABSENT) == now.hparams[name]
    return Text(number(now.hparams[name]), style="dim" if same else "bold")


def _variety(history: History, names: Sequence[str]) -> Text:
    """How much of the first population is left, in the newest generation that everybody has reported."""
    size = history.settings.population_size - len(history.retired)
    generation = max(record.generation for record in history.records)
    while generation > 0 and len(history.generation(generation)) < size:
        generation -= 1
    measured, taken = diversity(history, generation), takeover(history)
    text = Text()
    text.append("Variety", style="bold")
    text.append(f" in generation {generation}: {measured.founders} of {len(set(history.founders.values()))} founders have descendants")
    text.append(f" ({measured.effective_founders:.1f} effective)")
    if taken is not None:
        text.append(f"; one is everybody's ancestor since generation {taken}")
    spread = [(name, measured.spread[name]) for name in names if name in measured.spread]
    if spread:
        text.append("\nspread, 1 if drawn anew: ")
    for i, (name, part) in enumerate(spread):
        text.append(", " if i else "")
        text.append(f"{name} {part:.2f}", style="yellow" if part < _LOST else "")
    return text


def _failure(failure: Failure) -> str:
    first, *_ = failure.message.splitlines() or [""]
    return first if failure.kind == "error" and first else f"{failure.kind}: {first}" if first else failure.kind


def _latest(title: str, events: Sequence[tuple[int, int, str]]) -> Iterator[RenderableType]:
    if events:
        yield Text(f"\n{title}", style="bold")
    for member, generation, what in reversed(events[-_LATEST:]):
        yield Text(f"member {member}, generation {generation}: {one_line(what)}")
