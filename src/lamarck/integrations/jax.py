"""JAX: a population given as pure functions of one member, run for all of them as one compiled program.

    task = JaxTask(new=new, step=step, score=score)
    lamarck.run(task, space, population_size=256, interval=200, generations=20, engine=lamarck.Vectorised())

What trains is yours: any functions of pytrees that JAX can trace. Optax fits in as it is, hyperparameters included, because an optimizer made
inside a step takes traced numbers: ``optax.adamw(hparams["lr"]).update(gradient, state, params)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from lamarck._checks import check_whole
from lamarck._errors import LamarckError, SettingsError, TrainingError, require
from lamarck.engines._machine import cores
from lamarck.engines.vectorised import Intervals, Scores, VectorTask
from lamarck.engines.vectorised.watched import Watched

if TYPE_CHECKING:
    import jax
    import jax.numpy as jnp
else:
    jax, jnp = (require(module, "jax", "lamarck.integrations.jax") for module in ("jax", "jax.numpy"))

__all__ = ["JaxTask"]

_Constants = tuple[tuple[str, Any], ...]
"""Names and values of what is no number and the same for all members."""

Tree = Any
"""A pytree of arrays. In a stack the members are the first axis of each."""


@final
@dataclass(frozen=True, kw_only=True)
class JaxTask(VectorTask[Tree]):
    """A population of whatever three pure functions describe; they speak of one member, and are compiled for all at once.

    Many steps are one call of the device: a step costs no time in Python. Random keys are derived from the interval's seed and the number of
    the step, so a member's luck is its own.

    Args:
        new: ``new(key) -> state``: a member that begins from nothing, as any pytree of arrays: weights, the optimizer's state, what you like.
        step: ``step(state, hparams, key) -> state``: one training step. ``hparams`` has a number for each name in the search space; one that
            is conditional and not active is NaN. What is no number, such as a `lamarck.Constant` that is a string, comes as it is.
        score: ``score(state, key) -> value``: how good a member is, as a number; or several evaluations of it as a vector, whose mean is the
            value and which become the report's samples.
        steps_per_call: The most steps in one call of the device. Between two calls, and not earlier, Ctrl-C is heard.

    Raises:
        SettingsError: If ``steps_per_call`` is not a whole number of at least 1.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import lamarck as lk
        >>> task = JaxTask(
        ...     new=lambda key: {"x": jax.random.normal(key)},
        ...     step=lambda state, hparams, key: {"x": state["x"] * (1 - hparams["rate"])},
        ...     score=lambda state, key: jnp.abs(state["x"]),
        ... )
        >>> space = lk.Space(rate=lk.Float(0.01, 0.5, log=True))
        >>> history = lk.run(task, space, population_size=32, interval=5, steps=20, mode="min", engine=lk.Vectorised(processes=1))
        >>> history.best.value < 1e-3
        True
    """

    new: Callable[[Any], Tree]
    step: Callable[[Tree, Mapping[str, Any], Any], Tree]
    score: Callable[[Tree, Any], Any]
    steps_per_call: int = 1000

    def __post_init__(self) -> None:
        check_whole("steps_per_call", self.steps_per_call, 1)

    def init(self, seeds: NDArray[np.int64]) -> Tree:
        """Makes members from keys of their own."""
        return _begun(self.new, _keys(seeds, 0))

    def fit(self, state: Tree, intervals: Intervals) -> Tree:
        """Trains; the stack's memory is used again for the new one."""
        hparams = {name: jnp.asarray(column) for name, column in intervals.numbers().items()}
        constants = tuple(intervals.constants().items())
        _check_step(self.new, self.step, tuple((name, column.dtype) for name, column in hparams.items()), constants)
        keys = _keys(intervals.seeds, 1)
        for first in range(0, intervals.steps, self.steps_per_call):
            state = _trained(self.step, constants, state, hparams, keys, first, min(intervals.steps, first + self.steps_per_call))
            jax.tree.map(lambda leaf: leaf.block_until_ready(), state)
        return state

    def evaluate(self, state: Tree, intervals: Intervals) -> Scores:
        """Scores."""
        got = np.asarray(_scored(self.score, state, _keys(intervals.seeds, 2)), dtype=np.float64)
        if got.ndim > 2 or not got.size:
            raise TrainingError(f"score returned the shape {got.shape[1:]} for one member; it must return a number, or a vector of evaluations")
        return Scores(values=got) if got.ndim == 1 else Scores(values=got.mean(1), samples=got)

    def gather(self, state: Tree, rows: NDArray[np.int64]) -> Tree:
        """Copies rows, on the device."""
        return _gathered(state, rows)

    def scatter(self, state: Tree, rows: NDArray[np.int64], part: Tree) -> Tree:
        """Puts rows of another stack in."""
        return _scattered(state, rows, part)

    def save(self, state: Tree) -> dict[str, NDArray[Any]]:
        """Returns the leaves as arrays of NumPy, by their paths."""
        return {jax.tree_util.keystr(path): np.asarray(_data(leaf)) for path, leaf in jax.tree_util.tree_leaves_with_path(state)}

    def load(self, saved: Any) -> Tree:
        """Puts the leaves back where a new member has them."""
        return self.tree(saved)

    def tree(self, saved: Mapping[str, Any]) -> Tree:
        """Returns the pytree of what was saved: a stack, or the one member that `lamarck.load` returns.

        Args:
            saved: Leaves by their paths.

        Raises:
            TrainingError: If a new member has other leaves: ``new`` is not the function that the run began with.
        """
        like = jax.eval_shape(self.new, jax.random.key(0))
        paths = jax.tree_util.tree_leaves_with_path(like)
        names = [jax.tree_util.keystr(path) for path, _ in paths]
        if set(names) != set(saved):
            raise TrainingError(f"the checkpoint has {sorted(saved)}, and a new member {sorted(names)}: `new` has changed since it was saved")
        leaves = [_leaf(saved[name], leaf.dtype) for name, (_, leaf) in zip(names, paths, strict=True)]
        return jax.tree.unflatten(jax.tree.structure(like), leaves)

    def processes(self, members: int) -> int:
        """On a CPU one for each core, because a program of small arrays keeps one busy; otherwise one."""
        if jax.default_backend() != "cpu":
            return 1
        return min(cores(), members)


@partial(jax.jit, static_argnums=0)
def _begun(new: Callable[[Any], Tree], keys: Any) -> Tree:
    return jax.vmap(new)(keys)


@lru_cache(maxsize=64)
def _check_step(new: Callable[[Any], Tree], step: Callable[..., Tree], numbers: tuple[tuple[str, Any], ...], constants: _Constants) -> None:
    """Traces a step of one member, once for each task.

    Raises:
        TrainingError: If it raises, or returns another kind of state, which it would for every member.
        SettingsError: If it never looks at a hyperparameter.
    """
    read: set[str] = set()

    def watched(state: Tree, hparams: Mapping[str, Any], key: Any) -> Tree:
        return step(state, Watched({**hparams, **dict(constants)}, read), key)

    key = jax.random.key(0)
    hparams = {name: jnp.zeros((), dtype) for name, dtype in numbers}
    before = jax.eval_shape(new, key)
    try:
        after = jax.eval_shape(watched, before, hparams, key)
    except LamarckError:
        raise
    except Exception as error:
        raise TrainingError(f"a step of one member cannot be traced: {type(error).__name__}: {error}") from error
    if _shapes(after) != _shapes(before):
        raise TrainingError(f"a step must return a state like the one it got: it got {_shapes(before)}, and returned {_shapes(after)}")
    if unread := [name for name in hparams if name not in read]:
        raise SettingsError(
            f"{', '.join(map(repr, unread))}: tuned, but arrives nowhere: the step does not read it. Rename it, read it by hparams[...], or "
            "take it out of the search space"
        )


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def _trained(
    step: Callable[..., Tree], constants: _Constants, state: Tree, hparams: Mapping[str, Any], keys: Any, first: int, until: int
) -> Tree:
    """The bounds are no constants of the program: intervals of any length share it."""

    def member(state: Tree, hparams: Mapping[str, Any], key: Any) -> Tree:
        told = {**hparams, **dict(constants)}
        return jax.lax.fori_loop(first, until, lambda number, state: step(state, told, jax.random.fold_in(key, number)), state)

    return jax.vmap(member)(state, hparams, keys)


@partial(jax.jit, static_argnums=0)
def _scored(score: Callable[[Tree, Any], Any], state: Tree, keys: Any) -> Any:
    return jax.vmap(score)(state, keys)


@jax.jit
def _gathered(state: Tree, rows: Any) -> Tree:
    return jax.tree.map(lambda leaf: leaf[rows], state)


@partial(jax.jit, donate_argnums=0)
def _scattered(state: Tree, rows: Any, part: Tree) -> Tree:
    return jax.tree.map(lambda leaf, new: leaf.at[rows].set(new), state, part)


def _keys(seeds: NDArray[np.int64], purpose: int) -> Any:
    """Keys of one purpose. Seeds are 32 bits wide, and JAX's whole numbers are, too, unless told otherwise."""
    return jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), purpose))(np.asarray(seeds, dtype=np.uint32))


def _shapes(state: Tree) -> dict[str, str]:
    """What a state is made of, by the paths of its leaves."""
    return {jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in jax.tree_util.tree_leaves_with_path(state)}


def _data(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def _leaf(saved: Any, dtype: Any) -> Any:
    return jax.random.wrap_key_data(jnp.asarray(saved)) if jnp.issubdtype(dtype, jax.dtypes.prng_key) else jnp.asarray(saved, dtype=dtype)
