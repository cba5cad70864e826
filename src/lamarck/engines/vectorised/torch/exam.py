"""Which members are judged on which samples at once: as many as there is room for."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from itertools import starmap
from typing import Any, final

import torch
from torch import Tensor

from lamarck.engines._machine import cores
from lamarck.engines.vectorised.torch import streams
from lamarck.engines.vectorised.torch.batch import evenly, mapped, tensors_in
from lamarck.engines.vectorised.torch.judging import Judge, parts
from lamarck.engines.vectorised.torch.memory import free, peak
from lamarck.engines.vectorised.torch.program import Tensors
from lamarck.envs.noise import keys as derived

__all__ = ["Exam"]

_TRIAL = 256
"""Samples by which the memory of one is found."""
_ROOM = 16 << 20
"""Bytes that a CPU works on at once: 256 networks of 5,000 weights are judged twice as fast like that as all together, out of the cache."""


@final
class Exam:
    """Judges members on a set of samples.

    A measure that returns one number is always given all samples, because it need not be a mean; as many members are judged at once as there is
    room for. One that returns a number for each sample is given all of them too, unless not even one member's fit.

    Args:
        judge: Asks the measure; the module is in evaluation mode.
        samples: Tensors with the samples along the first axis, in a tuple or a dictionary.
    """

    def __init__(self, judge: Judge, samples: Any) -> None:
        self._judge, self._samples = judge, samples
        self._length = len(tensors_in(samples)[0])
        self._known: tuple[float, bool] | None = None

    @torch.no_grad()
    def __call__(self, tensors: Tensors, attributes: Tensors, hparams: Tensors, steps: Tensor, keys: Tensor) -> Tensor:
        """Returns ``float64[n, k]``; arguments as for `Judge`."""
        if self._known is None:
            with streams.restored(keys.device):
                self._known = self._tried(tensors, attributes, hparams, steps, keys)
        group, piece = self._cut(len(keys), *self._known)
        values = list[Tensor]()
        for rows in starmap(slice, evenly(len(keys), group)):
            few, held, told = ({name: tensor[rows] for name, tensor in part.items()} for part in (tensors, attributes, hparams))
            pieces = [
                self._judge(few, held, told, steps[rows], derived(keys[rows], 0, places.start), self._part(places))
                * ((places.stop - places.start) / self._length)
                for places in starmap(slice, evenly(self._length, piece))
            ]
            values.append(torch.stack(pieces).sum(0) if len(pieces) > 1 else pieces[0])
        return torch.cat(values)

    @property
    def names(self) -> list[str]:
        """What the k numbers are called, once members have been judged; empty for one without a name."""
        return self._judge.names

    def _tried(self, tensors: Tensors, attributes: Tensors, hparams: Tensors, steps: Tensor, keys: Tensor) -> tuple[float, bool]:
        """Bytes for each sample of a member, and whether the measure says something of each sample, so that they can be judged apart."""
        for few in (min(_TRIAL, self._length), self._length):  # a measure of the whole need not make sense of a part
            batch = self._part(slice(0, few))
            with suppress(Exception):  # the judge says what is wrong
                said, taken = peak(partial(self._judge.first, tensors, attributes, hparams, steps, keys, batch))
                return taken / few, all(isinstance(part, Tensor) and part.ndim > 0 and len(part) == few for part in parts(said))
        return 1.0, False

    def _cut(self, members: int, each: float, apart: bool) -> tuple[int, int]:
        """How many members, and how many samples, at once."""
        room = self._room()
        whole = max(1.0, each * self._length)
        piece = self._length if whole <= room or not apart else max(1, int(room / each))
        return max(1, min(members, int(room / whole))), piece

    def _room(self) -> float:
        device = tensors_in(self._samples)[0].device
        left = free(device)
        if device.type == "cuda":
            return 0.5 * left if left is not None else float("inf")
        return min(_ROOM, 0.5 * left / cores()) if left is not None else _ROOM  # other processes judge at the same time

    def _part(self, places: slice) -> Any:
        whole = places.stop - places.start == self._length
        return self._samples if whole else mapped(lambda tensor: tensor[places], self._samples)
