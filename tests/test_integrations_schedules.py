"""Schedules in the training loops of PyTorch, Keras and Optax, with the real libraries."""

from __future__ import annotations

import io

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lamarck as lk
from lamarck import Piece, Schedule
from lamarck.integrations.schedules.keras import ScheduleCallback
from lamarck.integrations.schedules.optax import optax_schedule
from lamarck.integrations.schedules.torch import ScheduleLR

# Keras's own arrays, with NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")

SCHEDULE = Schedule(
    (
        Piece(0, 3, {"lr": 0.1, "momentum": 0.9, "dropout": 0.1}),
        Piece(3, 5, {"lr": 0.05, "momentum": 0.5, "dropout": 0.2}),
        Piece(5, 9, {"lr": 0.2, "momentum": 0.0, "dropout": 0.2}),
    )
)


def parameters():
    return [torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))]


def groups(optimizer, name):
    return [group[name] for group in optimizer.param_groups]


# ---- PyTorch -----------------------------------------------------------------------------------------------------------------------------


def test_a_torch_scheduler_sets_what_the_schedule_says_for_each_step():
    first, second = parameters()
    optimizer = torch.optim.SGD([{"params": [first]}, {"params": [second], "lr": 0.7}], lr=1.0)
    scheduler = ScheduleLR(optimizer, SCHEDULE)
    assert isinstance(scheduler, torch.optim.lr_scheduler.LRScheduler)
    for step in range(12):
        expected = SCHEDULE(step)
        assert groups(optimizer, "lr") == [expected["lr"]] * 2 == scheduler.get_last_lr()
        assert groups(optimizer, "momentum") == [expected["momentum"]] * 2
        optimizer.step()
        scheduler.step()


def test_training_is_that_of_lambda_lr():
    """A second implementation, PyTorch's own, for the learning rate."""

    def trained(make):
        torch.manual_seed(0)
        parameter = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        optimizer = torch.optim.Adam([parameter], lr=1.0)
        scheduler = make(optimizer)
        for _ in range(12):
            optimizer.zero_grad()
            (parameter**2).sum().backward()
            optimizer.step()
            scheduler.step()
        return parameter.detach().clone()

    ours = trained(lambda optimizer: ScheduleLR(optimizer, SCHEDULE, names={"lr": "lr"}))
    theirs = trained(lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: SCHEDULE(step)["lr"]))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("stop", range(9))
def test_a_torch_scheduler_survives_its_state(stop):
    def begun():
        optimizer = torch.optim.SGD(parameters(), lr=1.0)
        return optimizer, ScheduleLR(optimizer, SCHEDULE)

    optimizer, scheduler = begun()
    for _ in range(stop):
        optimizer.step()
        scheduler.step()
    buffer = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}, buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    for order in (("optimizer", "scheduler"), ("scheduler", "optimizer")):
        fresh = dict(zip(("optimizer", "scheduler"), begun(), strict=True))
        for name in order:
            fresh[name].load_state_dict(state[name])
        assert groups(fresh["optimizer"], "lr") == [SCHEDULE(stop)["lr"]]
        assert fresh["scheduler"].get_last_lr() == [SCHEDULE(stop)["lr"]]
        fresh["optimizer"].step()
        fresh["scheduler"].step()
        assert groups(fresh["optimizer"], "lr") == [SCHEDULE(stop + 1)["lr"]]
        assert groups(fresh["optimizer"], "momentum") == [SCHEDULE(stop + 1)["momentum"]]


def test_a_torch_scheduler_can_be_tracked():
    """In a population that tunes something else, the schedule goes with the weights."""

    def train(worker):
        optimizer = torch.optim.SGD(parameters(), lr=1.0)
        scheduler = ScheduleLR(optimizer, SCHEDULE)
        worker.track(optimizer=optimizer, scheduler=scheduler)
        for interval in worker:
            for step in interval.steps:
                assert groups(optimizer, "lr") == [SCHEDULE(step)["lr"]]
                optimizer.step()
                scheduler.step()
            interval.report(interval.hparams["h"])

    space = lk.Space(h=lk.Float(0.0, 1.0))
    assert lk.run(train, space, population_size=4, interval=2, generations=5, exploit=lk.exploit.Truncation(top=0.5, bottom=0.5)).copies


def test_names_strides_tensors_and_betas():
    schedule = Schedule((Piece(0, 4, {"rate": 0.1, "beta1": 0.5}), Piece(4, 8, {"rate": 0.2, "beta1": 0.6})))
    optimizer = torch.optim.Adam(parameters(), lr=torch.tensor(1.0))
    scheduler = ScheduleLR(optimizer, schedule, names={"rate": "lr", "beta1": "beta1"}, stride=2)
    rate = optimizer.param_groups[0]["lr"]
    for call in range(5):
        assert float(rate) == pytest.approx(schedule(2 * call)["rate"])
        assert optimizer.param_groups[0]["betas"] == (schedule(2 * call)["beta1"], 0.999)
        optimizer.step()
        scheduler.step()
    assert rate is optimizer.param_groups[0]["lr"]  # a compiled step reads this very tensor


def test_a_scheduler_without_a_learning_rate_leaves_it_to_others():
    optimizer = torch.optim.SGD(parameters(), lr=0.3, momentum=0.1)
    ScheduleLR(optimizer, SCHEDULE, names={"momentum": "momentum"})
    assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]) == (0.3, 0.9)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"names": {"speed": "lr"}}, "names: got 'speed', which the schedule does not set; it sets lr, momentum, dropout"),
        ({"names": {"lr": "speed"}}, "speed: parameter group 0 of SGD has no such hyperparameter"),
        ({"stride": 0}, "stride: got 0"),
        ({"names": {}}, "has none of it"),
    ],
)
def test_a_torch_scheduler_refuses_what_cannot_be(settings_, message):
    with pytest.raises(lk.SettingsError, match=message):
        ScheduleLR(torch.optim.SGD(parameters(), lr=0.1), SCHEDULE, **settings_)


# ---- Keras -------------------------------------------------------------------------------------------------------------------------------


def model():
    made = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")])
    made.compile(optimizer=keras.optimizers.SGD(1.0), loss="mse")
    return made


class Rates(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(float(self.model.optimizer.learning_rate))


def fit(made, epochs, *callbacks):
    x, y = np.ones((6, 2), np.float32), np.ones((6, 1), np.float32)
    made.fit(x, y, batch_size=2, epochs=epochs, verbose=0, shuffle=False, callbacks=list(callbacks))


def test_a_keras_callback_sets_the_learning_rate_by_the_step_across_epochs():
    made, rates = model(), Rates()
    fit(made, 4, ScheduleCallback(SCHEDULE), rates)
    assert rates.seen == pytest.approx([SCHEDULE(step)["lr"] for step in range(12)])


def test_a_keras_model_that_is_saved_goes_on_where_it_was():
    made, rates = model(), Rates()
    fit(made, 1, ScheduleCallback(SCHEDULE))
    made.save("model.keras")
    fit(keras.saving.load_model("model.keras"), 2, ScheduleCallback(SCHEDULE), rates)
    assert rates.seen == pytest.approx([SCHEDULE(step)["lr"] for step in range(3, 9)])


def test_a_keras_callback_trains_as_the_schedule_says():
    """One weight by hand: gradient descent on (w - 1)^2 / 2, twice, with the rates of the schedule."""
    made = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    made.compile(optimizer=keras.optimizers.SGD(1.0), loss="mse")
    x = np.ones((1, 1), np.float32)
    made.fit(x, x, epochs=7, batch_size=1, verbose=0, callbacks=[ScheduleCallback(SCHEDULE)])
    w = 0.0
    for step in range(7):
        w -= SCHEDULE(step)["lr"] * 2 * (w - 1)
    assert float(made.get_weights()[0].item()) == pytest.approx(w, rel=1e-5)


def test_other_hyperparameters_are_set_as_told_when_they_change():
    told = []
    fit(
        model(),
        4,
        ScheduleCallback(SCHEDULE, lr=None, also={"dropout": lambda made, value: told.append((int(made.optimizer.iterations), value))}),
    )
    assert told == [(0, 0.1), (3, 0.2)]


def test_a_keras_callback_refuses_what_cannot_be():
    with pytest.raises(lk.SettingsError, match="speed: the schedule does not set it at step 0; it sets lr, momentum, dropout"):
        ScheduleCallback(SCHEDULE, lr="speed")
    made = model()
    made.compile(optimizer=keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)), loss="mse")
    with pytest.raises(lk.SettingsError, match="the learning rate of this optimizer cannot be set"):
        fit(made, 1, ScheduleCallback(SCHEDULE))


# ---- Optax -------------------------------------------------------------------------------------------------------------------------------


@settings(max_examples=6)
@given(st.lists(st.tuples(st.integers(1, 9), st.floats(1e-6, 1.0)), min_size=1, max_size=6), st.integers(1, 4))
def test_an_optax_schedule_gives_the_values_of_the_schedule_also_compiled(parts, stride):
    ends = np.cumsum([length for length, _ in parts]).tolist()
    schedule = Schedule(tuple(Piece(a, b, {"lr": lr}) for a, b, (_, lr) in zip([0, *ends], ends, parts, strict=False)))
    rate = optax_schedule(schedule, "lr", stride=stride)
    counts = np.arange(ends[-1] + 3)
    expected = np.array([schedule(int(count) * stride)["lr"] for count in counts], np.float32)
    np.testing.assert_array_equal(rate(counts), expected)
    np.testing.assert_array_equal(jax.jit(rate)(counts), expected)
    assert float(rate(0)) == expected[0]


def test_an_optax_optimizer_follows_several_hyperparameters():
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=optax_schedule(SCHEDULE, "lr"), momentum=optax_schedule(SCHEDULE, "momentum"))
    weights = jnp.array([1.0, -1.0])
    state = optimizer.init(weights)
    mine, velocity = np.array([1.0, -1.0]), np.zeros(2)
    update = jax.jit(optimizer.update)
    for step in range(8):
        updates, state = update(2 * weights, state)
        weights = optax.apply_updates(weights, updates)
        velocity = 2 * mine + SCHEDULE(step)["momentum"] * velocity
        mine = mine - SCHEDULE(step)["lr"] * velocity
        np.testing.assert_allclose(weights, mine, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "stride", "message"),
    [
        ("speed", 1, "speed: it is not set at step 0"),
        ("opt", 1, "opt: it is 'sgd' at step 0, and an Optax schedule needs a number"),
        ("flag", 1, "flag: it is True at step 0"),
        ("lr", 0, "stride: got 0"),
    ],
)
def test_an_optax_schedule_refuses_what_is_not_a_number(name, stride, message):
    with pytest.raises(lk.SettingsError, match=message):
        optax_schedule(Schedule((Piece(0, 1, {"opt": "sgd", "flag": True, "lr": 0.1}),)), name, stride=stride)
