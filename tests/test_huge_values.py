"""Values near the end of the floating point range, as training that diverges reports them: whatever shows a run shows these, too."""

import itertools

import numpy as np
import pytest

import lamarck as lk
from lamarck import guards
from lamarck.cli import main
from lamarck.plots.data import coordinates, drawable, strands, values


@pytest.mark.parametrize("reported", [[1.0, 2.0, 1.7e308, 0.5], [1e308, -1e308, 1.0, 2.0], [1.7e308, 1.6e308], [5e-324, 0.0]])
def test_a_run_with_huge_values_can_be_seen(reported, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    told = itertools.cycle(reported)

    def train(worker):
        worker.track(x=np.zeros(1))
        for interval in worker:
            interval.report(next(told))

    settings = {"population_size": 4, "interval": 1, "generations": 5, "mode": "min"}
    history = lk.run(train, lk.Space(h=lk.Float(0.0, 1.0)), journal="run.db", **settings)
    assert guards.check(history) is not None
    assert np.nanmax(np.abs(strands(history).value), initial=0.0) <= 1e300
    assert np.isfinite(values(history).window).all()
    assert np.nanmax(coordinates(history).place) <= 1
    for command in ("show", "plot", "report", "compare"):
        assert main([command, "run.db"]) == 0, capsys.readouterr().err


def test_what_no_axis_can_hold_is_not_drawn():
    drawn = drawable([1.0, -1e300, 1e301, -np.inf, np.nan])
    assert np.array_equal(drawn, [1.0, -1e300, np.nan, np.nan, np.nan], equal_nan=True)
