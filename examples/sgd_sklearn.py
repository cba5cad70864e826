"""Scikit-learn's SGDClassifier: a linear model on random features of handwritten digits, trained batch by batch with ``partial_fit``.

An estimator has no ``state_dict``. What training changes is tracked by a pair of functions instead: one returns it as arrays, the other puts
arrays back. Nothing is pickled.

    python examples/sgd_sklearn.py
    lamarck run examples/sgd_sklearn.py:train --interval 20 --generations 20 --mode min

Needs lamarck[durable] and scikit-learn.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import sklearn.datasets
import sklearn.kernel_approximation
import sklearn.linear_model
import sklearn.metrics
from _command import settings, tell
from numpy.typing import NDArray

import lamarck as lk

CLASSES = np.arange(10)

space = lk.Space(
    eta0=lk.Float(1e-3, 100.0, log=True),  # the learning rate: constant in an interval, a schedule over the run
    alpha=lk.Float(1e-8, 1e-1, log=True),  # strength of the penalty
    l1_ratio=lk.Float(0.0, 1.0),  # how much of it is the sum of absolute values, which makes weights vanish
)


@lru_cache(maxsize=1)
def digits() -> dict[str, tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """300 random Fourier features (Rahimi and Recht 2007) of each image, and labels: 600 to train on, 1,197 to judge members by."""
    pixels, labels = sklearn.datasets.load_digits(return_X_y=True)
    features = sklearn.kernel_approximation.RBFSampler(gamma=0.3, n_components=300, random_state=0).fit_transform(pixels / 16)
    order = np.random.default_rng(0).permutation(len(labels))
    return {name: (features[rows], labels[rows]) for name, rows in (("train", order[:600]), ("validation", order[600:]))}


def train(worker: lk.Worker) -> None:
    """Trains members by stochastic gradient descent, and reports the logarithmic loss on the validation images."""
    (x, y), (unseen, truth) = digits()["train"], digits()["validation"]
    model = sklearn.linear_model.SGDClassifier(loss="log_loss", penalty="elasticnet", learning_rate="constant", eta0=1.0, shuffle=False)
    model.partial_fit(x[:1], y[:1], classes=CLASSES)  # makes the arrays

    def save() -> dict[str, Any]:
        return {"coef": model.coef_, "intercept": model.intercept_, "updates": float(model.t_)}

    def load(state: dict[str, Any]) -> None:
        model.coef_[:], model.intercept_[:], model.t_ = state["coef"], state["intercept"], state["updates"]

    def fresh(seed: int) -> None:
        first = np.random.default_rng(seed).normal(0.0, 0.01, model.coef_.shape)
        load({"coef": first, "intercept": np.zeros(10), "updates": 1.0})

    worker.track(model=(save, load))
    worker.on_fresh(fresh)
    for interval in worker:
        model.set_params(**interval.hparams)
        for rows in interval.rng.integers(len(y), size=(len(interval.steps), 16)):
            model.partial_fit(x[rows], y[rows])
        interval.report(sklearn.metrics.log_loss(truth, model.predict_proba(unseen), labels=CLASSES))


def main() -> None:
    """Trains a population."""
    tell(lk.run(train, space, interval=20, mode="min", **settings(__doc__, population_size=8, generations=20)))


if __name__ == "__main__":
    main()
