"""The Gaussian process of PB2 against SciPy and scikit-learn, which know nothing of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern

from lamarck.explore._climb import climb
from lamarck.explore._gp import Kernel, Posterior, _apart, _box, evidence, fitted

FAR = 1e9
"""A length scale along which nothing changes."""


def data(seed: int, n: int = 40, dimensions: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    points = np.column_stack([np.sort(rng.integers(0, 12, n)).astype(float), rng.random((n, dimensions))])
    y = np.sin(5 * points[:, 1]) + 0.1 * points[:, 0] * points[:, -1] + 0.2 * rng.normal(size=n)
    return points, (y - y.mean()) / y.std()


def some_logs(seed: int, dimensions: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).uniform(*_box(dimensions))


def theirs(kernel: Kernel) -> ConstantKernel:
    """The same kernel in scikit-learn's parts. A factor of (1 - e)^(|dt| / 2) in time is a Matern kernel of order 1/2."""
    rate, scales = np.exp(kernel.logs[2]), np.exp(kernel.logs[3:])
    in_time = Matern(length_scale=[1 / rate, *[FAR] * len(scales)], nu=0.5)
    return ConstantKernel(kernel.size) * in_time * RBF(length_scale=[FAR, *scales])


def regressor(kernel: Kernel) -> GaussianProcessRegressor:
    return GaussianProcessRegressor(theirs(kernel), alpha=kernel.noise, optimizer=None)


@pytest.mark.parametrize("seed", range(6))
def test_covariance(seed):
    (a, _), (b, _) = data(seed), data(seed + 100, n=15)
    kernel = Kernel(some_logs(seed))
    np.testing.assert_allclose(kernel(a, b), theirs(kernel)(a, b), rtol=1e-6)


def test_covariance_by_hand():
    """Epsilon 0.19, one generation apart: 0.81 ** 0.5 = 0.9. Half a range apart at a length scale of half a range: exp(-1/2)."""
    kernel = Kernel(np.log([2.0, 0.1, -0.5 * np.log(0.81), 0.5]))
    assert kernel(np.array([[3.0, 0.25]]), np.array([[2.0, 0.75]]))[0, 0] == pytest.approx(2.0 * 0.9**1.0 * np.exp(-0.5))
    assert kernel(np.array([[3.0, 0.25]]), np.array([[1.0, 0.25]]))[0, 0] == pytest.approx(2.0 * 0.81)


@pytest.mark.parametrize("seed", range(6))
def test_evidence(seed):
    points, y = data(seed)
    kernel = Kernel(some_logs(seed))
    value, _ = evidence(kernel.logs, _apart(points, points), y)
    covariance = theirs(kernel)(points) + kernel.noise * np.eye(len(y))
    assert value == pytest.approx(stats.multivariate_normal(cov=covariance).logpdf(y), rel=1e-6)
    assert value == pytest.approx(regressor(kernel).fit(points, y).log_marginal_likelihood_value_, rel=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_the_gradient_of_the_evidence(seed):
    points, y = data(seed)
    logs, apart = some_logs(seed), _apart(points, points)
    _, slope = evidence(logs, apart, y)
    numeric = [
        (evidence(logs + step, apart, y)[0] - evidence(logs - step, apart, y)[0]) / 2e-5 for step in 1e-5 * np.eye(len(logs))
    ]  # central differences
    np.testing.assert_allclose(slope, numeric, rtol=1e-5, atol=1e-5 * np.abs(numeric).max())


@pytest.mark.parametrize(("seed", "n", "dimensions"), [(0, 8, 2), (1, 30, 2), (2, 60, 3), (3, 100, 5)])
def test_the_fit_is_as_likely_as_the_best_of_many_by_scipy(seed, n, dimensions):
    points, y = data(seed, n, dimensions)
    apart, (low, high) = _apart(points, points), _box(dimensions)

    def downhill(logs):
        value, slope = evidence(logs, apart, y)
        return -value, -slope

    starts = np.random.default_rng(0).uniform(low, high, (12, len(low)))
    found = [optimize.minimize(downhill, start, jac=True, method="L-BFGS-B", bounds=list(zip(low, high, strict=True))) for start in starts]
    kernel = fitted(points, y)
    assert (kernel.logs >= low - 1e-12).all()
    assert (kernel.logs <= high + 1e-12).all()
    assert evidence(kernel.logs, apart, y)[0] >= -min(one.fun for one in found) - 0.05


@pytest.mark.parametrize("seed", range(6))
def test_mean_and_spread(seed):
    points, y = data(seed)
    asked, _ = data(seed + 50, n=25)
    kernel = Kernel(some_logs(seed))
    mean, spread = Posterior(kernel, points, y, points[:0])(asked)
    expected_mean, expected_spread = regressor(kernel).fit(points, y).predict(asked, return_std=True)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(spread, expected_spread, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_what_is_pending_narrows_the_spread_and_leaves_the_mean(seed):
    """As after seeing there what is expected there, whatever that is: the spread does not depend on values."""
    points, y = data(seed)
    (asked, _), (pending, _) = data(seed + 50, n=25), data(seed + 60, n=7)
    kernel = Kernel(some_logs(seed))
    mean, spread = Posterior(kernel, points, y, pending)(asked)
    before = regressor(kernel).fit(points, y)
    believed = before.predict(pending)
    after = regressor(kernel).fit(np.concatenate([points, pending]), np.concatenate([y, believed]))
    np.testing.assert_allclose(mean, before.predict(asked), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mean, after.predict(asked), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(spread, after.predict(asked, return_std=True)[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_the_bound_and_its_gradient(seed):
    points, y = data(seed)
    pending, _ = data(seed + 60, n=5)
    seen = Posterior(Kernel(some_logs(seed)), points, y, pending)
    place = np.append(12.5, np.random.default_rng(seed).random(3))
    bound, slope = seen.promise(place, 0.7)
    mean, spread = seen(place[None])
    assert bound == pytest.approx(float(mean[0] + 0.7 * spread[0]))
    numeric = [(seen.promise(place + step, 0.7)[0] - seen.promise(place - step, 0.7)[0]) / 2e-6 for step in 1e-6 * np.eye(4)]
    np.testing.assert_allclose(slope, numeric, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kappa", [0.8, 20.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_batch_is_chosen_as_if_each_knew_of_those_before(seed, kappa):
    points, y = data(seed)
    candidates, _ = data(seed + 50, n=60)
    kernel = fitted(points, y)
    pending = points[:0]
    for _ in range(6):
        mean, spread = Posterior(kernel, points, y, pending)(candidates)
        pending = np.concatenate([pending, candidates[[int((mean + kappa * spread).argmax())]]])
    batch = Posterior(kernel, points, y, points[:0]).batch(candidates, kappa, 6)
    np.testing.assert_array_equal(batch, pending)
    if kappa > 1:
        assert len(np.unique(batch, axis=0)) == 6


# ---- uphill ----------------------------------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10_000), dimensions=st.integers(1, 6))
@settings(max_examples=60)
def test_climbing_a_hill_in_a_box_ends_where_scipy_ends(seed, dimensions):
    """A concave function has one maximum in a box, wherever its top lies."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(dimensions, dimensions))
    steep, top = root @ root.T + 0.3 * np.eye(dimensions), 2 * rng.normal(size=dimensions)

    def hill(x):
        return -0.5 * float((x - top) @ steep @ (x - top)), -steep @ (x - top)

    low, high = -np.ones(dimensions), np.ones(dimensions)
    value, place = climb(hill, rng.uniform(-3, 3, dimensions), low, high, steps=200, tolerance=1e-8)
    known = optimize.minimize(
        lambda x: (-hill(x)[0], -hill(x)[1]), np.zeros(dimensions), jac=True, bounds=[(-1, 1)] * dimensions, method="L-BFGS-B"
    )
    assert value == pytest.approx(-known.fun, rel=1e-4, abs=1e-5)
    assert value == hill(place)[0]
    assert (np.abs(place) <= 1).all()


def test_climbing_a_curved_ridge():
    """Rosenbrock's function, upside down."""
    value, place = climb(
        lambda x: (-optimize.rosen(x), -optimize.rosen_der(x)), np.array([-1.2, 1.0]), -2 * np.ones(2), 2 * np.ones(2), steps=200
    )
    assert value == pytest.approx(0.0, abs=1e-4)
    np.testing.assert_allclose(place, [1.0, 1.0], atol=0.02)


def test_climbing_where_nothing_rises():
    value, place = climb(lambda x: (3.0, np.zeros(2)), np.array([0.2, 7.0]), np.zeros(2), np.ones(2))
    assert value == 3.0
    assert place.tolist() == [0.2, 1.0]


def test_climbing_with_a_wrong_gradient_ends():
    value, place = climb(lambda x: (float(x[0]), np.array([-1.0])), np.array([0.5]), np.zeros(1), np.ones(1))
    assert (value, place.tolist()) == (0.5, [0.5])
