"""What `test_vectorised_device` runs in a process of its own: tasks on a device, beside the same on the CPU.

python device_side.py pretend|real [TASK ...]    prints what was found, as JSON
"""

import json
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import lamarck as lk
from lamarck.checkpoints.tree import copy
from lamarck.engines.vectorised.torch import graphs, tapes
from lamarck.envs import Acrobot, CartPole, Pendulum
from lamarck.rl import PPO

if sys.argv[1] == "pretend":
    from pretend import DEVICE, pretended
else:
    from real import DEVICE, pretended

MEMBERS, BLOCK = 3, 4


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.out = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        return self.out(self.layer(x.view(len(x), 4, 4))[0][:, -1])


class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.out = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.out(self.layer(x.view(len(x), 4, 4)).mean(1))


def perceptron():
    return nn.Sequential(nn.Linear(16, 8), nn.LayerNorm(8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3))


def convolutions():
    seen = nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)  # a bias would be trained by rounding alone
    return nn.Sequential(*seen, nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(0.3), nn.Flatten(), nn.Linear(16, 3))


def loss(model, batch, hparams):
    smoothing = hparams.get("smoothing", 0.0)
    return functional.cross_entropy(model(batch[0]), batch[1], label_smoothing=smoothing, reduction="none")


def accuracy(model, batch, hparams):
    return (model(batch[0]).argmax(1) == batch[1]).float()


def halving(step):
    return 1 / (1 + step)


def intervals(steps, start=0, members=MEMBERS, **columns):
    return lk.Intervals(
        members=np.arange(members),
        generations=np.zeros(members, dtype=int),
        hparams={"lr": np.linspace(1e-3, 1e-2, members), **{name: np.linspace(*ends, members) for name, ends in columns.items()}},
        start=np.full(members, start),
        steps=steps,
        seeds=np.arange(members) + 10 + start,
    )


def samples(device=None):
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(21, 16, generator=rng), torch.randint(0, 3, (21,), generator=rng)
    return x.to(device), y.to(device)


def supervised(device, build, **settings):
    data = samples(device)
    return lk.Supervised(build, loss, **{"train": data, "test": data, "evaluate": accuracy, "batch_size": 8, "how": "batched"} | settings)


def lived(task, **columns):
    """Trains, copies a member over another, saves, restores, trains on, judges; returns all numbers that are left."""
    state = task.init(np.arange(MEMBERS))
    state = task.fit(state, intervals(6, **columns))
    state = task.scatter(state, np.array([0]), task.gather(state, np.array([2])))
    state = task.load(copy(task.save(state)))
    state = task.fit(state, intervals(5, 6, **columns))
    scores = task.evaluate(state, intervals(5, 6, **columns))
    return state, leaves(copy(task.save(state))), torch.as_tensor(scores.values)


def leaves(saved):
    return [leaf for leaf in torch.utils._pytree.tree_leaves(saved) if isinstance(leaf, torch.Tensor)]


def compared(make, **columns):
    """Differences between the devices; what an interval waits for, by its length and by how many members there are; kernels of a step."""
    _, near, said = lived(make("cpu"), **columns)
    with pretended() as pretend:
        task = make(DEVICE)
        state, far, heard = lived(task, **columns)
        found = {"difference": max(float((a.double() - b.double()).abs().max()) for a, b in zip(near, far, strict=True))}
        found["of scores"] = float((said - heard).abs().max())
        task.fit(state, intervals(2 * BLOCK, 11, **columns))  # what has a new place in memory is recorded anew
        for steps in (BLOCK, 2 * BLOCK):
            pretend.reset()
            task.fit(state, intervals(steps, 11, **columns))
            found[f"seen in {steps // BLOCK}"] = told(pretend.seen)
        found["launched"] = dict(pretend.kernels)
        many = task.init(np.arange(8))
        task.fit(many, intervals(BLOCK, 11, 8, **columns))
        pretend.reset()
        task.fit(many, intervals(BLOCK, 11, 8, **columns))
        found["seen by 8"] = told(pretend.seen)
    return found


def told(seen: Counter):
    return {f"{what}, {line}": number for (what, line), number in sorted(seen.items())}


def kernels(build, **settings):
    """What a batched step launches."""
    with pretended() as pretend:
        task = supervised(DEVICE, build, cuda_graphs=False, **settings)
        state = task.init(np.arange(MEMBERS))
        task.fit(state, intervals(2))
        (plan,) = task._plans(intervals(2), torch.float32)
        pretend.reset()
        task.choice.train(state, plan.part(0, 1))
        return dict(pretend.kernels)


def loaded(device):
    loader = DataLoader(TensorDataset(*samples()), batch_size=5, shuffle=True, generator=torch.Generator().manual_seed(1))
    return supervised(device, perceptron, train=loader)


def agents(env):
    return lambda device: PPO(env=env, copies=2, moves=4, epochs=1, batches=2, hidden=(8,), episodes=2, device=str(device))


def run(device, folder):
    """A whole run of two chunks, in which members are copied; returns what became of it, and whether the winner is as good as reported."""
    task = supervised(device, perceptron, attributes={"dropout": "3.p"}, optimizer="adamw")
    space = lk.Space(lr=lk.Float(1e-4, 1e-1, log=True), dropout=lk.Float(0.0, 0.5), smoothing=lk.Float(0.0, 0.2))
    journal = str(Path(folder) / f"{torch.device(device).type}.db")
    engine = lk.Vectorised(processes=1, members_per_chunk=4)
    history = lk.run(task, space, population_size=6, interval=5, generations=4, journal=journal, engine=engine)
    winner = perceptron().eval()
    winner.load_state_dict(lk.load(journal)["state"]["model"])
    return {
        "values": [record.value for record in history.records],
        "copies": [[copied.member, copied.generation, *copied.donor] for copied in history.copies],
        "winner": bool(abs(float(accuracy(winner, samples(), {}).mean()) - history.best.value) < 1e-6),
    }


def whole_runs():
    with tempfile.TemporaryDirectory() as folder:
        near = run("cpu", folder)
        with pretended():
            return {"near": near, "far": run(DEVICE, folder)}


def chunked():
    """How many of a thousand members train at once, by the memory that is free."""
    found = {}
    for memory in (1 << 16, 1 << 23, 1 << 33):
        with pretended(memory=memory):
            found[str(memory)] = supervised(DEVICE, convolutions).members_per_chunk(1000)
    return found


def refused():
    """What the device itself refuses, and writes down: tensors of two devices, looking at a value while something is recorded."""
    found = {}
    with pretended() as pretend:
        far, near = torch.ones(2, device=DEVICE), torch.ones(2)
        for name, work in {"mixed": lambda: far + near, "asked": lambda: float(far.sum()), "number": lambda: far + near.sum()}.items():
            try:
                work()
                found[name] = ""
            except RuntimeError as error:
                found[name] = str(error)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                far.add_(1)
                float(far.sum())
        except RuntimeError as error:
            found["recorded"] = str(error)
        with torch.cuda.graph(graph):
            far.mul_(2)
        before = far.tolist()
        graph.replay()
        found["replayed"] = [before, far.tolist()]
        found["waits"] = sum(number for (what, _), number in pretend.seen.items() if what == "wait: _local_scalar_dense")
    return found


TASKS = {
    "perceptron": lambda: compared(
        lambda d: supervised(d, perceptron, attributes={"dropout": "3.p"}), dropout=(0.1, 0.7), smoothing=(0.0, 0.2)
    ),
    "convolutions": lambda: compared(lambda d: supervised(d, convolutions, optimizer="adam")),
    "recurrent": lambda: compared(lambda d: supervised(d, Recurrent, optimizer="rmsprop")),
    "attentive": lambda: compared(lambda d: supervised(d, Attentive, optimizer="sgd")),
    "masked": lambda: compared(
        lambda d: supervised(
            d,
            perceptron,
            optimizer="sgd",
            optimizer_settings={"momentum": 0.9, "nesterov": True},
            clip_grad_norm=1.0,
            schedule=halving,
        ),
        batch_size=(2, 8),
        weight_decay=(0.0, 0.1),
    ),
    "shared": lambda: compared(lambda d: supervised(d, perceptron, shared_batches=True, optimizer="lion")),
    "loaded": lambda: compared(loaded),
    "looped": lambda: compared(lambda d: supervised(d, convolutions, how="looped")),
    "measured": lambda: compared(lambda d: supervised(d, perceptron, how="auto")),
    "cartpole": lambda: compared(agents(CartPole(time_limit=40))),
    "pendulum": lambda: compared(agents(Pendulum(time_limit=40))),
    "acrobot": lambda: compared(agents(Acrobot(time_limit=40))),
    "runs": whole_runs,
    "chunked": chunked,
    "refused": refused,
    "kernels": lambda: {"small": kernels(lambda: nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))), "recurrent": kernels(Recurrent)},
}


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False
    graphs.BLOCK, tapes._WARM_UPS = BLOCK, 1  # every operation of a pretend device passes through Python
    warnings.filterwarnings("error")
    warnings.filterwarnings("ignore", message="PyTorch was compiled without cuDNN")  # said to who asks for a GPU's recurrent layers
    print(json.dumps({name: TASKS[name]() for name in sys.argv[2:] or TASKS}))
