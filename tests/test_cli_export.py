"""`lamarck export`, and the options by which runs tell tracking services."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import mlflow
import pytest

from lamarck.cli import main
from lamarck.observers.mlflow import MlflowObserver
from lamarck.runs import open_run
from test_cli_commands import RUN, TRAIN
from test_observers_tensorboard import scalars
from tracked import values


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    (tmp_path / "train.py").write_text(TRAIN)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/store")


def members():
    """Points of each member in MLflow, (when, step, value)."""
    client = mlflow.MlflowClient()
    runs = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    return {
        run.info.run_name: [(it.timestamp, it.step, it.value) for it in client.get_metric_history(run.info.run_id, "value")]
        for run in runs
        if "mlflow.parentRunId" in run.data.tags
    }


def same(history):
    assert {name: [point[1:] for point in points] for name, points in members().items()} == {
        f"member-{member:03d}": values(history, member) for member in range(history.settings.population_size)
    }


def test_a_run_on_file_is_written_wherever_it_is_wanted(capsys):
    assert main(RUN) == 0
    capsys.readouterr()
    assert main(["export", "train.db", "--csv", "a.csv", "--tensorboard", "curves", "--mlflow", "digits"]) == 0
    assert capsys.readouterr().out.splitlines() == ["csv: a.csv", "tensorboard: curves", "mlflow: digits"]
    history = open_run("train.db")
    with open("a.csv", newline="") as file:
        rows = [(int(row["member"]), int(row["generation"]), float(row["value"])) for row in csv.DictReader(file)]
    assert rows == [(record.member, record.generation, record.value) for record in history.records]
    assert [step for step, _ in scalars("curves/member-002", "value")] == [record.step for record in history.member(2)]
    same(history)
    written = Path("train.db").stat().st_mtime
    assert all(abs(when / 1000 - written) < 60 for points in members().values() for when, *_ in points)
    assert main(["export", "train.db", "--csv", "a.csv", "--mlflow", "digits"]) == 0  # again: nothing is there twice
    same(history)


def test_a_run_tells_a_service_and_so_does_the_run_that_goes_on(capsys):
    Path("train.py").write_text(TRAIN.replace("        x += ", "        stop(interval)\n        x += ").replace("import numpy", _STOP, 1))
    assert main([*RUN, "--mlflow", "digits"]) == 130
    assert {len(points) for points in members().values()} == {2}
    Path("stop").unlink()
    capsys.readouterr()
    assert main(["resume", "train.db"]) == 0
    assert open_run("train.db").started.info["trackers"] == {"mlflow": "digits"}
    same(open_run("train.db"))


_STOP = """
import os, pathlib, signal

def stop(interval):
    if interval.generation == 2 and pathlib.Path("stop").exists():
        raise KeyboardInterrupt

pathlib.Path("stop").touch()
import numpy"""


def test_a_service_that_does_not_answer_is_an_error_of_the_command(monkeypatch, capsys):
    assert main(RUN) == 0

    def refuse(self, account):
        raise ConnectionError("refused")

    monkeypatch.setattr(MlflowObserver, "open", refuse)
    assert main(["export", "train.db", "--mlflow", "digits"]) == 2
    assert "MLflow has not got 16 reports of this run (ConnectionError: refused)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["export", "train.db"], "say where to: --csv, --jsonl, --tensorboard, --mlflow or --wandb"),
        (["export", "none.db", "--csv", "a.csv"], "there is no journal 'none.db'; here are 'train.db'"),
        (["export", "train.db", "--csv", "a.csv", "--name", "other"], "has no run 'other'; it has 'main'"),
        ([*RUN, "--mlflow", ""], "experiment: got ''"),
        (["export", "none.db", "--mlflow", "digits"], "there is no journal 'none.db'; here are 'train.db'"),
    ],
)
def test_mistakes_are_said_plainly(line, message, capsys):
    assert main(RUN) == 0
    assert main(line) == 2
    assert message in capsys.readouterr().err
    assert not Path("store").exists()


@pytest.mark.parametrize(("module", "option", "extra"), [("mlflow", "--mlflow", "mlflow"), ("wandb", "--wandb", "wandb")])
def test_without_the_client_it_says_how_to_install_it(module, option, extra, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, module, None)
    assert main([*RUN, option, "digits"]) == 2
    assert f"pip install 'lamarck[{extra}]'" in capsys.readouterr().err
    assert not Path("train.db").exists()
