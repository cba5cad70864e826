"""A population of small networks on handwritten digits as one compiled program, in JAX with Optax.

Three pure functions say how one member begins, trains and is judged; they are compiled for all members at once, and all steps of an interval
are one call. Members are judged by their loss on 797 images that nobody trains on. Needs lamarck[jax] and scikit-learn.

    python examples/jax_vectorised.py
    lamarck run examples/jax_vectorised.py:train --interval 100 --generations 15 --mode min --engine vectorised
"""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _command import settings, tell
from sklearn.datasets import load_digits

import lamarck as lk
from lamarck.integrations.jax import JaxTask

WIDTH, BATCH = 64, 64

space = lk.Space(
    lr=lk.Float(1e-4, 1.0, log=True),
    weight_decay=lk.Float(1e-5, 1.0, log=True),
    one_minus_beta1=lk.Float(0.02, 0.5, log=True),
    smoothing=lk.Float(0.0, 0.3),
    noise=lk.Float(0.0, 1.0),
)


@cache
def digits() -> dict[str, tuple[Any, Any]]:
    """1,000 images to train on and 797 to judge by, ``float32[n, 64]`` with mean 0 and deviation 1, and what they show."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images = (images[order].astype(np.float32) - 4.9) / 6.0
    return {"train": (images[:1000], labels[order][:1000]), "judge": (images[1000:], labels[order][1000:])}


def logits(params: dict[str, Any], images: Any) -> Any:
    """A perceptron with one hidden layer."""
    return jnp.tanh(images @ params["inner"] + params["bias"]) @ params["outer"] + params["base"]


def new(key: Any) -> Any:
    """Weights of a new member, and its optimizer's state."""
    inner, outer = jax.random.split(key)
    params = {
        "inner": jax.random.normal(inner, (64, WIDTH)) / 8,
        "bias": jnp.zeros(WIDTH),
        "outer": jax.random.normal(outer, (WIDTH, 10)) / WIDTH**0.5,
        "base": jnp.zeros(10),
    }
    return params, optax.adamw(0.0).init(params)


def step(state: Any, hparams: Any, key: Any) -> Any:
    """One batch, with noise on the images and smoothed labels."""
    params, moments = state
    images, labels = map(jnp.asarray, digits()["train"])
    choice, disturbance = jax.random.split(key)
    rows = jax.random.randint(choice, (BATCH,), 0, len(images))
    x = images[rows] + hparams["noise"] * jax.random.normal(disturbance, (BATCH, 64))
    y = optax.smooth_labels(jax.nn.one_hot(labels[rows], 10), hparams["smoothing"])
    gradient = jax.grad(lambda params: optax.softmax_cross_entropy(logits(params, x), y).mean())(params)
    optimizer = optax.adamw(hparams["lr"], b1=1 - hparams["one_minus_beta1"], weight_decay=hparams["weight_decay"])
    updates, moments = optimizer.update(gradient, moments, params)
    return optax.apply_updates(params, updates), moments


def score(state: Any, key: Any) -> Any:
    """Cross-entropy on the images that judge."""
    images, labels = map(jnp.asarray, digits()["judge"])
    return optax.softmax_cross_entropy_with_integer_labels(logits(state[0], images), labels).mean()


train = JaxTask(new=new, step=step, score=score)


def main() -> None:
    """Trains a population."""
    tell(lk.run(train, space, interval=100, mode="min", **settings(__doc__, population_size=64, generations=15, vectorised=True)))


if __name__ == "__main__":
    main()
