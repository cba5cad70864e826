"""Runs to look at: populations in simulated time whose values depend on hyperparameters as those of real training do."""

from __future__ import annotations

import math

from lamarck._rng import generator
from lamarck.pbt import PBT
from lamarck.space import Categorical, Float, Int, Space
from lamarck.testing.simulation import simulate
from lamarck.types import Assigned, Interval, Report, Reported, Settings

SPACE = Space(
    lr=Float(1e-5, 1e-1, log=True),
    dropout=Float(0.0, 0.7),
    batch=Int(16, 512, log=True),
    optimizer=Categorical(["sgd", "adam", "rmsprop"]),
)


def learn(interval, state):
    """Trains for an interval: the best learning rate falls as training goes on, and the wrong one stands still."""
    skill = 0.0 if state is None else state
    hparams = interval.hparams
    target = -1.5 - 2.0 * min(1.0, interval.generation / 25)
    fit = math.exp(-((math.log10(hparams["lr"]) - target) ** 2)) * (1.1 - abs(hparams["dropout"] - 0.25))
    fit *= 1.0 if hparams["optimizer"] == "adam" else 0.8
    skill += 0.25 * fit / (1 + interval.generation**0.5) * (1.0 - skill)
    noise = generator(interval.seed, interval.member, interval.generation, "noise").normal()
    return skill + 0.004 * float(noise), skill


def events(size, generations, *, space=SPACE, step=learn, seed=1, speeds=(1.0,), info=None, **settings):
    """The journal of a run."""
    pbt = PBT(space=space, settings=Settings(population_size=size, interval=500, generations=generations, seed=seed, **settings))
    made = simulate(pbt, step, speeds=speeds)
    if info is None:
        return made
    (started,) = pbt.init(info)
    return [started, *made[1:]]


def crowd(size, generations):
    """The journal of a large run, written down instead of decided: in each generation the worst fifth copies the best fifth."""
    rng = generator(1, size, generations, "crowd")
    pbt = PBT(space=SPACE, settings=Settings(population_size=size, interval=500, generations=generations))
    made = list(pbt.init())
    hparams, skill, parents = list(made[0].initial), rng.uniform(0.0, 0.2, size), [None] * size
    for generation in range(generations):
        skill += 0.02 * rng.uniform(0.5, 1.0, size) * (1.0 - skill)
        values = skill + 0.01 * rng.normal(size=size)
        for member in range(size):
            start = 500 * generation
            interval = Interval(
                member=member,
                generation=generation,
                hparams=hparams[member],
                start=start,
                until=start + 500,
                restore=None,
                parent=parents[member],
                seed=0,
            )
            report = Report(member=member, generation=generation, step=start + 500, value=float(values[member]), checkpoint="c")
            made += [Assigned(interval=interval), Reported(report=report)]
        order = values.argsort()
        parents = [(member, generation) for member in range(size)]
        for worst, best in zip(order[: size // 5].tolist(), order[-(size // 5) :].tolist(), strict=True):
            parents[worst], skill[worst] = (best, generation), skill[best]
            lr = min(max(hparams[best]["lr"] * float(rng.choice([0.8, 1.25])), 1e-5), 1e-1)
            hparams[worst] = {**hparams[best], "lr": lr, "dropout": float(rng.uniform(0.0, 0.7))}
    return made
