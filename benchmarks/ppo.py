"""Populations of PPO agents on CartPole: moves in environments per second, learning included, as one program and one agent after the other.

All do the same work: 8 environments x 64 moves for each update, 4 epochs of 4 batches, two perceptrons 4-64-64. "One agent after the other" is
Gymnasium's own vectorised CartPole and PyTorch's modules, Adam and autograd, for one agent at a time; its rate does not depend on how many
there are to come. Each process has one thread, and everything runs in turn, round by round. Where there is a GPU, populations are on that, in
one process, and one agent after the other stays on a core, where so small a network is faster.

In the same rounds, what a core or the GPU can do: batched matrix products of the shapes that an update consists of; and the gradient of one
batch by `torch.func.vmap` of the module beside the one that is written out.

    python benchmarks/ppo.py [--quick]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import nn
from torch.func import functional_call, vmap

import lamarck as lk
from _common import in_turn, machine, median, save, table
from _pool import Pool, Updates
from _stacks import CORES, DEVICE, finished
from lamarck.envs import CartPole
from lamarck.rl import PPO, ActorCritic
from lamarck.rl.agents import agents, forward
from lamarck.types import Interval

SIZES = (1, 4, 16, 64, 256, 1024) if DEVICE == "cuda" else (1, 4, 16, 64, 256)
COPIES, MOVES, EPOCHS, BATCHES = 8, 64, 4, 4
SHARES = (1, CORES) if CORES > 1 else (1,)
"""Over how many processes a population is spread."""
WHERE = "GPU" if DEVICE == "cuda" else "core"
FLOPS = 2 * 2 * (4 * 64 + 64 * 64 + 64 * 1.5) * (1 + 3 * EPOCHS)
"""Of a move: both perceptrons once to choose it, and three times in each epoch, forward and twice backward."""


# ---- one agent, the ordinary way ----------------------------------------------------------------------------------------------------


class Plain:
    """An agent with Gymnasium's environments and PyTorch's optimizer."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.envs = gymnasium.make_vec("CartPole-v1", num_envs=COPIES, vectorization_mode="vector_entry_point")
        self.agent = ActorCritic(CartPole())
        self.optimizer = torch.optim.Adam(self.agent.parameters(), lr=1e-3, eps=1e-5)
        self.state, self.over = torch.from_numpy(self.envs.reset(seed=0)[0]), torch.zeros(COPIES, dtype=torch.bool)

    def update(self) -> None:
        moves = []
        with torch.no_grad():
            for _ in range(MOVES):
                log_p, value = self.agent(self.state)
                action = torch.multinomial(log_p.exp(), 1)
                state, reward, failed, timeout, _ = self.envs.step(action[:, 0].numpy())
                moves.append((self.state, action, log_p.gather(1, action), value, self.over, *map(torch.from_numpy, (reward, failed))))
                self.state, self.over = torch.from_numpy(state), torch.from_numpy(failed | timeout)
            states, actions, log_ps, values, over, rewards, failures = (torch.stack(column) for column in zip(*moves, strict=True))
            ahead, ends = torch.cat([values[1:], self.agent(self.state)[1][None]]), torch.cat([over[1:], self.over[None]])
            errors, gains, last = rewards + 0.99 * ahead * ~failures - values, torch.zeros_like(values), torch.zeros(COPIES)
            for i in reversed(range(MOVES)):
                gains[i] = last = errors[i] + 0.99 * 0.95 * ~ends[i] * last
            real = ~over
            x, a, old, gain, target = states[real], actions[real], log_ps[real], gains[real][:, None], (gains + values)[real]
            gain = (gain - gain.mean()) / (gain.std() + 1e-8)
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(x)).chunk(BATCHES):
                log_p, value = self.agent(x[rows])
                ratio = (log_p.gather(1, a[rows]) - old[rows]).exp()
                clipped = torch.min(ratio * gain[rows], ratio.clamp(0.8, 1.2) * gain[rows]).mean()
                entropy = -(log_p.exp() * log_p).sum(1).mean()
                self.optimizer.zero_grad()
                (0.5 * nn.functional.mse_loss(value, target[rows]) - clipped - 0.01 * entropy).backward()
                nn.utils.clip_grad_norm_(self.agent.parameters(), 0.5)
                self.optimizer.step()


# ---- a population as one program ----------------------------------------------------------------------------------------------------


class Population:
    """Some members in one stack."""

    def __init__(self, members: int) -> None:
        self.task = PPO(copies=COPIES, moves=MOVES, epochs=EPOCHS, batches=BATCHES, device=DEVICE)
        self.members = members
        self.state = self.task.init(np.arange(members))
        self.generation = 0

    def update(self) -> None:
        hparams: Mapping[str, float] = {"lr": 1e-3, "clip": 0.2, "entropy_cost": 0.01, "gae_lambda": 0.95, "discount": 0.99}
        rows = [
            Interval(
                member=member,
                generation=self.generation,
                hparams=hparams,
                start=self.generation,
                until=self.generation + 1,
                restore=None,
                parent=None,
                seed=self.generation * self.members + member,
            )
            for member in range(self.members)
        ]
        self.state = self.task.fit(self.state, lk.Intervals.of(rows))
        self.generation += 1
        finished()


def make(kind: str, members: int) -> Updates:
    """What a process is asked for."""
    torch.set_num_threads(1)
    return Plain() if kind == "plain" else Population(members)


# ---- what is measured ---------------------------------------------------------------------------------------------------------------


def plan(pool: Pool, scale: int) -> tuple[dict[str, Callable[[], object]], dict[str, int]]:
    """Everything that runs in turn, and how many updates of one member each does in all."""
    tasks: dict[str, Callable[[], object]] = {}
    work: dict[str, int] = {}

    def add(name: str, members: int, updates: int, processes: int) -> None:
        tasks[name] = pool.task("plain" if name.startswith("plain") else "stack", members, updates, processes)
        work[name] = members * updates * processes

    for share in SHARES:
        add(f"plain, {share}", 1, 8 * scale, share)
        for size in SIZES:
            if size >= share:
                add(f"{size}, {share}", size // share, max(1, 32 * scale // (size // share + 8)), share)
    return tasks, work


def gradients(size: int) -> Mapping[str, Callable[[], object]]:
    """The gradient of one batch of 128 moves, by the module under vmap and as it is written out."""
    torch.set_num_threads(1)
    env, module = CartPole(), ActorCritic(CartPole())
    seeds = torch.arange(size, device=DEVICE)
    leaves = {name: leaf.requires_grad_() for name, leaf in agents(env, (64, 64), seeds, torch.float32).items()}
    seen = torch.randn(size, 128, 4, generator=torch.Generator().manual_seed(0)).to(DEVICE)

    def mapped(leaves: dict[str, torch.Tensor], seen: torch.Tensor) -> Any:
        return vmap(lambda leaves, seen: functional_call(module, leaves, (seen,)))(leaves, seen)

    def gradient(program: Callable[[dict[str, torch.Tensor], torch.Tensor], Any]) -> None:
        log_probs, value = program(leaves, seen)
        torch.autograd.grad(log_probs[..., 0].sum() + value.square().sum(), list(leaves.values()))
        finished()

    return {f"{size}, vmap": lambda: gradient(mapped), f"{size}, written out": lambda: gradient(forward)}


def products() -> float:
    """Floating-point operations per second of one core, or of the GPU, in batched matrix products as an update has them."""
    torch.set_num_threads(1)
    x, weight = torch.randn(64, 128, 64, device=DEVICE), torch.randn(64, 64, 64, device=DEVICE)

    def multiply() -> None:
        for _ in range(50):
            torch.bmm(x, weight)
        finished()

    seconds = in_turn({"bmm": multiply}, 5)["bmm"]
    return 50 * 2 * 64 * 128 * 64 * 64 / median(seconds)


def whole_run(members: int, generations: int) -> float:
    """Seconds of a real run on all cores, or on the GPU: processes started, members judged, decisions made."""
    space = lk.Space(lr=lk.Float(1e-4, 1e-2, log=True), entropy_cost=lk.Float(1e-3, 0.1, log=True))
    began = time.perf_counter()
    lk.run(PPO(device=DEVICE), space, population_size=members, interval=10, generations=generations, engine=lk.Vectorised(processes=CORES))
    return time.perf_counter() - began


def report(rates: Mapping[str, float], steps: Mapping[str, Sequence[float]], peak: float, whole: float) -> str:
    """The result, as Markdown."""
    alone, beside = rates["plain, 1"], rates[f"plain, {CORES}"]
    rows = []
    for size in SIZES:
        one, all_of_it = rates[f"{size}, 1"], rates.get(f"{size}, {CORES}", rates[f"{size}, 1"])
        ratios = (f"{all_of_it / alone:.1f}", f"{all_of_it / beside:.1f}")
        rows.append((f"{size}", f"{one:,.0f}", f"{all_of_it:,.0f}", *ratios, f"{one * FLOPS / peak:.1%}"))
    everywhere = "all cores" if CORES > 1 else f"the {WHERE}"
    ways = ("against one after the other", f"against that on {CORES} core{'s' if CORES > 1 else ''}")
    header = ("members", f"one {WHERE}", everywhere, *ways, f"of the {WHERE}'s matrix products")
    parts = [(f"{size}", *(f"{1e3 * median(steps[f'{size}, {kind}']):.2f}" for kind in ("vmap", "written out"))) for size in SIZES[:4]]
    met = "Met" if rates[f"64, {CORES}"] / alone >= 8 else "Missed"
    return (
        f"Moves per second of the whole population, learning included. One process and thread for each {WHERE}, with its share of the\n"
        f"population. One agent after the other, the ordinary way: {alone:,.0f} on one core; {beside:,.0f} with {CORES} of them\n"
        f"side by side.\n\n{table(header, rows)}\n\n"
        f"Target: 8 times one agent after the other with 64 members, {everywhere} used. {met}.\n\n"
        f"The last column counts {FLOPS:,.0f} floating-point operations for a move, and compares with {peak / 1e9:,.0f} billion per second in\n"
        f"batched matrix products 128x64 by 64x64 on the same {WHERE}.\n\n"
        "A real run of 64 members with intervals of 10 updates, 16 episodes to judge each, decisions included, the start of the processes\n"
        f"not: {whole:,.0f} moves per second on {everywhere}, {whole / alone:.1f} times one agent after the other that is never judged.\n\n"
        "Forward and gradient of a batch of 128 moves for each member, milliseconds:\n\n"
        f"{table(('members', 'vmap of the module', 'written out'), parts)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small part of the work, to see that it runs; writes nothing")
    quick = parser.parse_args().quick
    facts = machine(("lamarck", "torch", "gymnasium", "numpy"))
    if DEVICE == "cuda":
        facts["gpu"] = torch.cuda.get_device_name()
    pool = Pool(make, CORES)
    tasks, work = plan(pool, 1 if quick else 8)
    seconds = in_turn(tasks, 1 if quick else 5, warm_up=1)
    pool.end()
    steps = in_turn({name: task for size in SIZES[:4] for name, task in gradients(size).items()}, 3 if quick else 15)
    rates = {name: COPIES * MOVES * work[name] / median(values) for name, values in seconds.items()}
    short, long = (2, 3) if quick else (2, 7)
    whole = 64 * 10 * COPIES * MOVES * (long - short) / (whole_run(64, long) - whole_run(64, short))
    text = report(rates, steps, products(), whole)
    if quick:
        print(text)
        return
    data = {"moves per second": rates, "seconds": seconds, "seconds of a gradient": steps, "moves per second of a real run": whole}
    save("ppo-gpu" if DEVICE == "cuda" else "ppo", "Populations of PPO agents on CartPole", text, data, facts)


if __name__ == "__main__":
    main()
