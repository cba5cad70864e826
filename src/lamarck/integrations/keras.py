"""Keras: a compiled model that is fitted interval by interval, on any backend.

model.compile(keras.optimizers.AdamW(1e-3), loss="mse")
tuned = TunedModel(model, x, y, batch_size=32)
worker.track(model=tuned)
for interval in worker:
    tuned.train(interval.steps, **interval.hparams)
    interval.report(model.evaluate(x_judged, y_judged, verbose=0))
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from lamarck._checks import check_whole
from lamarck._errors import SettingsError, TrainingError, require
from lamarck.integrations._intervals import Order, check_start

__all__ = ["TunedModel"]

_Keras: Any = require("keras", "keras", "lamarck.integrations.keras")

_READ_WHEN_BUILT = (
    "ema_momentum",
    "ema_overwrite_frequency",
    "gradient_accumulation_steps",
    "initial_accumulator_value",
    "loss_scale_factor",
)
"""Numbers in an optimizer's configuration that do nothing, or harm, when they change later."""


@final
class TunedModel:
    """A compiled model that is fitted so many batches at a time, and whose state can be tracked.

    Each interval is a call of ``model.fit()`` with exactly its batches. A step is one batch. Each epoch has a random order of its own, which
    follows from ``seed`` and the number of the epoch, and the last batch of an epoch may be smaller; so the step alone says which batch it is.

    Saved, as plain arrays, are all variables of the model and of its optimizer: weights, running statistics, the state of its random layers,
    moments, and the number of iterations, which a ``LearningRateSchedule`` goes by.

    Args:
        model: The model, compiled. Its optimizer's hyperparameters are those that are tuned.
        x: Examples by rows: an array, or a list or dictionary of arrays for several inputs. Or a ``keras.utils.PyDataset``, which makes batches
            itself and knows how many they are; then each epoch has them in a random order. Its workers are not used, and its
            ``on_epoch_end`` is not called.
        y: Their targets, likewise; ``None`` if the model needs none or ``x`` has them.
        batch_size: Rows in a batch, at least 1; with arrays only.
        sample_weight: How much each row counts.
        seed: Decides the order. The same for all members, unless a training function gives each its own.
        callbacks: For each call of ``fit``, to which an interval is one epoch. What they remember belongs to the process, and not to the
            member.

    Raises:
        SettingsError: If the model is not compiled, its optimizer averages weights (``use_ema``), or the data have no rows or batches by
            number.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> x = np.linspace(-1, 1, 64, dtype="float32")[:, None]
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss="mse")
        >>> tuned = TunedModel(model, x, 3 * x, batch_size=16)
        >>> tuned.train(range(0, 100), learning_rate=0.1, momentum=0.5)
        >>> tuned.train(range(100, 150), learning_rate=0.01, momentum=0.9)
        >>> tuned.step, round(tuned.state_dict()["model"][0].item(), 2)
        (150, 3.0)
    """

    def __init__(
        self,
        model: Any,
        x: Any,
        y: Any = None,
        *,
        batch_size: int | None = None,
        sample_weight: Any = None,
        seed: int = 0,
        callbacks: Sequence[Any] = (),
    ) -> None:
        if getattr(model, "optimizer", None) is None:
            raise SettingsError(f"this {type(model).__name__} has no optimizer; call model.compile(optimizer=..., loss=...) before")
        self.model, self.step = model, 0
        self._own = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # mixed precision wraps it
        if getattr(self._own, "use_ema", False):
            raise SettingsError("use_ema: averages overwrite the weights whenever fit ends, so in the middle of training; leave it out")
        parts = _by_batches if isinstance(x, _Keras.utils.PyDataset) else _by_rows
        count, size, take = parts(x, y, sample_weight, batch_size)
        self._batches = _Batches(Order(count, size, seed), take)
        self._callbacks = list(callbacks)
        self._build()
        self._tunable = _tunable(self._own)

    def train(self, steps: range, **hparams: Any) -> None:
        """Fits some batches.

        With JAX and TensorFlow, all but the learning rate is compiled into the training step, which is compiled again if it changes.

        Args:
            steps: Which, as ``interval.steps`` says.
            **hparams: Arguments of the optimizer by their names, such as ``learning_rate``, ``weight_decay``, ``momentum`` or ``beta_1``.

        Raises:
            SettingsError: If the optimizer reads no such number while it trains.
            TrainingError: If it stands at another step than the first, or a callback stops training.
        """
        for name, value in hparams.items():
            self._check(name, value)
        check_start(steps, self.step)
        rate = {"learning_rate": hparams.pop("learning_rate")} if "learning_rate" in hparams else {}
        anew = any(getattr(self._own, name) != value for name, value in hparams.items())
        for name, value in (rate | hparams).items():
            setattr(self._own, name, value)
        if anew:
            self.model.make_train_function(force=True)
        self.model.fit(_Part(self._batches, steps), shuffle=False, verbose=0, callbacks=self._callbacks)
        if self.model.stop_training:
            raise TrainingError(f"a callback stopped training before step {steps.stop}: members are to train equally long, so leave it out")
        self.step = steps.stop

    def state_dict(self) -> dict[str, Any]:
        """Returns all variables of the model and of its optimizer, as arrays, and the step."""
        return {"step": self.step, "model": _arrays(self.model.variables), "optimizer": _arrays(self.model.optimizer.variables)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts a state back.

        Args:
            state: What `state_dict` returned.

        Raises:
            TrainingError: If it is not of this model and optimizer.
        """
        parts = {"model": self.model.variables, "optimizer": self.model.optimizer.variables}
        for part, variables in parts.items():
            here, there = ([tuple(value.shape) for value in values] for values in (variables, state[part]))
            if here != there:
                raise TrainingError(f"the state to restore is of another {part}: it has arrays of shapes {there}, and this one has {here}")
        for part, variables in parts.items():
            for variable, value in zip(variables, state[part], strict=True):
                variable.assign(value)
        self.step = state["step"]

    def _build(self) -> None:
        """Makes all variables, so that a state can be put back before the first batch."""
        if not self.model.built:
            first = self._batches[0]
            self.model(first[0] if isinstance(first, tuple) else first)
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)

    def _check(self, name: str, value: Any) -> None:
        optimizer = type(self._own).__name__
        if name == "learning_rate" and name not in self._tunable:
            raise SettingsError(
                f"learning_rate: this {optimizer} has a schedule that says it for each step; compile the model with a number to tune it"
            )
        if name == "momentum" and name not in self._tunable and hasattr(self._own, name):
            raise SettingsError(
                f"momentum: this {optimizer} keeps none, as it was made with 0; compile the model with {optimizer}(momentum=0.9)"
            )
        if name not in self._tunable:
            raise SettingsError(
                f"{name}: this {optimizer} reads no such number while it trains; it reads {', '.join(sorted(self._tunable)) or 'none'}"
            )
        if not _is_number(value):
            raise SettingsError(f"{name}: got {value!r}; it must be a number")


@final
class _Batches:
    """Batches by their number in the whole run.

    Args:
        order: What is in each: rows, or one batch that is made already.
        take: Returns the batch of such.
    """

    def __init__(self, order: Order, take: Callable[[NDArray[np.int64]], Any]) -> None:
        self._order, self._take = order, take

    def __getitem__(self, step: int) -> Any:
        return self._take(self._order[step])


@final
class _Part(_Keras.utils.PyDataset):  # type: ignore[misc]
    """The batches of an interval."""

    def __init__(self, batches: _Batches, steps: range) -> None:
        super().__init__()
        self._batches, self._steps = batches, steps

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, index: int) -> Any:
        return self._batches[self._steps[index]]


def _by_rows(x: Any, y: Any, sample_weight: Any, batch_size: int | None) -> tuple[int, int, Callable[[NDArray[np.int64]], Any]]:
    check_whole("batch_size", batch_size, 1)
    assert batch_size is not None
    given = [part for part in (x, y, sample_weight) if part is not None]
    data = tuple(_Keras.tree.map_structure(_array, part) for part in (given if sample_weight is None else (x, y, sample_weight)))
    counts = sorted({len(array) for array in _Keras.tree.flatten(data) if array is not None})
    if len(counts) != 1 or counts == [0]:
        raise SettingsError(f"x, y, sample_weight: got {' and '.join(map(str, counts))} rows; all must have the same number, at least 1")
    return counts[0], batch_size, lambda rows: _Keras.tree.map_structure(lambda array: None if array is None else array[rows], data)


def _by_batches(x: Any, y: Any, sample_weight: Any, batch_size: int | None) -> tuple[int, int, Callable[[NDArray[np.int64]], Any]]:
    for name, value in (("y", y), ("sample_weight", sample_weight), ("batch_size", batch_size)):
        if value is not None:
            raise SettingsError(f"{name}: a {type(x).__name__} makes whole batches itself; leave it out")
    if not x.num_batches:
        raise SettingsError(f"x: this {type(x).__name__} has {x.num_batches} batches; its __len__ must say how many, at least 1")
    return x.num_batches, 1, lambda numbers: x[int(numbers[0])]


def _array(values: Any) -> Any:
    if values is None:
        return None
    array = values if hasattr(values, "shape") and not hasattr(values, "iloc") else np.asarray(values)
    if not array.shape:
        raise SettingsError(
            f"x: got a {type(values).__name__}, which has no rows by number; give arrays, or batches by number: a keras.utils.PyDataset"
        )
    return array


def _tunable(optimizer: Any) -> set[str]:
    """The numbers that an optimizer was made with and reads in each step."""
    with _quiet():
        config = optimizer.get_config()
    numbers = {name for name, value in config.items() if _is_number(value) and (name, value) != ("momentum", 0)}  # which makes no room for it
    return {name for name in numbers | {"weight_decay"} if hasattr(optimizer, name)} - set(_READ_WHEN_BUILT)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and value is not True and value is not False


def _arrays(variables: Sequence[Any]) -> list[NDArray[Any]]:
    """Copies, of a type that NumPy itself has."""
    with _quiet():
        values = [_Keras.ops.convert_to_numpy(variable) for variable in variables]
    return [value.astype(np.float32) if value.dtype.kind == "V" else value for value in values]  # bfloat16, which fits in


@contextmanager
def _quiet() -> Iterator[None]:
    """Reads variables without the warning that Keras with PyTorch and NumPy 2 gives then."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*copy keyword", DeprecationWarning)
        yield
