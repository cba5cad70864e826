"""The inline engine: the Laws, and what it alone promises."""

import numpy as np
import pytest

import lamarck as lk
from lamarck._errors import PopulationLost, TrainingError
from lamarck.engines import engine_named, inline
from lamarck.testing.engine import ENGINE_LAWS, SPACE


@pytest.mark.parametrize("law", ENGINE_LAWS, ids=lambda law: law.__name__)
def test_law(law, tmp_path):
    law(inline, tmp_path)


def settings(**more):
    return {"population_size": 3, "interval": 2, "generations": 3, **more}


def test_a_trainer_that_fails_before_its_first_interval_is_not_tried_again():
    calls = []

    def train(worker):
        calls.append(1)
        raise ValueError("no such file")

    with pytest.raises(TrainingError, match="before its first interval: ValueError: no such file"):
        lk.run(train, SPACE, **settings())
    assert len(calls) == 1


def test_a_trainer_that_returns_early_is_told_so():
    with pytest.raises(TrainingError, match="returned before the run was over"):
        lk.run(lambda worker: None, SPACE, **settings())


def test_a_trainer_that_always_fails_ends_the_run_with_its_own_first_error():
    def train(worker):
        worker.track(x=np.zeros(1))
        for _ in worker:
            raise ValueError("always")

    with pytest.raises(PopulationLost) as caught:
        lk.run(train, SPACE, **settings(max_failures=0))
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_trainer_that_does_not_report_is_told_so():
    def train(worker):
        worker.track(x=np.zeros(1))
        for _ in worker:
            pass

    with pytest.raises(TrainingError, match="without a report"):
        lk.run(train, SPACE, **settings())


def test_unknown_engines_are_named():
    with pytest.raises(lk.SettingsError, match="'warp'.*'inline'"):
        engine_named("warp")
