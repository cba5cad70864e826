"""What a population of networks costs as one program, against plain PyTorch loops.

Members times steps per second of processor time, which leaves out what others took of the machine: no process here has more than one thread,
and none waits. AdamW with a learning rate, weight decay and beta1 for each member, batches of 64 of scikit-learn's digits,
each member in an order of its own. In turn, on the same machine:

- (a) one plain PyTorch loop after the other, in one process of one thread, with AdamW as it comes and with its fused form;
- (b) the same with a process for each core, fused;
- the three ways of the vectorised engine, split over a process for each core as the engine does it, and which of them it would choose;
- what the machine can do: a matrix product and a copy, on all cores.

Compiling is timed apart, with an empty cache. Then what an exploit costs, and memory. Steps are measured, not values: all ways compute the
same.

    python benchmarks/vectorised.py --model small [--quick]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import sklearn.datasets
import torch
from torch import Tensor, nn
from torch.nn import functional

import lamarck as lk
from _common import machine, save, table
from lamarck.engines.vectorised.fleet import Fleet
from lamarck.engines.vectorised.hosts import hosted
from lamarck.engines.vectorised.torch.memory import activations as kept_activations
from lamarck.types import Interval

CORES = len(os.sched_getaffinity(0))
BATCH = 64
SECONDS = 0.5
"""Each measurement lasts about so long, and is repeated; the median counts."""


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def middle() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))


def cnn() -> nn.Module:
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


MODELS: Mapping[str, tuple[str, Callable[[], nn.Module], Sequence[int]]] = {
    "small": ("MLP 64-64-10", small, (1, 4, 16, 64, 256, 1024)),
    "middle": ("MLP 64-256-256-10", middle, (1, 4, 16, 64, 256)),
    "cnn": ("CNN on 8 x 8 (16 and 32 channels)", cnn, (1, 4, 16, 64)),
}
WAYS = ("batched", "compiled", "looped")


def digits() -> tuple[Tensor, Tensor]:
    pixels, labels = sklearn.datasets.load_digits(return_X_y=True)
    return torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(labels)


def loss(model: nn.Module, batch: tuple[Tensor, Tensor], hparams: Mapping[str, Any]) -> Tensor:
    return functional.cross_entropy(model(batch[0]), batch[1])


def task(model: str, how: str) -> lk.Supervised:
    x, y = digits()
    return lk.Supervised(MODELS[model][1], loss, train=(x, y), test=(x, y), batch_size=BATCH, how=how)  # type: ignore[arg-type]


def intervals(members: int, steps: int, start: int = 0) -> lk.Intervals:
    return lk.Intervals(
        members=np.arange(members),
        generations=np.zeros(members, dtype=np.int64),
        hparams={
            "lr": np.geomspace(1e-4, 1e-2, members),
            "weight_decay": np.geomspace(1e-4, 1e-2, members),
            "beta1": np.linspace(0.8, 0.95, members),
        },
        start=np.full(members, start),
        steps=steps,
        seeds=np.arange(members) + 1,
    )


# ---- what runs in the processes -----------------------------------------------------------------------------------------------------------


def plain(model: str, members: int, *, fused: bool) -> Callable[[int], None]:
    """N ordinary loops, one after the other."""
    x, y = digits()
    rows = torch.stack([torch.randperm(len(x))[:BATCH] for _ in range(64)])
    models = [MODELS[model][1]() for _ in range(members)]
    optimizers = [torch.optim.AdamW(network.parameters(), lr=1e-3, fused=fused) for network in models]

    def train(steps: int) -> None:
        for network, optimizer in zip(models, optimizers, strict=True):
            for step in range(steps):
                chosen = rows[step % 64]
                optimizer.zero_grad()
                functional.cross_entropy(network(x[chosen]), y[chosen]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()

    return train


def stacked(model: str, members: int, way: str) -> Callable[[int], None]:
    """A stack of the vectorised engine, trained in one way."""
    trained = task(model, way)
    state = trained.init(np.arange(members))

    def train(steps: int) -> None:
        trained.fit(state, intervals(members, steps))

    return train


def roof() -> tuple[float, float]:
    """Floating point operations per second of a matrix product, and bytes per second of a copy, of one process."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    source, target = torch.randn(1 << 24), torch.empty(1 << 24)
    best = [float("inf"), float("inf")]
    for _ in range(5):
        for index, work in enumerate((partial(torch.mm, a, b), partial(Tensor.copy_, target, source))):
            began = spent()
            work()
            best[index] = min(best[index], spent() - began)
    return 2 * 1024**3 / best[0], 2 * source.nbytes / best[1]


def memory(model: str, members: int) -> tuple[float, float, float]:
    """Bytes of the process's peak above what a tiny stack takes, of activations, and of weights, moments and gradients."""
    small_stack = stacked(model, 2, "batched")
    small_stack(4)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    trained = task(model, "batched")
    state = trained.init(np.arange(members))
    trained.fit(state, intervals(members, 8))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    one = trained.gather(state, np.array([0]))
    weights = sum(tensor.nbytes for tensor in state.weights.values())
    return peak - before, float(kept_activations(trained.program, one, (digits()[0][:BATCH],)) * members), 4.0 * weights


def spent() -> float:
    """Seconds of processor time that this process, and the compilers it started, have taken."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def serve(pipe: Connection) -> None:
    torch.set_num_threads(1)
    made: Callable[[int], None] | None = None
    while True:
        kind, *arguments = pipe.recv()
        if kind == "make":
            model, members, how = arguments
            began = spent()
            made = plain(model, members, fused=how == "fused") if how in ("plain", "fused") else stacked(model, members, how)
            made(4)
            pipe.send(spent() - began)
        elif kind == "run":
            assert made is not None
            began = spent()
            made(arguments[0])
            pipe.send(spent() - began)
        elif kind == "roof":
            pipe.send(roof())
        else:
            pipe.send(memory(*arguments))


class Workers:
    """Processes of one thread each, that measure together."""

    def __init__(self, number: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipes, self.processes = [], []
        for _ in range(number):
            mine, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs,), daemon=True)
            process.start()
            self.pipes.append(mine)
            self.processes.append(process)

    def __call__(self, number: int, *message: Any) -> list[Any]:
        for pipe in self.pipes[:number]:
            pipe.send(message)
        return [pipe.recv() for pipe in self.pipes[:number]]

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()


def rate(workers: Workers, model: str, members: int, how: str, rounds: int) -> tuple[float, float]:
    """Members x steps per second of all processes together, and the seconds before the first step."""
    number = 1 if how == "plain" or members < 2 * CORES else CORES
    share = members // number
    share = min(share, 16) if how in ("plain", "fused") else share  # loops cost the same for each member
    begin = max(workers(number, "make", model, share, how))
    steps = 8
    seconds = max(workers(number, "run", steps))
    steps = max(4, min(400, int(steps * SECONDS / max(seconds, 1e-6))) // 4 * 4)
    rates = [sum(share * steps / seconds for seconds in workers(number, "run", steps)) for _ in range(rounds)]
    return statistics.median(rates), begin


def exploit(model: str, members: int) -> tuple[float, float]:
    """Seconds to copy the best fifth over the worst, with the engine's own processes, and of an interval of 100 steps."""

    def told(generation: int, donors: Mapping[int, int]) -> list[Interval]:
        return [
            Interval(
                member=member,
                generation=generation,
                hparams={"lr": 1e-3},
                start=0,
                until=100,
                restore=None if generation == 0 else f"kept-{donors.get(member, member)}",
                parent=None,
                seed=member,
            )
            for member in range(members)
        ]

    rng = np.random.default_rng(0)
    order = rng.permutation(members)
    fifth = members // 5
    donors = dict(zip(order[:fifth].tolist(), rng.choice(order[-fifth:], fifth).tolist(), strict=True))
    with hosted(task(model, "batched"), members, CORES, members) as hosts:
        fleet = Fleet(hosts, members)
        groups = fleet.grouped(told(0, {}))
        fleet.place(groups, lambda name: name)
        fleet.fit(groups)
        took, trained = [], []
        for generation in range(1, 4):
            for stack, group in groups.items():
                fleet.name(stack, [f"kept-{interval.member}" for interval in group])
            groups = fleet.grouped(told(generation, donors))
            began = time.perf_counter()
            fleet.place(groups, lambda name: name)
            took.append(time.perf_counter() - began)
            began = time.perf_counter()
            fleet.fit(groups)
            trained.append(time.perf_counter() - began)
    return statistics.median(took), statistics.median(trained)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(MODELS), default="small")
    parser.add_argument("--members", type=int, nargs="+", help="sizes of the population")
    parser.add_argument("--quick", action="store_true", help="fewer members and rounds; without compiling")
    given = parser.parse_args()
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp(prefix="lamarck-benchmark-")
    facts = machine(("lamarck", "torch", "numpy"))
    title, build, usual = MODELS[given.model]
    sizes = given.members or usual
    sizes, ways, rounds = (sizes[:3], ("batched", "looped"), 1) if given.quick else (sizes, WAYS, 3)
    parameters = sum(weight.numel() for weight in build().parameters())
    rows, data = [], list[dict[str, Any]]()
    workers = Workers(CORES)
    try:
        roofs = workers(CORES, "roof")
        flops, copied = sum(flop for flop, _ in roofs), sum(byte for _, byte in roofs)
        for members in sizes:
            found = {how: rate(workers, given.model, members, how, rounds) for how in ("plain", "fused", *ways)}
            alone = found["plain"][0]
            fused, each = (found["fused"][0] / (1 if members < 2 * CORES else CORES), found["fused"][0])
            best = max(ways, key=lambda way: found[way][0])
            ours = found[best][0]
            arithmetic = ours * 6 * parameters * BATCH / flops if given.model != "cnn" else float("nan")
            traffic = ours * parameters * 4 * 9 / copied
            data.append(
                {
                    "members": members,
                    "rates": {how: value for how, (value, _) in found.items()},
                    "begin": {how: s for how, (_, s) in found.items()},
                }
            )
            rows.append(
                [
                    str(members),
                    *(f"{value:,.0f}" for value in (alone, fused, each, *(found[way][0] for way in ways))),
                    best,
                    f"{ours / alone:.1f}",
                    f"{ours / max(alone, fused, each):.2f}",
                    f"{arithmetic:.0%} / {traffic:.0%}" if given.model != "cnn" else f"- / {traffic:.0%}",
                    f"{found['compiled'][1]:.0f} s" if "compiled" in found else "-",
                ]
            )
    finally:
        workers.end()
    header = ["members", "(a) plain", "(a) fused", "(b) per core", *ways, "fastest", "x (a)", "x best of (a), (b)", "of the roof", "compiling"]
    members = 64 if given.quick or given.model == "cnn" else 256
    moved, trained = exploit(given.model, members)
    memories = Workers(1)
    try:
        ((peak, activations, state),) = memories(1, "memory", given.model, members)
    finally:
        memories.end()
    about = (
        f"{title}, {parameters:,} parameters, AdamW, batches of {BATCH}. Members x steps per second of processor time; "
        f"{CORES} processes of one thread each, except (a) and populations too small to split; "
        "(a) fused is a process's share of (b). The engine finds the fastest of the three ways by the same measurement, except that a member "
        f"alone is always looped. The roof is a matrix product ({flops / 1e9:.0f} GFLOP/s on all cores) / a copy "
        f"({copied / 1e9:.0f} GB/s); a step reads and writes weights, moments and gradients about nine times in all. Compiling: "
        "seconds before the first step, in each process, with an empty cache."
    )
    fastest = [100 * members / max(row["rates"][way] for way in ways) for row in data if row["members"] == members]
    costs = (
        f"An exploit of a fifth of {members} members, within and between processes: {moved * 1e3:.1f} ms, {moved / trained:.2%} of an interval "
        f"of 100 batched steps ({trained:.2f} s)"
        f"{''.join(f', {moved / one:.1%} of one in the fastest way ({one:.2f} s)' for one in fastest)}; "
        f"these by the clock, on a machine with others.\n\n"
        f"Memory of {members} members in one process, batched: {peak / 2**20:.0f} MiB at the peak, "
        f"of which activations about {activations / 2**20:.0f} MiB; weights, moments and gradients are {state / 2**20:.0f} MiB, and what is "
        f"not activations is {(peak - activations) / state:.2f} times that."
    )
    text = f"{about}\n\n{table(header, rows)}\n\n{costs}"
    save(f"vectorised-{given.model}", f"A population as one program: {title}", text, {"rows": data, "exploit": [moved, trained]}, facts)


if __name__ == "__main__":
    main()
