"""Training functions with PyTorch, one right and the others each with one fault, for the tests of the check."""

import torch
from torch import nn

import lamarck as lk
from lamarck.integrations.torch import set_hparams

torch.set_num_threads(1)  # for the speed of the tests
space = lk.Space(lr=lk.Float(1e-3, 1e-1, log=True))
X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
Y = X[:, :1] - X[:, 1:2]


def network():
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 1))


def interval_of(model, optimizer, steps):
    model.train()
    for _ in steps:
        rows = torch.randint(64, (16,))
        optimizer.zero_grad()
        nn.functional.mse_loss(model(X[rows]), Y[rows]).backward()
        optimizer.step()
    model.eval()
    with torch.inference_mode():
        return -nn.functional.mse_loss(model(X), Y).item()


def right(worker):
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    worker.track(model=model, optimizer=optimizer)
    for interval in worker:
        set_hparams(optimizer, lr=interval.hparams["lr"])
        interval.report(interval_of(model, optimizer, interval.steps))


def two_faults(worker):
    """Batch norm's running statistics, which are buffers, are not tracked; and the rate is set in the first interval only."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters())

    def load(state):
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(state[name])

    worker.track(parameters=(lambda: dict(model.named_parameters()), load), optimizer=optimizer)
    fresh = True
    for interval in worker:
        if fresh:
            set_hparams(optimizer, lr=interval.hparams["lr"])
        fresh = False
        interval.report(interval_of(model, optimizer, interval.steps))
