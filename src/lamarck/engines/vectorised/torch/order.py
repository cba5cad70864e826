"""Random orders that are never written down: where a place of a permutation leads is worked out when it is asked for.

A member that goes through a million samples needs the order of those of its next few steps, not of all. So an order is a keyed permutation: a
Feistel network over pairs of digits (Black and Rogaway 2002, "Ciphers with arbitrary finite domains", section 5), which is a bijection whatever
its keys are; what falls beyond the last sample goes through it again until it does not (their cycle walking).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["LONGEST", "bases", "permuted"]

LONGEST = 1 << 30
"""The longest permutation: two digits of 15 bits, whose products stay within 32."""


def permuted(places: Tensor, keys: Tensor, length: int) -> Tensor:
    """Returns where each place leads: a permutation of ``range(length)`` for each key.

    Args:
        places: ``int32``, from 0 to below ``length``.
        keys: ``int32``; broadcasts against ``places``. Everything that leads somewhere under one key leads to different places.
        length: From 1 to `LONGEST`.

    Returns:
        ``int32``, of the shape that ``places`` and ``keys`` have together.

    Example:
        >>> import torch
        >>> sorted(permuted(torch.arange(5, dtype=torch.int32), torch.tensor(7, dtype=torch.int32), 5).tolist())
        [0, 1, 2, 3, 4]
    """
    left, right, rounds = bases(length)
    led = _network(places, keys, left, right, rounds)
    while (beyond := led >= length).any():
        again = beyond.nonzero(as_tuple=True)
        led[again] = _network(led[again], keys.broadcast_to(led.shape)[again], left, right, rounds)
    return led


def bases(length: int) -> tuple[int, int, int]:
    """Returns the bases of the two digits, and how many rounds mix them, an even number.

    Args:
        length: As for `permuted`.
    """
    high = math.isqrt(length - 1) + 1
    return high, -(-length // high), 6 if length >= 64 else 24  # small digits have few values to mix with


def _network(x: Tensor, keys: Tensor, high: int, low: int, rounds: int) -> Tensor:
    """A bijection of ``range(high * low)``: in each round, a hash of one digit is added to the other, modulo its base, and they swap."""
    left = torch.div(x, low, rounding_mode="floor")
    right = x - left * low
    for turn in range(rounds):
        mixed = (right + _signed(0x9E3779B9 * (turn + 1))) ^ keys
        mixed *= _signed(0x85EBCA6B)
        mixed ^= mixed >> 15
        mixed *= 0x2C1B3C6D
        mixed >>= 16
        mixed &= 0xFFFF
        mixed *= high
        mixed >>= 16  # from 0 to below the base
        mixed += left
        mixed -= high
        mixed += (mixed >> 31) & high  # the base again, where that was too much
        left, right, high, low = right, mixed, low, high
    return torch.add(right, left, alpha=low)


def _signed(word: int) -> int:
    """The 32 low bits as a signed number: PyTorch has no unsigned arithmetic, and wraps around."""
    return ((word & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000
