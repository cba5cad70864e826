"""`Space`: the hyperparameters together, with their conditions and constraints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from lamarck._errors import SpaceError
from lamarck.space._conditions import ABSENT, Conditions
from lamarck.space._cube import from_cube, to_cube
from lamarck.space._faults import fault, unknown
from lamarck.space._plain import checked, close_to, named, read
from lamarck.space._text import parse
from lamarck.space.constraints import Constraint, Unresolved, constraint
from lamarck.space.parameter import Parameter

__all__ = ["HParams", "Space", "Value"]

Value = bool | int | float | str | None
"""A hyperparameter's value."""

HParams = Mapping[str, Value]
"""A configuration: the active hyperparameters by name."""

_TRIES = 1000


@final
@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class Space(Mapping[str, Parameter]):
    """The search space: an immutable mapping from names to hyperparameters.

    A *configuration* is a dictionary of values. A hyperparameter whose condition (``when=``) is not met is inactive, and absent from the
    configuration.

    Args:
        hyperparameters: Hyperparameters by name, for names that are not Python identifiers.
        params: Hyperparameters by name. A bare list or tuple stands for `Categorical`, a bare value for `Constant`; a pair of
            numbers may be meant for a range and is refused.

    Raises:
        SpaceError: If a name is empty or starts with ``$``, or a condition names an unknown hyperparameter, a value it never has, or itself in
            a circle.

    Example:
        >>> from lamarck.space import Float, Space
        >>> space = Space(lr=Float(1e-5, 1e-1, log=True), optimizer=["sgd", "adam"], momentum=Float(0.0, 0.99, when={"optimizer": "sgd"}))
        >>> space.validate({"lr": 0.01, "optimizer": "adam"})
        >>> space.contains({"lr": 0.01, "optimizer": "adam", "momentum": 0.9})
        False
        >>> space.names
        ('lr', 'optimizer', 'momentum')
    """

    _params: dict[str, Parameter]
    _constraints: tuple[Constraint, ...]
    _conditions: Conditions

    def __init__(self, hyperparameters: Mapping[str, object] | None = None, /, **params: object) -> None:
        given = {} if hyperparameters is None else hyperparameters
        if not isinstance(given, Mapping):
            raise SpaceError(f"got {given!r}; give hyperparameters by name, e.g. Space(lr=Float(1e-5, 0.1, log=True))")
        twice = given.keys() & params.keys()
        if twice:
            raise SpaceError(f"hyperparameter {min(twice)!r} is given twice; remove one")
        named_params = {name: checked(name, value) for name, value in {**given, **params}.items()}
        _build(self, named_params, given.constraints if isinstance(given, Space) else ())

    def where(self, *constraints: str | Callable[[HParams], bool] | Constraint) -> Space:
        """Returns the space with further constraints between hyperparameters; every configuration that it draws satisfies them all.

        Args:
            constraints: Each an expression over names, such as ``"lo <= hi"`` (comparisons, ``and``, ``or``, ``not``, ``+ - * / // % **``,
                numbers, strings, tuples after ``in``), or a Python function of the configuration. A constraint on a hyperparameter that is
                inactive counts as satisfied, one that is undefined, as in a division by zero, does not. An expression can be kept in a journal;
                a function cannot.

        Raises:
            SpaceError: If an expression is not one, or names an unknown hyperparameter.

        Example:
            >>> from lamarck.space import Float, Space
            >>> space = Space(lo=Float(0.0, 1.0), hi=Float(0.0, 1.0)).where("lo <= hi")
            >>> space.satisfied({"lo": 0.5, "hi": 0.25})
            False
        """
        return _build(object.__new__(Space), self._params, (*self._constraints, *map(constraint, constraints)))

    # ---- a mapping -------------------------------------------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Parameter:
        return self._params[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._params)

    def __len__(self) -> int:
        return len(self._params)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Space):
            return NotImplemented
        return list(self._params.items()) == list(other._params.items()) and self._constraints == other._constraints

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        params = ", ".join(f"{name!r}: {param!r}" for name, param in self._params.items())
        return f"Space({{{params}}})" + (f".where({', '.join(map(str, self._constraints))})" if self._constraints else "")

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order in which they were given, which is also the order of columns."""
        return tuple(self._params)

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """The constraints, in the order in which they were given."""
        return self._constraints

    @property
    def resolved(self) -> bool:
        """Whether every constraint can be evaluated; not so after a space with a Python function was read back."""
        return not any(isinstance(item, Unresolved) for item in self._constraints)

    # ---- drawing ---------------------------------------------------------------------------------------------------------------------------

    def sample(self, rng: np.random.Generator, initial: bool = False) -> dict[str, Any]:
        """Draws a configuration: every hyperparameter independently, again and again until the constraints hold.

        Args:
            rng: Source of the draws.
            initial: Whether to draw from the initial ranges instead of the allowed ones.

        Raises:
            SpaceError: If a constraint is not met in 1000 tries.

        Example:
            >>> import numpy as np
            >>> from lamarck.space import Float, Int, Space
            >>> sorted(Space(lr=Float(1e-5, 1e-1, log=True), layers=Int(1, 8)).sample(np.random.default_rng(0)))
            ['layers', 'lr']
        """
        config = self._draw(rng, initial)
        return config if not self._constraints or self.satisfied(config) else self._redrawn(rng, initial)

    def sample_population(self, size: int, rng: np.random.Generator, *, stratified: bool = True, initial: bool = True) -> list[dict[str, Any]]:
        """Draws the first population.

        Stratified (McKay, Beckman and Conover 1979, "A Comparison of Three Methods for Selecting Values of Input Variables in the Analysis of
        Output from a Computer Code", Section 2.3: Latin hypercube sampling): each hyperparameter's range is cut into as many equally likely
        strata as there are members, and each stratum is used once. Conditions are applied afterwards, and members that violate a constraint are
        drawn anew on their own.

        Args:
            size: Number of members, at least 1.
            rng: Source of the draws.
            stratified: Whether to stratify, the default because it costs nothing and gains most where the population is small.
            initial: Whether to draw from the initial ranges, the default, instead of the allowed ones.

        Raises:
            SpaceError: If the size is not a whole number of at least 1, or a constraint is not met in 1000 tries.

        Example:
            >>> import numpy as np
            >>> from lamarck.space import Float, Space
            >>> population = Space(x=Float(0.0, 4.0)).sample_population(4, np.random.default_rng(0))
            >>> sorted(int(config["x"]) for config in population)
            [0, 1, 2, 3]
        """
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise SpaceError(f"size: got {size!r}; it must be a whole number of at least 1")
        if not stratified:
            return [self.sample(rng, initial) for _ in range(size)]
        columns = []
        for param in self._params.values():
            places = (rng.permutation(size) + rng.random(size)) / size
            columns.append([param.from_unit(u, initial=initial) for u in places.tolist()])
        configs = [self._conditions.pruned({name: column[i] for name, column in zip(self._params, columns, strict=True)}) for i in range(size)]
        return [config if self.satisfied(config) else self._redrawn(rng, initial) for config in configs]

    def activate(self, hparams: HParams, rng: np.random.Generator) -> dict[str, Any]:
        """Returns the configuration with exactly the hyperparameters that are active: inactive ones dropped, missing ones drawn.

        To be called after a change that a condition may look at. Constraints are not looked at.

        Args:
            hparams: Values by name.
            rng: Source of the values that are missing.

        Raises:
            SpaceError: If a name is unknown.

        Example:
            >>> import numpy as np
            >>> from lamarck.space import Float, Space
            >>> space = Space(optimizer=["sgd", "adam"], momentum=Float(0.0, 0.99, when={"optimizer": "sgd"}))
            >>> space.activate({"optimizer": "adam", "momentum": 0.9}, np.random.default_rng(0))
            {'optimizer': 'adam'}
        """
        strange = unknown(hparams, self._params)
        if strange is not None:
            raise SpaceError(strange)
        config: dict[str, Any] = {}
        for name in self._conditions.order:
            if self._conditions.active(name, config):
                config[name] = hparams[name] if name in hparams else self._params[name].sample(rng)
        return {name: config[name] for name in self._params if name in config}

    # ---- checking --------------------------------------------------------------------------------------------------------------------------

    def validate(self, hparams: HParams) -> None:
        """Checks a configuration.

        Raises:
            SpaceError: If a name is unknown, an active hyperparameter is missing, an inactive one is there, a value is not allowed, or a
                constraint is violated. The message says what was got, what is allowed and what to do.
        """
        wrong = fault(hparams, self._params, self._conditions)
        if wrong is not None:
            raise SpaceError(wrong)
        for item in self._constraints:
            if not self._holds(item, hparams):
                raise SpaceError(f"constraint {item} is not met by {dict(hparams)!r}; change one of the values")

    def contains(self, hparams: HParams) -> bool:
        """Returns whether a configuration is allowed.

        Raises:
            SpaceError: If a constraint cannot be evaluated.
        """
        return fault(hparams, self._params, self._conditions) is None and (not self._constraints or self.satisfied(hparams))

    def satisfied(self, hparams: HParams) -> bool:
        """Returns whether the constraints hold; looks at nothing else.

        Raises:
            SpaceError: If a constraint cannot be evaluated.
        """
        return all(self._holds(item, hparams) for item in self._constraints)

    def active(self, hparams: HParams) -> tuple[str, ...]:
        """Returns the names that a configuration with these values has to have, in the order of the space."""
        config: dict[str, Any] = {}
        for name in self._conditions.order:
            if self._conditions.active(name, config):
                config[name] = hparams.get(name, ABSENT)
        return tuple(name for name in self._params if name in config)

    def clip(self, hparams: HParams) -> dict[str, Any]:
        """Returns the configuration with each active value brought into its range; see `Parameter.clip`. All else stays as it is.

        Raises:
            SpaceError: If a value cannot be brought in: NaN, or of another type.

        Example:
            >>> from lamarck.space import Float, Space
            >>> Space(x=Float(0.0, 1.0)).clip({"x": 1.25})
            {'x': 0.75}
        """
        config: dict[str, Any] = dict(hparams)
        for name in self._conditions.order:
            if name in config and self._conditions.active(name, config):
                try:
                    config[name] = self._params[name].clip(config[name])
                except SpaceError as error:
                    raise named(name, error) from None
        return config

    # ---- the unit cube ---------------------------------------------------------------------------------------------------------------------

    def to_unit(self, configs: Sequence[HParams]) -> NDArray[np.float64]:
        """Returns the places of N configurations in the unit cube.

        Args:
            configs: N configurations.

        Returns:
            ``float64[N, D]``: one column for each hyperparameter in the order of `names`, constants included (0.5); NaN where it is inactive.

        Raises:
            SpaceError: If a name is unknown or a value is not allowed.

        Example:
            >>> from lamarck.space import Float, Space
            >>> Space(x=Float(0.0, 4.0), y=["a", "b"]).to_unit([{"x": 1.0, "y": "a"}, {"x": 3.0, "y": "b"}]).tolist()
            [[0.25, 0.25], [0.75, 0.75]]
        """
        return to_cube(configs, self._params)

    def from_unit(self, array: NDArray[np.float64]) -> list[dict[str, Any]]:
        """Returns the configurations at N places in the unit cube.

        Args:
            array: ``float64[N, D]``, values from 0 to 1. A hyperparameter is left out where its value is NaN or its condition is not met.

        Raises:
            SpaceError: If the shape is another or a value lies outside.

        Example:
            >>> import numpy as np
            >>> from lamarck.space import Float, Space
            >>> Space(x=Float(0.0, 4.0), y=["a", "b"]).from_unit(np.array([[0.25, 0.75]]))
            [{'x': 1.0, 'y': 'b'}]
        """
        return from_cube(array, self._params, self._conditions)

    # ---- plain values ----------------------------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON values that `from_dict` reads; of a constraint that is a Python function only the name.

        Example:
            >>> from lamarck.space import Int, Space
            >>> Space(n=Int(1, 8)).where("n != 3").to_dict()
            {'hyperparameters': {'n': {'type': 'int', 'low': 1, 'high': 8}}, 'constraints': ['n != 3']}
        """
        params = {name: param.to_dict() for name, param in self._params.items()}
        return {"hyperparameters": params, "constraints": [item.to_plain() for item in self._constraints]}

    @staticmethod
    def from_dict(plain: Mapping[str, Any]) -> Space:
        """Reads a space from plain values.

        Args:
            plain: What `to_dict` returns, or hyperparameters by name, each as a dictionary of its arguments (``"type"`` may be left out: float
                if a bound is a float, int if both are whole), a list of choices or a single value, and under ``"constraints"`` a list of
                constraints.

        Raises:
            SpaceError: If something is unknown, missing or not allowed; the message names the hyperparameter.

        Example:
            >>> from lamarck.space import Float, Space
            >>> space = Space.from_dict({"lr": {"low": 1e-5, "high": 0.1, "log": True}, "opt": ["sgd", "adam"], "layers": 3})
            >>> space["lr"], space["layers"]
            (Float(low=1e-05, high=0.1, log=True), Constant(value=3))
        """
        params, constraints = read(plain)
        return Space(params).where(*constraints)

    @staticmethod
    def from_text(text: str, format: str) -> Space:  # noqa: A002
        r"""Reads a space from the text of a file.

        Args:
            text: The text.
            format: ``"json"`` or ``"toml"``, with what `from_dict` takes, or ``"csv"``, with the columns ``name,min,max,scale``, the scale
                ``log`` or ``linear``, and, if wanted, a column ``type``: ``float``, the default, or ``int``.

        Raises:
            SpaceError: If the text cannot be read; the message says where.

        Example:
            >>> from lamarck.space import Float, Space
            >>> Space.from_text("name,min,max,scale\nlr,1e-5,0.1,log", "csv")
            Space({'lr': Float(low=1e-05, high=0.1, log=True)})
        """
        return Space.from_dict(parse(text, format))

    # ---- inside ----------------------------------------------------------------------------------------------------------------------------

    def _draw(self, rng: np.random.Generator, initial: bool) -> dict[str, Any]:
        return self._conditions.pruned({name: param.sample(rng, initial) for name, param in self._params.items()})

    def _redrawn(self, rng: np.random.Generator, initial: bool) -> dict[str, Any]:
        violations = [0] * len(self._constraints)
        for _ in range(_TRIES):
            config = self._draw(rng, initial)
            broken = [i for i, item in enumerate(self._constraints) if not self._holds(item, config)]
            if not broken:
                return config
            for i in broken:
                violations[i] += 1
        worst = max(range(len(violations)), key=violations.__getitem__)
        raise SpaceError(
            f"no configuration in {_TRIES} draws met all constraints; {self._constraints[worst]} was violated {violations[worst]} times; "
            "loosen it, or narrow the ranges to where it can be met"
        )

    def _holds(self, item: Constraint, hparams: HParams) -> bool:
        if not hparams.keys() >= item.names:
            return True
        try:
            return item.holds(hparams)
        except KeyError as error:
            name = error.args[0] if error.args else None
            if name in self._params and name not in hparams:
                return True
            raise SpaceError(f"constraint {item} looks up {name!r}, which is not a hyperparameter; {close_to(name, self._params)}") from error


def _build(space: Space, params: dict[str, Parameter], constraints: tuple[Constraint, ...]) -> Space:
    for item in constraints:
        strange = sorted(item.names - params.keys())
        if strange:
            raise SpaceError(f"constraint {item}: {strange[0]!r} is not a hyperparameter; {close_to(strange[0], params)}")
    for name, value in {"_params": params, "_constraints": constraints, "_conditions": Conditions.of(params)}.items():
        object.__setattr__(space, name, value)
    return space
