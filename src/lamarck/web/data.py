"""A run as plain JSON values: what it is, once, and its reports as columns, as they come.

Reports are numbered in the order of acknowledgement, so a batch of them only ever adds to the batches before it. Numbers are written as they
are, to the last digit; what is not finite becomes ``None``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, final

from lamarck.history import History
from lamarck.population import Member, Population, Record
from lamarck.space import Categorical, Constant, Float, Int, Parameter, Space
from lamarck.types import Key, Started, Value

__all__ = ["Columns", "State", "axes", "description", "final_states", "member_states"]


def description(started: Started, name: str = "a run") -> dict[str, Any]:
    """Returns what a run is: all that the views have to know before its first report.

    Args:
        started: Its first event.
        name: What it is called if the journal does not know the training function.

    Example:
        >>> from lamarck import Float, Space
        >>> from lamarck.types import Started
        >>> from lamarck.types import Settings
        >>> rules = Settings(population_size=2, interval=10, generations=3)
        >>> space = Space(lr=Float(1e-4, 1.0, log=True), seed=3).to_dict()
        >>> started = Started(settings=rules, space=space, strategies={}, initial=({"lr": 0.1}, {"lr": 0.2}))
        >>> described = description(started)
        >>> described["size"], [axis["name"] for axis in described["axes"]]
        (2, ['lr'])
    """
    settings, info = started.settings, started.info
    return {
        "title": str(info.get("train", name)),
        "size": settings.population_size,
        "interval": settings.interval,
        "generations": settings.generations,
        "mode": settings.mode,
        "axes": axes(Space.from_dict(started.space)),
    }


def axes(space: Space) -> list[dict[str, Any]]:
    """Returns the hyperparameters that can differ, in the order of the space: name, ends and scale, or the labels of the choices."""
    return [_axis(name, parameter) for name, parameter in space.items() if not isinstance(parameter, Constant)]


def _axis(name: str, parameter: Parameter) -> dict[str, Any]:
    match parameter:
        case Categorical():
            choices = [str(choice) for choice in parameter.choices]
            return {"name": name, "low": -0.5, "high": len(choices) - 0.5, "log": False, "whole": True, "choices": choices}
        case Float() | Int():
            ends = {"low": float(parameter.low), "high": float(parameter.high)}
            return {"name": name, **ends, "log": parameter.log, "whole": isinstance(parameter, Int), "choices": []}
        case _:
            raise AssertionError(parameter)


def _places(space: Space) -> dict[str, Callable[[Value], Any]]:
    """For each hyperparameter that can differ, how its values are written: numbers as they are, choices by their place.

    A choice without a place, as in a run that was resumed with more of them, is none.
    """
    given = {name: parameter for name, parameter in space.items() if not isinstance(parameter, Constant)}
    return {
        name: {choice: place for place, choice in enumerate(parameter.choices)}.get if isinstance(parameter, Categorical) else _itself
        for name, parameter in given.items()
    }


def _itself(value: Any) -> Any:
    return value


@final
class Columns:
    """The reports of a run as columns, which only ever grow.

    Args:
        started: The first event of the run.

    Attributes:
        copies: How many of the reports were trained from another member's weights.

    Example:
        >>> from lamarck import Categorical, Space
        >>> from lamarck.types import Started
        >>> import math
        >>> from lamarck.population import Record
        >>> from lamarck.types import Settings
        >>> rules = Settings(population_size=1, interval=10, generations=3)
        >>> space = Space(opt=Categorical(["sgd", "adam"]))
        >>> columns = Columns(Started(settings=rules, space=space.to_dict(), strategies={}, initial=({"opt": "adam"},)))
        >>> shared = {"member": 0, "checkpoint": None, "hparams": {"opt": "adam"}}
        >>> columns.put(Record(generation=0, step=10, value=0.5, fitness=0.5, parent=None, **shared))
        >>> columns.put(Record(generation=1, step=20, value=math.nan, fitness=-math.inf, parent=(0, 0), **shared))
        >>> columns.batch(1)
        {'start': 1, 'member': [0], 'generation': [1], 'step': [20], 'value': [None], 'back': [1], 'hparams': [[1]]}
    """

    def __init__(self, started: Started) -> None:
        self.copies = 0
        self._place = _places(Space.from_dict(started.space))
        self._rows: dict[Key, int] = {}
        self._columns: dict[str, list[Any]] = {name: [] for name in ("member", "generation", "step", "value", "back")}
        self._hparams: list[list[float | None]] = [[] for _ in self._place]

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, record: Record) -> None:
        """Adds a report; the one whose weights it went on from must have come before."""
        parent, columns, count = record.parent, self._columns, len(self._rows)
        columns["member"].append(record.member)
        columns["generation"].append(record.generation)
        columns["step"].append(record.step)
        columns["value"].append(record.value if record.finite else None)
        columns["back"].append(0 if parent is None else count - self._rows[parent])
        for column, (name, place) in zip(self._hparams, self._place.items(), strict=True):
            column.append(place(record.hparams[name]) if name in record.hparams else None)
        self._rows[record.key] = count
        self.copies += parent is not None and parent[0] != record.member

    def batch(self, start: int = 0, until: int | None = None) -> dict[str, Any]:
        """Returns reports as columns.

        Args:
            start: Number of the first report.
            until: Number after the last; by default all that there are.

        Returns:
            ``"start"``, as given; ``"member"``, ``"generation"``, ``"step"`` and ``"value"`` (``None`` where it is not finite); ``"back"``, how
            many reports back the one stands whose weights it went on from, 0 if it began from nothing; ``"hparams"``, a column for each of
            `axes`, of a choice its place, ``None`` where it was inactive.
        """
        chosen = slice(start, until)
        columns: dict[str, Any] = {name: column[chosen] for name, column in self._columns.items()}
        return {"start": start, **columns, "hparams": [column[chosen] for column in self._hparams]}


State = Literal["training", "waiting", "retired", "done"]
"""What a member is doing, as far as a journal can tell."""


def member_states(population: Population) -> list[State]:
    """Returns what each member is doing, as far as a journal can tell.

    Returns:
        ``"retired"``, ``"done"`` (all its generations, or the run is over), ``"training"`` (an interval was handed out) or ``"waiting"``.

    Example:
        >>> from lamarck.testing.populations import population
        >>> member_states(population([[0.1, 0.3], [0.2]]))
        ['waiting', 'waiting']
    """

    def state(member: Member) -> State:
        done = member.last is not None and member.last.generation + 1 >= population.settings.generations
        if member.retired:
            return "retired"
        if done or population.ended is not None:
            return "done"
        return "waiting" if member.interval is None else "training"

    return [state(member) for member in population.members]


def final_states(history: History) -> list[State]:
    """Returns how each member stands in a history, in the words of `member_states`; whether somebody trains it now is not in there."""
    reported = {record.member: record.generation + 1 for record in history.records}

    def state(member: int) -> State:
        done = history.ended is not None or reported.get(member, 0) >= history.settings.generations
        return "retired" if member in history.retired else "done" if done else "waiting"

    return [state(member) for member in range(history.settings.population_size)]
