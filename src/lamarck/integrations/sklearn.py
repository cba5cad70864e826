"""Scikit-learn: an estimator that learns batch by batch, by ``partial_fit``.

tuned = TunedEstimator(SGDClassifier(loss="log_loss"), x, y, batch_size=32)
worker.track(model=tuned)
for interval in worker:
    tuned.train(interval.steps, **interval.hparams)
    interval.report(tuned.estimator.score(x_judged, y_judged))
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from lamarck._checks import check_whole
from lamarck._errors import SettingsError, TrainingError, require
from lamarck.integrations._intervals import Order, check_start

__all__ = ["TunedEstimator"]

_OBJECT = "$object"
"""Marks what is no plain value: its attributes are kept, and put into such an object of this process. None is ever made from what was
stored."""

_COLUMNS = "columns"
"""Marks an array that is stored column by column: sums are taken in that order, and rounded accordingly."""

_GLOBAL = np.random.mtrand._rand
"""NumPy's own generator, which a worker seeds."""


@final
class TunedEstimator:
    """An estimator that learns so many batches at a time, and whose state can be tracked.

    A step is one call of ``partial_fit`` with one batch. Each epoch has a random order of its own, which follows from ``seed`` and the number
    of the epoch, and the last batch may be smaller; so the step alone says which batch it is.

    Saved is what learning has made: all attributes of the estimator that are no arguments of it, and of the objects that these hold, such as
    the optimizer of a perceptron with its moments. Nothing is pickled. What is compiled and has an inner state, such as a tree, can therefore
    not be saved, and is refused.

    Args:
        estimator: Any with ``partial_fit``, not yet fitted.
        x: Examples by rows: an array, a sparse matrix or a data frame.
        y: Their targets, if the estimator wants some.
        batch_size: Rows in a batch, at least 1.
        seed: Decides the order. The same for all members, unless a training function gives each its own.

    Raises:
        SettingsError: If the estimator has no ``partial_fit``, is fitted already, has a ``random_state`` that runs along outside of its state,
            or the batch size is none.

    Example:
        >>> import numpy as np
        >>> from sklearn.linear_model import SGDRegressor
        >>> x = np.linspace(-1, 1, 64)[:, None]
        >>> tuned = TunedEstimator(SGDRegressor(learning_rate="constant"), x, 3 * x[:, 0], batch_size=16)
        >>> tuned.train(range(0, 100), eta0=0.1)
        >>> tuned.train(range(100, 150), eta0=0.01)
        >>> tuned.step, round(float(tuned.estimator.coef_[0]), 2)
        (150, 3.0)
    """

    def __init__(self, estimator: Any, x: Any, y: Any = None, *, batch_size: int, seed: int = 0) -> None:
        base = require("sklearn.base", "sklearn", "lamarck.integrations.sklearn")
        check_whole("batch_size", batch_size, 1)
        if not hasattr(estimator, "partial_fit"):
            raise SettingsError(f"{type(estimator).__name__} has no partial_fit, so it cannot go on from where it was")
        self.estimator, self.step = estimator, 0
        self._x, self._y, self._order = x, y, Order(x.shape[0], batch_size, seed)
        if fitted := [name for name in vars(estimator) if name.endswith("_") and name[:1] != "_"]:
            raise SettingsError(f"this {type(estimator).__name__} is fitted already, it has {fitted[0]}; give a new one")
        if isinstance(dice := estimator.get_params().get("random_state"), np.random.RandomState | np.random.Generator):
            raise SettingsError(f"random_state: got a {type(dice).__name__}, whose state would not follow the member; give a number, or None")
        self._classes = {"classes": np.unique(y)} if y is not None and base.is_classifier(estimator) else {}
        self._example: Any = None

    def train(self, steps: range, **hparams: Any) -> None:
        """Learns from some batches.

        Args:
            steps: Which, as ``interval.steps`` says.
            **hparams: Arguments of the estimator by their names, such as ``eta0`` or ``alpha``; those that its optimizer holds are set there
            too.

        Raises:
            SettingsError: If the estimator has no such argument.
            TrainingError: If it stands at another step than the first.
        """
        known = self.estimator.get_params(deep=False)  # of what is in an estimator, copies were made that are not asked again
        if strange := [name for name in hparams if name not in known]:
            raise SettingsError(f"{strange[0]}: {type(self.estimator).__name__} has no such argument; it has {', '.join(sorted(known))}")
        check_start(steps, self.step)
        self.estimator.set_params(**hparams)
        if (optimizer := getattr(self.estimator, "_optimizer", None)) is not None:
            _set(optimizer, hparams)
        for step in steps:
            self._learn(self.estimator, self._order[step])
            self.step = step + 1

    def state_dict(self) -> dict[str, Any]:
        """Returns all that learning has made.

        Raises:
            TrainingError: If some of it cannot be saved without pickling it.
        """
        try:
            return {"step": self.step, "learnt": {name: _saved(name, value) for name, value in self._learnt().items()}}
        except RecursionError:
            raise TrainingError(
                f"{type(self.estimator).__name__} keeps objects that hold each other, which cannot be saved without pickling them, so this "
                "estimator cannot be a member of a population"
            ) from None

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts a state back.

        Args:
            state: What `state_dict` returned.
        """
        held = vars(self.estimator)
        like = self._like() if state["learnt"] else {}
        for name in self._learnt():
            del held[name]
        held.update({name: _restored(value, like.get(name)) for name, value in state["learnt"].items()})
        self.step = state["step"]

    def _learnt(self) -> dict[str, Any]:
        arguments = self.estimator.get_params(deep=False)
        return {name: value for name, value in vars(self.estimator).items() if name not in arguments}

    def _like(self) -> dict[str, Any]:
        """What an estimator like this one holds when it has seen a batch."""
        if self._example is None:
            self._example = require("sklearn.base", "sklearn", "lamarck.integrations.sklearn").clone(self.estimator)
            if "random_state" in self._example.get_params():
                self._example.set_params(random_state=0)  # takes nothing from the generator that a worker has seeded
            self._learn(self._example, self._order[0])
        held: dict[str, Any] = vars(self._example)
        return held

    def _learn(self, estimator: Any, rows: NDArray[np.int64]) -> None:
        targets = {} if self._y is None else {"y": _at(self._y, rows)}
        estimator.partial_fit(_at(self._x, rows), **targets, **self._classes)


def _at(values: Any, rows: NDArray[np.int64]) -> Any:
    return values.iloc[rows] if hasattr(values, "iloc") else values[rows]


def _set(optimizer: Any, hparams: Mapping[str, Any]) -> None:
    """Tells a perceptron's optimizer, which otherwise keeps what it was made with."""
    for name, value in hparams.items():
        if name == "learning_rate_init":
            optimizer.learning_rate *= value / optimizer.learning_rate_init
        if (own := "nesterov" if name == "nesterovs_momentum" else name) in vars(optimizer):
            setattr(optimizer, own, value)


def _saved(name: str, value: Any) -> Any:
    """A value as plain containers of numbers and arrays."""
    if value is None or isinstance(value, bool | int | float | str | np.generic):
        return value
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biufc":
            return {_OBJECT: "ndarray"}  # names of classes and features, which are the data's
        return {_OBJECT: _COLUMNS, "state": value.T} if value.ndim > 1 and value.strides[0] < value.strides[-1] else value
    if isinstance(value, dict):
        return {key: _saved(f"{name}[{key!r}]", item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_saved(f"{name}[{index}]", item) for index, item in enumerate(value))
    kind = type(value).__name__
    if isinstance(value, np.random.RandomState):
        return {_OBJECT: kind, "state": None if value is _GLOBAL else value.get_state(legacy=False)}
    if hasattr(value, "__dict__"):
        return {_OBJECT: kind, "state": {key: _saved(f"{name}.{key}", item) for key, item in vars(value).items()}}
    if len(value.__reduce__()) > 2:
        raise TrainingError(f"{name}: a {kind} cannot be saved without pickling it, so this estimator cannot be a member of a population")
    return {_OBJECT: kind}


def _restored(saved: Any, like: Any) -> Any:
    """What was saved, in objects of this process."""
    if isinstance(saved, list | tuple):
        likes = like if isinstance(like, list | tuple) and len(like) == len(saved) else [None] * len(saved)
        return type(saved)(_restored(*pair) for pair in zip(saved, likes, strict=True))
    if not isinstance(saved, dict):
        return saved
    if _OBJECT not in saved:
        return {key: _restored(item, like.get(key) if isinstance(like, dict) else None) for key, item in saved.items()}
    if (kind := saved[_OBJECT]) == _COLUMNS:
        return saved["state"].T
    if kind == "RandomState":
        if saved["state"] is None:
            return _GLOBAL
        dice = np.random.RandomState()
        dice.set_state(saved["state"])
        return dice
    if type(like).__name__ != kind:
        raise TrainingError(f"the state to restore has a {kind} where this estimator has a {type(like).__name__}: is it of other arguments?")
    if "state" not in saved:
        return like
    new = copy.copy(like)
    vars(new).clear()
    vars(new).update({key: _restored(item, vars(like).get(key)) for key, item in saved["state"].items()})
    return new
