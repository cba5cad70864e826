"""Spaces that hold what a run was trained with, whatever it was resumed with."""

import numpy as np
import pytest

import lamarck as lk
from lamarck import guards, plots
from lamarck.cli import main
from lamarck.diversity import diversity
from lamarck.space import Categorical, Constant, Float, Int, Space, widened
from lamarck.web.data import Columns


def test_a_space_that_holds_everything_stays_what_it_is():
    space = Space(x=Float(0.0, 1.0, bounds="clip"), n=Int(1, 4), opt=["a", "b"]).where("x < n")
    assert widened(space, [{"x": 0.5, "n": 2, "opt": "a"}, {"x": 1.0, "unknown": 3}]) is space


@pytest.mark.parametrize(
    ("parameter", "values", "expected"),
    [
        (Float(0.01, 0.1, log=True), [0.5, 0.001], Float(0.001, 0.5, log=True)),
        (Float(0.01, 0.1, log=True), [0.0], Float(0.0, 0.1)),
        (Float(0.0, 1.0), [3], Float(0.0, 3.0)),
        (Int(2, 4, log=True), [8], Int(2, 8, log=True)),
        (Int(2, 4), [2.5, 8], Float(2.0, 8.0)),
        (Categorical(["a", "b"], ordered=True), ["c"], Categorical(["a", "b", "c"], ordered=True)),
        (Constant(3), [4, 3], Categorical([3, 4])),
        (Int(0, 3), [1, "auto"], Categorical([1, "auto"])),
        (Float(0.0, 1.0), [0.5, True], Categorical([0.5, True])),
    ],
)
def test_a_range_grows_until_it_holds_the_values(parameter, values, expected):
    space = widened(Space(p=parameter), [{"p": value} for value in values])
    assert space["p"] == expected
    assert all(space["p"].contains(value) for value in values)


def test_conditions_and_constraints_stay():
    space = Space(opt=["a", "b"], m=Float(0.0, 1.0, when={"opt": "a"}), n=Int(1, 4, when={"opt": "b"}), k=Categorical([1], when={"opt": "a"}))
    space = space.where("m < 3")
    wide = widened(space, [{"opt": "a", "m": 2.0, "k": 2}, {"opt": "b", "n": 9}])
    assert (wide["m"].when, wide["n"].when, wide["k"].when) == ({"opt": ("a",)}, {"opt": ("b",)}, {"opt": ("a",)})
    assert wide.constraints == space.constraints
    assert wide.names == space.names


def train(worker):
    x = np.zeros(1)
    worker.track(x=x)
    for interval in worker:
        if interval.generation == 3 and STOP:
            raise KeyboardInterrupt
        x += interval.hparams["h"]
        interval.report(float(x[0]))


STOP = [True]


@pytest.fixture
def resumed(tmp_path, monkeypatch):
    """The journal of a run that was resumed with wider ranges than it began with."""
    monkeypatch.chdir(tmp_path)
    settings = {"population_size": 8, "interval": 5, "generations": 6, "explore": lk.explore.Resample(1.0)}
    STOP[:] = [True]
    with pytest.raises(KeyboardInterrupt):
        lk.run(train, lk.Space(h=lk.Float(0.0, 1.0), opt=["a", "b"]), journal="run.db", **settings)
    STOP.clear()
    history = lk.resume(train, "run.db", space=lk.Space(h=lk.Float(0.0, 50.0), opt=["a", "b", "c"]))
    assert max(record.hparams["h"] for record in history.records) > 1
    assert {record.hparams["opt"] for record in history.records} == {"a", "b", "c"}
    return tmp_path / "run.db"


def test_a_run_that_was_resumed_with_wider_ranges_can_be_read(resumed, capsys):
    history = lk.open_run(resumed)
    assert history.space["h"].high == max(record.hparams["h"] for record in history.records)
    assert 0 < diversity(history, 5).spread["h"] < 2
    assert set(diversity(history, 5).spread) == {"h"}  # choices have no spread
    assert len(history.schedule().simplified(1.0, history.space)) <= len(history.schedule())
    assert "data:image" in plots.html(history)
    assert guards.check(history) is not None
    columns = Columns(history.started)
    for record in history.records:
        columns.put(record)
    assert None in columns.batch(0)["hparams"][1]  # the live page knows the first choices only
    for command in (["show", "run.db"], ["plot", "run.db"], ["schedule", "run.db", "--simplify", "0.1"], ["report", "run.db"]):
        assert main(command) == 0, capsys.readouterr().err
