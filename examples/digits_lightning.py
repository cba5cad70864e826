"""Lightning: a network on handwritten digits, which its Trainer fits interval by interval.

The module is an ordinary one. Its hyperparameters are in ``self.hparams``, where Lamarck sets them before each interval; noise and label
smoothing are read in every step, learning rate and weight decay when the optimizer is made.

    python examples/digits_lightning.py
    lamarck run examples/digits_lightning.py:train --interval 40 --generations 15 --mode min

Needs lamarck[lightning] and scikit-learn.
"""

from __future__ import annotations

import logging
import warnings
from functools import lru_cache
from typing import Any

import lightning
import sklearn.datasets
import torch
from _command import settings, tell
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import lamarck as lk
from lamarck.integrations.lightning import TunedModule

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # it would say of each interval that it begins and ends
warnings.filterwarnings("ignore", ".*does not have many workers")

space = lk.Space(
    lr=lk.Float(1e-4, 1e-1, log=True),
    weight_decay=lk.Float(1e-4, 10.0, log=True),
    noise=lk.Float(0.0, 0.5),  # standard deviation; pixels are 0 to 1
    smoothing=lk.Float(0.0, 0.3),  # probability that the labels are said to leave to others
)


@lru_cache(maxsize=1)
def digits() -> dict[str, TensorDataset]:
    """Images, ``float32[n, 64]``, and labels: 200 to train on, 797 to judge members by."""
    pixels, labels = sklearn.datasets.load_digits(return_X_y=True)
    x, y = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(labels, dtype=torch.int64)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    return {part: TensorDataset(x[rows], y[rows]) for part, rows in (("train", order[:200]), ("validation", order[200:997]))}


class Digits(lightning.LightningModule):  # type: ignore[misc]
    """A network of two layers."""

    def __init__(self, lr: float = 1e-3, weight_decay: float = 0.0, noise: float = 0.0, smoothing: float = 0.0) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        x, y = batch
        noisy = x + self.hparams.noise * torch.randn_like(x)
        return functional.cross_entropy(self.net(noisy), y, label_smoothing=self.hparams.smoothing)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        self.log("loss", functional.cross_entropy(self.net(x), y))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.hparams.lr, weight_decay=self.hparams.weight_decay)


def train(worker: lk.Worker) -> None:
    """Trains members, and reports the loss on the validation images."""
    torch.set_num_threads(1)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_epochs=-1, enable_checkpointing=False, accelerator="cpu", **quiet)  # as long as there are intervals
    module = Digits()
    tuned = TunedModule(trainer, module, DataLoader(digits()["train"], batch_size=32, shuffle=True))
    judged = DataLoader(digits()["validation"], batch_size=797)

    def fresh(seed: int) -> None:
        torch.manual_seed(seed)
        module.load_state_dict(Digits().state_dict())

    worker.track(module=tuned)
    worker.on_fresh(fresh)
    for interval in worker:
        tuned.train(interval.steps, **interval.hparams)
        interval.report(trainer.validate(module, judged, verbose=False)[0]["loss"])


def main() -> None:
    """Trains a population."""
    tell(lk.run(train, space, interval=40, mode="min", **settings(__doc__, population_size=8, generations=15)))


if __name__ == "__main__":
    main()
