"""Two states, compared leaf by leaf."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

__all__ = ["VALUE", "Difference", "differences", "leaves"]

VALUE = "the reported value"
"""What a report's value is called among the leaves."""

_ABSENT = object()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One leaf that is not the same in two states.

    Args:
        leaf: Where: the tracked name, a slash, and the path in its state, e.g. ``"model/layers.1.running_mean"``.
        relative: Largest difference of two numbers, divided by the largest number in the leaf; infinite where that says nothing: whole numbers,
            texts, other shapes, or NaN on one side only.
        text: What it is on both sides, for people.
    """

    leaf: str
    relative: float
    text: str

    @property
    def exact(self) -> bool:
        """Whether nothing but equality counts here."""
        return math.isinf(self.relative)


def leaves(state: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the leaves of a state, each under its path.

    Args:
        state: What is tracked, by name.

    Example:
        >>> leaves({"optimizer": {"state": {0: {"step": 7}}, "betas": (0.9, 0.999)}})
        {'optimizer/state.0.step': 7, 'optimizer/betas.0': 0.9, 'optimizer/betas.1': 0.999}
    """
    return dict(leaf for name, part in state.items() for leaf in _walk(name, "/", part))


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Compares two states exactly; NaN equals NaN.

    Args:
        one: What is expected: tracked things by name.
        other: What there is.

    Returns:
        The leaves that differ, in the order of the states.

    Example:
        >>> import numpy as np
        >>> differences({"x": np.array([1.0, -4.0]), "n": 3}, {"x": np.array([1.0, -4.5]), "n": 4})
        (Difference(leaf='x', relative=0.111..., text='up to 0.5 apart'), Difference(leaf='n', relative=inf, text='3 and 4'))
    """
    before, after = leaves(one), leaves(other)
    compared = ((leaf, _difference(before.get(leaf, _ABSENT), after.get(leaf, _ABSENT))) for leaf in before | after)
    return tuple(Difference(leaf=leaf, relative=found[0], text=found[1]) for leaf, found in compared if found is not None)


def _walk(path: str, separator: str, value: Any) -> Iterator[tuple[str, Any]]:
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else None
    if items is None:
        yield path, value
    else:
        for key, item in items:
            yield from _walk(f"{path}{separator}{key}", ".", item)


def _difference(one: Any, other: Any) -> tuple[float, str] | None:
    """How far two leaves are apart, or ``None`` if they are equal."""
    if one is _ABSENT or other is _ABSENT:
        return math.inf, "missing afterwards" if other is _ABSENT else "new afterwards"
    a, b = _numbers(one), _numbers(other)
    if a is None or b is None:
        return None if type(one) is type(other) and one == other else (math.inf, f"{_short(one)} and {_short(other)}")
    if a.shape != b.shape:
        return math.inf, f"shape {a.shape} and {b.shape}"
    inexact = a.dtype.kind in "fc" or b.dtype.kind in "fc"
    if np.array_equal(a, b, equal_nan=inexact):
        return None
    scalar = f"{_short(a[()])} and {_short(b[()])}" if a.ndim == 0 else ""
    if not inexact:
        return math.inf, scalar or f"{np.count_nonzero(a != b)} of {a.size} numbers differ"
    return _apart(a, b, scalar)


def _apart(a: NDArray[Any], b: NDArray[Any], scalar: str) -> tuple[float, str]:
    with np.errstate(over="ignore", invalid="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        gaps = np.abs(np.where(same, 0, a - b))
        if not np.isfinite(gaps).all():
            return math.inf, scalar or f"{np.count_nonzero(~np.isfinite(gaps))} of {a.size} numbers are finite on one side only"
        sizes = np.abs(np.concatenate([a[np.isfinite(a)].reshape(-1), b[np.isfinite(b)].reshape(-1)]))
        largest = float(gaps.max())
        return largest / float(sizes.max()), scalar or f"up to {largest:.3g} apart"


def _numbers(value: Any) -> NDArray[Any] | None:
    """The numbers of a leaf, the inexact ones in double precision; ``None`` for what is no number."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        wide = value.detach().cpu()
        value = (wide.to(torch.complex128) if wide.is_complex() else wide.double() if wide.is_floating_point() else wide).numpy()
    if isinstance(value, float):
        return np.asarray(value)
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value, dtype={"f": np.float64, "c": np.complex128}.get(value.dtype.kind))
    return None


def _short(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
