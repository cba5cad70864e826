"""Which samples each member sees, as a function of seeds: the same alone, in any stack, and after a resume."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, count
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamarck._errors import SettingsError

__all__ = ["Batches", "Loaded", "Sampled"]

Batch = tuple[Tensor, ...]
"""Inputs, targets, and what else a sample has; the samples along the first axis."""


@final
class Sampled:
    """Batches out of tensors.

    Each member goes through its own permutations of the samples, drawn from its interval's seed; with ``shared``, all members see the same
    ones, which depend on the step alone.

    Args:
        tensors: The samples.
        size: Samples in a batch; more than there are is all of them.
        shared: Whether all members see the same batches.
    """

    def __init__(self, tensors: Batch, size: int, *, shared: bool) -> None:
        self.tensors, self.shared = tensors, shared
        self.size = min(size, len(tensors[0]))

    def indices(self, start: NDArray[np.int64], seeds: NDArray[np.int64], steps: int) -> Tensor:
        """Returns ``int64[steps, n, size]``, on the device of the samples; ``[steps, size]`` if all members see the same.

        Args:
            start: ``int64[n]``; step at which each member stands, the same for all if they see the same.
            seeds: ``int64[n]``; each member's seed.
            steps: How many batches.
        """
        chosen = self._one(0, int(start[0]), steps) if self.shared else np.stack([self._one(seed, 0, steps) for seed in seeds.tolist()], axis=1)
        return torch.from_numpy(chosen).to(self.tensors[0].device)

    def _one(self, seed: int, start: int, steps: int) -> NDArray[np.int64]:
        """The stretch of an endless row of permutations that begins at a step."""
        samples, begin = len(self.tensors[0]), start * self.size
        epochs = range(begin // samples, -(-(begin + steps * self.size) // samples))
        row = np.concatenate([np.random.default_rng((seed, epoch)).permutation(samples) for epoch in epochs])
        offset = begin - epochs.start * samples
        return row[offset : offset + steps * self.size].reshape(steps, self.size)

    def batch(self, chosen: Tensor) -> Batch:
        """Returns the samples of one step."""
        return tuple(tensor[chosen] for tensor in self.tensors)


@final
class Loaded:
    """Batches out of a `torch.utils.data.DataLoader`, or anything that can be iterated over again and again; the same for all members.

    Args:
        loader: Yields tensors, or tuples of them. Whatever is random in it must come from PyTorch's global generator, which is seeded by the
            step.
        device: Where the tensors go.
    """

    def __init__(self, loader: Iterable[Any], device: torch.device) -> None:
        self._loader, self._device = loader, device

    def stream(self, start: int) -> Iterator[Batch]:
        """Yields batches without end, beginning at a step."""
        for epoch in count():
            with torch.random.fork_rng(devices=[]):  # a loader draws its order when it is asked for the first batch
                torch.manual_seed(start + (epoch << 32))
                batches = iter(self._loader)
                first = next(batches, None)
            if first is None:
                raise SettingsError("train: the loader yields nothing; it must be one that can be iterated over again and again")
            for batch in chain([first], batches):
                parts = batch if isinstance(batch, tuple | list) else (batch,)
                yield tuple(part.to(self._device, non_blocking=True) for part in parts)


Batches = Sampled | Loaded
"""Where batches come from."""
