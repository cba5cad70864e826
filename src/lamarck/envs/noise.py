"""Random numbers as a function of keys, in tensors: what each member draws depends on its own key and on nothing else.

A generator per member would cost a call per member and draw. Here all members draw in one call, and who else is in the batch, how it is cut
into chunks and on which device it runs changes no number. The function is SplitMix64 (Steele et al. 2014, "Fast splittable pseudorandom number
generators", figure 17): the n-th number of a key is the hash of ``key + n * gamma``.
"""

from __future__ import annotations

import math

import torch

__all__ = ["keys", "normal", "uniform"]

_GAMMA, _FIRST, _SECOND = (word - (1 << 64) for word in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
"""SplitMix64's constants as signed integers, which is what tensors hold; products wrap around either way."""


def keys(seeds: torch.Tensor, *words: int | torch.Tensor) -> torch.Tensor:
    """Derives keys, e.g. those of one purpose in one step: ``keys(seeds, step, 3)``.

    Args:
        seeds: Seeds or keys, ``int64[...]``.
        *words: What the new keys are for; whole numbers, or tensors of them of the same shape. Different words give independent keys, and
            words may be given one after the other: ``keys(keys(seeds, 1), 2)`` is ``keys(seeds, 1, 2)``.

    Returns:
        ``int64[...]``.

    Example:
        >>> import torch
        >>> a = keys(torch.tensor([1, 2]), 7)
        >>> bool((a == keys(torch.tensor([1, 2, 3]), 7)[:2]).all()), bool((a == keys(torch.tensor([1, 2]), 8)).any())
        (True, False)
    """
    for word in words:
        seeds = _mixed(_mixed(seeds + _GAMMA) ^ word)
    return seeds


def uniform(key: torch.Tensor, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Draws uniform numbers strictly between 0 and 1.

    Args:
        key: Keys, ``int64[...]``.
        *shape: How many numbers for each key.
        dtype: ``torch.float32`` (23 random bits) or ``torch.float64`` (52).

    Returns:
        Numbers of shape ``[..., *shape]``, on the device of the keys. The first of them do not depend on how many there are.

    Example:
        >>> import torch
        >>> draws = uniform(torch.arange(3), 1000)
        >>> tuple(draws.shape), bool((draws > 0).all() & (draws < 1).all())
        ((3, 1000), True)
    """
    bits = 52 if dtype is torch.float64 else 23
    place = torch.arange(1, math.prod(shape) + 1, device=key.device) ^ 0  # changes nothing, but keeps compilers from multiplying without end
    count = place * _GAMMA
    raw = _shifted(_mixed(key[..., None] + count), 64 - bits)
    return ((raw.to(dtype) + 0.5) * 2.0**-bits).reshape((*key.shape, *shape))


def normal(key: torch.Tensor, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Draws standard normal numbers: quantiles of `uniform` ones.

    Args:
        key: Keys, ``int64[...]``.
        *shape: How many numbers for each key.
        dtype: ``torch.float32``, within 5.3 of zero, or ``torch.float64``, within 8.3.

    Returns:
        Numbers of shape ``[..., *shape]``.

    Example:
        >>> import torch
        >>> draws = normal(torch.tensor(0), 10_000, dtype=torch.float64)
        >>> abs(float(draws.mean())) < 0.05, abs(float(draws.std()) - 1) < 0.05
        (True, True)
    """
    quantiles: torch.Tensor = torch.special.ndtri(uniform(key, *shape, dtype=dtype))
    return quantiles


def _mixed(z: torch.Tensor) -> torch.Tensor:
    z = (z ^ _shifted(z, 30)) * _FIRST
    z = (z ^ _shifted(z, 27)) * _SECOND
    return z ^ _shifted(z, 31)


def _shifted(z: torch.Tensor, bits: int) -> torch.Tensor:
    """Shifts to the right as if there were no sign."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
