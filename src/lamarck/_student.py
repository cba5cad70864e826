"""Student's t on plain floats, since the core has no SciPy: Welch's test, and confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["confidence", "incomplete_beta", "welch"]


def welch(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Tests whether two samples have the same mean, though perhaps different variances.

    Args:
        a: At least two finite numbers.
        b: At least two finite numbers.

    Returns:
        Welch's t, positive if the mean of ``a`` is higher, and the two-sided p, from 0 to 1. Without any spread on either side t is infinite
        and p 0 if they differ, else 0 and 1.

    References:
        Welch 1947, Biometrika 34. The tail of the t distribution as an incomplete beta function: NIST Digital Library of Mathematical
        Functions, https://dlmf.nist.gov/8.17.

    Example:
        >>> t, p = welch([2.0, 3.0, 4.0], [1.0, 2.0, 3.0])
        >>> round(t, 6), round(p, 6)
        (1.224745, 0.287864)
    """
    # The test does not depend on the unit; squares of values near the ends of the floating point range do.
    unit = max(abs(x) for x in (*a, *b)) or 1.0
    (mean_a, error_a), (mean_b, error_b) = _mean([x / unit for x in a]), _mean([x / unit for x in b])
    gap, error = mean_a - mean_b, error_a + error_b
    if error == 0.0:
        return (math.copysign(math.inf, gap), 0.0) if gap else (0.0, 1.0)
    t = gap / math.sqrt(error)
    share = error_a / error
    freedom = 1.0 / (share**2 / (len(a) - 1) + (1.0 - share) ** 2 / (len(b) - 1))  # Welch-Satterthwaite
    square = t * t
    # P(|T| > t) = I_x(freedom / 2, 1 / 2) with x = freedom / (freedom + t^2)
    return t, incomplete_beta(freedom / 2.0, 0.5, freedom / (freedom + square), 1.0 / (1.0 + freedom / square) if square else 0.0)


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """The mean and its squared standard error."""
    n = len(values)
    mean = values[0] if min(values) == max(values) else math.fsum(values) / n
    return mean, math.fsum((x - mean) ** 2 for x in values) / (n - 1) / n


def incomplete_beta(a: float, b: float, x: float, y: float) -> float:
    """Returns the regularised incomplete beta function I_x(a, b).

    Args:
        a: Above 0.
        b: Above 0.
        x: From 0 to 1.
        y: 1 - x, to full precision where x is near 1.

    References:
        https://dlmf.nist.gov/8.17, equations 8.17.4 and 8.17.22, the continued fraction evaluated from its tail.

    Example:
        >>> round(incomplete_beta(2.0, 3.0, 0.4, 0.6), 12)  # 6 x^2 - 8 x^3 + 3 x^4
        0.5248
    """
    if x == 0.0 or y == 0.0:
        return 0.0 if x == 0.0 else 1.0
    if x > (a + 1.0) / (a + b + 2.0):  # there the fraction converges slowly
        return 1.0 - incomplete_beta(b, a, y, x)  # (8.17.4)
    front = math.exp(a * math.log(x) + b * math.log(y) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)) / a
    fraction = 1.0
    # The number of terms needed grows with the square root of the larger parameter.
    for m in range(32 + 4 * math.isqrt(math.ceil(max(a, b))), -1, -1):  # (8.17.22), (8.17.23)
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        fraction = 1.0 + odd / fraction
        if m:
            even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
            fraction = 1.0 + even / fraction
    return front / fraction


def confidence(sample: NDArray[np.float64]) -> tuple[float, float, float]:
    """Returns the mean of a sample and its 95 % confidence interval by Student's t.

    Args:
        sample: ``float64[n]``, n at least 2.

    Returns:
        Mean, lower and upper limit.

    Example:
        >>> import numpy as np
        >>> [round(x, 3) for x in confidence(np.arange(11.0))]
        [5.0, 2.772, 7.228]
    """
    t = _quantile(len(sample) - 1)
    # A sample without spread has none, whatever rounding says about its mean.
    mean = float(sample.mean()) if np.ptp(sample) else float(sample[0])
    half = t * float(sample.std(ddof=1)) / math.sqrt(len(sample)) if np.ptp(sample) else 0.0
    return mean, mean - half, mean + half


def _quantile(freedom: int) -> float:
    """Returns the t that a Student variable exceeds in absolute value with probability 0.05, by bisection."""
    low, high = 0.0, 100.0
    while high - low > 1e-12 * high:
        t = (low + high) / 2.0
        tail = incomplete_beta(freedom / 2.0, 0.5, freedom / (freedom + t * t), t * t / (freedom + t * t))
        low, high = (t, high) if tail > 0.05 else (low, t)
    return high
