"""Configurations to the unit cube and back, one column at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import SpaceError
from lamarck.space._conditions import ABSENT, Conditions
from lamarck.space._faults import unknown
from lamarck.space._plain import named
from lamarck.space.parameter import Parameter

__all__ = ["from_cube", "to_cube"]


def to_cube(configs: Sequence[Mapping[str, Any]], params: Mapping[str, Parameter]) -> NDArray[np.float64]:
    """``float64[N, D]``, NaN where a configuration has no value."""
    array = np.full((len(configs), len(params)), np.nan)
    for j, (name, param) in enumerate(params.items()):
        rows = [i for i, config in enumerate(configs) if name in config]
        try:
            array[rows, j] = param.to_units([configs[i][name] for i in rows])
        except SpaceError as error:
            raise named(name, error) from None
    if np.count_nonzero(~np.isnan(array)) < sum(map(len, configs)):
        raise SpaceError(next(filter(None, (unknown(config, params) for config in configs))))
    return array


def from_cube(array: NDArray[np.float64], params: Mapping[str, Parameter], conditions: Conditions) -> list[dict[str, Any]]:
    """N configurations without what is NaN or inactive."""
    array = np.asarray(array, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != len(params):
        raise SpaceError(f"got an array of shape {array.shape}; it must be (N, {len(params)}), one column for each hyperparameter")
    columns = []
    for j, (name, param) in enumerate(params.items()):
        known = ~np.isnan(array[:, j])
        try:
            values = iter(param.from_units(array[known, j]))
        except SpaceError as error:
            raise named(name, error) from None
        columns.append((name, [next(values) if there else ABSENT for there in known.tolist()]))
    return [conditions.pruned({name: column[i] for name, column in columns if column[i] is not ABSENT}) for i in range(len(array))]
