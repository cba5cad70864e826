"""Optax: a hyperparameter of a schedule as an Optax schedule, a function of the step that JAX can compile.

optimizer = optax.adamw(learning_rate=optax_schedule(schedule, "lr"))
optimizer = optax.inject_hyperparams(optax.adamw)(
learning_rate=optax_schedule(schedule, "lr"), weight_decay=optax_schedule(schedule, "weight_decay")
)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lamarck._errors import SettingsError, require
from lamarck.schedule import Schedule

__all__ = ["optax_schedule"]


def optax_schedule(schedule: Schedule, name: str, *, stride: int = 1) -> Callable[[Any], Any]:
    """Returns one hyperparameter as a function of the number of updates.

    Args:
        schedule: What to follow; after its end its last values stay.
        name: Which hyperparameter; a number in every piece.
        stride: Steps of the schedule for one update of the optimizer.

    Returns:
        From a count, a whole number or an array of them, traced or not, to values of JAX's default floating point type.

    Raises:
        SettingsError: If the hyperparameter is not a number everywhere.
        MissingExtra: If JAX is not installed.

    Example:
        >>> from lamarck import Schedule
        >>> from lamarck.schedule import Piece
        >>> rate = optax_schedule(Schedule((Piece(0, 100, {"lr": 0.5}), Piece(100, 200, {"lr": 0.25}))), "lr")
        >>> float(rate(99)), float(rate(100)), float(rate(10_000))
        (0.5, 0.25, 0.25)
    """
    jnp = require("jax.numpy", "jax", "optax_schedule")
    if isinstance(stride, bool) or not isinstance(stride, int) or stride < 1:
        raise SettingsError(f"stride: got {stride!r}; it must be a whole number of steps, at least 1")
    for piece in schedule:
        value = piece.hparams.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            got = f"is {value!r}" if name in piece.hparams else "is not set"
            raise SettingsError(f"{name}: it {got} at step {piece.start}, and an Optax schedule needs a number; the rest is schedule(step)")
    # Counts from which the next piece holds: rounded up, because a piece begins at the first update at or after its step.
    edges = jnp.asarray([-(-piece.start // stride) for piece in schedule.pieces[1:]], dtype=jnp.int32)
    values = jnp.asarray([float(piece.hparams[name]) for piece in schedule])  # type: ignore[arg-type]
    return lambda count: values[jnp.searchsorted(edges, jnp.asarray(count), side="right")]
