"""A population of 256 networks on handwritten digits, trained as one program.

Each member has a learning rate, a weight decay, a dropout probability and an amount of label smoothing of its own. What a member of such a
population costs is a small part of what it costs alone.

    python examples/digits_vectorised.py
"""

import sklearn.datasets
import torch
from _command import main
from torch import nn
from torch.nn import functional

import lamarck as lk

pixels, digits = sklearn.datasets.load_digits(return_X_y=True)
x, y = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(digits)

space = lk.Space(
    lr=lk.Float(1e-4, 1e-1, log=True),
    weight_decay=lk.Float(1e-6, 1e-1, log=True),
    dropout=lk.Float(0.0, 0.6),
    smoothing=lk.Float(0.0, 0.3),
)


def network():
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 10))


def loss(model, batch, hparams):
    return functional.cross_entropy(model(batch[0]), batch[1], label_smoothing=hparams["smoothing"])


def accuracy(model, batch, hparams):
    return (model(batch[0]).argmax(dim=1) == batch[1]).float()


task = lk.Supervised(
    network, loss, train=(x[:1200], y[:1200]), test=(x[1200:], y[1200:]), evaluate=accuracy, optimizer="adamw", attributes={"dropout": "2.p"}
)

if __name__ == "__main__":
    history = main(task, space, population_size=256, interval=20, steps=200, engine=lk.Vectorised())
    best = history.best
    print(f"best of {len({record.member for record in history.records})}: {best.value:.1%} of the test images, by member {best.member}")
