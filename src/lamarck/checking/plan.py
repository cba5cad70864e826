"""What is to be trained: the configurations, and the intervals of each trial."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, final

import numpy as np

from lamarck._rng import derive_seed, generator
from lamarck.space import Space
from lamarck.types import HParams, Interval, Key

__all__ = ["Change", "Plan", "plan"]

_FAR = (0.9, 0.1, 1.0, 0.0, 0.7, 0.3)
"""Places in the unit interval that a hyperparameter is moved to, from its middle: far, because a small change may drown in rounding."""
_MOVES = 2
"""Values that a hyperparameter is given before it counts as without effect: one on each side, where there are two."""
_TRIES = 200


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One hyperparameter, moved.

    Args:
        name: Which.
        before: The configuration that it is moved in.
        after: What this becomes: up to two configurations. None if the hyperparameter has a single value, or cannot be moved alone.
    """

    name: str
    before: HParams
    after: tuple[HParams, ...]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The intervals of all trials.

    Args:
        interval: Steps of one interval, at least 1.
        intervals: Intervals of the unbroken training, at least 2.
        seed: Seed of everything.
        base: Configuration of member 0, whose training is looked at: the middle of the space.
        other: Configuration of member 1, which trains in the same process.
        changes: One for each hyperparameter.
    """

    interval: int
    intervals: int
    seed: int
    base: HParams
    other: HParams
    changes: tuple[Change, ...]

    @property
    def split(self) -> int:
        """The generation that is trained from a restored state: that after the first half."""
        return self.intervals // 2

    @property
    def saved(self) -> Key:
        """The report whose state is restored."""
        return (0, self.split - 1)

    def unbroken(self) -> tuple[Interval, ...]:
        """Member 0 from the beginning to the end."""
        return tuple(self._interval(0, generation, self.base) for generation in range(self.intervals))

    def resumed(self) -> tuple[Interval, ...]:
        """The second half of it."""
        return self.unbroken()[self.split :]

    def second(self) -> tuple[Interval, ...]:
        """The first half of member 1, then that of member 0, from nothing."""
        return (*self._other(), *self.unbroken()[: self.split])

    def copied(self, hparams: HParams) -> tuple[Interval, ...]:
        """The first half of member 1, then one interval from member 0's state with a configuration."""
        return (*self._other(), self._interval(0, self.split, hparams))

    def _other(self) -> tuple[Interval, ...]:
        return tuple(self._interval(1, generation, self.other) for generation in range(self.split))

    def _interval(self, member: int, generation: int, hparams: HParams) -> Interval:
        return Interval(
            member=member,
            generation=generation,
            hparams=dict(hparams),
            start=generation * self.interval,
            until=(generation + 1) * self.interval,
            restore=None,  # the trial fills in what its parent's state is called
            parent=(member, generation - 1) if generation else None,
            seed=derive_seed(self.seed, member, generation),
        )


def plan(space: Space, *, interval: int, intervals: int, seed: int) -> Plan:
    """Chooses the configurations.

    Args:
        space: The search space.
        interval: Steps of one interval.
        intervals: Intervals of the unbroken training.
        seed: Seed of everything.

    Raises:
        SpaceError: If no configuration meets the space's constraints.

    Example:
        >>> from lamarck import Space
        >>> from lamarck.space import Categorical, Float
        >>> made = plan(Space(lr=Float(1e-4, 1.0, log=True), opt=Categorical(["sgd", "adam"])), interval=50, intervals=2, seed=0)
        >>> [(change.name, [round(after[change.name], 4) for after in change.after]) for change in made.changes if change.name == "lr"]
        [('lr', [0.3981, 0.0003])]
    """
    base, other = _at(space, 0.5, seed), _at(space, 0.7, seed)
    return Plan(
        interval=interval,
        intervals=intervals,
        seed=seed,
        base=base,
        other=other,
        changes=tuple(_change(space, name, base, seed) for name in space),
    )


def _at(space: Space, place: float, seed: int) -> dict[str, Any]:
    """The configuration at one place on all axes, or a random one if that is not allowed."""
    rng = generator(seed, 0, 0, "check")
    config = space.activate({name: parameter.from_unit(place) for name, parameter in space.items()}, rng)
    return config if space.contains(config) else space.sample(rng)


def _change(space: Space, name: str, base: HParams, seed: int) -> Change:
    rng = generator(seed, 0, 0, f"check {name}")
    before = next((config for config in chain([base], _draws(space, rng)) if name in config), None)
    if before is None:
        return Change(name=name, before=base, after=())
    wanted = chain(map(space[name].from_unit, _FAR), (config[name] for config in _draws(space, rng) if name in config))
    moved = (space.activate({**before, name: value}, rng) for value in _unlike(before[name], wanted))
    return Change(name=name, before=before, after=tuple(islice((config for config in moved if space.contains(config)), _MOVES)))


def _draws(space: Space, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    return (space.sample(rng) for _ in range(_TRIES))


def _unlike(value: Any, wanted: Iterable[Any]) -> Iterator[Any]:
    """The wanted values without repetition, and without the one that is there."""
    seen = [value]
    for candidate in wanted:
        if candidate not in seen:
            seen.append(candidate)
            yield candidate
