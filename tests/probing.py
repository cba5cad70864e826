"""Small modules, their data and their training, for tests of what is found out before anything is trained."""

import numpy as np
import torch
import torch.utils.checkpoint
from torch import nn
from torch.nn import functional

import lamarck as lk
from lamarck.engines.vectorised.torch import Supervised

MEMBERS, STEPS = 3, 4
SGD = {"optimizer": "sgd", "optimizer_settings": {"momentum": 0.9}}
"""Adam makes a step of any size out of a gradient that is zero but for rounding, as that of the bias of attention's keys."""
SPACE = lk.Space(lr=lk.Float(1e-3, 1e-1, log=True))


def loss(model, batch, hparams):
    return functional.cross_entropy(model(batch[0]), batch[1])


def data(dtype=torch.float32):
    rng = torch.Generator().manual_seed(0)
    return torch.randn(24, 8, generator=rng).to(dtype), torch.randint(0, 3, (24,), generator=rng)


def task(build, loss=loss, dtype=torch.float32, **more):
    x, y = data(dtype)
    return Supervised(lambda: build().to(dtype), loss, **{"train": (x, y), "test": (x, y), "batch_size": 8, "optimizer": "adam"} | more)


def intervals(size=MEMBERS, steps=STEPS, **hparams):
    return lk.Intervals(
        members=np.arange(size),
        generations=np.zeros(size, dtype=int),
        hparams={"lr": np.linspace(0.001, 0.01, size)} | {name: np.asarray(column) for name, column in hparams.items()},
        start=np.zeros(size, dtype=int),
        steps=steps,
        seeds=np.arange(size) + 10,
    )


def fitted(trainer, told=None, members=range(MEMBERS)):
    rows = np.array(list(members))
    told = (told or intervals()).rows(rows)
    state = trainer.fit(trainer.init(rows), told)
    return state, trainer.evaluate(state, told).values


def equal(state, other, rows=slice(None), dtype=torch.float32):
    close = 1e-9 if dtype == torch.float64 else 2e-5
    for mine, theirs in zip(state.tensors(), other.tensors(), strict=True):
        torch.testing.assert_close(mine[rows], theirs, rtol=close, atol=close)


class Layer(nn.Module):
    """A linear layer, and something done before and after it."""

    def __init__(self, after=lambda x: x, before=lambda x: x, make=lambda: nn.Linear(8, 3)):
        super().__init__()
        self.inner, self.before, self.after = make(), before, after

    def forward(self, x):
        return self.after(self.inner(self.before(x)))


def made(**how):
    return lambda: nn.Sequential(Layer(**how))


class Hooked(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 3)
        self.inner.weight.register_hook(lambda gradient: gradient * 0.5)

    def forward(self, x):
        return self.inner(x)


class Looked(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(2, 3, sparse=True)

    def forward(self, x):
        return self.table((x > 0).long()).mean(1)
