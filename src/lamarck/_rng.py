"""Randomness as a function: (seed, member, generation, purpose) -> generator.

There is no generator state to save, to lose or to share: whoever asks for the same key gets the same numbers, in whatever order, process or
resumed run. Philox (Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3") is counter-based, so a key is a position in its stream
and different keys never overlap.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

__all__ = ["derive_seed", "generator", "lots"]

_MASK = (1 << 64) - 1


class _Key(ISeedSequence):
    """Hands Philox its key as it stands.

    The same numbers as ``Philox(key=...)`` in a quarter of the time, because that asks the system for entropy first and then throws it away.
    """

    def __init__(self, words: NDArray[np.uint64]) -> None:
        self._words = words

    def generate_state(self, n_words: int, dtype: type = np.uint32) -> NDArray[np.uint64]:  # type: ignore[override]
        return self._words


@lru_cache(maxsize=256)
def _key(seed: int, purpose: str) -> _Key:
    return _Key(np.array([seed & _MASK, _word(purpose)], dtype=np.uint64))


@lru_cache(maxsize=256)
def _word(purpose: str) -> int:
    return int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "little")


def generator(seed: int, member: int, generation: int, purpose: str) -> np.random.Generator:
    """Returns the generator that belongs to a key.

    Args:
        seed: Seed of the run, any integer (taken modulo 2**64).
        member: Member, or -1 for what concerns the whole population.
        generation: Generation, from 0.
        purpose: What the numbers are for; different purposes are independent.

    Example:
        >>> generator(0, 3, 7, "explore").random() == generator(0, 3, 7, "explore").random()
        True
        >>> generator(0, 3, 7, "explore").random() == generator(0, 4, 7, "explore").random()
        False
    """
    key: Any = _key(seed, purpose)  # numpy's types know only its own kinds of seed
    # The two low words of the counter are left to the draws: 2**128 of them for each key.
    counter = np.array([0, 0, generation & _MASK, member & _MASK], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key, counter=counter))


_INTERVAL = _word("interval")


def _mixed(z: int) -> int:
    """One step of SplitMix64 (Steele et al. 2014, "Fast splittable pseudorandom number generators")."""
    z = (z + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def derive_seed(seed: int, member: int, generation: int) -> int:
    """Returns the seed of one interval: a 32-bit integer, which every library takes.

    Two children of one parent get different seeds, so that they do not see the same data; a repeated interval gets the same one.

    Example:
        >>> 0 <= derive_seed(0, 3, 7) < 2**32
        True
    """
    return _mixed(_mixed(_intervals_of(seed) ^ member) ^ generation) & 0xFFFFFFFF


@lru_cache(maxsize=256)
def _intervals_of(seed: int) -> int:
    return _mixed(seed ^ _INTERVAL)


def lots(seed: int, generation: int, size: int) -> NDArray[np.uint64]:
    """Draws one lot for each member, to put exact ties in an order that is random and the same for everybody.

    The numbers are SplitMix64 (Steele et al. 2014) of the member's position: a vectorised hash, because a tie is rare and the question is
    frequent.

    Args:
        seed: Seed of the run.
        generation: Generation whose reports are compared.
        size: Number of members.

    Returns:
        ``uint64[size]``, without order.

    Example:
        >>> lots(0, 1, 3).shape
        (3,)
    """
    start = np.uint64(_word(f"{seed & _MASK}/{generation}/lots"))
    with np.errstate(over="ignore"):
        z = start + np.arange(1, size + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
