"""What the benchmarks share: fair timing, the machine's description, and results on file.

A benchmark measures everything that it compares in one run, round by round in turn, because a machine's speed changes from minute to minute.
What can be compared between machines are ratios within a run; seconds are given beside them.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["RESULTS", "in_turn", "machine", "median", "save", "table"]

RESULTS = Path(__file__).parent / "results"
"""Where results are kept, one pair of files for each day and benchmark."""


def in_turn(
    tasks: Mapping[str, Callable[[], object]], rounds: int, *, warm_up: int = 2, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Times each task once in every round, so that a slow moment of the machine meets all of them.

    Args:
        tasks: What to time, by name.
        rounds: How often, at least 1.
        warm_up: Rounds beforehand that do not count.
        clock: What to measure with. ``time.process_time`` leaves out what other processes took, and suits what never waits.

    Returns:
        Seconds of each round, by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(warm_up + rounds):
        for name, task in tasks.items():
            gc.collect()
            gc.disable()
            try:
                began = clock()
                task()
                took = clock() - began
            finally:
                gc.enable()
            if number >= warm_up:
                seconds[name].append(took)
    return seconds


def median(seconds: Sequence[float]) -> float:
    """Returns the median."""
    return statistics.median(seconds)


def machine(packages: Sequence[str] = ("lamarck", "numpy")) -> dict[str, str]:
    """Describes where and with what a benchmark ran.

    Args:
        packages: Distributions whose versions matter.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu(),
        "cores": str(cores),
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "system": platform.system(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        **{package: _version(package) for package in packages},
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
    }


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table that can also be read as plain text: first column to the left, the others to the right."""
    widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(zip(cells, widths, strict=True))]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * width if not column else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    return "\n".join([line(header), f"| {' | '.join(rule)} |", *map(line, rows)])


def save(name: str, title: str, text: str, data: Mapping[str, Any], facts: Mapping[str, str]) -> list[Path]:
    """Prints a result and writes it as Markdown and JSON.

    Args:
        name: Name of the benchmark, for the files.
        title: What it measured.
        text: The result, as Markdown.
        data: The result, as plain JSON values; seconds of every round belong here.
        facts: What `machine` returned before the measurement.

    Returns:
        The files.
    """
    page = f"# {title}\n\n{text}\n\n{table(('machine', ''), list(facts.items()))}\n"
    print(page)
    RESULTS.mkdir(exist_ok=True)
    base = RESULTS / f"{facts['date'][:10]}-{name}"
    files = [base.with_suffix(".md"), base.with_suffix(".json")]
    files[0].write_text(page)
    files[1].write_text(json.dumps(_short({"title": title, "machine": facts, **data}), separators=(",", ":")) + "\n")
    return files


def _short(value: Any) -> Any:
    """Keeps four digits of each number: more are noise, and a file of thousands of them should stay small."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {key: _short(item) for key, item in value.items()}
    return [_short(item) for item in value] if isinstance(value, list | tuple) else value


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
