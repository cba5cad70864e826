"""The order of samples on a GPU: one kernel works out all of an interval, which takes hundreds of launches operation by operation.

It computes what `data.Sampled` describes and `order.permuted` does, to the last bit; tests hold the two against each other.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator"
# ruff: noqa: ANN001, ANN202 - the compiler of kernels reads this, and has types of its own

from __future__ import annotations

import torch
import triton
import triton.language as tl

from lamarck.engines.vectorised.torch.order import bases

__all__ = ["chosen"]

_BLOCK = 1024


def chosen(own: torch.Tensor, first: int, steps: int, size: int, length: int) -> torch.Tensor:
    """Returns ``int32[steps, n, size]``: which samples are in the batches of some steps.

    Args:
        own: ``int64[n]``; a key for each row of permutations, on a GPU.
        first: The first step.
        steps: How many.
        size: Samples in a batch.
        length: Samples in all.
    """
    led = torch.empty(steps, len(own), size, dtype=torch.int32, device=own.device)
    high, low, rounds = bases(length)
    grid = (triton.cdiv(led.numel(), _BLOCK),)
    with torch.cuda.device_of(own):  # type: ignore[no-untyped-call]
        _chosen[grid](led, own, led.numel(), len(own), size, first, length, high, low, rounds, _BLOCK)
    return led


@triton.jit
def _chosen(led, own, count, members, size, first, length, high: tl.constexpr, low: tl.constexpr, rounds: tl.constexpr, block: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    there = at < count
    row = (first + at // (size * members)) * size + at % size
    seed = tl.load(own + (at // size) % members, mask=there, other=0)
    key = (_key(seed, row // length) >> 32).to(tl.int32)
    x = _network((row % length).to(tl.int32), key, high, low, rounds)
    while tl.max((x >= length).to(tl.int32), 0) > 0:  # the walk ends for each number by itself, and the others stay
        x = tl.where(x >= length, _network(x, key, high, low, rounds), x)
    tl.store(led + at, x, mask=there)


@triton.jit
def _network(x, key, high: tl.constexpr, low: tl.constexpr, rounds: tl.constexpr):
    left = x // low
    right = x - left * low
    for turn in tl.static_range(rounds):
        base = high if turn % 2 == 0 else low
        salt = tl.full((1,), turn + 1, tl.int32) * -1640531527
        mixed = (right + salt) ^ key
        mixed *= -2048144789
        mixed ^= mixed >> 15
        mixed *= 0x2C1B3C6D
        mixed = (((mixed >> 16) & 0xFFFF) * base >> 16) + left - base
        mixed += (mixed >> 31) & base
        left = right
        right = mixed
    return right + left * low


@triton.jit
def _key(seed, word):
    return _mixed(_mixed(seed.to(tl.uint64) + 0x9E3779B97F4A7C15) ^ word.to(tl.uint64))


@triton.jit
def _mixed(z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    return z ^ (z >> 31)
