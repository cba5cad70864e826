"""A Gaussian process over time and places, in NumPy alone.

Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning", chapters 2 and 5, is followed throughout; the kernel is that of PB2
(Parker-Holder et al. 2020, arXiv 2002.02518, §4; Bogunovic et al. 2016, "Time-Varying Gaussian Process Bandit Optimization", arXiv 1601.06650),
with a length scale for each coordinate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np
from numpy.typing import NDArray

from lamarck.explore._climb import climb

__all__ = ["Kernel", "Posterior", "evidence", "fitted"]

_Array = NDArray[np.float64]

_FORGETS = 0.5
"""The most that a step of time may take: the authors' bound on epsilon."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """k((t, x), (t', x')) = s (1 - e)^(|t - t'| / 2) exp(-sum_j (x_j - x'_j)^2 / (2 l_j^2)), with noise v on the diagonal.

    Args:
        logs: ``float64[3 + D]``: the logarithms of s, v, -log(1 - e) / 2 and of the D length scales. Everything is positive, and the logarithms
            are what is optimised.
    """

    logs: _Array

    @property
    def size(self) -> float:
        """Prior variance s."""
        return math.exp(self.logs[0])

    @property
    def noise(self) -> float:
        """Variance v of the noise."""
        return math.exp(self.logs[1])

    @property
    def weights(self) -> _Array:
        """``float64[1 + D]``: what time differences and squared differences are weighed with in the exponent."""
        return np.concatenate([np.exp(self.logs[2:3]), 0.5 * np.exp(-2.0 * self.logs[3:])])

    def __call__(self, a: _Array, b: _Array) -> _Array:
        """Returns the covariances of the points ``a`` and ``b``, ``float64[N, 1 + D]`` and ``float64[M, 1 + D]``, without noise: ``[N, M]``."""
        return np.asarray(self.size * np.exp(-np.tensordot(self.weights, _apart(a, b), 1)), dtype=np.float64)


def _apart(a: _Array, b: _Array) -> _Array:
    """``float64[1 + D, N, M]``: distances in time and squared distances along each other coordinate."""
    apart: _Array = a.T[:, :, None] - b.T[:, None, :]
    apart[0] = np.abs(apart[0])
    apart[1:] *= apart[1:]
    return apart


def evidence(logs: _Array, apart: _Array, y: _Array) -> tuple[float, _Array]:
    """Returns the log marginal likelihood and its gradient in ``logs`` (ibid., equations 2.30 and 5.9).

    Args:
        logs: Of a `Kernel`.
        apart: ``float64[1 + D, N, N]``: how far the points are apart.
        y: ``float64[N]``.
    """
    n = len(y)
    kernel = Kernel(logs)
    weights = kernel.weights
    covariance = kernel.size * np.exp(-np.tensordot(weights, apart, 1))
    noisy = covariance + kernel.noise * np.eye(n)
    inverse = np.linalg.inv(noisy)
    alpha = inverse @ y
    half = float(np.log(np.diag(np.linalg.cholesky(noisy))).sum())  # of the logarithm of the determinant
    value = -0.5 * float(y @ alpha) - half - 0.5 * n * math.log(2 * math.pi)
    inner = np.outer(alpha, alpha) - inverse
    pull = inner * covariance
    slopes = np.tensordot(apart, pull, 2) * weights
    slopes[0] *= -1.0  # a rate grows where a length scale falls
    slopes[1:] *= 2.0
    return value, 0.5 * np.concatenate([[pull.sum(), kernel.noise * np.trace(inner)], slopes])


def _box(coordinates: int) -> tuple[_Array, _Array]:
    """Bounds of ``logs``. Targets have unit variance and places lie in the unit cube; the least noise keeps the matrix well conditioned."""
    low = [0.05, 1e-3, -0.5 * math.log1p(-1e-3), *[0.05] * coordinates]
    high = [10.0, 1.0, -0.5 * math.log1p(-_FORGETS), *[5.0] * coordinates]
    return np.log(low), np.log(high)


@lru_cache(maxsize=8)
def _fitted(points: bytes, y: bytes, coordinates: int) -> Kernel:
    at, target = np.frombuffer(points).reshape(-1, 1 + coordinates), np.frombuffer(y)
    apart = _apart(at, at)
    low, high = _box(coordinates)
    forgets = -0.5 * math.log1p(-0.1)
    starts = [[1.0, noise, forgets, *[scale] * coordinates] for noise, scale in ((0.1, 0.5), (0.5, 1.0), (0.02, 0.2))]
    found = [climb(lambda logs: evidence(logs, apart, target), np.log(start), low, high, steps=40, tolerance=1e-2) for start in starts]
    return Kernel(max(found, key=lambda one: one[0])[1])


def fitted(points: _Array, y: _Array) -> Kernel:
    """Returns the kernel under which the data are likeliest (type II maximum likelihood), from three starts, within bounds.

    Everybody who decides in one generation asks the same, so the last few answers are remembered.

    Args:
        points: ``float64[N, 1 + D]``: time, and places of about unit size.
        y: ``float64[N]``, standardised.
    """
    return _fitted(np.ascontiguousarray(points).tobytes(), np.ascontiguousarray(y).tobytes(), points.shape[1] - 1)


@final
class Posterior:
    """What is believed after having seen.

    Args:
        kernel: The prior.
        points: ``float64[N, 1 + D]``.
        y: ``float64[N]``.
        pending: ``float64[P, 1 + D]``: points whose values are still to come. They narrow the spread and do not move the mean, as if they
            came out as predicted (Desautels et al. 2014, "Parallelizing Exploration-Exploitation Tradeoffs in Gaussian Process Bandit
            Optimization").

    Example:
        >>> import numpy as np
        >>> kernel = Kernel(np.log([1.0, 0.01, 0.05, 0.3]))
        >>> seen = Posterior(kernel, np.array([[0.0, 0.5]]), np.array([1.0]), np.array([[0.0, 0.9]]))
        >>> mean, spread = seen(np.array([[0.0, 0.5], [0.0, 0.9]]))
        >>> mean.round(2).tolist(), spread.round(1).tolist()
        ([0.99, 0.41], [0.1, 0.1])
    """

    def __init__(self, kernel: Kernel, points: _Array, y: _Array, pending: _Array) -> None:
        self._kernel, self._points, self._n = kernel, np.concatenate([points, pending]), len(points)
        self._back = np.linalg.inv(np.linalg.cholesky(kernel(self._points, self._points) + kernel.noise * np.eye(len(self._points))))
        back = self._back[: self._n, : self._n]  # of a lower triangle, the corner's inverse is the inverse's corner
        self._alpha = back.T @ (back @ y)

    def __call__(self, points: _Array) -> tuple[_Array, _Array]:
        """Returns mean and standard deviation of the function, noise left out, at ``float64[M, 1 + D]``: ``float64[M]`` each."""
        mean, variance, _ = self._at(points)
        return mean, np.sqrt(variance)

    def _at(self, points: _Array) -> tuple[_Array, _Array, _Array]:
        near = self._kernel(self._points, points)
        white = self._back @ near
        return self._alpha @ near[: self._n], np.maximum(self._kernel.size - (white * white).sum(axis=0), 1e-12), white

    def promise(self, point: _Array, kappa: float) -> tuple[float, _Array]:
        """Returns the upper confidence bound, mean + kappa times standard deviation, at ``float64[1 + D]``, and its gradient."""
        near = self._kernel(self._points, point[None])[:, 0]
        white = self._back @ near
        spread = math.sqrt(max(self._kernel.size - float(white @ white), 1e-12))
        pull = -(kappa / spread) * (self._back.T @ white)
        pull[: self._n] += self._alpha
        apart = self._points - point
        steep = 2.0 * self._kernel.weights * apart
        steep[:, 0] = self._kernel.weights[0] * np.sign(apart[:, 0])
        return float(self._alpha @ near[: self._n]) + kappa * spread, (pull * near) @ steep

    def batch(self, points: _Array, kappa: float, count: int) -> _Array:
        """Returns what ``count`` others would choose among these points, one after the other and by the same bound: ``[count, 1 + D]``."""
        mean, variance, white = self._at(points)
        chosen: list[int] = []
        for _ in range(count):
            one = int((mean + kappa * np.sqrt(variance)).argmax())
            chosen.append(one)
            left = self._kernel(points, points[one : one + 1])[:, 0] - white.T @ white[:, one]
            row = left / math.sqrt(float(variance[one]) + self._kernel.noise)
            white = np.concatenate([white, row[None]])
            variance = np.maximum(variance - row * row, 1e-12)
        return points[chosen]
