"""PyTorch's random functions as functions of a key.

Each takes what the function of the same name takes, after what it draws from, and returns ``None`` where it leaves the call to PyTorch: where
nothing is random, and for a generator of the caller's own, ``out=`` and the like.
"""

# ruff: noqa: A002 - parameters are called as PyTorch calls them

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor

from lamarck.envs.noise import keys, normal, uniform

__all__ = ["DRAWS", "Drawn", "dropped", "room"]

_HALF = {torch.float16: 11, torch.bfloat16: 8}
"""Random bits of a number below 1 that loses none of them."""
_SELU = 1.7580993408473766
"""Where the activation that alpha dropout goes with ends, with the sign turned (Klambauer et al. 2017)."""


@final
class Drawn:
    """The noise of one pass: every draw has a key of its own.

    Args:
        key: ``int64[]``.
        plain: Whether recurrent layers are carried out in plain operations.

    Attributes:
        chance: If it is set, the probability of dropout, whatever the caller says: a tensor that it cannot take.
    """

    def __init__(self, key: Tensor, *, plain: bool = False) -> None:
        self.key, self.plain, self._calls = key, plain, 0
        self.chance: Tensor | None = None

    def uniform(self, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
        """Draws between 0 and 1, never 1."""
        drawn = uniform(self._next(), *shape, dtype=torch.float64 if dtype is torch.float64 else torch.float32)
        return drawn if dtype not in _HALF else ((drawn * 2.0 ** _HALF[dtype]).floor() * 2.0 ** -_HALF[dtype]).to(dtype)

    def normal(self, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
        """Draws from the standard normal distribution."""
        return normal(self._next(), *shape, dtype=torch.float64 if dtype is torch.float64 else torch.float32).to(dtype)

    def exponential(self, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
        """Draws waiting times of rate 1."""
        return -uniform(self._next(), *shape, dtype=torch.float64 if dtype is torch.float64 else torch.float32).log().to(dtype)

    def _next(self) -> Tensor:
        self._calls += 1
        return keys(self.key, self._calls)


def room(drawn: Drawn, new: Tensor) -> Tensor:
    """Returns a new tensor of which each member has its own, so that what differs can be written into it."""
    return torch.where(drawn.key == drawn.key, new, new)


# ---- dropout ------------------------------------------------------------------------------------------------------------------------------


def dropped(drawn: Drawn, input: Tensor, p: Any, shape: tuple[int, ...] | None = None) -> Tensor:
    """Zeroes elements with a probability and scales the rest by 1 / (1 - p).

    Args:
        drawn: What it draws from.
        input: Any shape.
        p: The probability: a number, or a tensor without dimensions.
        shape: Of the noise, where elements share it.
    """
    p = p if drawn.chance is None else drawn.chance
    kept = (1 - p).clamp_min(1e-6) if isinstance(p, Tensor) else max(1 - p, 1e-6)  # with p = 1 nothing is kept, and its gradient is 0
    return torch.where(drawn.uniform(tuple(input.shape) if shape is None else shape) >= p, input / kept, 0.0)


def _dropout(drawn: Drawn, input: Tensor, p: Any = 0.5, training: bool = True, inplace: bool = False, **old: Any) -> Tensor | None:
    if not _drops(p, old.get("train", training)):
        return None
    made = dropped(drawn, input, p)
    return input.copy_(made) if inplace else made


def _dropout_(drawn: Drawn, input: Tensor, p: Any, train: bool) -> Tensor | None:
    return _dropout(drawn, input, p, train, inplace=True)


def _channel_dropout(single: int) -> Callable[..., Tensor | None]:
    """Dropout of whole channels.

    Args:
        single: Dimensions of a sample without a batch; 0 if there is always a batch.
    """

    def channels(drawn: Drawn, input: Tensor, p: Any = 0.5, training: bool = True, inplace: bool = False, **old: Any) -> Tensor | None:
        if not _drops(p, old.get("train", training)):
            return None
        made = dropped(drawn, input, p, _per_channel(input, single))
        return input.copy_(made) if inplace else made

    return channels


def _alpha_dropout(drawn: Drawn, input: Tensor, p: Any = 0.5, training: bool = False, inplace: bool = False, **old: Any) -> Tensor | None:
    return _alpha(drawn, input, p, old.get("train", training), inplace, tuple(input.shape))


def _feature_alpha_dropout(
    drawn: Drawn, input: Tensor, p: Any = 0.5, training: bool = False, inplace: bool = False, **old: Any
) -> Tensor | None:
    return _alpha(drawn, input, p, old.get("train", training), inplace, _per_channel(input, 0))


def _alpha(drawn: Drawn, input: Tensor, p: Any, training: bool, inplace: bool, shape: tuple[int, ...]) -> Tensor | None:
    """Klambauer et al. 2017: what is dropped gets the activation's lowest value, and the result the mean and variance of the input."""
    if not _drops(p, training):
        return None
    scale = ((_SELU**2 * p + 1) * (1 - p)) ** -0.5 if isinstance(p, Tensor) or p < 1 else 0.0
    kept = drawn.uniform(shape) >= p
    made = torch.where(kept, input * scale + _SELU * scale * p, -_SELU * scale * (1 - p))
    return input.copy_(made) if inplace else made


def _rrelu(
    drawn: Drawn,
    input: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor | None:
    if not training:
        return None
    slope = lower + (upper - lower) * drawn.uniform(tuple(input.shape)).to(input.dtype)
    made = torch.where(input >= 0, input, input * slope)
    return input.copy_(made) if inplace else made


def _drops(p: Any, training: bool) -> bool:
    return training and (isinstance(p, Tensor) or p > 0)


def _per_channel(input: Tensor, single: int) -> tuple[int, ...]:
    leading = 1 if input.ndim == single else 2
    return (*input.shape[:leading], *[1] * (input.ndim - leading))


# ---- new tensors --------------------------------------------------------------------------------------------------------------------------


def _rand(drawn: Drawn, *size: Any, **given: Any) -> Tensor | None:
    return _made(drawn.uniform, size, given)


def _randn(drawn: Drawn, *size: Any, **given: Any) -> Tensor | None:
    return _made(drawn.normal, size, given)


def _rand_like(drawn: Drawn, input: Tensor, **given: Any) -> Tensor | None:
    return _made(drawn.uniform, (input.shape,), _like(input) | given)


def _randn_like(drawn: Drawn, input: Tensor, **given: Any) -> Tensor | None:
    return _made(drawn.normal, (input.shape,), _like(input) | given)


def _randint(drawn: Drawn, *args: Any, **given: Any) -> Tensor | None:
    names = ("low", "high", "size") if len(args) + sum(name in given for name in ("low", "high", "size")) == 3 else ("high", "size")
    bounds = dict(zip(names, args, strict=False)) | {name: given.pop(name) for name in names if name in given}
    low, high = bounds.get("low", 0), bounds["high"]
    return _made(lambda shape, dtype: _whole(drawn, low, high, shape).to(dtype), (bounds["size"],), {"dtype": torch.int64} | given)


def _randint_like(drawn: Drawn, input: Tensor, *bounds: Any, **given: Any) -> Tensor | None:
    low = given.pop("low", bounds[0] if len(bounds) == 2 else 0)
    high = given.pop("high") if "high" in given else bounds[-1]
    return _made(lambda shape, dtype: _whole(drawn, low, high, shape).to(dtype), (input.shape,), _like(input) | given)


def _whole(drawn: Drawn, low: Any, high: Any, shape: tuple[int, ...]) -> Tensor:
    drawn_numbers: Tensor = low + (drawn.uniform(shape, torch.float64) * (high - low)).floor()
    return drawn_numbers.long()


def _randperm(drawn: Drawn, n: int, **given: Any) -> Tensor | None:
    return _made(lambda shape, dtype: drawn.uniform(shape, torch.float64).argsort().to(dtype), (n,), {"dtype": torch.int64} | given)


def _normal(drawn: Drawn, mean: Any, std: Any = 1.0, size: Any = None, **given: Any) -> Tensor | None:
    parts = [part for part in (mean, std) if isinstance(part, Tensor)]
    shape = (mean + std).shape if size is None else size
    noise = _made(drawn.normal, (shape,), (_like(parts[0]) if parts else {}) | given)
    return None if noise is None else mean + std * noise


def _bernoulli(drawn: Drawn, input: Tensor, p: Any = None, *, generator: Any = None, out: Any = None) -> Tensor | None:
    if generator is not None or out is not None:
        return None
    return (drawn.uniform(tuple(input.shape), torch.float64) < (input if p is None else p)).to(input.dtype)


def _multinomial(drawn: Drawn, input: Tensor, num_samples: int, replacement: bool = False, **given: Any) -> Tensor | None:
    """Whoever waits for the shortest time comes first, where each waits at the rate of its weight."""
    if given:
        return None
    if not replacement:
        return (drawn.exponential(tuple(input.shape), input.dtype) / input).topk(num_samples, dim=-1, largest=False).indices
    shape = (*input.shape[:-1], num_samples, input.shape[-1])
    return (drawn.exponential(shape, input.dtype) / input[..., None, :]).argmin(dim=-1)


def _made(draw: Callable[[tuple[int, ...], torch.dtype], Tensor], size: tuple[Any, ...], given: Mapping[str, Any]) -> Tensor | None:
    """A new tensor of a size, type and device; nothing if more is asked for than that."""
    rest = {name: value for name, value in given.items() if value is not None and name not in ("memory_format", "layout", "pin_memory")}
    shape, dtype, device = rest.pop("size", size), rest.pop("dtype", torch.get_default_dtype()), rest.pop("device", None)
    if any(value is not False for value in rest.values()):
        return None
    if len(shape) == 1 and not isinstance(shape[0], int):
        shape = shape[0]
    return draw(tuple(shape), dtype).to(torch.get_default_device() if device is None else device)


def _like(input: Tensor) -> dict[str, Any]:
    return {"dtype": input.dtype, "device": input.device}


# ---- in place -----------------------------------------------------------------------------------------------------------------------------


def _uniform_(drawn: Drawn, input: Tensor, *args: Any, **given: Any) -> Tensor | None:
    if given.pop("generator", None) is not None:
        return None
    low, high = given.get("from", args[0] if args else 0.0), given.get("to", args[1] if len(args) > 1 else 1.0)
    return input.copy_(low + (high - low) * drawn.uniform(tuple(input.shape), input.dtype))


def _normal_(drawn: Drawn, input: Tensor, mean: Any = 0.0, std: Any = 1.0, *, generator: Any = None) -> Tensor | None:
    return None if generator is not None else input.copy_(mean + std * drawn.normal(tuple(input.shape), input.dtype))


def _exponential_(drawn: Drawn, input: Tensor, lambd: Any = 1.0, *, generator: Any = None) -> Tensor | None:
    return None if generator is not None else input.copy_(drawn.exponential(tuple(input.shape), input.dtype) / lambd)


def _bernoulli_(drawn: Drawn, input: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor | None:
    return None if generator is not None else input.copy_(drawn.uniform(tuple(input.shape), torch.float64) < p)


DRAWS: dict[str, Callable[..., Tensor | None]] = {
    "alpha_dropout": _alpha_dropout,
    "bernoulli": _bernoulli,
    "bernoulli_": _bernoulli_,
    "dropout": _dropout,
    "dropout1d": _channel_dropout(2),
    "dropout2d": _channel_dropout(0),
    "dropout3d": _channel_dropout(4),
    "dropout_": _dropout_,
    "exponential_": _exponential_,
    "feature_alpha_dropout": _feature_alpha_dropout,
    "feature_dropout": _channel_dropout(0),
    "multinomial": _multinomial,
    "normal": _normal,
    "normal_": _normal_,
    "rand": _rand,
    "rand_like": _rand_like,
    "randint": _randint,
    "randint_like": _randint_like,
    "randn": _randn,
    "randn_like": _randn_like,
    "randperm": _randperm,
    "rrelu": _rrelu,
    "uniform_": _uniform_,
}
"""By name: what a random function of PyTorch returns."""
