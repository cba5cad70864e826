"""Cross-constraints: what must hold between hyperparameters."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, final

import numpy as np

from lamarck._errors import SpaceError
from lamarck.space._expression import compile_expression

__all__ = ["Constraint", "Expression", "Function", "Unresolved", "constraint"]


class Constraint(abc.ABC):
    """A predicate over configurations."""

    __slots__ = ()

    @property
    @abc.abstractmethod
    def names(self) -> frozenset[str]:
        """The hyperparameters that it is known to look at; it holds where one of them is inactive."""

    @abc.abstractmethod
    def holds(self, hparams: Mapping[str, Any]) -> bool:
        """Returns whether a configuration that has all the `names` satisfies it.

        Raises:
            SpaceError: If it cannot be evaluated.
        """

    @abc.abstractmethod
    def to_plain(self) -> str | dict[str, str]:
        """Returns a plain JSON value."""


@final
@dataclass(frozen=True, slots=True)
class Expression(Constraint):
    """A constraint given as text, e.g. ``"lo <= hi"``.

    Comparisons (also chained), ``and``, ``or``, ``not``, ``+ - * / // % **``, numbers, strings, names, and tuples after ``in``. Where it is
    undefined, as in a division by zero, it does not hold.

    Args:
        text: At most 1000 characters.

    Raises:
        SpaceError: If the text is something else.

    Example:
        >>> Expression("lo <= hi").holds({"lo": 1, "hi": 2})
        True
    """

    text: str
    _names: frozenset[str] = field(init=False, compare=False, repr=False)
    _evaluate: Callable[[Mapping[str, Any]], Any] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise SpaceError(f"constraint: got {self.text!r}; it must be an expression such as 'lo <= hi'")
        names, evaluate = compile_expression(self.text)
        object.__setattr__(self, "_names", names)
        object.__setattr__(self, "_evaluate", evaluate)

    @property
    def names(self) -> frozenset[str]:
        """The names in the expression."""
        return self._names

    def holds(self, hparams: Mapping[str, Any]) -> bool:
        """Evaluates the expression.

        Raises:
            SpaceError: If values are of the wrong type, e.g. a string compared with a number.
        """
        try:
            return bool(self._evaluate(hparams))
        except (ArithmeticError, ValueError):
            return False
        except TypeError as error:
            values = {name: hparams[name] for name in sorted(self._names)}
            raise SpaceError(f"constraint {self.text!r} cannot be evaluated for {values}: {error}") from None

    def to_plain(self) -> str:
        """Returns the text."""
        return self.text

    def __str__(self) -> str:
        return repr(self.text)

    def __reduce__(self) -> tuple[Any, ...]:
        return Expression, (self.text,)


@final
@dataclass(frozen=True, slots=True)
class Function(Constraint):
    """A constraint given as a Python function.

    Args:
        function: Called with a read-only configuration; returns a ``bool``. If it asks for a hyperparameter that is inactive, the constraint
            holds.

    Example:
        >>> Function(lambda h: h["lo"] <= h["hi"]).holds({"lo": 1, "hi": 2})
        True
    """

    function: Callable[[Mapping[str, Any]], bool]

    @property
    def names(self) -> frozenset[str]:
        """None: what a function looks at cannot be known."""
        return frozenset()

    def holds(self, hparams: Mapping[str, Any]) -> bool:
        """Calls the function.

        Raises:
            SpaceError: If it returns something else than ``True`` or ``False``.
        """
        answer: object = self.function(MappingProxyType(hparams))
        if not isinstance(answer, (bool, np.bool_)):
            raise SpaceError(f"constraint {self} returned {answer!r} for {dict(hparams)}; it must return True or False")
        return bool(answer)

    def to_plain(self) -> dict[str, str]:
        """Returns the function's name, under ``"callable"``; the function itself cannot be written down."""
        kind: Any = type(self.function)
        module = getattr(self.function, "__module__", kind.__module__)
        return {"callable": f"{module}.{getattr(self.function, '__qualname__', kind.__qualname__)}"}

    def __str__(self) -> str:
        return self.to_plain()["callable"]


@final
@dataclass(frozen=True, slots=True)
class Unresolved(Constraint):
    """What is left of a `Function` that was read back from a journal: its name.

    Args:
        name: Module and qualified name.
    """

    name: str

    @property
    def names(self) -> frozenset[str]:
        """None."""
        return frozenset()

    def holds(self, hparams: Mapping[str, Any]) -> bool:
        """Cannot be evaluated.

        Raises:
            SpaceError: Always.
        """
        raise SpaceError(f"constraint {self.name} is a Python function, which a journal cannot hold: pass the space again")

    def to_plain(self) -> dict[str, str]:
        """Returns what was read."""
        return {"callable": self.name}

    def __str__(self) -> str:
        return self.name


def constraint(given: object) -> Constraint:
    """Makes a constraint of what users write and files hold.

    Args:
        given: An expression, a Python function, ``{"callable": name}``, or a constraint.

    Raises:
        SpaceError: If it is something else.

    Example:
        >>> constraint("lo <= hi")
        Expression(text='lo <= hi')
    """
    match given:
        case Constraint():
            return given
        case str():
            return Expression(given)
        case {"callable": str(name), **rest} if not rest:
            return Unresolved(name)
        case _ if callable(given):
            return Function(given)
    raise SpaceError(f"constraint: got {given!r}; it must be an expression such as 'lo <= hi', or a Python function of the configuration")
