"""A population of 256 networks on handwritten digits, trained as one program.

Each member has a learning rate, a weight decay, a dropout probability and an amount of label smoothing of its own. The network, the loss and
the measure are written as for one member. Needs PyTorch and scikit-learn. As a script, or from the command line:

    python examples/digits_vectorised.py
    lamarck run examples/digits_vectorised.py:train --interval 40 --generations 10 --mode min --engine vectorised
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sklearn.datasets
import torch
from _command import settings, tell
from torch import Tensor, nn
from torch.nn import functional

import lamarck as lk
from lamarck.checkpoints import MemoryCheckpoints

space = lk.Space(
    lr=lk.Float(1e-4, 1e-1, log=True),
    weight_decay=lk.Float(1e-6, 1e-1, log=True),
    dropout=lk.Float(0.0, 0.6),
    smoothing=lk.Float(0.0, 0.3),
)
pixels, digits = sklearn.datasets.load_digits(return_X_y=True)
images, labels = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(digits)


def network() -> nn.Module:
    """One member's network."""
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 10))


def loss(model: nn.Module, batch: tuple[Tensor, Tensor], hparams: Mapping[str, Any]) -> Tensor:
    """What one member lessens."""
    return functional.cross_entropy(model(batch[0]), batch[1], label_smoothing=hparams["smoothing"])


def error(model: nn.Module, batch: tuple[Tensor, Tensor], hparams: Mapping[str, Any]) -> Tensor:
    """What it is judged by."""
    return functional.cross_entropy(model(batch[0]), batch[1])


train = lk.Supervised(
    network,
    loss,
    train=(images[:600], labels[:600]),
    test=(images[600:1200], labels[600:1200]),
    evaluate=error,
    optimizer="adamw",
    attributes={"dropout": "2.p"},
)


def main() -> None:
    """Trains a population, and tests the one network that it selects."""
    weights = MemoryCheckpoints()
    given = settings(__doc__, population_size=256, generations=10) | {"engine": lk.Vectorised()}
    history = lk.run(train, space, interval=40, mode="min", checkpoints=weights, **given)
    tell(history)
    winner = network().eval()
    winner.load_state_dict(weights.get(str(history.best.checkpoint))["state"]["model"])
    with torch.no_grad():
        right = (winner(images[1200:]).argmax(dim=1) == labels[1200:]).float().mean().item()
    print(f"\ntest accuracy {right:.1%}")


if __name__ == "__main__":
    main()
