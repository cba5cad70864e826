"""A Keras model, interval by interval, against one call of ``fit`` with the same batches."""

import os
import subprocess
import sys
from itertools import pairwise

import keras
import numpy as np
import pandas as pd
import pytest

import lamarck as lk
from frameworks import bytes_of, keras_killed, keras_model, numbers
from frameworks import keras as keras_function
from lamarck._errors import SettingsError, TrainingError
from lamarck.checkpoints import MemoryCheckpoints
from lamarck.engines.processes import Processes
from lamarck.integrations.keras import TunedModel

optimizers = keras.optimizers

SPACE = lk.Space(learning_rate=lk.Float(1e-3, 1e-1, log=True), beta_1=lk.Float(0.5, 0.99), weight_decay=lk.Float(0.0, 0.1))
RUN = {"population_size": 4, "interval": 10, "generations": 4, "mode": "min", "seed": 1}


def tuned_model(optimizer=None, **given):
    return TunedModel(keras_model(optimizer), *numbers(), **{"batch_size": 8, "seed": 3} | given)


def in_intervals(tuned, *bounds, **hparams):
    for start, until in pairwise((0, *bounds)):
        tuned.train(range(start, until), **hparams)
    return tuned


def batches(steps):
    """Batches of epochs of which each has an order of its own, by hand; seven are an epoch, and the last has two rows."""
    x, y = numbers()
    rows = []
    while len(rows) < steps:
        order = np.random.default_rng((3, len(rows) // 7)).permutation(50)
        rows += [order[first : first + 8] for first in range(0, 50, 8)]
    for some in rows[:steps]:
        yield x[some], y[some]


def in_one_fit(optimizer, steps, schedule=None):
    """One call of ``fit()``, in which somebody changes hyperparameters before each step."""
    model = keras_model(optimizer)

    def change(batch, logs=None):
        for name, value in schedule(batch).items() if schedule else ():
            setattr(model.optimizer, name, value)

    callbacks = [keras.callbacks.LambdaCallback(on_train_batch_begin=change)]
    model.fit(batches(steps), steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=callbacks)
    return model


def same(one, other):
    return len(one) == len(other) and all(map(equal, one, other))


def equal(one, other):
    return bool(keras.ops.all(keras.ops.equal(one, other)))


# ---- the same as without ---------------------------------------------------------------------------------------------------------------------

OPTIMIZERS = {
    "momentum": lambda: optimizers.SGD(0.1, momentum=0.9),
    "schedule": lambda: optimizers.SGD(optimizers.schedules.ExponentialDecay(0.1, 3, 0.5), momentum=0.9),
    "accumulated": lambda: optimizers.Adam(gradient_accumulation_steps=2),
    "scaled": lambda: optimizers.LossScaleOptimizer(optimizers.Adam(), dynamic_growth_steps=4),
} | {
    name: getattr(optimizers, name)
    for name in ("Adam", "AdamW", "RMSprop", "Nadam", "Adagrad", "Adadelta", "Adamax", "Adafactor", "Ftrl", "Lion", "Lamb")
}


@pytest.mark.filterwarnings("ignore:.*copy keyword:DeprecationWarning")  # Nadam's own, with PyTorch and NumPy 2
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_intervals_are_one_fit_and_a_state_is_all_there_is(optimizer):
    """Each interval is trained by another object, as in another process, which gets the state through a store."""
    without = in_one_fit(optimizer(), 30)
    store, state = MemoryCheckpoints(), None
    for start, until in ((0, 3), (3, 7), (7, 30)):
        tuned = tuned_model(optimizer())
        if state is not None:
            tuned.load_state_dict(state)
        tuned.train(range(start, until))
        state = store.get(store.put(0, start, tuned.state_dict()))
    assert same(tuned.model.variables, without.variables)
    assert same(tuned.model.optimizer.variables, without.optimizer.variables)
    assert int(tuned.model.optimizer.iterations) == (15 if tuned.model.optimizer.gradient_accumulation_steps else 30)


READ = {
    "SGD": (optimizers.SGD, {"learning_rate": 0.3, "weight_decay": 0.1}),
    "momentum": (OPTIMIZERS["momentum"], {"momentum": 0.0}),
    "Adam": (optimizers.Adam, {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.1, "weight_decay": 0.1}),
    "clipped": (lambda: optimizers.Adam(clipnorm=1.0), {"clipnorm": 1e-7}),
    "scaled": (OPTIMIZERS["scaled"], {"learning_rate": 0.3, "beta_1": 0.5}),
    "RMSprop": (optimizers.RMSprop, {"rho": 0.5}),
    "Ftrl": (optimizers.Ftrl, {"l1_regularization_strength": 0.5, "beta": 0.5}),
}


@pytest.mark.parametrize(("optimizer", "changed"), READ.values(), ids=READ)
def test_what_can_be_tuned_makes_a_difference(optimizer, changed):
    as_made = in_intervals(tuned_model(optimizer()), 3)
    for name, value in changed.items():
        assert not same(in_intervals(tuned_model(optimizer()), 3, **{name: value}).model.variables, as_made.model.variables), name


def test_momentum_may_come_to_nothing_and_back():
    tuned = tuned_model(OPTIMIZERS["momentum"]())
    for number, momentum in enumerate((0.0, 0.5)):
        tuned.train(range(number * 3, number * 3 + 3), momentum=momentum)
    without = in_one_fit(OPTIMIZERS["momentum"](), 6, lambda step: {"momentum": 0.0 if step < 3 else 0.5})
    assert same(tuned.model.variables, without.variables)


def test_the_seed_decides_the_order():
    one, again, other = (in_intervals(tuned_model(seed=seed), 4).model.variables for seed in (3, 3, 4))
    assert same(one, again)
    assert not same(one, other)


def test_several_inputs_frames_and_weights():
    x, y = numbers()
    weight = np.linspace(0, 1, 50, dtype="float32")

    def made():
        keras.utils.set_random_seed(0)
        left, right = keras.Input((2,), name="left"), keras.Input((2,), name="right")
        both = keras.layers.Dense(1)(keras.layers.Concatenate()([left, right]))
        model = keras.Model({"left": left, "right": right}, both)
        model.compile(optimizers.SGD(0.1), loss="mse")
        return model

    without = made()
    for step in range(9):
        rows = np.random.default_rng((0, step // 4)).permutation(50)[step % 4 * 16 : (step % 4 + 1) * 16]
        without.train_on_batch({"left": x[rows, :2], "right": x[rows, 2:]}, y[rows], weight[rows])
    halves = {"left": pd.DataFrame(x[:, :2]), "right": x[:, 2:]}
    tuned = TunedModel(made(), halves, pd.Series(y), sample_weight=weight, batch_size=16)
    assert same(in_intervals(tuned, 5, 9).model.variables, without.variables)


class Whole(keras.utils.PyDataset):
    def __init__(self, length=7, **given):
        super().__init__(**given)
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        x, y = numbers()
        return x[index * 8 : index * 8 + 8], y[index * 8 : index * 8 + 8]


def test_a_dataset_that_makes_batches_itself():
    without = keras_model()
    for step in range(10):
        without.train_on_batch(*Whole()[np.random.default_rng((3, step // 7)).permutation(7)[step % 7]])
    tuned = TunedModel(keras_model(), Whole(workers=2), seed=3)
    assert same(in_intervals(tuned, 4, 10).model.variables, without.variables)


def test_a_model_that_is_built_by_its_first_batch():
    def made():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.layers.Dense(3, activation="softmax")])
        model.compile(optimizers.Adam(), loss="sparse_categorical_crossentropy")
        return TunedModel(model, *numbers(), batch_size=8)

    one, other = in_intervals(made(), 3), made()
    other.load_state_dict(one.state_dict())
    assert bytes_of(one) == bytes_of(other)


def test_half_precision_is_saved_exactly():
    def made():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax", dtype="bfloat16")])
        model.compile(optimizers.Adam(), loss="sparse_categorical_crossentropy")
        return TunedModel(model, *numbers(), batch_size=8)

    one, other = in_intervals(made(), 3), made()
    store = MemoryCheckpoints()
    other.load_state_dict(store.get(store.put(0, 0, one.state_dict())))
    assert other.model.variables[0].dtype == "bfloat16"
    assert same(one.model.variables, other.model.variables)


JAX = """
import keras, numpy as np
from frameworks import keras_model, numbers
from lamarck.integrations.keras import TunedModel
assert keras.backend.backend() == "jax"
def made():
    return TunedModel(keras_model(keras.optimizers.SGD(0.1, momentum=0.9)), *numbers(), batch_size=10)
def train(tuned, number):
    tuned.train(range(number * 3, number * 3 + 3), learning_rate=0.1 / (1 + number), momentum=(0.9, 0.2)[number % 2])
one, state = made(), None
for number in range(3):
    train(one, number)
    other = made()
    if state:
        other.load_state_dict(state)
    train(other, number)
    state = other.state_dict()
for part in ("model", "optimizer"):
    assert all(map(np.array_equal, one.state_dict()[part], state[part])), part
print("same")
"""


@pytest.mark.slow
def test_what_jax_has_compiled_follows_the_hyperparameters():
    """One object, whose step is compiled again, against new ones, whose step is compiled for the first time."""
    path = os.pathsep.join([os.path.dirname(__file__), *filter(None, sys.path)])
    given = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", JAX], check=False, env=given, capture_output=True, text=True, timeout=300)
    assert done.stdout.endswith("same\n"), done.stderr


# ---- a population ----------------------------------------------------------------------------------------------------------------------------


def test_a_member_that_begins_after_another_is_as_one_that_begins_alone():
    alone, after = tuned_model(), tuned_model()
    begun = after.state_dict()
    in_intervals(after, 9, learning_rate=0.07, beta_1=0.5)
    after.load_state_dict(begun)
    for tuned in (alone, after):
        tuned.train(range(4), learning_rate=0.01, beta_1=0.8)
    assert bytes_of(alone) == bytes_of(after)


def test_whoever_copies_goes_on_as_the_donor_with_hyperparameters_of_its_own():
    """The whole ancestry of any weights is one call of ``fit()`` in which hyperparameters are changed as the schedule says."""
    store = MemoryCheckpoints()
    history = lk.run(keras_function, SPACE, checkpoints=store, **RUN)
    assert history.copies
    for record in history.generation(3):
        model = in_one_fit(None, 40, history.schedule(record.member))
        state = store.get(record.checkpoint)["model"]
        assert same(state["model"], model.variables)
        assert same(state["optimizer"], model.optimizer.variables)


@pytest.mark.slow
def test_a_process_that_goes_on_for_one_that_was_killed_trains_the_same():
    small = RUN | {"population_size": 2, "generations": 2}
    inline = lk.run(keras_function, SPACE, **small)
    history = lk.run(keras_killed, SPACE, engine=Processes(workers=1), **small)
    assert [failure.kind for failure in history.failures] == ["lost"]
    assert {(record.key, record.value) for record in history.records} == {(record.key, record.value) for record in inline.records}


# ---- mistakes --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("optimizer", "hparams", "said"),
    [
        (optimizers.Adam, {"momentum": 0.9}, "^momentum: this Adam reads no such number while it trains; it reads beta_1, beta_2, epsilon, "),
        (optimizers.Adam, {"amsgrad": 1}, "^amsgrad: this Adam reads no such number"),
        (optimizers.Adam, {"clipnorm": 1.0}, "^clipnorm: this Adam reads no such number"),
        (optimizers.Adagrad, {"initial_accumulator_value": 1.0}, "^initial_accumulator_value: this Adagrad reads no such number"),
        (optimizers.SGD, {"momentum": 0.9}, r"^momentum: this SGD keeps none, as it was made with 0; .*SGD\(momentum=0.9\)"),
        (OPTIMIZERS["schedule"], {"learning_rate": 0.1}, "^learning_rate: this SGD has a schedule that says it for each step; compile"),
        (optimizers.Adam, {"learning_rate": "0.1"}, "^learning_rate: got '0.1'; it must be a number"),
    ],
)
def test_what_the_optimizer_does_not_read_is_refused(optimizer, hparams, said):
    tuned = tuned_model(optimizer())
    before = bytes_of(tuned)
    with pytest.raises(SettingsError, match=said):
        tuned.train(range(3), epsilon=0.5, **hparams) if optimizer is optimizers.Adam else tuned.train(range(3), **hparams)
    assert bytes_of(tuned) == before
    assert getattr(tuned.model.optimizer, "epsilon", None) != 0.5


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"batch_size": None}, "^batch_size: got None; it must be a whole number"),
        ({"batch_size": 0}, "^batch_size: got 0"),
        ({"x": np.zeros((49, 4))}, "got 49 and 50 rows; all must have the same number"),
        (
            {"x": (row for row in np.zeros((50, 4)))},
            "^x: got a generator, which has no rows by number; give arrays, or .* keras.utils.PyDataset",
        ),
        ({"x": Whole()}, "^y: a Whole makes whole batches itself"),
        ({"x": Whole(), "y": None}, "^batch_size: a Whole makes whole batches itself"),
        ({"x": Whole(0), "y": None, "batch_size": None}, "^x: this Whole has 0 batches"),
        ({"model": keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])}, r"^this Sequential has no optimizer; call model.compile"),
        ({"model": keras_model(optimizers.Adam(use_ema=True))}, "^use_ema: averages overwrite the weights"),
    ],
)
def test_what_cannot_be_trained_is_refused(given, said):
    x, y = numbers()
    given = {"x": x, "y": y, "batch_size": 8} | given
    model = given.pop("model", None) or keras_model()
    with pytest.raises(SettingsError, match=said):
        TunedModel(model, given.pop("x"), given.pop("y"), **given)


def test_a_member_that_stands_elsewhere_is_refused():
    with pytest.raises(TrainingError, match="begins at step 3, and what is to be trained stands at 0: track it"):
        tuned_model().train(range(3, 6))


def test_a_callback_that_stops_training_is_refused():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    tuned = tuned_model(callbacks=[Stop()])
    with pytest.raises(TrainingError, match="a callback stopped training before step 2"):
        tuned.train(range(2))
    assert tuned.step == 0


@pytest.mark.parametrize(("optimizer", "part"), [(optimizers.SGD, "optimizer"), (None, "model")])
def test_a_state_of_something_else_is_refused_and_changes_nothing(optimizer, part):
    state = in_intervals(tuned_model(), 2).state_dict()
    tuned = tuned_model(optimizer() if optimizer else None)
    before = bytes_of(tuned)
    if part == "model":
        state["model"] = state["model"][1:]
    with pytest.raises(TrainingError, match=f"the state to restore is of another {part}: it has arrays of shapes"):
        tuned.load_state_dict(state)
    assert bytes_of(tuned) == before
