"""How members are judged: on all samples at once, whatever the measure, and in as little memory as there is."""

import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import lamarck as lk
from lamarck.engines.vectorised.torch import Supervised, exam
from test_vectorised_choice import allocated

MEMBERS, SAMPLES = 5, 3000
RNG = torch.Generator().manual_seed(0)
X = torch.randn(SAMPLES, 8, generator=RNG, dtype=torch.float64)
Y = X[:, :1] + torch.randn(SAMPLES, 1, generator=RNG, dtype=torch.float64) + 3 * torch.linspace(0, 1, SAMPLES, dtype=torch.float64)[:, None]


def network():
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1)).double()


def squared(model, batch, hparams):
    return functional.mse_loss(model(batch[0]), batch[1])


def determination(model, batch, hparams):
    """R squared: no mean over samples."""
    return 1 - (model(batch[0]) - batch[1]).square().sum() / (batch[1] - batch[1].mean()).square().sum()


def errors(model, batch, hparams):
    return (model(batch[0]) - batch[1]).abs()


def task(evaluate=None, how="batched", test=(X, Y)):
    return Supervised(network, squared, train=(X, Y), test=test, evaluate=evaluate, how=how)


def told(members=MEMBERS):
    zeros = np.zeros(members, dtype=int)
    return lk.Intervals(members=zeros, generations=zeros, hparams={"lr": np.full(members, 0.01)}, start=zeros, steps=1, seeds=zeros)


def judged(task):
    return task.evaluate(task.init(np.arange(MEMBERS)), told()).values


def expected(measure):
    values = []
    for member in range(MEMBERS):
        torch.manual_seed(member)
        model = network().eval()
        with torch.no_grad():
            values.append(measure(model, (X, Y), {}).mean().item())
    return values


@pytest.mark.parametrize("how", ["batched", "looped"])
@pytest.mark.parametrize("measure", [determination, errors, squared])
@pytest.mark.parametrize("room", [1, 200_000, 3_000_000, 1 << 40])
def test_a_value_is_that_of_all_samples_however_little_room_there_is(measure, how, room, monkeypatch):
    monkeypatch.setattr(exam, "_ROOM", room)
    np.testing.assert_allclose(judged(task(measure, how)), expected(measure), rtol=1e-12)


@pytest.mark.parametrize("room", [200_000, 3_000_000, 10_000_000])
def test_one_number_is_asked_of_all_samples_and_one_for_each_of_as_many_as_fit(room, monkeypatch):
    seen = []

    def counting(measure):
        def measuring(model, batch, hparams):
            seen.append(len(batch[0]))
            return measure(model, batch, hparams)

        return measuring

    monkeypatch.setattr(exam, "_ROOM", room)
    judged(task(counting(determination)))
    assert set(seen[1:]) == {SAMPLES}  # after the trial
    seen.clear()
    judged(task(counting(errors)))
    assert (max(seen[1:]) < SAMPLES) == (room == 200_000)


def both(model, batch, hparams):
    return {"determination": determination(model, batch, hparams), "error": squared(model, batch, hparams)}


@pytest.mark.parametrize("room", [1000, 1 << 40])
@pytest.mark.parametrize("how", ["batched", "looped"])
def test_several_measures_are_a_value_and_metrics(how, room, monkeypatch):
    monkeypatch.setattr(exam, "_ROOM", room)
    trainer = task(both, how)
    scores = trainer.evaluate(trainer.init(np.arange(MEMBERS)), told())
    assert list(scores.metrics) == ["determination", "error"]
    np.testing.assert_allclose(scores.values, expected(determination))
    np.testing.assert_allclose(scores.metrics["determination"], scores.values)
    np.testing.assert_allclose(scores.metrics["error"], expected(squared))


def test_metrics_may_come_from_elsewhere_and_are_in_the_history():
    def plain(model, batch, hparams):
        return {"error": squared(model, batch, hparams), "numpy": float(np.square((model(batch[0]) - batch[1]).numpy()).mean())}

    space = lk.Space(lr=lk.Float(1e-3, 1e-1, log=True))
    engine = lk.Vectorised(processes=1)
    history = lk.run(task(plain), space, population_size=4, interval=2, generations=2, mode="min", engine=engine)
    assert history.best.metrics["numpy"] == pytest.approx(history.best.value)
    assert history.best.metrics["error"] == history.best.value


def test_no_more_is_allocated_than_there_is_room(monkeypatch):
    for measure, room in ((errors, 300_000), (errors, 5_000_000), (determination, 2_000_000)):
        monkeypatch.setattr(exam, "_ROOM", room)
        ready = task(measure)
        state = ready.init(np.arange(MEMBERS))
        assert allocated(lambda ready=ready, state=state: ready.evaluate(state, told())) < 1.1 * room


@pytest.mark.parametrize("how", ["batched", "looped"])
def test_members_are_judged_by_a_loader_as_by_its_samples(how):
    loader = DataLoader(TensorDataset(X, Y), batch_size=7)
    np.testing.assert_allclose(judged(task(determination, how, loader)), expected(determination), rtol=1e-12)


def test_a_measure_that_cannot_be_batched_is_asked_of_one_member_after_the_other(caplog):
    def outside(model, batch, hparams):
        return float(np.corrcoef(model(batch[0]).numpy()[:, 0], batch[1].numpy()[:, 0])[0, 1])

    ready = task(outside)
    with caplog.at_level(logging.INFO, "lamarck"):
        values = [judged(ready) for _ in range(2)]
    assert len(caplog.records) == 1
    assert "members are judged one after the other" in caplog.text
    for row in values:
        for member, value in enumerate(row):
            torch.manual_seed(member)
            with torch.no_grad():
                assert value == pytest.approx(outside(network(), (X, Y), {}))


def test_a_measure_that_makes_no_sense_of_a_part_is_asked_of_the_whole():
    def whole(model, batch, hparams):
        if len(batch[0]) < SAMPLES:
            raise ValueError("too few")
        return squared(model, batch, hparams)

    np.testing.assert_allclose(judged(task(whole)), expected(squared), rtol=1e-12)


@pytest.mark.parametrize("said", [None, "good", {}, {"loss": None}, True])
def test_what_is_no_measure_is_said(said):
    with pytest.raises(lk.SettingsError, match=r"evaluate: it returned .*one number"):
        judged(task(lambda model, batch, hparams: said))
