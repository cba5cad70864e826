"""The commands, joined."""

from __future__ import annotations

from collections.abc import Sequence

from cyclopts import App, CycloptsError

from lamarck import __version__
from lamarck._errors import SettingsError
from lamarck.cli import check, demo, plot, resume, run, schedule, show

__all__ = ["app", "run_app"]

_EXAMPLES = """Examples:

  lamarck run train.py:train --space space.toml --interval 500 --steps 10000
  lamarck show train.db
  lamarck resume train.db
  lamarck plot train.db -o figures
"""

app = App(
    name="lamarck",
    help="Population based training: train a population of models and tune their hyperparameters while they train.",
    version=__version__,
    help_format="plaintext",
    help_epilogue=_EXAMPLES,
)
app.command(run.run, help_epilogue=run.EXAMPLES, sort_key=0)
app.command(check.check, help_epilogue=check.EXAMPLES, sort_key=1)
app.command(resume.resume, help_epilogue=resume.EXAMPLES, sort_key=1)
app.command(show.show, help_epilogue=show.EXAMPLES, sort_key=2)
app.command(schedule.schedule, help_epilogue=schedule.EXAMPLES, sort_key=3)
app.command(plot.plot, help_epilogue=plot.EXAMPLES, sort_key=4)
app.command(demo.COMMAND)


def run_app(tokens: Sequence[str]) -> int:
    """Carries out a command line.

    Args:
        tokens: What stands after ``lamarck``.

    Returns:
        0; everything else is an exception.

    Raises:
        SettingsError: If the line has another form than the commands have.
        LamarckError: Whatever the command raises.
    """
    try:
        command, bound, given = app.parse_args(list(tokens), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        asked = next((word for word in tokens if not word.startswith("-")), "")
        name = f" {asked}" if asked in app else ""
        raise SettingsError(f"{error} See: lamarck{name} --help") from None
    command(*bound.args, **bound.kwargs, **dict.fromkeys(given, tuple(tokens)))
    return 0
