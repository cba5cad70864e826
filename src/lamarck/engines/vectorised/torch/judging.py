"""Judging members: all at once, or one after the other where that cannot be."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from lamarck._errors import LamarckError, TrainingError, first_line
from lamarck.engines.vectorised.torch import streams
from lamarck.engines.vectorised.torch.aids import asked
from lamarck.engines.vectorised.torch.program import STEP, Measure, Program, Tensors, one_or_more
from lamarck.engines.vectorised.watched import Watched

__all__ = ["Judge", "parts"]

logger = logging.getLogger("lamarck")


@final
class Judge:
    """Says what a function says of members. How it can be asked is found out when it is asked for the first time.

    Args:
        program: What a member computes.
        function: ``evaluate(model, batch, hparams)``: one number, or one for each sample; or several of these by name.
        singly: Whether to ask one member after the other in any case.

    Attributes:
        names: What the numbers are called, once it has been asked; empty for one without a name.
    """

    def __init__(self, program: Program, function: Measure, *, singly: bool) -> None:
        self._program, self._function, self._singly = program, function, singly
        self._aided, self._strange, self._counts, self._tried = True, False, False, False
        self.names: list[str] = []

    @torch.no_grad()
    def __call__(self, tensors: Tensors, attributes: Tensors, hparams: Tensors, steps: Tensor, keys: Tensor, batch: Any) -> Tensor:
        """Returns ``float64[n, k]``: the means of the k things that are said of each member.

        Args:
            tensors: ``[n, ...]``: weights, buffers, and all else that a module has.
            attributes: ``[n]`` each, by the path of the attribute.
            hparams: ``[n]`` each.
            steps: ``[n]``: how many steps each has behind it.
            keys: ``int64[n]``: what noise depends on.
            batch: The same for all.
        """
        if not self._tried:
            self._try(tensors, attributes, hparams, steps, keys, batch)
        if self._counts:
            hparams = hparams | {STEP: steps}
        if not self._singly:
            return torch.vmap(self._one, in_dims=(0, 0, 0, None), randomness="different")(tensors | attributes, hparams, keys, batch)
        with streams.restored(keys.device):
            said = [self._alone(row, tensors, attributes, self._program.told(_row(hparams, row)), keys, batch) for row in range(len(keys))]
            return torch.stack([_means(one) for one in said]).to(keys.device)

    def first(self, tensors: Tensors, attributes: Tensors, hparams: Tensors, steps: Tensor, keys: Tensor, batch: Any) -> Any:
        """Returns what the function itself says of the first member; arguments as for `__call__`. May draw from PyTorch's generators."""
        return self._alone(0, tensors, attributes, {**self._program.told(_row(hparams, 0)), STEP: steps[0]}, keys, batch)

    def _one(self, tensors: Tensors, hparams: Tensors, key: Tensor, batch: Any) -> Tensor:
        return _means(self._program.judged(self._function, tensors, batch, hparams, key))

    def _alone(self, row: int, tensors: Tensors, attributes: Tensors, told: Mapping[str, Any], keys: Tensor, batch: Any) -> Any:
        own = _row(tensors, row)
        ordinary = self._program.ordinary
        module = ordinary.hold(own, {path: float(column[row]) for path, column in attributes.items()}).eval()
        with self._program.noise(keys[row], aided=self._aided, strange=self._strange):
            return self._function(module, batch, told)

    def _try(self, tensors: Tensors, attributes: Tensors, hparams: Tensors, steps: Tensor, keys: Tensor, batch: Any) -> None:
        """Judges one member, as it would be by itself, and two at once."""
        tensors, attributes, hparams = _few(tensors), _few(attributes), _few(hparams)
        with streams.restored(keys.device), asked() as names:
            before, told = streams.standing(keys.device), Watched(self._program.told(_row(hparams, 0)), set(), {STEP: steps[0]})
            try:
                first = self._alone(0, tensors, attributes, told, keys, batch)
                _means(first)
            except LamarckError:
                raise
            except Exception as error:
                raise TrainingError(f"evaluate: it raised when it was first called, {type(error).__name__}: {error}") from error
            self.names = [str(name) for name in first] if isinstance(first, Mapping) else []
            self._counts = STEP in told.named
            self._aided, self._strange = bool(names), not streams.same(before, streams.standing(keys.device))
            if not self._singly:
                self._singly, reason = self._strange, "noise is drawn underneath the functions of PyTorch that Python calls"
                try:
                    said = hparams | ({STEP: steps[:2]} if self._counts else {})
                    torch.vmap(self._one, in_dims=(0, 0, 0, None), randomness="different")(tensors | attributes, said, keys[:2], batch)
                except Exception as error:
                    self._singly, reason = True, first_line(error)
                if self._singly:
                    logger.info("members are judged one after the other, because at once they cannot be: %s", reason)
        self._tried = True


def parts(said: Any) -> list[Any]:
    """Returns the things that are said of a member.

    Args:
        said: What the function of the user returned.
    """
    return list(said.values()) if isinstance(said, Mapping) and said else [said]


def _means(said: Any) -> Tensor:
    return torch.stack([_mean(part) for part in parts(said)])


def _mean(said: Any) -> Tensor:
    if isinstance(said, int | float | np.number) and not isinstance(said, bool):  # by NumPy or scikit-learn
        said = torch.tensor(float(said), dtype=torch.float64)
    return one_or_more("evaluate", said).to(torch.float64).mean()


def _row(part: Mapping[str, Tensor], row: int) -> Tensors:
    return {name: tensor[row] for name, tensor in part.items()}


def _few(part: Mapping[str, Tensor]) -> Tensors:
    return {name: tensor[:2] for name, tensor in part.items()}
