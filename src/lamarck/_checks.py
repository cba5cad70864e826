"""What the settings of a strategy may be: each check passes, or raises an error that says what was got and what is allowed.

And what somebody else's text may be where people read it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lamarck._errors import SettingsError

__all__ = ["check_number", "check_share", "check_strategy", "check_truth", "check_whole", "one_line"]


def one_line(text: str) -> str:
    r"""Returns somebody else's text as one line, which terminals and logs take for nothing but text.

    Example:
        >>> one_line("loss is nan\n\x1b[31mred")
        'loss is nan [31mred'
    """
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _refuse(where: str, got: Any, rule: str) -> SettingsError:
    return SettingsError(f"{where}: got {got!r}; it must be {rule}")


def check_number(where: str, got: Any, allowed: Callable[[float], bool], rule: str) -> None:
    """Raises `SettingsError` unless a value is a number that is allowed; ``rule`` says in words which are.

    Example:
        >>> check_number("margin: absolute", -1.0, lambda x: x >= 0, "a number of at least 0")
        Traceback (most recent call last):
            ...
        lamarck._errors.SettingsError: margin: absolute: got -1.0; it must be a number of at least 0
    """
    if isinstance(got, bool) or not isinstance(got, int | float) or not allowed(got):
        raise _refuse(where, got, rule)


def check_share(where: str, got: Any) -> None:
    """Raises `SettingsError` unless a value is a probability, from 0 to 1."""
    check_number(where, got, lambda x: 0 <= x <= 1, "a probability from 0 to 1")


def check_whole(where: str, got: Any, low: int, high: int | None = None) -> None:
    """Raises `SettingsError` unless a value is a whole number from ``low`` to ``high``, both included."""
    if isinstance(got, bool) or not isinstance(got, int) or got < low or (high is not None and got > high):
        raise _refuse(where, got, f"a whole number of at least {low}" if high is None else f"a whole number from {low} to {high}")


def check_truth(where: str, got: Any) -> None:
    """Raises `SettingsError` unless a value is ``True`` or ``False``."""
    if not isinstance(got, bool):
        raise _refuse(where, got, "True or False")


def check_strategy(where: str, got: Any, base: type, example: str) -> None:
    """Raises `SettingsError` unless a value is a strategy of the right kind; ``example`` is one."""
    if not isinstance(got, base):
        raise _refuse(where, got, f"an {base.__name__} strategy, e.g. {example}")
