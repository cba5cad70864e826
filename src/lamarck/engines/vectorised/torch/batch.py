"""Batches of any build, tensors in tuples, lists and dictionaries; and how a range of them is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["alike", "evenly", "mapped", "tensors_in"]


def evenly(length: int, most: int) -> Iterator[tuple[int, int]]:
    """Cuts a range into as few stretches as possible, of two lengths at most, which differ by one."""
    number = -(-length // most)
    for i in range(number):
        yield length * i // number, length * (i + 1) // number


def mapped(function: Callable[[Tensor], Tensor], batch: Any) -> Any:
    """Returns a batch with every tensor replaced; NumPy's arrays become tensors first, and what is neither stays."""
    if isinstance(batch, Tensor):
        return function(batch)
    if isinstance(batch, np.ndarray):
        return function(torch.as_tensor(batch))
    if isinstance(batch, Mapping):
        return {key: mapped(function, part) for key, part in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(mapped(function, part) for part in batch))
    if isinstance(batch, tuple | list):
        return type(batch)(mapped(function, part) for part in batch)
    return batch


def tensors_in(batch: Any) -> list[Tensor]:
    """Returns the tensors of a batch, always in the same order."""
    found: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    mapped(keep, batch)
    return found


def alike(batches: Iterable[Any]) -> bool:
    """Says whether all batches have the same shapes; the last one of an epoch may be smaller."""
    return len({tuple(tensor.shape for tensor in tensors_in(batch)) for batch in batches}) <= 1
