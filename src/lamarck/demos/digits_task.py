"""What the digits demo trains: a small network on scikit-learn's handwritten digits.

The data are 1,797 real images of 8 x 8 pixels (Alpaydin and Kaynak 1998), which come with scikit-learn. They are split once, stratified by
digit: 200 to train on, 400 to judge members by, the rest to test the one network that was selected. Few training images make regularisation
matter, and with it the hyperparameters.

`train` never sees the test images.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, final

import numpy as np
import sklearn.datasets
import sklearn.model_selection
import torch
from torch import nn
from torch.nn import functional

from lamarck.integrations.torch import set_dropout, set_hparams
from lamarck.space import Categorical, Float, Space
from lamarck.training import Worker

__all__ = ["SPACE", "Score", "evaluate", "network", "split", "train"]

SPACE = Space(
    lr=Float(1e-4, 1.0, log=True),
    weight_decay=Float(1e-6, 1e-1, log=True),
    dropout=Float(0.0, 0.8),
    label_smoothing=Float(0.0, 0.5),
    batch_size=Categorical((16, 32, 64, 128), ordered=True),
)
"""What is tuned: ranges as wide as somebody would give who has never seen the problem."""

Part = Literal["train", "validation", "test"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How good a network is on one part of the data.

    Args:
        loss: Mean cross-entropy in nats, without label smoothing.
        accuracy: Share of images that are recognised, 0 to 1.
    """

    loss: float
    accuracy: float


@lru_cache(maxsize=1)
def _parts() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    pixels, digits = sklearn.datasets.load_digits(return_X_y=True)
    choose = sklearn.model_selection.train_test_split
    rest, test = choose(np.arange(len(digits)), train_size=600, random_state=0, stratify=digits)
    training, validation = choose(rest, train_size=200, random_state=0, stratify=digits[rest])
    x, y = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(digits, dtype=torch.int64)
    return {name: (x[rows], y[rows]) for name, rows in {"train": training, "validation": validation, "test": test}.items()}


def split(part: Part) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns one part of the data, the same in every process and for every seed.

    Args:
        part: ``"train"`` (200 images), ``"validation"`` (400) or ``"test"`` (1,197).

    Returns:
        Pixels, ``float32[n, 64]`` from 0 to 1, and digits, ``int64[n]`` from 0 to 9.

    Example:
        >>> [tuple(split(part)[0].shape) for part in ("train", "validation", "test")]
        [(200, 64), (400, 64), (1197, 64)]
    """
    return _parts()[part]


def network() -> nn.Sequential:
    """Returns an untrained network: 64 pixels, 32 hidden units with dropout, 10 digits."""
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 10))


def evaluate(model: nn.Module, part: Part) -> Score:
    """Returns how good a network is on one part of the data; leaves it in evaluation mode."""
    pixels, digits = split(part)
    model.eval()
    with torch.inference_mode():
        logits = model(pixels)
        return Score(
            loss=functional.cross_entropy(logits, digits).item(),
            accuracy=(logits.argmax(dim=1) == digits).float().mean().item(),
        )


def train(worker: Worker) -> None:
    """Trains members by stochastic gradient descent with momentum 0.9, and reports the loss on the validation images.

    The metric is a loss to be minimised: it has no ties, and it notices overconfidence, which the accuracy of 400 images does not.
    """
    pixels, digits = split("train")
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
    worker.track(model=model, optimizer=optimizer)
    worker.on_fresh(lambda _: _reset(model))
    with _one_thread():
        for interval in worker:
            lr, weight_decay, dropout, smoothing, batch_size = (interval.hparams[name] for name in SPACE.names)
            set_hparams(optimizer, lr=lr, weight_decay=weight_decay)
            set_dropout(model, dropout)
            model.train()
            # Two children of one parent see different images: the interval's seed is theirs alone.
            dice = torch.Generator().manual_seed(interval.seed)
            for rows in torch.randint(len(digits), (len(interval.steps), batch_size), generator=dice):
                optimizer.zero_grad()
                functional.cross_entropy(model(pixels[rows]), digits[rows], label_smoothing=smoothing).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            interval.report(evaluate(model, "validation").loss)


def _reset(model: nn.Sequential) -> None:
    """Draws new initial weights; PyTorch's global generator already starts from the interval's seed."""
    for layer in model:
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keeps PyTorch to one thread: on matrices this small more get in each other's way, and the last bits of a sum depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
