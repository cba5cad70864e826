"""Which samples each member sees, as a function of seeds: the same alone, in any stack, and after a resume."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamarck._errors import SettingsError, first_line
from lamarck.engines.vectorised.torch.order import LONGEST, permuted
from lamarck.envs.noise import keys

__all__ = ["Sampled", "stretches"]

logger = logging.getLogger("lamarck")

_MOST, _LEAST = 256, 16
"""Steps that are planned together. A tile of members takes them all before the next one does, so they should be many."""
_CHOSEN, _CHOSEN_FAR = 1 << 20, 1 << 24
"""Samples that are chosen for them, in all members; at least `_LEAST` steps are planned whatever that takes. On a GPU many, because it is
waited for when they are."""
_AT_ONCE = 1 << 17
"""Of which a CPU chooses so many at once, in its cache."""
_ORDER = -1
"""Sets the keys of orders apart from those of noise."""


def stretches(steps: int, most: int) -> Iterator[tuple[int, int]]:
    """Cuts steps into stretches of one length, and what is left over."""
    for start in range(0, steps, most):
        yield start, min(steps, start + most)


@final
class Sampled:
    """Batches out of tensors.

    Each member goes through permutations of the samples of its own, which depend on its interval's seed; with ``shared``, all members go
    through the same ones, which depend on the step alone.

    Args:
        tensors: The samples.
        size: Samples in a batch; more than there are is all of them.
        shared: Whether all members see the same batches.
    """

    def __init__(self, tensors: tuple[Tensor, ...], size: int, *, shared: bool) -> None:
        if len(tensors[0]) > LONGEST:
            raise SettingsError(f"train: got {len(tensors[0])} samples; at most {LONGEST} can be put in order, so give a DataLoader")
        self.tensors, self.shared = tensors, shared
        self.size = min(size, len(tensors[0]))
        self._near = tensors[0].device.type == "cpu"
        self._kernel = tensors[0].device.type == "cuda"

    def plans(self, start: NDArray[np.int64], seeds: NDArray[np.int64], steps: int) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """Yields stretches of steps that follow each other: first, last but one, and what a `Plan` says of their data.

        Args:
            start: ``int64[n]``; step at which each member stands, the same for all if they see the same.
            seeds: ``int64[n]``; each member's seed.
            steps: How many in all.
        """
        members = 1 if self.shared else len(seeds)
        chosen = _CHOSEN if self._near else _CHOSEN_FAR
        most = max(_LEAST, min(_MOST, chosen // (self.size * members) // _LEAST * _LEAST))
        for first, stop in stretches(steps, most):
            rows = self.indices(start, seeds, stop - first, first)
            yield first, stop, {"chosen": rows, "samples": self.tensors, "shared": self.shared}

    def indices(self, start: NDArray[np.int64], seeds: NDArray[np.int64], steps: int, first: int = 0) -> Tensor:
        """Returns ``int32[steps, n, size]``, on the device of the samples; ``[steps, size]`` if all members see the same.

        Args:
            start: As for `plans`.
            seeds: As for `plans`.
            steps: How many batches.
            first: The first of them, counted from the beginning of the interval.
        """
        if self.shared:
            return self._chosen(np.zeros(1, dtype=np.int64), int(start[0]) + first, steps)[:, 0]
        return self._chosen(seeds, first, steps)

    def _chosen(self, seeds: NDArray[np.int64], first: int, steps: int) -> Tensor:
        """The stretch that begins at a step of an endless row of permutations for each seed."""
        device, size = self.tensors[0].device, self.size
        own = keys(torch.from_numpy(seeds), _ORDER).to(device)
        if self._kernel:
            try:
                from lamarck.engines.vectorised.torch import _order_gpu

                return _order_gpu.chosen(own, first, steps, size, len(self.tensors[0]))
            except Exception as error:  # there is no Triton, or no C compiler that it needs
                logger.info(
                    "the order of samples is worked out operation by operation, because there is no kernel for it (%s)", first_line(error)
                )
                self._kernel = False
        chosen = torch.empty(steps, len(seeds), size, dtype=torch.int32, device=device)
        for begin, end in stretches(steps, max(1, _AT_ONCE // (len(seeds) * size)) if self._near else steps):
            row = np.arange((first + begin) * size, (first + end) * size).reshape(-1, 1, size)
            epochs, places = np.divmod(row, len(self.tensors[0]))
            earlier = epochs[:, :, :1]  # a batch is part of two permutations at most
            key = _keys(own, earlier)
            if (crossed := epochs > earlier).any():
                key = torch.where(torch.from_numpy(crossed).to(device), _keys(own, earlier + 1), key)
            chosen[begin:end] = permuted(torch.from_numpy(places.astype(np.int32)).to(device), key, len(self.tensors[0]))
        return chosen


def _keys(own: Tensor, epochs: NDArray[np.int64]) -> Tensor:
    """``int32[steps, n, 1]``: a key for each epoch of each member."""
    return (keys(own[:, None], torch.from_numpy(epochs).to(own.device)) >> 32).to(torch.int32)
