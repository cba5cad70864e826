"""Each optimizer against an independent one, member by member: torch.optim, and for Lion the published algorithm."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lamarck as lk
from lamarck.engines.vectorised.torch import Supervised
from lamarck.engines.vectorised.torch.optimizers import RULES

STEPS, MEMBERS, BATCH = 50, 3, 8

TUNED = {
    "sgd": {"lr": (0.01, 0.1), "momentum": (0.3, 0.95), "weight_decay": (0.0, 0.1)},
    "nesterov": {"lr": (0.01, 0.1), "momentum": (0.3, 0.95), "weight_decay": (0.0, 0.1)},
    "adam": {"lr": (1e-3, 1e-2), "beta1": (0.5, 0.95), "beta2": (0.9, 0.999), "eps": (1e-8, 1e-3), "weight_decay": (0.0, 0.1)},
    "adamw": {"lr": (1e-3, 1e-2), "beta1": (0.5, 0.95), "beta2": (0.9, 0.999), "eps": (1e-8, 1e-3), "weight_decay": (0.0, 0.5)},
    "rmsprop": {"lr": (1e-3, 1e-2), "alpha": (0.8, 0.99), "eps": (1e-8, 1e-3), "momentum": (0.1, 0.9), "weight_decay": (0.0, 0.1)},
    "lion": {"lr": (1e-4, 1e-3), "beta1": (0.5, 0.95), "beta2": (0.9, 0.99), "weight_decay": (0.0, 0.5)},
}


class Lion(torch.optim.Optimizer):
    """Chen et al. 2023, Algorithm 2, in the plainest form."""

    def __init__(self, params, lr, betas, weight_decay):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                c = beta1 * m + (1 - beta1) * p.grad
                p.sub_(group["lr"] * (torch.sign(c) + group["weight_decay"] * p))
                m.copy_(beta2 * m + (1 - beta2) * p.grad)


def reference(kind, params, h):
    h = dict(h)
    if "beta1" in h:
        h["betas"] = (h.pop("beta1"), h.pop("beta2"))
    classes = {"sgd": torch.optim.SGD, "nesterov": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    classes |= {"rmsprop": torch.optim.RMSprop, "lion": Lion}
    return classes[kind](params, **h, **({"nesterov": True} if kind == "nesterov" else {}))


def network(dtype):
    return lambda: nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 3)).to(dtype)


def loss(model, batch, hparams):
    return F.cross_entropy(model(batch[0]), batch[1])


def data(dtype):
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(40, 6, generator=rng, dtype=dtype)
    return x, torch.randint(0, 3, (40,), generator=rng)


def columns(kind):
    rng = np.random.default_rng(1)
    return {name: rng.uniform(low, high, MEMBERS) for name, (low, high) in TUNED[kind].items()}


def intervals(hparams, start=0, seeds=None, steps=STEPS):
    size = len(next(iter(hparams.values())))
    return lk.Intervals(
        members=np.arange(size),
        generations=np.zeros(size, dtype=int),
        hparams=hparams,
        start=np.full(size, start),
        steps=steps,
        seeds=np.arange(size) + 10 if seeds is None else np.asarray(seeds),
    )


@pytest.mark.parametrize("how", ["batched", "looped"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("kind", list(TUNED))
def test_fifty_steps_equal_those_of_a_plain_loop(kind, dtype, how):
    x, y = data(dtype)
    settings = {"nesterov": True} if kind == "nesterov" else {}
    task = Supervised(
        network(dtype),
        loss,
        train=(x, y),
        test=(x, y),
        optimizer="sgd" if kind == "nesterov" else kind,
        optimizer_settings=settings,
        batch_size=BATCH,
        how=how,
    )
    h = columns(kind)
    state = task.fit(task.init(np.array([5, 6, 7])), intervals(h))
    chosen = task._batches.indices(np.zeros(MEMBERS), np.arange(MEMBERS) + 10, STEPS)
    for member in range(MEMBERS):
        torch.manual_seed(5 + member)
        model = network(dtype)()
        optimizer = reference(kind, model.parameters(), {name: float(column[member]) for name, column in h.items()})
        for step in range(STEPS):
            optimizer.zero_grad()
            rows = chosen[step, member]
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        for name, weight in model.state_dict().items():
            # The sign of a number near zero is decided by rounding, so Lion's float32 runs may part by a few steps of lr.
            loose = 5e-3 if (kind, dtype) == ("lion", torch.float32) else 2e-5 if dtype == torch.float32 else 1e-10
            torch.testing.assert_close(state.weights[name][member], weight, rtol=loose, atol=loose)


@pytest.mark.parametrize("how", ["batched", "looped"])
@pytest.mark.parametrize("kind", list(RULES))
def test_two_halves_equal_the_whole(kind, how):
    x, y = data(torch.float64)
    task = Supervised(network(torch.float64), loss, train=(x, y), test=(x, y), optimizer=kind, batch_size=BATCH, how=how, shared_batches=True)
    h = columns(kind)
    whole = task.fit(task.init(np.array([5, 6, 7])), intervals(h))
    half = task.fit(task.init(np.array([5, 6, 7])), intervals(h, steps=20))
    half = task.load(task.save(half))
    half = task.fit(half, intervals(h, start=20, steps=30))
    for name, weight in whole.weights.items():
        torch.testing.assert_close(half.weights[name], weight, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("how", ["batched", "looped"])
@pytest.mark.parametrize("kind", ["sgd", "rmsprop"])
def test_without_a_momentum_nothing_is_kept_of_a_step(kind, how):
    """So that what comes later is that of PyTorch, if the momentum is tuned and goes away or comes back."""
    x, y = data(torch.float64)
    task = Supervised(network(torch.float64), loss, train=(x, y), test=(x, y), optimizer=kind, batch_size=BATCH, how=how)
    momenta = [[0.0, 0.9, 0.0], [0.9, 0.0, 0.0], [0.5, 0.5, 0.0]]
    state, rates = task.init(np.array([5, 6, 7])), np.array([0.01, 0.02, 0.03])
    for part, momentum in enumerate(momenta):
        state = task.fit(state, intervals({"lr": rates, "momentum": np.array(momentum)}, start=4 * part, steps=4))
    for member in range(MEMBERS):
        torch.manual_seed(5 + member)
        model = network(torch.float64)()
        weights = dict(model.named_parameters())
        optimizer = reference(kind, weights.values(), {"lr": float(rates[member])})
        for part, momentum in enumerate(momenta):
            optimizer.param_groups[0]["momentum"] = momentum[member]
            chosen = task._batches.indices(np.full(MEMBERS, 4 * part), np.arange(MEMBERS) + 10, 4)
            for rows in chosen[:, member]:
                optimizer.zero_grad()
                loss(model, (x[rows], y[rows]), {}).backward()
                optimizer.step()
                for weight in weights.values():  # PyTorch's RMSprop expects that it is there, should the momentum come back
                    if optimizer.state[weight].get("momentum_buffer") is None:
                        optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        for name, weight in weights.items():
            torch.testing.assert_close(state.weights[name][member], weight.detach(), rtol=1e-10, atol=1e-10)
            kept = optimizer.state[weight]["momentum_buffer"]
            torch.testing.assert_close(state.slots["momentum_buffer"][name][member], kept.detach(), rtol=1e-10, atol=1e-10)


def test_every_optimizer_has_a_learning_rate_and_a_weight_decay():
    for kind in RULES.values():
        assert kind.hyperparameters()[:2] == ["lr", "weight_decay"]
