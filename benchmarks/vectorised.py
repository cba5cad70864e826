"""What a population of networks costs as one program, against plain PyTorch loops and Ray Tune.

Members times steps per second, by the clock. AdamW with a learning rate, weight decay and beta1 for each member, batches of 64 of
scikit-learn's digits, each member in an order of its own, intervals of 100 steps. In turn, on the same machine:

- (a) one plain PyTorch loop after the other, in one process of one thread, with AdamW as it comes and with its fused form;
- (b) the same with a process for each core, fused;
- Ray Tune's PBT with a worker for each core, if its environment is given (benchmarks/ray_tune.py makes it);
- the three ways of the vectorised engine, split over a process for each core as the engine does it, and which of them it chooses by itself;
- what the machine can do: a matrix product and a copy, on all cores.

Where PyTorch finds a GPU, all of it is measured there, in one process: (b) is then (a) with the fused optimizer.

Compiling is timed apart, with an empty cache. Then what an exploit costs, and memory. Steps are measured, not values: all ways compute the
same. Run it on a machine that does nothing else.

    python benchmarks/vectorised.py --model small [--members 16 256] [--ray .cache/ray-env] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from _common import machine, save, table
from _networks import BATCH, NETWORKS
from _stacks import CORES, DEVICE, INTERVAL, WAYS, Workers, finished, rates, task
from lamarck.engines.vectorised.fleet import Fleet
from lamarck.engines.vectorised.hosts import hosted
from lamarck.types import Interval

LONG = 10_000
"""Steps of a run over which compiling is spread in the table."""


def by_ray(python: Path, network: str, members: int, seconds: float) -> float:
    """Members x steps per second of Ray Tune, from its first result to its last."""
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name).absolute()
        asked = {"network": network, "size": members, "steps": INTERVAL, "seconds": seconds, "folder": str(folder)}
        side = Path(__file__).with_name("_ray_networks.py")
        subprocess.run([python, side, json.dumps(asked)], check=True, capture_output=True, timeout=seconds + 120)
        times = [json.loads(line)[0] for line in (folder / "results").read_text().splitlines()]
    return (len(times) - 1) * INTERVAL / (times[-1] - times[0]) if len(times) > 1 else float("nan")


def exploit(network: str, members: int, how: str) -> tuple[list[float], list[float]]:
    """Seconds to copy the best fifth over the worst, with the engine's own processes, and of the intervals between."""

    def told(generation: int, donors: Mapping[int, int]) -> list[Interval]:
        return [
            Interval(
                member=member,
                generation=generation,
                hparams={"lr": 1e-3},
                start=0,
                until=INTERVAL,
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
    with hosted(task(network, how), members, CORES, members) as hosts:
        fleet = Fleet(hosts, members)
        groups = fleet.grouped(told(0, {}))
        fleet.place(groups, lambda name: name)
        fleet.fit(groups)
        took, trained = [], []
        for generation in range(1, 10):
            for stack, group in groups.items():
                fleet.name(stack, [f"kept-{interval.member}" for interval in group])
            groups = fleet.grouped(told(generation, donors))
            began = time.perf_counter()
            fleet.place(groups, lambda name: name)
            finished()
            took.append(time.perf_counter() - began)
            began = time.perf_counter()
            fleet.fit(groups)
            finished()
            trained.append(time.perf_counter() - began)
    return took, trained


def measured(network: str, sizes: Sequence[int], ways: Sequence[str], rounds: int, ray: Path | None, seconds: float) -> list[dict[str, Any]]:
    """Everything about time, for each size of population."""
    found: list[dict[str, Any]] = []
    workers = Workers(CORES)
    try:
        roofs = [answer for answer, *_ in workers(CORES, "roof")]
        for members in sizes:
            by_way = rates(workers, network, members, ("plain", "fused", *ways), rounds)
            number = 1 if members < 2 * CORES else CORES
            chosen = sorted(way for way, *_ in workers(number, "chosen", network, members // number, LONG))
            theirs = by_ray(ray / "bin" / "python", network, members, seconds) if ray is not None else None
            told = ", ".join(f"{way} {each['rate']:,.0f}" for way, each in by_way.items())
            print(f"{members} members: {told}; chosen: {' and '.join(chosen)}", file=sys.stderr, flush=True)
            found.append(
                {"members": members, "rates": by_way, "chosen": chosen, "ray": theirs, "roof": [sum(each) for each in zip(*roofs, strict=True)]}
            )
    finally:
        workers.end()
    return found


def told_rates(network: str, parameters: int, found: Sequence[Mapping[str, Any]], ways: Sequence[str]) -> str:
    """The table of rates."""
    rows = []
    for line in found:
        members, of = line["members"], {how: each["rate"] for how, each in line["rates"].items()}
        ours = statistics.mean(of[way] for way in line["chosen"])  # each process chooses for itself
        begin = max(line["rates"][way]["begin"] for way in line["chosen"])
        alone = of["fused"] / (1 if members < 2 * CORES else CORES)
        long = members * LONG / (begin + members * LONG / ours)
        arithmetic = f"{ours * 6 * parameters * BATCH / line['roof'][0]:.0%}" if network != "cnn" else "-"
        traffic = ours * parameters * 4 * 9 / line["roof"][1]
        rows.append(
            [
                str(members),
                *(f"{value:,.0f}" for value in (of["plain"], alone, of["fused"])),
                "-" if line["ray"] is None else f"{line['ray']:,.0f}",
                *(f"{of[way]:,.0f}" for way in ways),
                " and ".join(dict.fromkeys(line["chosen"])),
                f"{ours / of['plain']:.1f}",
                f"{long / of['plain']:.1f}",
                f"{ours / max(of['plain'], of['fused']):.2f}",
                f"{arithmetic} / {traffic:.0%}",
                f"{line['rates']['compiled']['begin']:.0f} s" if "compiled" in of else "-",
            ]
        )
    header = ["members", "(a) plain", "(a) fused", "(b) per core", "Ray Tune", *ways, "chosen", "x (a)", f"x (a), {LONG:,} steps"]
    return table([*header, "x best of (a), (b)", "of the roof", "compiling"], rows)


def _where() -> str:
    if DEVICE == "cuda":
        return "everything on the GPU, in one process, so that (b) is (a) fused; loops are measured with four members, as each costs the same"
    return f"on {CORES} processes of one thread each, except (a) and populations too small to split; (a) fused is a process's share of (b)"


def _between() -> str:
    return f", within and between {CORES} processes" if CORES > 1 else ""


def _slower(found: Sequence[Mapping[str, Any]]) -> str:
    """How much longer a step of 1,024 members takes than one of 16."""
    steps = {line["members"]: {way: line["members"] / line["rates"][way]["rate"] for way in ("batched", "compiled")} for line in found}
    if not {16, 1024} <= steps.keys():
        return ""
    ratios = " or ".join(f"{steps[1024][way] / steps[16][way]:.2f} ({way}, {steps[1024][way] * 1e6:.0f} us)" for way in steps[16])
    return f"A step of 1,024 members takes {ratios} times as long as one of 16.\n\n"


def told_memory(found: Mapping[str, Mapping[str, float]]) -> str:
    """The table of memory."""
    rows = []
    for way, at in found.items():
        ratio = (at["peak"] - at["activations"]) / at["state"]
        rows.append([way, *(f"{at[key] / 1e6:.1f}" for key in ("peak", "state", "activations", "process")), f"{ratio:.2f}"])
    return table(["way", "peak, MB", "state, MB", "activations, MB", "whole process, MB", "(peak - activations) / state"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(NETWORKS), default="small")
    parser.add_argument("--members", type=int, nargs="+", help="sizes of the population")
    parser.add_argument("--ray", type=Path, help="environment with Ray Tune, PyTorch and scikit-learn")
    parser.add_argument("--ray-seconds", type=float, default=40.0, help="after which Ray Tune is stopped")
    parser.add_argument("--quick", action="store_true", help="fewer members and rounds; without compiling; keeps no result")
    given = parser.parse_args()
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp(prefix="lamarck-benchmark-")
    facts = {**machine(("lamarck", "torch", "numpy")), **({} if given.ray is None else {"ray": "2.60.0"})}
    if DEVICE == "cuda":
        facts["gpu"] = torch.cuda.get_device_name()
    network = NETWORKS[given.model]
    sizes = given.members or (network.sizes[:3] if given.quick else network.sizes)
    ways, rounds = (("batched", "looped"), 1) if given.quick else (WAYS, 3)
    parameters = sum(weight.numel() for weight in network.build().parameters())
    found = measured(given.model, sizes, ways, rounds, given.ray, given.ray_seconds)
    if given.quick:
        print(json.dumps(found, indent=1))
        return
    tuned = network.tuned
    chosen = next((line["chosen"][0] for line in found if line["members"] == tuned), "batched")
    moved, trained = exploit(given.model, tuned, chosen)
    memory = {}
    for together in [ways] if DEVICE == "cuda" else [[way] for way in ways]:  # what a process of a CPU once had is not given back
        alone = Workers(1)
        try:
            for way in together:
                ((memory[way], *_),) = alone(1, "memory", given.model, tuned // CORES, way)
        finally:
            alone.end()
    flops, copied = found[0]["roof"]
    share, interval = statistics.median(moved), statistics.median(trained)
    text = (
        f"{network.title}, {parameters:,} parameters, AdamW, batches of {BATCH}. Members x steps per second, by the clock, in intervals of "
        f"{INTERVAL} steps; {_where()}. Chosen is what the engine takes by its own short measurement in a run of {LONG:,} steps, except that a "
        "member alone is always looped; in the column of that many steps the time to compile is counted too. The roof is a matrix product in "
        f"single precision ({flops / 1e9:.0f} GFLOP/s{' on all cores' if CORES > 1 else ''}) / a copy ({copied / 1e9:.0f} GB/s); a step "
        "reads and writes weights, moments and gradients about nine times in all. "
        "Compiling: seconds before the first step, in each process, with an empty cache.\n\n"
        f"{told_rates(given.model, parameters, found, ways)}\n\n"
        f"{_slower(found)}"
        f"An exploit of a fifth of {tuned} members{_between()}: {share * 1e3:.2f} ms, {share / interval:.2%} of an "
        f"interval of {INTERVAL} {chosen} steps ({interval:.3f} s).\n\n"
        f"Memory of one process with {tuned // CORES} members, in bytes that PyTorch has given out: at the peak of a step, as against weights, "
        "moments and gradients of all members, and what a plain loop of one keeps besides, times the members that train at once (all if "
        f"batched, a tile if compiled, one if looped).\n\n{told_memory(memory)}"
    )
    data = {"rows": found, "exploit": [moved, trained], "memory": memory}
    save(f"vectorised-{given.model}{'-gpu' if DEVICE == 'cuda' else ''}", f"A population as one program: {network.title}", text, data, facts)


if __name__ == "__main__":
    main()
