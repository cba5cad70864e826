"""``lamarck compare``."""

from __future__ import annotations

import glob
import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from lamarck._errors import SettingsError
from lamarck.cli._text import Column, console, tables
from lamarck.cli.read import read_runs
from lamarck.comparison import Comparison, Estimate, Group
from lamarck.comparison import compare as compared
from lamarck.history import History

__all__ = ["EXAMPLES", "compare"]

EXAMPLES = """Examples:

  lamarck compare pbt.db random.db
  lamarck compare --group pbt='runs/pbt-*.db' \\
      --group random='runs/random-*.db' -o methods.png
  lamarck compare pbt.db random.db --json > methods.json
"""

_FEW = 5
"""Runs below which a percentile interval is too narrow."""


def compare(
    *journals: Annotated[Path, Parameter(help="Journals: each is a group, of all the runs in it.")],
    group: Annotated[
        list[str] | None,
        Parameter(help="NAME=PATTERN: the runs in all journals that match the pattern are one group. Can be given several times.", negative=()),
    ] = None,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="Figure to write: .png, .svg or .pdf.")] = None,
    style: Annotated[Literal["light", "dark"], Parameter(help="What the figure lies on.")] = "light",
    as_json: Annotated[bool, Parameter(name="--json", help="Write everything as JSON instead of a table.", negative=())] = False,
    resamples: Annotated[int, Parameter(help="Bootstrap resamples.")] = 2000,
    confidence: Annotated[float, Parameter(help="Confidence of the intervals, between 0 and 1.")] = 0.95,
) -> None:
    """Compare runs, or groups of runs, at equal budgets.

    Shows the interquartile mean of the best values with stratified bootstrap
    intervals (Agarwal et al. 2021). A run is one sample, however many members
    it has; give each method several seeds.
    """
    found = compared(_groups(journals, group or []), resamples=resamples, confidence=confidence)
    if out is not None:
        from lamarck.plots import compare as draw

        if out.suffix.lower() not in (".png", ".svg", ".pdf"):
            raise SettingsError(f"got {str(out)!r}; the figure is written as .png, .svg or .pdf")
        figure = draw(found, style=style)
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out)
    if as_json:
        print(json.dumps(_plain(found), indent=2))
        return
    screen = console()
    screen.print(f"at {found.budget:,.0f} steps of all members together; {'higher' if found.mode == 'max' else 'lower'} is better")
    for part in tables(_columns(found), screen.width):
        screen.print(part)
    few = [it.name for it in found.groups if it.runs < _FEW]
    if few:
        screen.print(f"fewer than {_FEW} runs in {', '.join(few)}: the true interval is wider than a bootstrap can know")
    if out is not None:
        screen.print(str(out))


def _groups(journals: tuple[Path, ...], given: list[str]) -> dict[str, list[History]]:
    groups: dict[str, list[History]] = {}
    for journal in journals:
        name = journal.stem if all(other == journal or other.stem != journal.stem for other in journals) else str(journal)
        groups[name] = read_runs(journal)
    for text in given:
        name, equals, pattern = text.partition("=")
        if not (name and equals and pattern):
            raise SettingsError(f"group: got {text!r}; it must be NAME=PATTERN, e.g. pbt='runs/pbt-*.db'")
        if name in groups:
            raise SettingsError(f"group: got {name!r} twice; names must differ")
        files = sorted(glob.glob(pattern))  # noqa: PTH207 - patterns may be absolute
        if not files:
            raise SettingsError(f"group {name!r}: no file matches {pattern!r}; quote the pattern, or the shell replaces it")
        groups[name] = [history for file in files for history in read_runs(Path(file))]
    return groups


def _columns(found: Comparison) -> list[Column]:
    groups, first = found.groups, found.groups[0].name
    at_end = [it.best[:, -1] for it in groups]
    columns = [
        Column(title="group", cells=[it.name for it in groups], right=False),
        Column(title="runs", cells=[str(it.runs) for it in groups]),
        Column(title="IQM of the best", cells=[f"{it.final.value:.5g}" for it in groups]),
        Column(title=f"{100 * found.confidence:g} % interval", cells=[_range(it.final, "{:.5g}") for it in groups]),
        Column(title="lowest", cells=[f"{ends.min():.5g}" for ends in at_end]),
        Column(title="highest", cells=[f"{ends.max():.5g}" for ends in at_end]),
        Column(title="steps", cells=[f"{it.budget[-1]:,.0f}" for it in groups]),
    ]
    if len(groups) > 1:
        columns.append(Column(title=f"P(better than {first})", cells=[_probability(it) for it in groups]))
    return columns


def _probability(group: Group) -> str:
    if group.better is None:
        return ""
    interval = _range(group.better, "{:.2f}")
    return f"{group.better.value:.2f}" + (f" ({interval})" if interval else "")


def _range(estimate: Estimate, form: str) -> str:
    return "" if math.isnan(estimate.low) else f"{form.format(estimate.low)} to {form.format(estimate.high)}"


def _plain(found: Comparison) -> dict[str, Any]:
    return {
        "mode": found.mode,
        "budget": found.budget,
        "confidence": found.confidence,
        "groups": [
            {
                "name": it.name,
                "runs": it.runs,
                "tasks": it.tasks,
                "final": _estimate(it.final),
                "better_than_first": None if it.better is None else _estimate(it.better),
                "budget": it.budget.tolist(),
                "curve": it.curve.tolist(),
                "low": None if _single(it) else it.low.tolist(),
                "high": None if _single(it) else it.high.tolist(),
                "best": it.best.tolist(),
            }
            for it in found.groups
        ],
    }


def _single(group: Group) -> bool:
    """Whether a group has no interval: JSON knows no NaN."""
    return bool(math.isnan(group.final.low))


def _estimate(estimate: Estimate) -> dict[str, float | None]:
    return {key: None if math.isnan(it) else it for key, it in (("value", estimate.value), ("low", estimate.low), ("high", estimate.high))}
