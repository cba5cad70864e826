"""``lamarck check``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text

from lamarck._errors import TrainingError
from lamarck._signals import STOPS, stoppable
from lamarck.checking import CheckReport, Costs, Experiment, Finding
from lamarck.checking import check as examine
from lamarck.cli._text import Column, console, number, tables
from lamarck.cli.target import ByName, Target, load_space

__all__ = ["EXAMPLES", "check"]

EXAMPLES = """Examples:

  lamarck check train.py:train
  lamarck check train.py:train --space space.toml --interval 200
"""

_EFFECTS = {
    "state": ("changes what is trained", "green"),
    "value": ("changes the value only", "yellow"),
    "nothing": ("changes nothing", "red"),
    "unclear": ("cannot be told", "yellow"),
    "failed": ("training fails", "red"),
    "untested": ("not tested: one value only, or not to be changed alone", "dim"),
}


def check(
    train: Annotated[str, Parameter(help="The training function: path/file.py:function, or module:function.")],
    /,
    *,
    space: Annotated[
        str | None,
        Parameter(
            help="Search space: a .toml, .json or .csv file, or a Python object, as in train.py:space. By default the name space beside it."
        ),
    ] = None,
    interval: Annotated[int, Parameter(help="Steps of one interval; more if hyperparameters act late.")] = 50,
    intervals: Annotated[int, Parameter(help="Intervals of the training that all is compared with; the first half is before the restore.")] = 2,
) -> None:
    """Find out whether a training function is fit for a population.

    Trains a little, saves, restores in another process, changes members and
    hyperparameters, and compares. Uses a temporary folder, no journal. The
    exit status is 0 if the function is fit and 1 if not.
    """
    function = Target.parse(train)
    function.load_function(Path.cwd())
    found, _ = load_space(space, function, Path.cwd())
    with stoppable(STOPS), _telling() as tell:
        report = examine(ByName(function, Path.cwd()), found, interval=interval, intervals=intervals, tell=tell)
    out = console()
    for part in _parts(report, out.width):
        out.print(part)
    if not report.fit:
        raise TrainingError(f"{train} is {report.verdict}")
    out.print(f"{train} is {report.verdict}", style="bold green")


@contextmanager
def _telling() -> Iterator[Callable[[str], object]]:
    """Shows on a terminal what is being tried."""
    screen = Console(stderr=True)
    if not screen.is_interactive:
        yield lambda _: None
        return
    with screen.status("") as status:
        yield status.update


def _parts(report: CheckReport, width: int) -> Iterator[RenderableType]:
    if report.experiments:
        results = [Text(experiment.result, style=_style(experiment)) for experiment in report.experiments]
        names = Column(title="compared with unbroken training", cells=[experiment.name for experiment in report.experiments], right=False)
        yield from tables([names, Column(title="the state and the value are", cells=results, right=False)], width)
        yield Text()
    if report.effects:
        columns = [
            Column(title="hyperparameter", cells=[effect.name for effect in report.effects], right=False),
            Column(title="from", cells=[number(effect.before) for effect in report.effects]),
            Column(title="to", cells=[" or ".join(map(number, effect.after)) for effect in report.effects]),
            Column(title="after a restore", cells=[Text(*_EFFECTS[effect.result]) for effect in report.effects], right=False),
        ]
        yield from tables(columns, width)
        yield Text()
    if report.costs is not None:
        yield _costs(report.costs)
        yield Text()
    for finding in report.findings:
        yield from _finding(finding)


def _style(experiment: Experiment) -> str:
    return "red" if experiment.counted or not experiment.compared else "yellow" if experiment.differences else "green"


def _costs(costs: Costs) -> RenderableType:
    least = costs.recommended
    if not costs.timed:
        return Text(
            f"{costs.steps:,} steps take too little time to be told beside saving, {_seconds(costs.save)} ({costs.bytes / 1e6:,.2g} MB). "
            f"To learn how long intervals should be, check with longer ones: --interval {100 * costs.steps}"
        )
    return Text(
        f"{costs.steps:,} steps take {_seconds(costs.train)}, saving {_seconds(costs.save)} and restoring {_seconds(costs.restore)} "
        f"({costs.bytes / 1e6:,.2g} MB): {min(costs.share, 99):.1%} on top.\n"
        f"Less than 2 % takes intervals of {least:,} steps or more. Aim at 15 to 30 generations: a whole training of {costs.training[0]:,} to "
        f"{costs.training[1]:,} steps with that interval; a longer one with a longer interval, not with more generations."
    )


def _seconds(seconds: float) -> str:
    """A duration with two digits.

    Example:
        >>> _seconds(0.0123), _seconds(3.21), _seconds(1234.5)
        ('12 ms', '3.2 s', '1234 s')
    """
    return f"{seconds * 1000:.2g} ms" if seconds < 0.0995 else f"{seconds:.{max(0, 1 - math.floor(math.log10(seconds)))}f} s"


def _finding(finding: Finding) -> Iterator[RenderableType]:
    kind = ("fault    ", "bold red") if finding.fault else ("warning  ", "bold yellow")
    yield Text.assemble(kind, (finding.title, "bold"))
    details = [Text(line) for line in finding.evidence]
    if finding.trace:
        details.append(Text(finding.trace.rstrip(), style="dim"))
    if finding.advice:
        details.append(Text(f"What to do: {finding.advice}."))
    yield from (Padding(detail, (0, 0, 0, len(kind[0])), expand=False) for detail in details)
    yield Text()
