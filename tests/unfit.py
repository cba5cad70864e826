"""Training functions, one right and the others each with one fault, for the tests of the check. Imported by its processes, too."""

import os
import random

import numpy as np

import lamarck as lk

space = lk.Space(lr=lk.Float(1e-3, 1e-1, log=True))
DATA = np.random.default_rng(0).normal(size=(64, 3))
TARGET = DATA @ np.array([1.0, -2.0, 0.5])


class Momentum:
    """Gradient descent with momentum, that keeps its state as PyTorch's optimizers do."""

    def __init__(self, weights, lr=0.05):
        self.weights, self.velocity = weights, np.zeros_like(weights)
        self.param_groups = [{"lr": lr, "momentum": 0.9}]

    def step(self, gradient):
        (group,) = self.param_groups
        self.velocity *= group["momentum"]
        self.velocity += gradient
        self.weights -= group["lr"] * self.velocity

    def state_dict(self):
        return {"state": {0: {"velocity": self.velocity}}, "param_groups": [dict(group) for group in self.param_groups]}

    def load_state_dict(self, state):
        self.velocity[:] = state["state"][0]["velocity"]
        self.param_groups = [dict(group) for group in state["param_groups"]]


def gradient(weights, rows):
    return 2 * DATA[rows].T @ (DATA[rows] @ weights - TARGET[rows]) / len(rows)


def loss(weights):
    return float(np.mean((DATA @ weights - TARGET) ** 2))


def loop(worker, weights, optimizer, rows):
    """The loop that all have in common, done right."""
    for interval in worker:
        optimizer.param_groups[0]["lr"] = interval.hparams["lr"]
        draw = rows(interval)
        for _ in interval.steps:
            optimizer.step(gradient(weights, next(draw)))
        interval.report(-loss(weights))


def drawn(rng):
    while True:
        yield rng.integers(len(DATA), size=8)


def of_the_interval(interval):
    return drawn(interval.rng)


def right(worker):
    weights = np.zeros(3)
    optimizer = Momentum(weights)
    worker.track(weights=weights, optimizer=optimizer)
    loop(worker, weights, optimizer, of_the_interval)


def untracked_generator(worker):
    weights, rng = np.zeros(3), np.random.default_rng(7)
    optimizer = Momentum(weights)
    worker.track(weights=weights, optimizer=optimizer)
    loop(worker, weights, optimizer, lambda _: drawn(rng))


def tracked_generator(worker):
    weights, rng = np.zeros(3), np.random.default_rng(7)
    optimizer = Momentum(weights)
    worker.track(weights=weights, optimizer=optimizer, rng=rng)
    loop(worker, weights, optimizer, lambda _: drawn(rng))


def unseeded_generator(worker):
    weights, rng = np.zeros(3), np.random.default_rng()
    optimizer = Momentum(weights)
    worker.track(weights=weights, optimizer=optimizer)
    loop(worker, weights, optimizer, lambda _: drawn(rng))


def untracked_optimizer(worker):
    weights = np.zeros(3)
    optimizer = Momentum(weights)
    worker.track(weights=weights)
    loop(worker, weights, optimizer, of_the_interval)


def untracked_position(worker):
    weights = np.zeros(3)
    optimizer = Momentum(weights)
    batches = drawn(np.random.default_rng(7))
    worker.track(weights=weights, optimizer=optimizer)
    loop(worker, weights, optimizer, lambda _: batches)


def rate_set_once(worker):
    weights = np.zeros(3)
    optimizer = Momentum(weights)
    worker.track(weights=weights, optimizer=optimizer)
    first = True
    for interval in worker:
        if first:
            optimizer.param_groups[0]["lr"] = interval.hparams["lr"]
            first = False
        for rows in interval.rng.integers(len(DATA), size=(len(interval.steps), 8)):
            optimizer.step(gradient(weights, rows))
        interval.report(-loss(weights))


def rate_in_the_value_only(worker):
    weights = np.zeros(3)
    worker.track(weights=weights)
    for interval in worker:
        for rows in interval.rng.integers(len(DATA), size=(len(interval.steps), 8)):
            weights -= 0.01 * gradient(weights, rows)
        interval.report(-loss(weights) - interval.hparams["lr"])


SEEN = []


def leaking_list(worker):
    """Averages over the last gradients that this process has seen, whoever trained then."""
    weights = np.zeros(3)
    worker.track(weights=weights)
    for interval in worker:
        for rows in interval.rng.integers(len(DATA), size=(len(interval.steps), 8)):
            SEEN.append(gradient(weights, rows))
            weights -= interval.hparams["lr"] * np.mean(SEEN[-20:], axis=0)
        interval.report(-loss(weights))


def lossy_load(worker):
    weights, average = np.zeros(3), np.zeros(3)

    def save():
        return {"weights": weights, "average": average}

    def load(state):
        weights[:] = state["weights"]

    worker.track(model=(save, load))
    for interval in worker:
        for rows in interval.rng.integers(len(DATA), size=(len(interval.steps), 8)):
            weights -= interval.hparams["lr"] * gradient(weights, rows)
            average *= 0.9
            average += 0.1 * weights
        interval.report(-loss(average))


def tracks_nothing(worker):
    for interval in worker:
        interval.report(interval.hparams["lr"])


def tracks_a_copy(worker):
    weights = np.zeros(3)
    worker.track(weights=weights.copy())
    for interval in worker:
        for rows in interval.rng.integers(len(DATA), size=(len(interval.steps), 8)):
            weights -= interval.hparams["lr"] * gradient(weights, rows)
        interval.report(-loss(weights))


def raises(worker):
    worker.track(x=np.zeros(1))
    for interval in worker:
        if interval.generation:
            raise ValueError("no more data")
        interval.report(0.0)


def raises_when_restored(worker):
    """The weights are made in the first interval, so that in a new process there is nothing to load into."""
    weights = {}

    def load(state):
        for name, value in state.items():
            weights[name][:] = value

    worker.track(weights=(lambda: weights, load))
    for interval in worker:
        weights.setdefault("w", np.zeros(3))
        for rows in interval.rng.integers(len(DATA), size=(len(interval.steps), 8)):
            weights["w"] -= interval.hparams["lr"] * gradient(weights["w"], rows)
        interval.report(-loss(weights["w"]))


def raises_above(worker):
    weights = np.zeros(3)
    worker.track(weights=weights)
    for interval in worker:
        if interval.hparams["lr"] > 0.05:
            raise ValueError("too fast")
        for rows in interval.rng.integers(len(DATA), size=(len(interval.steps), 8)):
            weights -= interval.hparams["lr"] * gradient(weights, rows)
        interval.report(-loss(weights))


def returns_early(worker):
    worker.track(x=np.zeros(1))
    for interval in worker:
        interval.report(0.0)
        return


def exits(worker):
    worker.track(x=np.zeros(1))
    for _ in worker:
        print("about to go")
        os._exit(3)


def noisy(worker):
    """As a GPU does: the last digits of each gradient are another draw each time."""
    weights, dice = np.zeros(3), random.SystemRandom()
    optimizer = Momentum(weights)
    worker.track(weights=weights, optimizer=optimizer)
    for interval in worker:
        optimizer.param_groups[0]["lr"] = interval.hparams["lr"]
        for rows in interval.rng.integers(len(DATA), size=(len(interval.steps), 8)):
            optimizer.step(gradient(weights, rows) * (1 + 1e-9 * dice.random()))
        interval.report(-loss(weights))


def noisy_without_its_optimizer(worker):
    weights, dice = np.zeros(3), random.SystemRandom()
    optimizer = Momentum(weights)
    worker.track(weights=weights)
    for interval in worker:
        optimizer.param_groups[0]["lr"] = interval.hparams["lr"]
        for rows in interval.rng.integers(len(DATA), size=(len(interval.steps), 8)):
            optimizer.step(gradient(weights, rows) * (1 + 1e-9 * dice.random()))
        interval.report(-loss(weights))


def diverges(worker):
    x = np.ones(1)
    worker.track(x=x)
    for interval in worker:
        x *= np.nan * interval.hparams["lr"]
        interval.report(float(x[0]))


WORDS = [f"word{i}" for i in range(26)]


def order_of_a_set(worker):
    """Which column belongs to which word is another matter in each process."""
    vocabulary = list(set(WORDS))
    weights = np.zeros(len(vocabulary))
    worker.track(weights=weights)
    for interval in worker:
        for row in interval.rng.integers(len(WORDS), size=len(interval.steps)):
            weights[vocabulary.index(WORDS[row])] += interval.hparams["lr"] * row
        interval.report(float(np.arange(len(weights)) @ weights))


def untracked_counter(worker):
    """Warms the rate up over the first steps, which it counts itself."""
    weights, step = np.zeros(3), 0
    worker.track(weights=weights)
    for interval in worker:
        for rows in interval.rng.integers(len(DATA), size=(len(interval.steps), 8)):
            step += 1
            weights -= interval.hparams["lr"] * min(1.0, step / 15) * gradient(weights, rows)
        interval.report(-loss(weights))


def never_loads(worker):
    weights = np.zeros(3)

    def load(state):
        if state["weights"].any():
            raise RuntimeError("size mismatch")
        weights[:] = 0

    worker.track(model=(lambda: {"weights": weights}, load))
    for interval in worker:
        for rows in interval.rng.integers(len(DATA), size=(len(interval.steps), 8)):
            weights -= interval.hparams["lr"] * gradient(weights, rows)
        interval.report(-loss(weights))


two_kinds = lk.Space(lr=lk.Float(1e-3, 1e-1, log=True), kind=["plain", "heavy", "other"], momentum=lk.Float(0.0, 0.9, when={"kind": "plain"}))


def fails_with_one_kind(worker):
    weights = np.zeros(3)
    worker.track(weights=weights)
    for interval in worker:
        if interval.hparams["kind"] == "plain":
            raise NotImplementedError("plain")
        for rows in interval.rng.integers(len(DATA), size=(len(interval.steps), 8)):
            weights -= interval.hparams["lr"] * gradient(weights, rows)
        interval.report(-loss(weights))
