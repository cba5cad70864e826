"""Journals of every release are kept and read for ever. These files must never change; a new schema gets a new file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lamarck.codec import VERSION, decode_event, encode
from lamarck.population import replay
from lamarck.types import Assigned, Failed, Reported, Started

GOLDEN = Path(__file__).parent / "golden"


def lines_of(version):
    return (GOLDEN / f"journal-v{version}.jsonl").read_bytes().splitlines()


def test_there_is_a_journal_of_every_version():
    assert sorted(path.name for path in GOLDEN.glob("journal-*")) == [f"journal-v{version}.jsonl" for version in range(1, VERSION + 1)]


def test_the_newest_journal_is_what_would_be_written_today():
    for line in lines_of(VERSION):
        assert encode(decode_event(line)) == line


def test_version_1():
    """Three members, three generations, lower is better; the numbers were put there by hand."""
    events = [decode_event(line) for line in lines_of(1)]
    started = events[0]
    assert isinstance(started, Started)
    assert (started.settings.population_size, started.settings.mode, started.settings.max_lead) == (3, "min", 0)
    assert list(started.space["hyperparameters"]) == ["lr", "dropout", "layers", "optimiser"]
    assert [event.failure.kind for event in events if isinstance(event, Failed)] == ["lost", "error", "error", "error"]

    reports = {event.report.key: event.report for event in events if isinstance(event, Reported)}
    assert reports[0, 0].samples == (0.5, 1.0)
    assert reports[1, 0].metrics == {"accuracy": 0.875, "grad_norm": float("inf")}
    assert np.isnan(reports[2, 0].value)
    intervals = {event.interval.key: event.interval for event in events if isinstance(event, Assigned)}
    assert [key for key, interval in intervals.items() if interval.copied] == [(2, 1), (0, 2), (2, 2)]
    assert intervals[0, 2].hparams == {"lr": 0.03713271066890222, "dropout": 0.0625, "layers": 3, "optimiser": "sgd"}

    population = replay(events)
    assert population is not None
    assert population.ended == "generations"
    assert population.best is not None
    assert (population.best.key, population.best.value, population.best.fitness) == ((0, 2), 0.25, -0.25)
    assert population.best.trail == (-0.5, -0.375, -0.25)  # member 1's, whose weights it took
    assert population.best.parent == (1, 1)
    assert [member.retired for member in population.members] == [False, False, True]
    assert population.generations[:2].tolist() == [3, 3]
    assert "0002-00001-d3b8f5126c09e7a4" not in population.live()  # it was damaged
