"""Where a population plays: on a GPU from recordings, as a move of small agents is a hundred launches for next to no arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from lamarck.engines.vectorised.torch.tapes import Tapes

__all__ = ["Stage"]

Told = Mapping[str, Any]


@final
class Stage:
    """Does one kind of work again and again.

    Args:
        device: Where. On a CPU nothing is recorded.
        recorded: Whether it may be on a GPU: a recording takes memory for each launch.
    """

    def __init__(self, device: str, *, recorded: bool = True) -> None:
        self._tapes = Tapes() if recorded and torch.device(device).type == "cuda" else None
        self._held: dict[Any, tuple[Tensor, ...]] = {}

    def hold(self, *fresh: Tensor) -> tuple[Tensor, ...]:
        """Returns tensors of the same numbers that have the same place in memory as those of the same shapes that were held before them."""
        if self._tapes is None:
            return fresh
        held = self._held.setdefault(tuple((tensor.shape, tensor.dtype) for tensor in fresh), fresh)
        for tensor, numbers in zip(held, fresh, strict=True):
            tensor.copy_(numbers)
        return held

    def __call__(self, work: Callable[[Told], None], state: Sequence[Tensor], told: Told) -> None:
        """Does the work once; see `Tapes`."""
        if self._tapes is None:
            work(told)
        else:
            self._tapes(work, state, told)
