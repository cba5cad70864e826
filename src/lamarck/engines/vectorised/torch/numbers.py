"""Functions of PyTorch that take a Python number, for a number that is a tensor and so may differ from member to member.

Each takes what the function of the same name takes, and returns ``None`` where its numbers are Python's, which PyTorch knows how to take.
"""

# ruff: noqa: A002 - parameters are called as PyTorch calls them

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["NUMBERS", "SETTABLE"]


def _leaky_relu(input: Tensor, negative_slope: Any = 0.01, inplace: bool = False) -> Tensor | None:
    if not isinstance(negative_slope, Tensor):
        return None
    return _put(input, torch.where(input >= 0, input, input * negative_slope), inplace)


def _elu(input: Tensor, alpha: Any = 1.0, inplace: bool = False) -> Tensor | None:
    if not isinstance(alpha, Tensor):
        return None
    return _put(input, torch.where(input > 0, input, alpha * input.clamp_max(0).expm1()), inplace)


def _put(input: Tensor, made: Tensor, inplace: bool) -> Tensor:
    return input.copy_(made) if inplace else made


def _layer_norm(input: Tensor, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: Any = 1e-5) -> Tensor | None:
    if not isinstance(eps, Tensor):
        return None
    dims = tuple(range(-len(normalized_shape), 0))
    variance, mean = torch.var_mean(input, dims, correction=0, keepdim=True)
    return _scaled((input - mean) * (variance + eps).rsqrt(), weight, bias)


def _rms_norm(input: Tensor, normalized_shape: Any, weight: Any = None, eps: Any = None) -> Tensor | None:
    if not isinstance(eps, Tensor):
        return None
    dims = tuple(range(-len(normalized_shape), 0))
    return _scaled(input * (input.square().mean(dims, keepdim=True) + eps).rsqrt(), weight, None)


def _group_norm(input: Tensor, num_groups: int, weight: Any = None, bias: Any = None, eps: Any = 1e-5) -> Tensor | None:
    if not isinstance(eps, Tensor):
        return None
    groups = input.reshape(input.shape[0], num_groups, -1)
    variance, mean = torch.var_mean(groups, 2, correction=0, keepdim=True)
    plain = ((groups - mean) * (variance + eps).rsqrt()).reshape(input.shape)
    return _scaled(plain, *(None if part is None else _along(part, input) for part in (weight, bias)))


def _batch_norm(
    input: Tensor,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: Any = 1e-5,
) -> Tensor | None:
    if not isinstance(momentum, Tensor) and not isinstance(eps, Tensor):
        return None
    mean, variance = running_mean, running_var
    if training:
        dims = [dim for dim in range(input.ndim) if dim != 1]
        variance, mean = torch.var_mean(input, dims, correction=0)
        if running_mean is not None:
            count = input.numel() // input.size(1)
            for kept, new in ((running_mean, mean), (running_var, variance * (count / (count - 1)))):
                kept.copy_(kept + momentum * (new.detach() - kept))
    mean, variance = _along(mean, input), _along(variance, input)
    plain = (input - mean) * (variance + eps).rsqrt()
    return _scaled(plain, *(None if part is None else _along(part, input) for part in (weight, bias)))


def _along(part: Tensor, input: Tensor) -> Tensor:
    """What belongs to channels, in the shape of what has them as its second dimension."""
    return part.reshape(1, -1, *[1] * (input.ndim - 2))


def _scaled(plain: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    scaled = plain if weight is None else plain * weight
    return scaled if bias is None else scaled + bias


def _huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: Any = 1.0, weight: Any = None) -> Tensor | None:
    if not isinstance(delta, Tensor):
        return None
    far = (input - target).abs()
    each = torch.where(far < delta, 0.5 * far.square(), delta * (far - 0.5 * delta))
    return _reduced(each if weight is None else each * weight, reduction)


def _smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    beta: Any = 1.0,
) -> Tensor | None:
    if not isinstance(beta, Tensor):
        return None
    far = (input - target).abs()
    return _reduced(torch.where(far < beta, 0.5 * far.square() / beta, far - 0.5 * beta), reduction)


def _cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: Any = 0.0,
) -> Tensor | None:
    """The cross entropy with a share of the target spread over all classes (Szegedy et al. 2016, section 7)."""
    if not isinstance(label_smoothing, Tensor):
        return None
    dim = 1 if input.ndim > 1 else 0
    classes = input.size(dim)
    if target.is_floating_point():  # probabilities
        spread = target * (1 - label_smoothing) + label_smoothing / classes
        return functional.cross_entropy(input, spread, weight, reduction=reduction)
    logs = functional.log_softmax(input, dim=dim)
    counted = target != ignore_index
    plain = functional.nll_loss(logs, target, weight, ignore_index=ignore_index, reduction="none")
    weights = None if weight is None else weight.reshape(-1, *[1] * (input.ndim - dim - 1))
    all_classes = torch.where(counted, -(logs if weights is None else logs * weights).sum(dim), 0.0)
    each = (1 - label_smoothing) * plain + label_smoothing / classes * all_classes
    if reduction != "mean":
        return _reduced(each, reduction)
    shares = counted.to(logs.dtype) if weight is None else torch.where(counted, weight[torch.where(counted, target, 0)], 0.0)
    return each.sum() / shares.sum()


def _reduced(each: Tensor, reduction: str) -> Tensor:
    return each if reduction == "none" else each.sum() if reduction == "sum" else each.mean()


NUMBERS: dict[str, Callable[..., Tensor | None]] = {
    "batch_norm": _batch_norm,
    "cross_entropy": _cross_entropy,
    "elu": _elu,
    "group_norm": _group_norm,
    "huber_loss": _huber_loss,
    "layer_norm": _layer_norm,
    "leaky_relu": _leaky_relu,
    "rms_norm": _rms_norm,
    "smooth_l1_loss": _smooth_l1_loss,
}
"""By name: what a function of PyTorch returns whose numbers are tensors."""

SETTABLE = (
    "p of dropout, dropout of attention and recurrent layers, the slope of LeakyReLU, alpha of ELU, eps of normalisation layers, and "
    "momentum of batch norm"
)
"""Attributes of PyTorch's own modules that can differ between members of one program, in words."""
