"""Keras: a callback that follows a schedule.

model.fit(x, y, callbacks=[ScheduleCallback(schedule)])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

from lamarck._errors import SettingsError, require
from lamarck.schedule import Schedule

__all__ = ["ScheduleCallback"]

_Callback: Any = require("keras.callbacks", "keras", "lamarck.integrations.schedules.keras").Callback


@final
class ScheduleCallback(_Callback):  # type: ignore[misc]
    """Sets the learning rate, and what else is told how, before each batch.

    The step is ``optimizer.iterations``, which is saved with the model: training that is resumed goes on where it was.

    Args:
        schedule: What to follow; after its end its last values stay.
        lr: Which of its hyperparameters is the learning rate; ``None`` if none is.
        also: For others, how to set them: ``{"noise": lambda model, value: model.get_layer("noise").rate.assign(value)}``. What a compiled
            training step has read as a Python number cannot be changed any more; it has to be a Keras variable. Called only when a value
            changes, and at the beginning of training.

    Raises:
        SettingsError: If the schedule does not set one of them everywhere.

    Example:
        >>> from lamarck import Schedule
        >>> from lamarck.schedule import Piece
        >>> callback = ScheduleCallback(Schedule((Piece(0, 100, {"lr": 0.1}), Piece(100, 200, {"lr": 0.05}))))
    """

    def __init__(self, schedule: Schedule, *, lr: str | None = "lr", also: Mapping[str, Callable[[Any, Any], object]] | None = None) -> None:
        super().__init__()
        setters: dict[str, Callable[[Any, Any], object]] = {} if lr is None else {lr: _set_rate}
        self.schedule, self.setters = schedule, setters | dict(also or {})
        for name in self.setters:
            if missing := next((piece for piece in schedule if name not in piece.hparams), None):
                raise SettingsError(f"{name}: the schedule does not set it at step {missing.start}; it sets {', '.join(missing.hparams)}")
        self._held: dict[str, Any] = {}

    def on_train_begin(self, logs: Any = None) -> None:
        """Forgets what was set before: the model may be another one, or restored."""
        self._held = {}

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Sets what the schedule says.

        Args:
            batch: Not used; it begins at 0 in each epoch.
            logs: Not used.
        """
        hparams = self.schedule(int(self.model.optimizer.iterations))
        for name, setter in self.setters.items():
            if name not in self._held or self._held[name] != hparams[name]:
                setter(self.model, hparams[name])
                self._held[name] = hparams[name]


def _set_rate(model: Any, rate: float) -> None:
    try:
        model.optimizer.learning_rate = rate
    except TypeError as error:
        raise SettingsError(f"the learning rate of this optimizer cannot be set: {error}; give the optimizer a number to begin with") from None
