"""The commands, joined."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from lamarck import __version__
from lamarck._errors import SettingsError

__all__ = ["SUMMARIES", "run_app"]

_EXAMPLES = """Examples:

  lamarck run train.py:train --space space.toml --interval 500 --steps 10000
  lamarck show train.db
  lamarck resume train.db
  lamarck plot train.db -o figures
"""

SUMMARIES = {
    "run": "Train a population.",
    "check": "Find out whether a training function is fit for a population.",
    "resume": "Go on with a run from exactly what its journal holds.",
    "show": "Show the members, the best and its ancestry, and what variety is left.",
    "schedule": "Show the hyperparameters that the best weights have seen, by step.",
    "replay": "Train models from scratch by a schedule: is it enough without the population?",
    "plot": "Draw values, hyperparameters, lineage, takeover, the final population and paths.",
    "animate": "Write a run as an animation, with a flash where a member copies.",
    "compare": "Compare runs, or groups of runs, at equal budgets.",
    "report": "Write a page that shows a run: one file, interactive, without a network.",
    "export": "Write a run on file as tables or curves, or tell a tracking service of it.",
    "fetch": "Copy the best weights of a run into a file of their own.",
    "verify": "Make every decision of a run again and compare.",
    "serve": "Serve runs to workers on any machine, and a page to whoever looks.",
    "create": "Begin a run on a server.",
    "token": "Make a token, and add its hash to a file.",
    "demo": "Run a worked example that writes pictures and tables.",
}
"""The commands, in the order in which help shows them."""


def run_app(tokens: Sequence[str]) -> int:
    """Carries out a command line.

    Args:
        tokens: What stands after ``lamarck``.

    Returns:
        What the command returns: 0 unless it says otherwise.

    Raises:
        SettingsError: If the line has another form than the commands have.
        LamarckError: Whatever the command raises.
    """
    asked = next((word for word in tokens if not word.startswith("-")), "")
    app = _app(asked)
    try:
        command, bound, given = app.parse_args(list(tokens), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        name = f" {asked}" if asked in SUMMARIES else ""
        raise SettingsError(f"{error} See: lamarck{name} --help") from None
    return command(*bound.args, **bound.kwargs, **dict.fromkeys(given, tuple(tokens))) or 0


def _app(asked: str) -> App:
    """All commands, of which only the one that is asked for is loaded: the others are there to be named."""
    app = App(
        name="lamarck",
        help="Population based training: train a population of models and tune their hyperparameters while they train.",
        version=__version__,
        help_format="plaintext",
        help_epilogue=_EXAMPLES,
    )
    for place, (name, summary) in enumerate(SUMMARIES.items()):
        app.command(_loaded(name) if name == asked else App(name=name, help=summary, sort_key=place))
    return app


def _loaded(name: str) -> App:
    """A command, from the module of its name."""
    if name == "demo":  # has commands of its own
        from lamarck.cli.demo import COMMAND

        return COMMAND
    module = importlib.import_module(f"lamarck.cli.{name}")
    command = App(name=name, help_epilogue=module.EXAMPLES)
    command.default(getattr(module, name))
    return command
