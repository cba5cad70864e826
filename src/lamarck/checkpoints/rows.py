"""Many members in one state, side by side: row i of every array belongs to member i, and has a name of its own.

A population that is trained as one program is saved as one file. ``"NAME#7"`` names row 7 of the state ``NAME``; every store answers `get` for
it with that row alone, and keeps the file as long as any of its rows is wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import CheckpointMissing, TrainingError

__all__ = ["parted", "row_name", "row_of", "rows_of", "stacked", "whole"]


def row_name(name: str, row: int) -> str:
    """Returns the name of a row.

    Example:
        >>> row_name("0000-00003-9f86d081884c7d65", 7)
        '0000-00003-9f86d081884c7d65#7'
    """
    return f"{name}#{row}"


def parted(name: str) -> tuple[str, int | None]:
    """Returns the name of the whole state, and which row is meant; ``None`` for all of it.

    Example:
        >>> parted("0-3#7"), parted("0-3")
        (('0-3', 7), ('0-3', None))
    """
    state, mark, row = name.partition("#")
    return (state, int(row)) if mark and row.isdecimal() else (name, None)


def whole(name: str) -> str:
    """Returns the name of the whole state that a name belongs to."""
    return parted(name)[0]


def row_of(state: Any, row: int | None) -> Any:
    """Returns a row of a state, with memory of its own.

    Args:
        state: Containers of arrays or tensors that all have the members along their first axis. Plain values belong to everybody.
        row: Which row; ``None`` for the state as it is.

    Raises:
        CheckpointMissing: If there is no such row.

    Example:
        >>> import numpy as np
        >>> row_of({"x": np.arange(6).reshape(3, 2), "kind": "sgd"}, 1)
        {'x': array([2, 3]), 'kind': 'sgd'}
    """
    return state if row is None else _taken(state, row)


def rows_of(state: Any, rows: NDArray[np.int64]) -> Any:
    """Returns some rows of a state as a state of their own, with memory of its own.

    Args:
        state: As for `row_of`.
        rows: ``int64[m]``; which rows, in this order.

    Raises:
        CheckpointMissing: If there is no such row.

    Example:
        >>> import numpy as np
        >>> rows_of({"x": np.arange(6).reshape(3, 2)}, np.array([2, 0]))
        {'x': array([[4, 5],
               [0, 1]])}
    """
    return _taken(state, rows)


def _taken(state: Any, rows: Any) -> Any:
    if isinstance(state, dict):
        return {key: _taken(item, rows) for key, item in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_taken(item, rows) for item in state)
    if not hasattr(state, "shape"):
        return state
    if not state.shape or not np.max(rows) < len(state):
        raise CheckpointMissing(f"there is no row {np.max(rows)} in this state; an array in it has the shape {tuple(state.shape)}")
    part = state[rows]
    return part.clone() if hasattr(part, "clone") else part.copy()


def stacked(states: Sequence[Any]) -> Any:
    """Puts rows side by side: the reverse of `row_of`.

    Args:
        states: States of the same structure, at least one.

    Raises:
        TrainingError: If their structures differ.

    Example:
        >>> import numpy as np
        >>> stacked([{"x": np.array([0, 1])}, {"x": np.array([2, 3])}])
        {'x': array([[0, 1],
               [2, 3]])}
    """
    first = states[0]
    if isinstance(first, dict):
        if any(set(state) != set(first) for state in states):
            raise TrainingError(f"states of different members cannot be stacked: one has {sorted(map(str, first))}, another differs")
        return {key: stacked([state[key] for state in states]) for key in first}
    if isinstance(first, list | tuple):
        return type(first)(stacked(items) for items in zip(*states, strict=True))
    if isinstance(first, np.ndarray | np.generic):
        return np.stack(states)
    if hasattr(first, "clone"):
        import torch

        return torch.stack(tuple(states))
    return first
