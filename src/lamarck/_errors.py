"""Every error that Lamarck raises on purpose.

    LamarckError
    ├── SpaceError (ValueError)          a search space or a configuration that cannot be
    ├── SettingsError (ValueError)       a run, strategy or engine set up in a way that cannot work
    ├── StrategyError                    a strategy returned something the machine cannot carry out
    ├── ReportError (ValueError)         a report that cannot be counted
    │   └── StaleReport                  … because the population has moved on without it
    ├── CodecError (ValueError)          bytes that are not one of our records
    ├── JournalError                     the journal could not be read or written
    │   └── JournalConflict              … because somebody else writes the same run
    ├── CheckpointError                  a checkpoint could not be written
    │   ├── CheckpointMissing            … or found
    │   └── CheckpointDamaged            … or trusted: its bytes are not those that were saved
    ├── TrainingError                    the training function broke its contract
    │   └── PopulationLost               … or failed until no member was left
    ├── ServiceError                     a server could not be reached, or could not do what it was asked
    │   ├── NotAllowed                   … because of the token
    │   └── RunMissing                   … because it has no such run
    └── MissingExtra (ImportError)       an optional dependency is not installed

The rule for messages: what was got, what is allowed, what to do. The rule for state: an operation that raises has changed nothing.
"""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = [
    "CheckpointDamaged",
    "CheckpointError",
    "CheckpointMissing",
    "CodecError",
    "JournalConflict",
    "JournalError",
    "LamarckError",
    "MissingExtra",
    "NotAllowed",
    "PopulationLost",
    "ReportError",
    "RunMissing",
    "ServiceError",
    "SettingsError",
    "SpaceError",
    "StaleReport",
    "StrategyError",
    "TrainingError",
    "first_line",
    "require",
]


class LamarckError(Exception):
    """Base of every error that Lamarck raises on purpose."""


class SpaceError(LamarckError, ValueError):
    """A search space, or a configuration of it, that cannot be."""


class SettingsError(LamarckError, ValueError):
    """A run, strategy or engine was set up in a way that cannot work."""


class StrategyError(LamarckError):
    """A strategy returned something that the machine cannot carry out."""


class ReportError(LamarckError, ValueError):
    """A report that cannot be counted."""


class StaleReport(ReportError):
    """A report for an interval that is not the member's current one: the population has moved on."""


class CodecError(LamarckError, ValueError):
    """Bytes or values that are not one of Lamarck's records."""


class JournalError(LamarckError):
    """The journal could not be read or written."""


class JournalConflict(JournalError):
    """Somebody else has written to the same run since it was read."""


class CheckpointError(LamarckError):
    """A checkpoint could not be written or read."""


class CheckpointMissing(CheckpointError):
    """No checkpoint of that name is in the store."""


class CheckpointDamaged(CheckpointError):
    """The bytes of a checkpoint are not those that were saved."""


class TrainingError(LamarckError):
    """The training function broke its contract."""


class PopulationLost(TrainingError):
    """Every member failed for good."""


class ServiceError(LamarckError):
    """A server could not be reached, or could not do what it was asked."""


class NotAllowed(ServiceError):
    """The server does not accept the token for this."""


class RunMissing(ServiceError):
    """The server has no run of that name."""


class MissingExtra(LamarckError, ImportError):
    """An optional dependency is not installed."""


def first_line(error: BaseException) -> str:
    r"""Returns the first line of what an error says, which is enough for a message of ours.

    Example:
        >>> first_line(RuntimeError("no\nmore"))
        'no'
    """
    return next(iter(str(error).strip().splitlines()), "")


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Imports an optional dependency, or says which line installs it.

    Args:
        module: Dotted name to import, e.g. ``"matplotlib.pyplot"``.
        extra: Extra of the ``lamarck`` distribution that brings it.
        purpose: What needs it, as the subject of a sentence.

    Raises:
        MissingExtra: If the module is not installed.

    Example:
        >>> require("json", "none", "This line").__name__
        'json'
        >>> require("no_such_module", "plot", "Drawing")
        Traceback (most recent call last):
            ...
        lamarck._errors.MissingExtra: Drawing needs the package 'no_such_module', which is not installed: pip install 'lamarck[plot]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if (error.name or "").partition(".")[0] != package:
            raise
        raise MissingExtra(f"{purpose} needs the package {package!r}, which is not installed: pip install 'lamarck[{extra}]'") from None
