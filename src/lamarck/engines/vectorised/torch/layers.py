"""Layers of PyTorch that draw noise on the inside: attention and recurrent layers with dropout, Gumbel's softmax."""

# ruff: noqa: A001, A002 - parameters are called as PyTorch calls them

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch._decomp import get_decompositions
from torch.nn import functional

from lamarck.engines.vectorised.torch.draws import Drawn, dropped

__all__ = ["LAYERS", "OPENED", "attention_dropout", "opened", "with_a_number"]


def opened(function: Any) -> Callable[..., Any]:
    """Returns a function of PyTorch that does not ask whether somebody answers for it, so that what it calls can be answered for.

    Args:
        function: One of those that are written in Python.
    """
    silent = {f"has_torch_function{kind}": lambda *tensors: False for kind in ("", "_unary", "_variadic")}
    copy = FunctionType(function.__code__, function.__globals__ | silent, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


OPENED: Mapping[str, Callable[..., Any]] = {
    function.__name__: opened(function) for function in (functional.gumbel_softmax, functional.multi_head_attention_forward)
}
"""By name: what can be carried out as it is written, with noise that is answered for."""

_DROPOUT, _TRAINING = 10, 13
"""Where `multi_head_attention_forward` takes its probability, and whether anything is dropped at all."""


def attention_dropout(args: tuple[Any, ...], given: Mapping[str, Any]) -> Any:
    """Returns the probability that `multi_head_attention_forward` is called with; 0 where it drops nothing.

    Args:
        args: Arguments by position.
        given: Arguments by name.
    """
    training = args[_TRAINING] if len(args) > _TRAINING else given.get("training", True)
    return 0.0 if not training else args[_DROPOUT] if len(args) > _DROPOUT else given["dropout_p"]


def with_a_number(args: tuple[Any, ...], given: Mapping[str, Any]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Returns arguments of `multi_head_attention_forward`, which asks whether its probability is above 0, with a number in place of that."""
    if len(args) > _DROPOUT:
        return (*args[:_DROPOUT], 0.5, *args[_DROPOUT + 1 :]), given
    return args, {**given, "dropout_p": 0.5}


def _attention(
    drawn: Drawn,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: Any = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor | None:
    """Attention as PyTorch defines it, in plain operations; the probability may be a tensor."""
    if not isinstance(dropout_p, Tensor) and dropout_p == 0:
        return None
    if enable_gqa:
        key, value = (part.repeat_interleave(query.size(-3) // part.size(-3), -3) for part in (key, value))
    scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.size(-1)) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(query.size(-2), key.size(-2), dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None:
        scores = torch.where(attn_mask, scores, -math.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    return dropped(drawn, scores.softmax(dim=-1), dropout_p) @ value


def _recurrent(name: str) -> Callable[..., Any]:
    """A recurrent layer of several floors, one floor after the other, with dropout in between; in plain operations if need be."""
    whole, operators = getattr(torch, name), getattr(torch.ops.aten, name)
    in_parts = get_decompositions([operators.input, operators.data])

    def floors(drawn: Drawn, input: Tensor, *rest: Any) -> Any:
        packed = not isinstance(rest[2], bool)  # then the sizes of its batches come first
        sizes, (state, weights, bias, number, p, training, both, *first) = rest[:packed], rest[packed:]
        layer = in_parts[operators.data if packed else operators.input] if drawn.plain else whole
        if not training or number == 1 or (not isinstance(p, Tensor) and p == 0):
            return layer(input, *sizes, state, weights, bias, number, 0.0, training, both, *first) if drawn.plain else None
        directions = 2 if both else 1
        each = len(weights) // number
        outputs: list[Sequence[Tensor]] = []
        for floor in range(number):
            own = slice(floor * directions, (floor + 1) * directions)
            begun = state[own] if isinstance(state, Tensor) else tuple(part[own] for part in state)
            if floor:
                input = dropped(drawn, input, p)
            input, *ended = layer(input, *sizes, begun, weights[floor * each : (floor + 1) * each], bias, 1, 0.0, training, both, *first)
            outputs.append(ended)
        return (input, *(torch.cat(parts) for parts in zip(*outputs, strict=True)))

    return floors


LAYERS: dict[str, Callable[..., Any]] = {
    "gru": _recurrent("gru"),
    "lstm": _recurrent("lstm"),
    "rnn_relu": _recurrent("rnn_relu"),
    "rnn_tanh": _recurrent("rnn_tanh"),
    "scaled_dot_product_attention": _attention,
}
"""By name: what a layer returns, or ``None`` where it draws nothing."""
