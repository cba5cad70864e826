"""States: nested containers of plain values and leaves, taken apart and put together without pickle.

A state is what ``state_dict`` functions return: ``dict`` (with ``str`` or ``int`` keys), ``list`` and ``tuple`` of ``None``, ``bool``, ``int``,
``float``, ``str``, ``bytes``, NumPy arrays and scalars, and PyTorch tensors. Subclasses of ``dict`` come back as ``dict``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from lamarck._errors import CheckpointError
from lamarck.checkpoints.leaves import Leaf, copied, from_leaf, to_leaf

__all__ = ["MAX_DEPTH", "copy", "flatten", "unflatten"]

MAX_DEPTH = 100
"""Deepest nesting of a state. What is deeper is usually a container that contains itself."""

_Path = tuple[str | int, ...]

_PLAIN = frozenset({type(None), bool, int, float, str, bytes})
"""What nobody can change."""


def copy(state: Any) -> Any:
    """Returns an independent copy of a state: containers and arrays are new, plain values, which nobody can change, are shared.

    Args:
        state: The state.

    Raises:
        CheckpointError: If it holds something that a state may not hold; the message names the path to it.

    Example:
        >>> copy({"lr": 0.1, "betas": (0.9, 0.999), "model": {0: [None, "x"]}})
        {'lr': 0.1, 'betas': (0.9, 0.999), 'model': {0: [None, 'x']}}
        >>> copy({"model": [1, {2}]})
        Traceback (most recent call last):
            ...
        lamarck._errors.CheckpointError: state['model'][1]: got a set; a state may hold dict (keys: str or int), list, tuple, None, ...
    """
    return _copy(state, ())


def flatten(state: Any) -> tuple[Any, dict[str, Leaf]]:
    """Takes a state apart.

    Args:
        state: The state.

    Returns:
        Its structure in plain JSON values, and its leaves by name: the path to the leaf, with dots. Leaves share memory with the state where
        they can, so write them out before the state is trained on.

    Raises:
        CheckpointError: As `copy`.

    Example:
        >>> import math
        >>> import numpy as np
        >>> structure, leaves = flatten({"model": {"weight": np.zeros((2, 3))}, "betas": (0.9, math.inf)})
        >>> structure
        {'model': {'weight': {'$array': 'model.weight'}}, 'betas': {'$tuple': [0.9, {'$float': 'inf'}]}}
        >>> leaves["model.weight"].shape
        (2, 3)
    """
    leaves: dict[str, Leaf] = {}
    return _pack(state, (), leaves), leaves


def unflatten(structure: Any, leaves: Mapping[str, Leaf]) -> Any:
    """Puts a state together again, from what `flatten` returned. Arrays and tensors take over the leaves' memory.

    Args:
        structure: The structure.
        leaves: The leaves by name, with memory of their own.

    Raises:
        KeyError, TypeError, ValueError: If the two are not from `flatten`.

    Example:
        >>> unflatten(*flatten({0: [b"x", (2**70, float("-inf"))]}))
        {0: [b'x', (1180591620717411303424, -inf)]}
    """
    if isinstance(structure, list):
        return [unflatten(item, leaves) for item in structure]
    if not isinstance(structure, dict):
        return structure
    if len(structure) == 1:
        ((tag, content),) = structure.items()
        if tag[:1] == "$":
            return _untag(tag[1:], content, leaves)
    return {key: unflatten(item, leaves) for key, item in structure.items()}


def _untag(tag: str, content: Any, leaves: Mapping[str, Leaf]) -> Any:
    if tag == "tuple":
        return tuple([unflatten(item, leaves) for item in content])
    if tag == "dict":
        return {key: unflatten(item, leaves) for key, item in content}
    if tag == "int":
        return int(content, 16)
    if tag == "float":
        return float(content)
    return from_leaf(tag, leaves[content])


def _copy(value: Any, path: _Path) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, dict):
        return {key: _copy(item, (*path, key)) for key, item in _items(value, path)}
    if kind is list:
        return [_copy(item, (*path, index)) for index, item in _elements(value, path)]
    if kind is tuple:
        return tuple([_copy(item, (*path, index)) for index, item in _elements(value, path)])
    try:
        return copied(value)
    except TypeError as error:
        raise _refused(path, str(error)) from None


def _pack(value: Any, path: _Path, leaves: dict[str, Leaf]) -> Any:
    kind = type(value)
    if kind is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if kind is int:
        return value if abs(value) < 2**63 else {"$int": hex(value)}
    if kind is not bytes and kind in _PLAIN:
        return value
    if isinstance(value, dict):
        packed = [(key, _pack(item, (*path, key), leaves)) for key, item in _items(value, path)]
        return dict(packed) if all(type(key) is str and key[:1] != "$" for key in value) else {"$dict": packed}
    if kind is list or kind is tuple:
        items = [_pack(item, (*path, index), leaves) for index, item in _elements(value, path)]
        return items if kind is list else {"$tuple": items}
    try:
        tag, leaf = to_leaf(value)
    except TypeError as error:
        raise _refused(path, str(error)) from None
    name = ".".join(map(str, path)) or "state"
    while name in leaves or name == "__metadata__":  # "a.b" is also the path to "b" in "a"
        name += "'"
    leaves[name] = leaf
    return {f"${tag}": name}


def _items(value: dict[Any, Any], path: _Path) -> Iterable[tuple[Any, Any]]:
    for key in value:
        if type(key) is not str and type(key) is not int:
            raise _refused(path, f"got the key {key!r}, a {type(key).__name__}; keys must be str or int")
    _check_depth(path)
    return value.items()


def _elements(value: list[Any] | tuple[Any, ...], path: _Path) -> Iterable[tuple[int, Any]]:
    _check_depth(path)
    return enumerate(value)


def _check_depth(path: _Path) -> None:
    if len(path) == MAX_DEPTH:
        raise _refused(path, f"it is nested deeper than {MAX_DEPTH} levels; does a container contain itself?")


def _refused(path: _Path, message: str) -> CheckpointError:
    return CheckpointError(f"state{''.join(f'[{step!r}]' for step in path)}: {message}")
