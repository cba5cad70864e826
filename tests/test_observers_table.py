"""Rows in files, read back by pandas and a strict JSON parser, after runs that went well and runs that were killed."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import lamarck as lk
from lamarck.coordinator import events_of
from lamarck.journal import open_journal
from lamarck.observers.table import CsvObserver, JsonlObserver
from lamarck.pbt import PBT
from lamarck.population import apply
from lamarck.space import Categorical, Float, Int, Space
from lamarck.testing.simulation import simulate
from lamarck.types import Reported, Settings
from tracked import told

SPACE = Space(
    lr=Float(1e-5, 1e-1, log=True),
    layers=Int(1, 4),
    momentum=Float(0.0, 1.0, when={"optimizer": "sgd"}),
    optimizer=Categorical(["sgd", 'adam, with\n"decay"']),
)


def value(interval, state):
    """A value that depends on nothing but the interval; one in seven is NaN."""
    return (math.nan if interval.seed % 7 == 0 else interval.hparams["lr"] / 3), None


def journal(size=6, generations=5, seed=0, space=SPACE):
    return simulate(PBT(space=space, settings=Settings(population_size=size, interval=10, generations=generations, seed=seed)), value)


def folded(events):
    population = None
    for event in events:
        population = apply(population, event)
    return population


def reports(events):
    return [event.report for event in events if isinstance(event, Reported)]


def read(path):
    """The file as pandas reads it, with numbers parsed to the last bit."""
    return pd.read_csv(path, converters={"value": float, "hparams.lr": float})


def assert_same(path, history):
    """The CSV file holds what the history's own table holds, in any order of rows."""
    by = ["member", "generation"]
    got = read(path)
    assert not got.duplicated(by).any()
    got = got.sort_values(by, ignore_index=True)
    expected = pd.DataFrame(history.table()).sort_values(by, ignore_index=True).drop(columns="founder")
    assert sorted(got.columns) == sorted(expected.columns)
    pd.testing.assert_frame_equal(got[expected.columns], expected, check_dtype=False, check_exact=True)


def rows(path):
    """The lines of the file, as strict JSON."""

    def refuse(name):
        raise ValueError(name)

    return [json.loads(line, parse_constant=refuse) for line in path.read_text(encoding="utf-8").splitlines()]


def raw(path, observer):
    """The rows as they stand in the file, as text."""
    if observer is JsonlObserver:
        return Path(path).read_text(encoding="utf-8").splitlines()
    with open(path, encoding="utf-8", newline="") as file:
        return [repr(sorted(row.items())) for row in csv.DictReader(file, strict=True)]


# ---- a run that goes well -------------------------------------------------------------------------------------------------------------------


def test_pandas_reads_the_csv_as_the_history_tells_it():
    events = journal()
    told(CsvObserver("run.csv"), events)
    assert_same("run.csv", lk.History.of(events))
    assert list(read("run.csv").columns) == [
        *("member", "generation", "step", "value", "checkpoint", "parent_member", "parent_generation"),
        *("hparams.lr", "hparams.layers", "hparams.momentum", "hparams.optimizer"),
    ]
    assert read("run.csv")["value"].isna().any()
    assert read("run.csv")["hparams.momentum"].isna().any()


def test_rows_are_there_as_soon_as_a_report_is_acknowledged():
    population, observer, count = None, CsvObserver("run.csv"), 0
    for event in journal(size=3, generations=2):
        population = apply(population, event)
        observer(event, population)
        count += isinstance(event, Reported)
        assert len(read("run.csv")) == count


def test_json_lines_hold_what_was_reported():
    def train(worker):
        worker.track(x=(lambda: 0, lambda state: None))
        for interval in worker:
            odd = interval.generation % 2
            interval.report(math.inf if odd else 0.25, samples=[0.5, math.nan], metrics={"loss": math.nan if odd else 1 / 3, "größe": 2.0})

    path = Path("run.jsonl")
    history = lk.run(train, SPACE, population_size=3, interval=10, generations=4, observers=[JsonlObserver(path)])
    got = rows(path)
    assert [(row["member"], row["generation"]) for row in got] == [record.key for record in history.records]
    for row, record in zip(got, history.records, strict=True):
        odd = record.generation % 2
        assert row == {
            "member": record.member,
            "generation": record.generation,
            "step": record.step,
            "value": None if odd else 0.25,
            "checkpoint": record.checkpoint,
            "parent": None if record.parent is None else list(record.parent),
            "hparams": dict(record.hparams),
            "metrics": {"loss": None if odd else 1 / 3, "größe": 2.0},
            "samples": [0.5, None],
        }
    frame = pd.json_normalize(got)
    assert frame["hparams.lr"].tolist() == [record.hparams["lr"] for record in history.records]


@pytest.mark.parametrize("observer", [CsvObserver, JsonlObserver])
def test_a_new_run_begins_the_file_anew(observer):
    path = Path("rows")
    told(observer(path), journal(seed=1))
    told(observer(path), journal(seed=2))
    text = path.read_text()
    told(observer("fresh"), journal(seed=2))
    assert text == Path("fresh").read_text()


@pytest.mark.parametrize("observer", [CsvObserver, JsonlObserver])
@pytest.mark.parametrize("path", ["no/such/folder/rows", "."])
def test_a_path_that_cannot_be_is_refused_at_once(observer, path):
    with pytest.raises(lk.SettingsError, match="it must be a file in a folder that exists"):
        observer(path)


# ---- a run that is resumed ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("observer", [CsvObserver, JsonlObserver])
@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_resumed_run_goes_on_in_the_same_file(observer, cut):
    events = journal()
    told(observer("whole"), events)
    told(observer("parts"), events[:cut])
    told(observer("parts"), events[cut:], folded(events[:cut]))
    assert Path("parts").read_text() == Path("whole").read_text()


@pytest.mark.parametrize("observer", [CsvObserver, JsonlObserver])
def test_a_file_torn_at_any_byte_is_mended(observer):
    events = journal(size=2, generations=3)
    cut = next(i for i, event in enumerate(events) if isinstance(event, Reported) and event.report.key == (1, 1)) + 1
    told(observer("whole"), events)
    whole = sorted(raw("whole", observer))
    told(observer("part"), events[:cut])
    part = Path("part").read_bytes()
    population = folded(events[:cut])
    newest = part[: part.rstrip(b"\n").rfind(b"\n1,1," if observer is CsvObserver else b"\n") + 1]
    for size in range(len(newest), len(part) + 1):
        Path("torn").write_bytes(part[:size])
        told(observer("torn"), events[cut:], population)
        assert sorted(raw("torn", observer)) == whole, f"torn after {size} of {len(part)} bytes"
    for size in range(0, len(newest), 5):  # more is lost than a kill can lose: what is there is right, and nothing twice
        Path("torn").write_bytes(part[:size])
        told(observer("torn"), events[cut:], population)
        got = raw("torn", observer)
        assert set(got) <= set(whole)
        assert len(got) == len(set(got))


@pytest.mark.parametrize("observer", [CsvObserver, JsonlObserver])
def test_rows_that_the_journal_does_not_know_are_dropped(observer):
    """The journal was put back from a copy: what came after it happens again, differently."""
    events = journal(seed=1)
    told(observer("rows"), events)
    cut = next(i for i, event in enumerate(events) if isinstance(event, Reported) and event.report.key == (3, 2))
    again = [*events[:cut], Reported(report=lk.Report(member=3, generation=2, step=events[cut].report.step, value=77.0, checkpoint="again"))]
    told(observer("rows"), again[cut:], folded(again[:cut]))
    if observer is CsvObserver:
        assert_same("rows", lk.History.of(again))
        assert read("rows")["value"].iloc[-1] == 77.0
    else:
        assert [(row["member"], row["generation"]) for row in rows(Path("rows"))] == [report.key for report in reports(again)]
        assert rows(Path("rows"))[-1]["value"] == 77.0


@pytest.mark.parametrize("observer", [CsvObserver, JsonlObserver])
@pytest.mark.parametrize("junk", ["", "not,a,table\n1,2,3\n", '{"a": 1}\n[2]\n', "\x00\xff\n", "member,generation\n-1,0\n99,0\nx,y\n"])
def test_a_file_that_is_something_else_gives_no_rows(observer, junk):
    Path("rows").write_text(junk, encoding="latin-1")
    events = journal(size=2, generations=2)
    told(observer("rows"), events[-3:], folded(events[:-3]))
    if observer is CsvObserver:
        got = read("rows")
        assert not got.duplicated(["member", "generation"]).any()
        assert set(zip(got["member"], got["generation"], strict=True)) <= {report.key for report in reports(events)}
    else:
        keys = [(row["member"], row["generation"]) for row in rows(Path("rows"))]
        assert len(keys) == len(set(keys))
        assert set(keys) <= {report.key for report in reports(events)}


def test_a_hyperparameter_that_appears_late_widens_the_table():
    """A resumed run that has lost its file cannot know the name of what nobody has had yet."""
    space = Space(kind=Categorical(["plain", "rich"]), lr=Float(0.0, 1.0), extra=Int(1, 9, when={"kind": "rich"}))
    settings = Settings(population_size=4, interval=10, generations=4)
    initial = [{"kind": "plain", "lr": 0.1 * (i + 1)} for i in range(4)]
    events = simulate(PBT(space=space, settings=settings, initial=initial, explore=lk.explore.Resample(1.0)), value)
    assert any("extra" in record.hparams for record in lk.History.of(events).records)
    told(CsvObserver("run.csv"), events[2:], folded(events[:2]))
    assert_same("run.csv", lk.History.of(events))


# ---- trouble --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("observer", [CsvObserver, JsonlObserver])
def test_what_a_full_disk_kept_out_is_added_when_there_is_room(observer, monkeypatch):
    events = journal(size=4, generations=3)
    told(observer("whole"), events)
    there = observer("rows")
    population = None
    full = [i for i, event in enumerate(events) if isinstance(event, Reported)][5]
    for i, event in enumerate(events):
        population = apply(population, event)
        if i == full:
            with monkeypatch.context() as patched:
                patched.setattr(Path, "open", lambda path, *mode, **text: TornFile(path))
                with pytest.raises(OSError, match="No space left"):
                    there(event, population)
            assert not Path("rows").read_text().endswith("\n")
        else:
            there(event, population)
    assert sorted(raw("rows", observer)) == sorted(raw("whole", observer))
    assert [path.name for path in Path().iterdir() if "draft" in path.name] == []


class TornFile:
    """A file on a disk that fills up in the middle of a row."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def write(self, text):
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(text[: len(text) // 2])
        raise OSError(28, "No space left on device")


def test_a_run_that_is_killed_and_resumed_has_every_row_once(tmp_path):
    """A real process, killed by SIGKILL again and again; the file is compared with the journal."""
    script = tmp_path / "train.py"
    script.write_text(
        """
import time
import lamarck as lk
from lamarck.observers.table import CsvObserver

def train(worker):
    worker.track(x=(lambda: 0, lambda state: None))
    for interval in worker:
        time.sleep(0.004)
        interval.report(interval.hparams["lr"] * 3)

if __name__ == "__main__":
    space = lk.Space(lr=lk.Float(1e-5, 1e-1, log=True), n=lk.Int(1, 3))
    lk.run(train, space, population_size=6, interval=10, generations=20, journal="run.db", resume=True, observers=[CsvObserver("run.csv")])
"""
    )
    kills = 0
    for _ in range(30):
        before = lines(tmp_path)
        process = subprocess.Popen([sys.executable, str(script)], cwd=tmp_path)
        while process.poll() is None and lines(tmp_path) < before + 30:
            time.sleep(0.002)
        if process.poll() is not None:
            break
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
    assert process.returncode == 0
    assert kills >= 3
    with open_journal(tmp_path / "run.db", readonly=True) as book:
        history = lk.History.of(events_of(book, "main"))
    assert len(history.records) == 120
    assert_same(tmp_path / "run.csv", history)


def lines(folder):
    path = folder / "run.csv"
    return path.read_text().count("\n") if path.exists() else 0
