"""How far members step: the optimizer's numbers in every step, a schedule of the learning rate, and where gradients are cut off."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from lamarck._errors import SettingsError
from lamarck.engines.vectorised.torch.optimizers import Rule, checked

__all__ = ["CLIP", "Pace", "clipped"]

CLIP = "clip_grad_norm"
"""The hyperparameter, and the setting, that says how long a gradient may be."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What is said about steps besides the hyperparameters.

    Args:
        rule: The optimizer.
        clip: The longest that the gradient of all of a member's weights together may be, or ``None`` for any length.
        schedule: Factor of the learning rate as a function of the number of steps behind it, or ``None`` for 1.

    Raises:
        SettingsError: If the length is not a number above 0, or the schedule not a function.
    """

    rule: Rule
    clip: float | None = None
    schedule: Callable[[int], float] | None = None

    def __post_init__(self) -> None:
        if self.clip is not None and (isinstance(self.clip, bool) or not isinstance(self.clip, int | float) or not self.clip > 0):
            raise SettingsError(f"{CLIP}: got {self.clip!r}; it must be a number above 0, or None")
        if self.schedule is not None and not callable(self.schedule):
            raise SettingsError(f"schedule: got {self.schedule!r}; it must be a function of a step that returns a factor of the learning rate")

    def names(self) -> list[str]:
        """Returns the hyperparameters that arrive here."""
        return [*self.rule.hyperparameters(), CLIP]

    def otherwise(self, *, tuned: bool) -> dict[str, float]:
        """Returns what holds where a hyperparameter is not tuned or not active.

        Args:
            tuned: Whether the length of gradients is a hyperparameter of anybody.
        """
        own = {name: float(getattr(self.rule, name)) for name in self.rule.hyperparameters()}
        if self.clip is not None or tuned:
            own[CLIP] = math.inf if self.clip is None else float(self.clip)
        return own

    def check(self, name: str, low: float, high: float) -> None:
        """Refuses hyperparameters that PyTorch would refuse, or that would train nothing.

        Args:
            name: Of the hyperparameter.
            low: The least that a member has.
            high: The most.

        Raises:
            SettingsError: If there cannot be such a pace.
        """
        if name != CLIP:
            checked(name, low, high)
        elif not low > 0:
            raise SettingsError(f"{name}: got {low:g} to {high:g} as hyperparameters; it must be a number above 0")

    def factors(self, ages: Tensor) -> Tensor | None:
        """Returns what the schedule makes of the learning rate, ``float64[steps, n]``, or ``None`` if there is none.

        Args:
            ages: ``int64[steps, n]``; number of each step, from 1.

        Raises:
            SettingsError: If the schedule returns no finite number of at least 0.
        """
        if self.schedule is None:
            return None
        known, which = torch.unique(ages, return_inverse=True)
        return torch.tensor([self._factor(age - 1) for age in known.tolist()], dtype=torch.float64)[which]

    def scalars(self, numbers: Mapping[str, Tensor], ages: Tensor, factors: Tensor | None) -> dict[str, Tensor]:
        """Returns what differs from step to step, ``float64[steps, n]`` each.

        Args:
            numbers: ``float64[n]`` each.
            ages: As for `factors`.
            factors: What that returned.
        """
        if factors is None:
            return self.rule.scalars(numbers, ages.to(torch.float64))
        lr = numbers["lr"] * factors
        return self.rule.scalars({**numbers, "lr": lr}, ages.to(torch.float64)) | {"lr": lr}

    def _factor(self, step: int) -> float:
        assert self.schedule is not None
        factor = self.schedule(step)
        if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 <= factor < math.inf:
            raise SettingsError(f"schedule: it returned {factor!r} for the step {step}; it must return a finite number of at least 0")
        return float(factor)


def clipped(gradients: Mapping[str, Tensor], longest: Tensor) -> dict[str, Tensor]:
    """Shortens gradients as `torch.nn.utils.clip_grad_norm_` does, those of each member by themselves.

    Args:
        gradients: ``[n, ...]`` each; they are not changed.
        longest: ``[n]``.
    """
    members = len(longest)
    norms = torch.stack([torch.linalg.vector_norm(part.reshape(members, -1), dim=1) for part in gradients.values()])
    share = (longest / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp(max=1.0)
    return {name: part * share.to(part.dtype).view(-1, *[1] * (part.ndim - 1)) for name, part in gradients.items()}
