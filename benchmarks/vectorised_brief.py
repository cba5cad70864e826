"""What `vectorised.py` measures, in a minute or two and in one process: for a GPU that is there for minutes.

Members x steps per second of the batched and of the compiled way, each for as long as it takes to see them, after plain loops of four members;
what an interval costs besides its steps; and what an exploit costs. One way after the other, not in turn, and without asking the engine which
it would choose: for that there is `vectorised.py`.

    python benchmarks/vectorised_brief.py [--seconds 0.3]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from _common import machine, save, table
from _networks import BATCH, NETWORKS, loops
from _stacks import DEVICE, INTERVAL, finished, intervals, roof, task

SIZES = {"small": (1, 16, 256, 1024), "middle": (16, 256, 1024), "cnn": (16, 64, 256)}
COMPILED = {"small": (256,), "middle": (256, 1024), "cnn": (64,)}


def rate(train: Callable[[int], object], members: int, seconds: float, steps: int = INTERVAL) -> float:
    """Members x steps per second, of intervals until so many seconds are over."""
    train(steps)
    finished()
    times, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        train(steps)
        finished()
        times += 1
    return members * steps * times / (time.perf_counter() - began)


def stacked(network: str, members: int, how: str, seconds: float) -> tuple[float, float]:
    """The rate of a way, and the seconds of its first interval, recording and compiling included."""
    trained = task(network, how)
    state = trained.init(np.arange(members))
    began = time.perf_counter()
    trained.fit(state, intervals(members, INTERVAL))
    finished()
    begin = time.perf_counter() - began
    return rate(lambda steps: trained.fit(state, intervals(members, steps)), members, seconds), begin


def exploited(network: str, members: int) -> float:
    """Seconds to copy the best fifth over the worst."""
    trained = task(network, "batched")
    state = trained.init(np.arange(members))
    worst, best = np.arange(members // 5), np.arange(members - members // 5, members)
    took = []
    for _ in range(20):
        finished()
        began = time.perf_counter()
        trained.scatter(state, worst, trained.gather(state, best))
        finished()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each rate")
    seconds = parser.parse_args().seconds
    facts = machine(("lamarck", "torch", "numpy")) | ({"gpu": torch.cuda.get_device_name()} if DEVICE == "cuda" else {})
    flops, copied = roof()
    rows: list[list[str]] = []
    plain: dict[tuple[str, str], float] = {}
    fastest: dict[tuple[str, int], float] = {}
    for network, sizes in SIZES.items():
        parameters = sum(weight.numel() for weight in NETWORKS[network].build().parameters())
        for way in ("plain", "fused"):
            plain[network, way] = rate(loops(network, 4, fused=way == "fused", device=DEVICE), 4, seconds, 50)
        for way, asked in (("batched", sizes), ("compiled", COMPILED[network])):
            for members in asked:
                got, begin = stacked(network, members, way, seconds)
                print(f"{network}, {members} members, {way}: {got:,.0f}", file=sys.stderr, flush=True)
                fastest[network, members] = max(got, fastest.get((network, members), 0.0))
                arithmetic = "-" if network == "cnn" else f"{got * 6 * parameters * BATCH / flops:.1%}"
                rows.append(
                    [
                        f"{network}, {members}, {way}",
                        f"{got:,.0f}",
                        f"{members / got * 1e6:,.0f}",
                        f"{got / plain[network, 'plain']:,.0f}",
                        f"{got / plain[network, 'fused']:,.0f}",
                        f"{arithmetic} / {got * parameters * 36 / copied:.1%}",
                        f"{begin:.1f}",
                    ]
                )
    moved = exploited("small", 256)
    header = ["network, members, way", "members x steps / s", "us a step", "x plain", "x fused", "of the roof", "first interval, s"]
    loops_text = ", ".join(f"{network} {plain[network, 'plain']:,.0f} and {plain[network, 'fused']:,.0f}" for network in SIZES)
    text = (
        f"AdamW, batches of {BATCH}, intervals of {INTERVAL} steps, on {DEVICE}. Plain loops one after the other, and with the fused "
        f"optimizer, members x steps per second: {loops_text}. The roof is a matrix product in single precision ({flops / 1e12:.1f} TFLOP/s) / "
        f"a copy ({copied / 1e9:,.0f} GB/s), with nine passes over the weights in a step.\n\n{table(header, rows)}\n\n"
        f"An exploit of a fifth of 256 small networks: {moved * 1e3:.2f} ms, {moved * fastest['small', 256] / (256 * INTERVAL):.2%} of the "
        "fastest interval."
    )
    kind = "-gpu" if DEVICE == "cuda" else ""
    save(f"vectorised-brief{kind}", "Populations as one program, briefly", text, {"rows": rows, "exploit": moved}, facts)


if __name__ == "__main__":
    main()
