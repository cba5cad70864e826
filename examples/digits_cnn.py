"""A convolutional network on handwritten digits, with the strength of the augmentation among the hyperparameters.

200 training images are few, so how far they are turned and shifted and how much noise they get matters as much as the learning rate, and what
is best may change while the network learns. Members are judged by their loss on other images.

    python examples/digits_cnn.py
    lamarck run examples/digits_cnn.py:train --interval 40 --generations 15 --mode min

Needs lamarck[torch] and scikit-learn.
"""

from __future__ import annotations

from functools import lru_cache

import sklearn.datasets
import torch
from _command import settings, tell
from torch import nn
from torch.nn import functional

import lamarck as lk
from lamarck.checkpoints import MemoryCheckpoints
from lamarck.integrations.torch import set_hparams

space = lk.Space(
    lr=lk.Float(1e-4, 1e-1, log=True),
    weight_decay=lk.Float(1e-4, 10.0, log=True),
    turn=lk.Float(0.0, 60.0),  # largest angle, degrees
    shift=lk.Float(0.0, 3.0),  # largest distance, pixels of 8
    noise=lk.Float(0.0, 0.5),  # standard deviation; pixels are 0 to 1
)


@lru_cache(maxsize=1)
def digits() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Images, ``float32[n, 1, 8, 8]``, and labels: 200 to train on, 797 to judge members by, 800 to test the winner."""
    pixels, labels = sklearn.datasets.load_digits(return_X_y=True)
    x, y = torch.tensor(pixels / 16, dtype=torch.float32).reshape(-1, 1, 8, 8), torch.tensor(labels, dtype=torch.int64)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    rows = {"train": order[:200], "validation": order[200:997], "test": order[997:]}
    return {part: (x[chosen], y[chosen]) for part, chosen in rows.items()}


def network() -> nn.Sequential:
    """Two convolutions with batch normalisation: its running statistics are part of the state and travel with the weights."""
    first = (nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2))
    second = (nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(128, 10))


def augmented(x: torch.Tensor, turn: float, shift: float, noise: float, dice: torch.Generator) -> torch.Tensor:
    """Turns and shifts each image by chance, and adds noise."""
    angle = torch.deg2rad(torch.empty(len(x)).uniform_(-1, 1, generator=dice) * turn)
    moved = torch.empty(len(x), 2, 1).uniform_(-1, 1, generator=dice) * shift / 4  # the image is 2 wide here
    rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).reshape(-1, 2, 2)
    grid = functional.affine_grid(torch.cat([rotation, moved], dim=2), list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, align_corners=False) + noise * torch.randn(x.shape, generator=dice)


def evaluate(model: nn.Module, part: str) -> tuple[float, float]:
    """Mean cross-entropy in nats, and the share of images that are recognised."""
    images, labels = digits()[part]
    model.eval()
    with torch.inference_mode():
        logits = model(images)
    return functional.cross_entropy(logits, labels).item(), (logits.argmax(1) == labels).float().mean().item()


def train(worker: lk.Worker) -> None:
    """Trains members with AdamW on augmented images, and reports the loss on the validation images."""
    torch.set_num_threads(1)
    images, labels = digits()["train"]
    model = network()
    optimizer = torch.optim.AdamW(model.parameters())
    worker.track(model=model, optimizer=optimizer)
    worker.on_fresh(lambda _: model.load_state_dict(network().state_dict()))  # the global generator starts from the interval's seed
    for interval in worker:
        h = interval.hparams
        set_hparams(optimizer, lr=h["lr"], weight_decay=h["weight_decay"])
        dice = torch.Generator().manual_seed(interval.seed)
        model.train()
        for _ in interval.steps:
            rows = torch.randint(len(labels), (64,), generator=dice)
            loss = functional.cross_entropy(model(augmented(images[rows], h["turn"], h["shift"], h["noise"], dice)), labels[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        value, accuracy = evaluate(model, "validation")
        interval.report(value, metrics={"accuracy": accuracy})


def main() -> None:
    """Trains a population, and tests the one network that it selects."""
    weights = MemoryCheckpoints()
    history = lk.run(train, space, interval=40, mode="min", checkpoints=weights, **settings(__doc__, population_size=8, generations=15))
    tell(history)
    winner = network()
    winner.load_state_dict(weights.get(str(history.best.checkpoint))["model"])
    print("\ntest loss {:.3f}, accuracy {:.1%}".format(*evaluate(winner, "test")))


if __name__ == "__main__":
    main()
