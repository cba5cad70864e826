"""One script that trains alone, under `lamarck run`, and for a server, by its environment alone.

A small network on handwritten digits, in PyTorch. The line that makes it a worker is the one with ``lk.worker``.

    python examples/scripts/anywhere.py                                    # alone: one network, with the hyperparameters below
    LAMARCK_POPULATION=8 LAMARCK_JOURNAL=digits.db python examples/scripts/anywhere.py          # alone: a population in this process
    lamarck run examples/scripts/anywhere.py --space examples/scripts/space.csv -n 8 --interval 50 --generations 20 --mode min --workers 2
    LAMARCK_URL=http://host:8765 LAMARCK_RUN=digits python examples/scripts/anywhere.py         # joined to a server, on any machine
"""

from __future__ import annotations

from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn

import lamarck as lk

worker = lk.worker(Path(__file__).with_name("space.csv"), interval=50, generations=20, mode="min", initial=[{"lr": 0.1, "weight_decay": 1e-4}])

pixels, digits = (torch.tensor(part) for part in load_digits(return_X_y=True))
x, y = pixels[:1200].float() / 16, digits[:1200]
held_out, answers = pixels[1200:].float() / 16, digits[1200:]

torch.set_num_threads(1)
model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
worker.track(model=model, optimizer=optimizer)

for interval in worker:
    lk.torch.set_hparams(optimizer, **interval.hparams)
    for _ in interval.steps:
        rows = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.inference_mode():
        loss = nn.functional.cross_entropy(model(held_out), answers).item()
    interval.report(loss)
    print(f"member {interval.member}, step {interval.until}: loss {loss:.4f}", flush=True)
