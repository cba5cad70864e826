"""A script that owns its loop and its files, and asks: should I exploit?

It trains a classifier of handwritten digits by gradient descent in NumPy, saves it with ``numpy.savez``, and says how good it is. That is all
that a population needs of it. The verbs are those of https://github.com/chrischute/pbt; a script that was written for that one differs in its
import and in the address.

Alone, with a population of one:

    python examples/scripts/own_loop.py

Several of them, joined to a run that a server keeps; each may be started, stopped and started again wherever and whenever:

    python examples/scripts/own_loop.py http://127.0.0.1:8765 digits

or all by one command, on this machine:

    lamarck run examples/scripts/own_loop.py --space examples/scripts/space.csv -n 8 --interval 1 --generations 20 --workers 2
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from lamarck.scripts import Client

SPACE = Path(__file__).with_name("space.csv")
BATCHES = 50


def main(url: str | None = None, run: str | None = None) -> None:
    """Trains until the run is over."""
    pixels, digits = load_digits(return_X_y=True)
    x, held_out = pixels[:1200] / 16, pixels[1200:] / 16
    weights = np.zeros((64, 10))

    folder = Path(tempfile.mkdtemp(prefix="own-loop-"))
    np.savez(folder / "fresh.npz", weights=weights)
    client = Client(url, run, space=SPACE, generations=20)
    client.start_from(folder / "fresh.npz")  # a script may be handed more members than one

    while not client.over:
        if client.should_exploit():
            client.exploit()
            client.explore()
            weights = np.load(str(client.parameters_path()))["weights"]
        hparams = client.hyperparameters()

        for _ in range(BATCHES):
            rows = np.random.randint(len(x), size=64)  # noqa: NPY002 - seeded anew for each interval, so that siblings see other images
            odds = np.exp(x[rows] @ weights - (x[rows] @ weights).max(axis=1, keepdims=True))
            slope = x[rows].T @ (odds / odds.sum(axis=1, keepdims=True) - np.eye(10)[digits[rows]]) / 64
            weights -= hparams["lr"] * (slope + hparams["weight_decay"] * weights)

        np.savez(folder / "weights.npz", weights=weights)
        client.save(folder / "weights.npz", float(((held_out @ weights).argmax(axis=1) == digits[1200:]).mean()))
    print("the run is over")


if __name__ == "__main__":
    main(*sys.argv[1:])
