"""The networks and the data that populations are measured on, and ordinary loops over them; also for environments without this library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import sklearn.datasets
import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["BATCH", "NETWORKS", "Network", "digits", "loops"]

BATCH = 64


class Network(NamedTuple):
    title: str
    build: Callable[[], nn.Module]
    sizes: tuple[int, ...]
    """Members that are measured where nobody says."""
    tuned: int
    """Members with which an exploit and memory are measured."""


def _small() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def _middle() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))


def _cnn() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


NETWORKS: Mapping[str, Network] = {
    "small": Network("MLP 64-64-10", _small, (1, 4, 16, 64, 256, 1024), 256),
    "middle": Network("MLP 64-256-256-10", _middle, (1, 4, 16, 64, 256, 1024), 256),
    "cnn": Network("CNN on 8 x 8 (16 and 32 channels)", _cnn, (1, 4, 16, 64, 256), 64),
}


def digits() -> tuple[Tensor, Tensor]:
    """Returns scikit-learn's digits: ``float32[1797, 64]`` in [0, 1] and ``int64[1797]``."""
    pixels, labels = sklearn.datasets.load_digits(return_X_y=True)
    return torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(labels)


def loops(network: str, members: int, *, fused: bool, device: str = "cpu") -> Callable[[int], None]:
    """Returns what trains N ordinary loops for some steps, one after the other."""
    x, y = (part.to(device) for part in digits())
    rows = torch.stack([torch.randperm(len(x))[:BATCH] for _ in range(64)]).to(device)
    models = [NETWORKS[network].build().to(device) for _ in range(members)]
    optimizers = [torch.optim.AdamW(model.parameters(), lr=1e-3, fused=fused) for model in models]

    def train(steps: int) -> None:
        for model, optimizer in zip(models, optimizers, strict=True):
            for step in range(steps):
                chosen = rows[step % 64]
                optimizer.zero_grad()
                functional.cross_entropy(model(x[chosen]), y[chosen]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()

    return train
