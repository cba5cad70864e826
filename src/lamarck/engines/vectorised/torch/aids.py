"""What an ordinary forward pass needs to run for many members at once: noise and smoothing that differ from member to member.

PyTorch's dropout takes one probability, a Python number, and noise from one stream. `Aids` answers for it while a member's loss is computed:
the probability may be a tensor, and the noise is a function of (the member's key, which dropout of the pass it is, the element). So a member
drops the same units in a stack of a thousand, alone, compiled or not, and after a resume. Label smoothing may be a tensor, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["Aids", "counted", "mixed"]

_MASK = 0xFFFFFFFF
_FEATURES = {functional.dropout1d: 1, functional.dropout2d: 2, functional.dropout3d: 3}


_asked: list[Callable[..., Any]] | None = None


@contextmanager
def counted() -> Iterator[list[Callable[..., Any]]]:
    """Yields a list of the functions that `Aids` is asked for meanwhile."""
    global _asked  # noqa: PLW0603 - a mode is made deep inside of what is being traced, where nothing can be handed to it
    _asked = []
    try:
        yield _asked
    finally:
        _asked = None


def mixed(x: Tensor) -> Tensor:
    """Scatters whole numbers over 32 bits: the finaliser of MurmurHash3 (Appleby 2011), in ``int64``, which has no unsigned sibling."""
    x = ((x ^ (x >> 16)) * 0x85EBCA6B) & _MASK
    x = ((x ^ (x >> 13)) * 0xC2B2AE35) & _MASK
    return x ^ (x >> 16)


@final
class Aids(TorchFunctionMode):
    """Answers for dropout and cross entropy while it is entered.

    Args:
        key: ``int64[]``, below 2**32: what the noise of this pass depends on.
    """

    def __init__(self, key: Tensor) -> None:
        super().__init__()
        self._key, self._calls = key, 0

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if _asked is not None and (function is functional.dropout or function in _FEATURES or isinstance(given.get("label_smoothing"), Tensor)):
            _asked.append(function)
        if function is functional.dropout:
            return self._dropped(0, *args, **given)
        if function in _FEATURES:
            return self._dropped(_FEATURES[function], *args, **given)
        if function is functional.cross_entropy and isinstance(given.get("label_smoothing"), Tensor):
            return _smoothed(given.pop("label_smoothing"), *args, **given)
        return function(*args, **given)

    def _dropped(self, features: int, input: Tensor, p: Any = 0.5, training: bool = True, inplace: bool = False) -> Tensor:  # noqa: A002
        """Zeroes elements, or whole channels, with probability p and scales the rest by 1 / (1 - p)."""
        if not training or (not isinstance(p, Tensor) and p == 0):
            return input
        self._calls += 1
        shape = (*input.shape[: input.ndim - features], *[1] * features)
        count = 1
        for length in shape:
            count *= length
        place = torch.arange(count, device=input.device).reshape(shape)
        noise = mixed(mixed(place + 1) ^ mixed(self._key + 0x9E3779B9 * self._calls)).to(input.dtype) / (_MASK + 1)
        kept = (1 - p).clamp_min(1e-6) if isinstance(p, Tensor) else max(1 - p, 1e-6)  # with p = 1 nothing is kept, and its gradient is 0
        return torch.where(noise >= p, input / kept, 0.0)


def _smoothed(smoothing: Tensor, input: Tensor, target: Tensor, *rest: Any, **given: Any) -> Tensor:  # noqa: A002
    """The cross entropy with a share of the target spread over all classes, as PyTorch defines it for plain targets without weights."""
    reduction = given.get("reduction", "mean")
    spread = -functional.log_softmax(input, dim=1 if input.ndim > 1 else 0).mean(dim=1 if input.ndim > 1 else 0)
    if given.get("ignore_index", -100) >= 0 or given.get("weight") is not None or rest or target.is_floating_point():
        raise NotImplementedError(
            "a tuned label_smoothing goes with class indices and reduction= alone: no weight, ignore_index or soft targets"
        )
    plain = functional.cross_entropy(input, target, reduction=reduction)
    if reduction != "none":
        spread = spread.sum() if reduction == "sum" else spread.mean()
    return (1 - smoothing) * plain + smoothing * spread
