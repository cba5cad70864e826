"""The generators that everything in a process shares: PyTorch's, NumPy's and Python's own.

What draws from them instead of asking `lamarck.engines.vectorised.torch.aids.Aids` can be trained one member after the other, with the
generators begun anew from the member's key.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from lamarck.training import seed_everything

__all__ = ["begun", "restored", "same", "standing"]


def standing(device: torch.device) -> tuple[Any, ...]:
    """Returns where all generators stand.

    Args:
        device: A device whose generator counts, too.
    """
    far = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.empty(0)
    return torch.get_rng_state(), far, random.getstate(), np.random.get_state()  # noqa: NPY002 - it is the global one that is meant


def same(before: tuple[Any, ...], after: tuple[Any, ...]) -> bool:
    """Says whether nothing was drawn between two calls of `standing`."""
    numbers = [np.array_equal(a, b) for a, b in zip(before[3], after[3], strict=True)]
    return torch.equal(before[0], after[0]) and torch.equal(before[1], after[1]) and before[2] == after[2] and all(numbers)


@contextmanager
def restored(device: torch.device) -> Iterator[None]:
    """Puts all generators back afterwards."""
    near, far, python, numpy = standing(device)
    try:
        yield
    finally:
        torch.set_rng_state(near)
        if device.type == "cuda":
            torch.cuda.set_rng_state(far, device)
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def begun(key: torch.Tensor) -> None:
    """Begins all generators anew.

    Args:
        key: ``int64[]``.
    """
    seed_everything(int(key) & 0xFFFFFFFF)
