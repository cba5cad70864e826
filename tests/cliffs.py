"""Training that collapses, for everybody at once: rates that were good up to step 60 are too much from there on."""

import numpy as np

import lamarck as lk

SPACE = lk.Space(h=lk.Float(0.2, 1.0))
RULES = {"population_size": 6, "interval": 10, "generations": 16, "seed": 1}
BACK = lk.exploit.Backtracking(elites=3)


def gained(x, h, start):
    """What a model has, and what it suffers, after one more interval; the arrays' last axis is the two of them."""
    strain = np.maximum(0.0, x[..., 1] + h - np.where(np.asarray(start) < 60, 1.0, 0.3))
    whole = strain <= 0.5
    return np.stack([np.where(whole, x[..., 0] + h, 0.0), np.where(whole, strain, 0.0)], axis=-1)


def train(worker):
    x = np.zeros(2)
    worker.track(x=x)
    for interval in worker:
        x[:] = gained(x, interval.hparams["h"], interval.start)
        interval.report(float(x[0]))


class Stack(lk.VectorTask):
    """The same for many at once."""

    def init(self, seeds):
        return np.zeros((len(seeds), 2))

    def fit(self, state, intervals):
        return gained(state, intervals.hparams["h"], intervals.start)

    def evaluate(self, state, intervals):
        return lk.Scores(values=state[:, 0])

    def gather(self, state, rows):
        return state[rows]

    def scatter(self, state, rows, part):
        state[rows] = part
        return state

    def save(self, state):
        return {"x": state}

    def load(self, saved):
        return saved["x"]
