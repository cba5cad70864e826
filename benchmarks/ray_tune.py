"""The same population, the same toy and the same machine, with Ray Tune and with this library.

Ray Tune is installed into an environment of its own, which this script makes the first time (about 650 MB); it is no dependency of the project.

1. The toy quadratic: two numbers, 100 iterations, a decision every 4, so that nothing but overhead is measured. Ray Tune runs with its
   default settings (function interface) and with its best (class interface, actors reused); asynchronous is the default. It is stopped after
   80 s and compared up to as many iterations as it had then. This library runs as it does by default: synchronous, each report in a journal on
   the disk.
2. Large checkpoints: 4 members on 2 workers, and every second interval begins with another member's weights. Beside it, in the same processes
   and in turn, the same bytes are written to a new file and fsynced once, and read into new memory once, by hand.

    python benchmarks/ray_tune.py [--env .cache/ray-env] [--seconds 80] [--sizes 2 8 32 128] [--megabytes 10 100] [--quick]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from _common import machine, save, table
from _tree import Watched, watched

HERE = Path(__file__).parent
VERSION = "2.60.0"
STEPS, INTERVAL = 100, 4
HEAVY_STEPS = 12
RAY, OURS = ("default", "best"), ("processes", "inline")
HEAVY = {"processes": "2 processes", "flushed": "2 processes, flushed before", "alone": "1 process"}
AS_INSTALLED = {"PYTHONDONTWRITEBYTECODE": ""}
"""An installed package is compiled; where this is set, one that is imported from its sources is compiled anew each time."""

TARGETS = {"default": 100.0, "best": 20.0}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one run.

    Args:
        seconds: From the call that trains to its return; of a bare loop, the loop alone.
        reached: (seconds, iterations of all members together) as they grew.
        watched: What its processes took, from the start of Python to its end.
        left: Bytes in files when it had ended.
        between: Seconds between two pieces of work in one worker: (after a copy, otherwise).
        by_hand: Seconds to write and fsync the same bytes, and to read them.
    """

    seconds: float
    reached: Sequence[tuple[float, int]]
    watched: Watched
    left: int
    between: tuple[Sequence[float], Sequence[float]] = ((), ())
    by_hand: tuple[Sequence[float], Sequence[float]] = ((), ())

    def until(self, iterations: int, whole: int) -> float:
        """Seconds until there were so many iterations of the whole; with all of them, until the call returned."""
        if iterations == whole:
            return self.seconds
        return next(seconds for seconds, count in self.reached if count >= iterations)


def installed(env: Path) -> Path:
    """Returns Ray's Python, with Ray Tune installed."""
    python = env.absolute() / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", env], check=True)
    asks: list[str | Path] = [python, "-c", f"import ray.tune; assert ray.__version__ == {VERSION!r}"]
    if subprocess.run(asks, capture_output=True, check=False).returncode:
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"ray[tune]=={VERSION}"], check=True)
    return python


def run(python: Path | str, side: str, limit: float, **asked: Any) -> Outcome:
    """Runs one side in a process of its own, and reads what it wrote down."""
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name).absolute()
        said = json.dumps({"folder": str(folder), "megabytes": 0, "steps": STEPS, "seconds": limit, **asked})
        took = watched([str(python), str(HERE / side), said], limit=limit + 60, folder=folder, environment=AS_INSTALLED)
        result, results = folder / "result", folder / "results"
        if not result.exists() and not results.exists():
            raise RuntimeError(f"{side} {said} ended with {took.code}:\n{(folder / 'err').read_text()[-3000:]}")
        whole: dict[str, Any] = json.loads(result.read_text()) if result.exists() else {"fit": math.nan}
        left = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        if results.exists():
            return of_ray(whole["fit"], [json.loads(line) for line in results.read_text().splitlines()], took, left)
    metrics = [line for line in whole.get("metrics", ()) if "seconds" in line]
    return Outcome(
        seconds=whole["fit"],
        reached=[(seconds, (done + 1) * INTERVAL) for done, seconds in enumerate(whole.get("times", ()))],
        watched=took,
        left=left,
        between=tuple([line["seconds"] for line in metrics if line["copied"] == copied] for copied in (1.0, 0.0)),  # type: ignore[arg-type]
        by_hand=tuple([line[what] for line in metrics] for what in ("write", "read")),  # type: ignore[arg-type]
    )


def of_ray(seconds: float, results: Sequence[Sequence[Any]], took: Watched, left: int) -> Outcome:
    """What Ray's results amount to: an iteration that it trains twice counts once."""
    best: dict[str, int] = {}
    reached = []
    for at, trial, iteration, *_ in results:
        best[trial] = max(iteration, best.get(trial, 0))
        reached.append((at, sum(best.values())))
    copied, other = ([row[3] for row in results if row[3] is not None and bool(row[4]) is loaded] for loaded in (True, False))
    return Outcome(seconds=seconds, reached=reached or [(math.nan, 0)], watched=took, left=left, between=(copied, other))


def toy(python: Path, sizes: Sequence[int], limit: float, rounds: int) -> dict[int, dict[str, list[Outcome]]]:
    """The toy with every size and every way: this library several times, because it is over so soon, before and after Ray Tune."""
    outcomes: dict[int, dict[str, list[Outcome]]] = {}
    for size in sizes:
        mine: dict[str, list[Outcome]] = outcomes.setdefault(size, {})

        def ours(size: int = size, mine: dict[str, list[Outcome]] = mine) -> None:
            for how in (*OURS, "bare"):
                mine.setdefault(how, []).append(run(sys.executable, "_our_side.py", 120, size=size, how=how))

        for how, kind in zip(RAY, ("function", "class"), strict=True):
            for _ in range(rounds):
                ours()
            mine[how] = [run(python, "_ray_side.py", limit, size=size, how=how, kind=kind)]
            print(f"{size} members, Ray Tune {how}: {mine[how][0].reached[-1]}", file=sys.stderr)
    return outcomes


def middle(outcomes: Sequence[Outcome]) -> Outcome:
    """The run of median time."""
    return sorted(outcomes, key=lambda outcome: outcome.seconds)[len(outcomes) // 2]


def verdict(met: bool) -> str:
    return "met" if met else "missed"


def told_time(outcomes: Mapping[int, Mapping[str, list[Outcome]]]) -> str:
    """Wall time."""
    rows = []
    for size, each in outcomes.items():
        for how in RAY:
            (ray,) = each[how]
            done = ray.reached[-1][1]
            whole = size * STEPS
            theirs = ray.until(done, whole)
            ours = [outcome.until(max(done, INTERVAL), whole) for outcome in each["processes"]]
            inline = [outcome.until(max(done, INTERVAL), whole) for outcome in each["inline"]]
            ratio = theirs / statistics.median(ours)
            cells = [f"{done} of {whole}", f"{theirs:.1f}", f"{statistics.median(ours):.3f}", f"{statistics.median(inline):.3f}"]
            cells += [f"{ratio:.0f}", f"{theirs / statistics.median(inline):.0f}", f"{TARGETS[how]:.0f}: {verdict(ratio >= TARGETS[how])}"]
            rows.append([f"{size}, Ray {how}", *cells])
    return table(["members", "iterations", "Ray Tune, s", "2 processes, s", "inline, s", "ratio", "ratio inline", "target"], rows)


def told_whole(outcomes: Mapping[int, Mapping[str, list[Outcome]]]) -> str:
    """The whole run of this library, with and without the start of Python."""
    rows = []
    for size, each in outcomes.items():
        middles = [middle(each[how]) for how in OURS]
        cells = [f"{outcome.seconds:.3f} / {outcome.watched.seconds:.2f}" for outcome in middles]
        scripts = [f"{each[how][0].watched.seconds:.1f}" for how in RAY]
        rows.append([str(size), *cells, f"{1e3 * middle(each['bare']).seconds:.1f}", *scripts])
    header = [
        "members",
        "2 processes, s: run / script",
        "inline, s: run / script",
        "bare loop, ms",
        "Ray default, s: script",
        "Ray best, s: script",
    ]
    return table(header, rows)


def told_memory(outcomes: Mapping[int, Mapping[str, list[Outcome]]]) -> str:
    """Memory and disk."""
    rows = []
    for size, each in outcomes.items():
        chosen = {how: max(each[how], key=lambda outcome: outcome.watched.pss) for how in each}
        training = chosen["bare"].watched.pss
        beside = {how: chosen[how].watched.pss - training for how in chosen}
        for how in ("default", "best", "processes", "inline"):
            it = chosen[how]
            less = min(beside[ray] for ray in RAY) / beside[how]
            cells = [f"{it.watched.pss / 1e6:.0f}", f"{it.watched.rss / 1e6:.0f}", str(it.watched.processes), f"{beside[how] / 1e6:.0f}"]
            cells += [f"{it.watched.written / 1e6:.1f}", f"{it.left / 1e6:.1f}", str(it.reached[-1][1])]
            cells += ["" if how in RAY else f"{less:.1f}", f"10: {verdict(less >= 10)}" if how == "processes" else ""]
            rows.append([f"{size}, {'Ray ' * (how in RAY)}{how}", *cells])
    header = ["members", "PSS, MB", "RSS, MB", "processes", "beside training", "written, MB", "left, MB", "iterations", "times less", "target"]
    return table(header, rows)


def told_copies(heavy: Mapping[int, Mapping[str, Outcome]]) -> str:
    """Large checkpoints."""
    rows = []

    def some(seconds: Sequence[float]) -> str:
        return f"{1e3 * statistics.median(seconds):.0f}" if seconds else "-"

    for size, each in heavy.items():
        floors = {}
        for how, name in (("processes", "beside another process"), ("alone", "alone")):
            write, read = each[how].by_hand
            floors[how] = statistics.median([a + b for a, b in zip(write, read, strict=True)])
            rows.append([f"{size} MB, by hand, {name}", f"{1e3 * floors[how]:.0f}", f"{some(write)} + {some(read)}", "1.00", ""])
        for how, name in (*HEAVY.items(), ("best", "Ray best")):
            copies, others = each[how].between
            ratio = statistics.median(copies) / floors["alone" if how == "alone" else "processes"] if copies else math.nan
            target = "" if how == "best" else f"1.3: {verdict(ratio <= 1.3)}"
            rows.append([f"{size} MB, {name}", some(copies), some(others), f"{ratio:.2f}", target])
    return table(["checkpoint", "next interval copies, ms", "does not, ms", "copy / by hand", "target"], rows)


def text(outcomes: Mapping[int, Mapping[str, list[Outcome]]], heavy: Mapping[int, Mapping[str, Outcome]], limit: float) -> str:
    """The result, as Markdown."""
    return (
        f"## The toy, {STEPS} iterations, a decision every {INTERVAL}\n\n"
        f"Ray Tune {VERSION} was stopped after {limit:g} s. Seconds from the call that trains, with the start of its workers, to as many\n"
        "iterations as Ray Tune had; this library's are medians of several runs, and its journal and checkpoints were on the disk. Ray Tune\n"
        f"tells of every iteration, this library of every interval of {INTERVAL}, as either is made to.\n\n"
        f"{told_time(outcomes)}\n\nThis library to the end, and every script with the start of Python and of Ray:\n\n{told_whole(outcomes)}\n\n"
        "Memory is the peak over time of all processes together; shared pages count once in PSS. Beside training is PSS above that of the\n"
        "bare loop, one process of Python with NumPy. Written is what the kernel sent to the disk for these processes; left is the size\n"
        f"of all files at the end. Ray Tune's bytes are those of the iterations that it had reached.\n\n{told_memory(outcomes)}\n\n"
        "## Large checkpoints\n\n"
        "Median milliseconds in a worker from the end of one piece of training to the beginning of the next: save, report, decide, restore.\n"
        "4 members share the workers, so a member that copies nobody is restored too. By hand, in the same processes and in turn: the same\n"
        "bytes to a new file with fsync, and from there into new memory. The processes flush a checkpoint beside the next interval, or,\n"
        "in the second row, before they report. Ray Tune does not fsync, and saves only members that others may copy or that pause.\n\n"
        f"{told_copies(heavy)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", type=Path, default=Path(".cache/ray-env"), help="Ray's environment, made if it is not there")
    parser.add_argument("--seconds", type=float, default=80.0, help="after which Ray Tune is stopped")
    parser.add_argument("--sizes", type=int, nargs="*", default=[2, 8, 32, 128], help="members")
    parser.add_argument("--megabytes", type=int, nargs="*", default=[10, 100], help="sizes of checkpoints")
    parser.add_argument("--rounds", type=int, default=2, help="runs of this library before each of Ray Tune's")
    parser.add_argument("--quick", action="store_true", help="prints only, and keeps no result")
    chosen = parser.parse_args()
    python = installed(chosen.env)
    facts = {**machine(("lamarck", "numpy", "blake3")), "ray": VERSION}
    outcomes = toy(python, chosen.sizes, chosen.seconds, chosen.rounds)
    heavy: dict[int, dict[str, Outcome]] = {}
    for size in chosen.megabytes:
        asked = {"size": 4, "steps": HEAVY_STEPS, "megabytes": size}
        heavy[size] = {
            **{how: run(sys.executable, "_our_side.py", 180, how=how, **asked) for how in HEAVY},
            "best": run(python, "_ray_side.py", chosen.seconds / 3, how="best", kind="class", **asked),
        }
    page = text(outcomes, heavy, chosen.seconds)
    if chosen.quick:
        print(page)
        return
    data = {
        "toy": {str(size): {how: list(map(asdict, runs)) for how, runs in each.items()} for size, each in outcomes.items()},
        "copies": {str(size): {how: asdict(outcome) for how, outcome in each.items()} for size, each in heavy.items()},
    }
    save("ray-tune", "Beside Ray Tune's population based training", page, data, facts)


if __name__ == "__main__":
    main()
