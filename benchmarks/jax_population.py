"""A population in JAX: members x steps per second of a perceptron 64-64-10 with AdamW on batches of 64 digits, and plain PyTorch loops.

The stack is what `JaxTask` compiles for the vectorised engine: all steps of a call in one program, rates and decay each member's own. The plain
loop trains one member at a time with an ordinary module and ``torch.optim.AdamW``; its rate does not depend on how many there are to come.

    python benchmarks/jax_population.py [--quick]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from sklearn.datasets import load_digits
from torch import nn

import lamarck as lk
from _common import in_turn, machine, median, save, table
from _pool import Pool, Updates
from lamarck.integrations.jax import JaxTask
from lamarck.types import Interval

SIZES, BATCH, STEPS, CORES = (1, 16, 64, 256), 64, 200, 2


@cache
def digits() -> tuple[Any, Any]:
    images, labels = load_digits(return_X_y=True)
    return images.astype(np.float32) / 16, labels.astype(np.int32)


def loss(params: Mapping[str, Any], images: Any, labels: Any) -> Any:
    hidden = jax.nn.relu(images @ params["inner"] + params["bias"])
    return optax.softmax_cross_entropy_with_integer_labels(hidden @ params["outer"] + params["base"], labels).mean()


def new(key: Any) -> Any:
    inner, outer = jax.random.split(key)
    params = {
        "inner": jax.random.normal(inner, (64, 64)) / 8,
        "bias": jnp.zeros(64),
        "outer": jax.random.normal(outer, (64, 10)) / 8,
        "base": jnp.zeros(10),
    }
    return params, optax.adamw(0.0).init(params)


def step(state: Any, hparams: Any, key: Any) -> Any:
    params, moments = state
    images, labels = map(jnp.asarray, digits())
    rows = jax.random.randint(key, (BATCH,), 0, len(labels))
    gradient = jax.grad(loss)(params, images[rows], labels[rows])
    updates, moments = optax.adamw(hparams["lr"], weight_decay=hparams["weight_decay"]).update(gradient, moments, params)
    return optax.apply_updates(params, updates), moments


class Stack:
    """Some members, compiled together."""

    def __init__(self, members: int) -> None:
        self.task, self.members, self.seed = JaxTask(new=new, step=step, score=lambda state, key: 0.0), members, 0
        self.state = self.task.init(np.arange(members))

    def update(self) -> None:
        self.seed += 1
        hparams = {"lr": 1e-3, "weight_decay": 1e-2}
        rows = [
            Interval(
                member=i, generation=0, hparams=hparams, start=0, until=STEPS, restore=None, parent=None, seed=self.members * self.seed + i
            )
            for i in range(self.members)
        ]
        self.state = self.task.fit(self.state, lk.Intervals.of(rows))


class Loop:
    """One member in PyTorch."""

    def __init__(self, *, fused: bool) -> None:
        self.images, self.labels = torch.from_numpy(digits()[0]), torch.from_numpy(digits()[1]).long()
        self.model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, weight_decay=1e-2, fused=fused)

    def update(self) -> None:
        for rows in torch.randint(len(self.labels), (STEPS, BATCH)):
            self.optimizer.zero_grad()
            error: torch.Tensor = nn.functional.cross_entropy(self.model(self.images[rows]), self.labels[rows])
            torch.autograd.backward(error)
            self.optimizer.step()


def make(kind: str, members: int) -> Updates:
    """What a process is asked for."""
    torch.set_num_threads(1)
    return Stack(members) if kind == "stack" else Loop(fused=kind == "fused")


def compiling(members: int) -> float:
    """Seconds from nothing to the first trained steps, less what the steps take."""
    began = time.perf_counter()
    stack = Stack(members)
    stack.update()
    ready = time.perf_counter()
    stack.update()
    return 2 * ready - began - time.perf_counter()


def report(rates: Mapping[str, float], compile_seconds: Mapping[int, float]) -> str:
    """The result, as Markdown."""
    plain, fused = rates["plain"], rates["fused"]
    rows = []
    for size in SIZES:
        one, two = rates[f"{size}, 1"], rates.get(f"{size}, 2", rates[f"{size}, 1"])
        cells = (f"{one:,.0f}", f"{two:,.0f}", f"{two / plain:.1f}", f"{two / fused:.1f}", f"{compile_seconds[size]:.1f}")
        rows.append((f"{size}", *cells))
    return (
        "Members x steps per second. One process for each core; a population on both cores is two of half the size. Plain PyTorch, one\n"
        f"member after the other on one core: {plain:,.0f}, with a fused optimizer {fused:,.0f}.\n\n"
        f"{table(('members', 'one core', 'both cores', 'against plain', 'against fused', 'compiling, s'), rows)}\n\n"
        f"An update is {STEPS} steps, compiled into one call. Compiling is paid once in each process, and is not in the rates."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small part of the work, to see that it runs; writes nothing")
    quick = parser.parse_args().quick
    facts = machine(("lamarck", "jax", "optax", "torch", "numpy"))
    pool, tasks, work = Pool(make, CORES), dict[str, Callable[[], object]](), dict[str, int]()

    def add(name: str, kind: str, members: int, updates: int, processes: int) -> None:
        tasks[name] = pool.task(kind, members, updates, processes)
        work[name] = members * updates * processes

    scale = 1 if quick else 4
    add("plain", "plain", 1, 2 * scale, 1)
    add("fused", "fused", 1, 2 * scale, 1)
    for size in SIZES:
        updates = max(1, 40 * scale // size)
        add(f"{size}, 1", "stack", size, updates, 1)
        if size > 1:
            add(f"{size}, 2", "stack", size // 2, 2 * updates, 2)
    seconds = in_turn(tasks, 1 if quick else 7, warm_up=1)
    pool.end()
    rates = {name: STEPS * work[name] / median(values) for name, values in seconds.items()}
    text = report(rates, {size: compiling(size) for size in SIZES})
    if quick:
        print(text)
        return
    save("jax-population", "A population in JAX", text, {"members x steps per second": rates, "seconds": seconds}, facts)


if __name__ == "__main__":
    main()
