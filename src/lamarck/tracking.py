"""What a worker saves and restores: anything with a state, behind two functions."""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, final, runtime_checkable

import numpy as np

from lamarck._errors import TrainingError

__all__ = ["Stateful", "Tracked", "tracked"]


@runtime_checkable
class Stateful(Protocol):
    """What modules, optimizers, schedulers and scalers are."""

    def state_dict(self) -> Any:
        """Returns the state as plain containers of tensors, arrays and numbers."""

    def load_state_dict(self, state: Any, /) -> Any:
        """Puts a state back."""


@final
@dataclass(frozen=True, slots=True)
class Tracked:
    """A thing's state, as two functions.

    Args:
        save: Returns the state; it may share memory with the thing.
        load: Puts a state back, in place.
    """

    save: Callable[[], Any]
    load: Callable[[Any], Any]


def tracked(name: str, thing: Any) -> Tracked:
    """Finds out how to save and restore a thing.

    Args:
        name: What to call it in messages.
        thing: Anything with ``state_dict`` and ``load_state_dict``; a numpy array or PyTorch tensor, restored in place; a random generator of
            Python, numpy or PyTorch; a list, deque or dictionary of plain values, restored in place; or a pair of functions
            ``(save, load)``.

    Raises:
        TrainingError: If it is none of these.

    Example:
        >>> import numpy as np
        >>> weights = np.array([1.0, 2.0])
        >>> state = tracked("weights", weights)
        >>> saved = state.save().copy()
        >>> weights += 1
        >>> state.load(saved)
        >>> weights
        array([1., 2.])
    """
    if isinstance(thing, tuple) and len(thing) == 2 and callable(thing[0]) and callable(thing[1]):
        return Tracked(*thing)
    if isinstance(thing, np.ndarray):
        return Tracked(lambda: thing, lambda state: np.copyto(thing, _fitting(name, thing, state)))
    if isinstance(thing, np.random.RandomState):
        return Tracked(lambda: thing.get_state(legacy=False), thing.set_state)
    if isinstance(thing, np.random.Generator):
        return Tracked(lambda: thing.bit_generator.state, lambda state: setattr(thing.bit_generator, "state", state))
    if isinstance(thing, random.Random):
        return Tracked(lambda: list(thing.getstate()), lambda state: thing.setstate((state[0], tuple(state[1]), state[2])))
    if isinstance(thing, Stateful):
        return Tracked(thing.state_dict, thing.load_state_dict)
    if isinstance(thing, dict):
        return Tracked(lambda: thing, lambda state: _refill(thing, state))
    if isinstance(thing, list):
        return Tracked(lambda: thing, lambda state: thing.__setitem__(slice(None), state))
    if isinstance(thing, deque):
        return Tracked(lambda: list(thing), lambda state: _requeue(thing, state))
    if (torch := sys.modules.get("torch")) is not None:
        if isinstance(thing, torch.Tensor):
            return Tracked(thing.detach, lambda state: thing.detach().copy_(_fitting(name, thing, state)))
        if isinstance(thing, torch.Generator):
            return Tracked(thing.get_state, thing.set_state)
    raise TrainingError(
        f"cannot track {name!r}, a {type(thing).__name__}: give something with state_dict and load_state_dict, an array or tensor, a random "
        "generator, a list, deque or dict, or a pair of functions (save, load)"
    )


def _fitting(name: str, thing: Any, state: Any) -> Any:
    """The state of an array or tensor, unless it has another shape: then a copy would spread it over the whole, and nobody would notice."""
    if state.shape != thing.shape:
        raise TrainingError(
            f"{name!r} has the shape {tuple(thing.shape)}, and the state to restore has {tuple(state.shape)}: arrays keep their shape in a "
            "population, so make it depend on no hyperparameter"
        )
    return state


def _refill(target: dict[Any, Any], state: dict[Any, Any]) -> None:
    target.clear()
    target.update(state)


def _requeue(target: deque[Any], state: list[Any]) -> None:
    target.clear()
    target.extend(state)
