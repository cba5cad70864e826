"""A small language for constraints: what `lo <= hi` means, and nothing that could run code or hang.

    logical  :=  logical and logical  |  logical or logical  |  not logical  |  operand (< operand)+  |  operand in (operand, …)  |  name
    operand  :=  number  |  string  |  True  |  False  |  None  |  name  |  -operand  |  operand (+ - * / // % **) operand

The text is parsed by Python and then compiled to closures, node by node; a node that is not listed here is refused. Powers are taken in
floating point, where they overflow instead of growing, and arithmetic takes numbers only, so that no string can be multiplied into gigabytes.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from lamarck._errors import SpaceError

__all__ = ["compile_expression"]

_LENGTH = 1000
_NODES = 250

_Evaluate = Callable[[Mapping[str, Any]], Any]

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: math.pow,
}
_COMPARISON: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda value, values: value in values,
    ast.NotIn: lambda value, values: value not in values,
}


def compile_expression(text: str) -> tuple[frozenset[str], _Evaluate]:
    """Compiles an expression.

    Args:
        text: At most 1000 characters and 250 parts.

    Returns:
        The names in it, and a function from their values to a ``bool``. The function raises `ArithmeticError` or `ValueError` where the
        expression is undefined, and `TypeError` where values are of the wrong type.

    Raises:
        SpaceError: If the text is not of this language.

    Example:
        >>> names, evaluate = compile_expression("0 < lo <= hi / 2")
        >>> sorted(names), evaluate({"lo": 1, "hi": 4})
        (['hi', 'lo'], True)
    """
    text = text.strip()
    if len(text) > _LENGTH:
        raise SpaceError(f"constraint {text[:40]!r}...: got {len(text)} characters; allowed are {_LENGTH}; use a Python function instead")
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise SpaceError(f"constraint {text!r} is not an expression: {error}; write for example 'lo <= hi'") from None
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.expr)]
    if len(nodes) > _NODES:
        raise SpaceError(f"constraint {text[:40]!r}...: got {len(nodes)} parts; allowed are {_NODES}; use a Python function instead")
    return frozenset(node.id for node in nodes if isinstance(node, ast.Name)), _logical(tree.body, text)


def _logical(node: ast.expr, text: str) -> _Evaluate:
    match node:
        case ast.BoolOp(op, values):
            parts = [_logical(value, text) for value in values]
            every = all if isinstance(op, ast.And) else any
            return lambda h: every(part(h) for part in parts)
        case ast.UnaryOp(ast.Not(), operand):
            inner = _logical(operand, text)
            return lambda h: not inner(h)
        case ast.Compare(left, ops, comparators):
            return _comparison(left, ops, comparators, text)
        case ast.Name(name):
            return lambda h: _truth(name, h[name])
    raise SpaceError(f"constraint {text!r}: {ast.unparse(node)!r} is neither true nor false; compare it with something, e.g. 'lo <= hi'")


def _comparison(left: ast.expr, ops: list[ast.cmpop], comparators: list[ast.expr], text: str) -> _Evaluate:
    first = _operand(left, text)
    steps: list[tuple[Callable[[Any, Any], bool], _Evaluate]] = []
    for op, comparator in zip(ops, comparators, strict=True):
        compare = _COMPARISON.get(type(op))
        if compare is None:
            raise _refusal(text, "'is'", "use == or !=")
        compiled = _members if isinstance(op, (ast.In, ast.NotIn)) else _operand
        steps.append((compare, compiled(comparator, text)))

    def chained(h: Mapping[str, Any]) -> bool:
        value = first(h)
        for compare, following in steps:
            other = following(h)
            if not compare(value, other):
                return False
            value = other
        return True

    return chained


def _members(node: ast.expr, text: str) -> _Evaluate:
    if not isinstance(node, ast.Tuple):
        raise _refusal(text, repr(f"in {ast.unparse(node)}"), "write the values as a tuple, e.g. optimizer in ('sgd', 'adam')")
    items = [_operand(item, text) for item in node.elts]
    return lambda h: tuple(item(h) for item in items)


def _operand(node: ast.expr, text: str) -> _Evaluate:
    match node:
        case ast.Constant(bool() | int() | float() | str() | None as value):
            return lambda h: value
        case ast.Name(name):
            return operator.itemgetter(name)
        case ast.UnaryOp(ast.USub(), operand):
            inner = _operand(operand, text)
            return lambda h: -_number(inner(h))
        case ast.BinOp(left, op, right) if type(op) in _ARITHMETIC:
            calculate, one, two = _ARITHMETIC[type(op)], _operand(left, text), _operand(right, text)
            return lambda h: calculate(_number(one(h)), _number(two(h)))
    raise _refusal(text, repr(ast.unparse(node)), "use comparisons, + - * / // % **, numbers, strings and names, or a Python function")


def _refusal(text: str, got: str, cure: str) -> SpaceError:
    return SpaceError(f"constraint {text!r}: {got} is not allowed here; {cure}")


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"arithmetic needs numbers and got {value!r}")
    return value


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name!r} stands alone, so it must be True or False and not {value!r}")
    return value
