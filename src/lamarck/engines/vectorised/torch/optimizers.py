"""Optimizers for stacks: every hyperparameter is a number of its own for each member.

`torch.optim` cannot take a tensor of learning rates. These compute the same, member by member, as the classes of the same name there (tested);
Lion is that of Chen et al. 2023 (arXiv 2302.06675, Algorithm 2). All work in place on leaves ``[n, ...]``, but never on a gradient: two weights
may have been given the same one, or one that is a single number seen many times. What is the same for all weights of a member is computed
outside (`Rule.scalars`): a compiler would otherwise raise a number to a power for each weight, and a GPU launch a kernel for each leaf.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from lamarck._errors import SettingsError

__all__ = ["RULES", "SGD", "Adam", "AdamW", "Lion", "RMSprop", "Rule", "checked", "rule"]

Columns = Mapping[str, Tensor]
"""Numbers by name, each with one entry for each member."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(abc.ABC):
    """How weights follow from gradients. Its number-valued fields are the hyperparameters, with what holds where none is tuned.

    Args:
        lr: Learning rate.
        weight_decay: As in the class of the same name in `torch.optim`: decoupled for `AdamW` and `Lion`, otherwise added to the gradient.
    """

    slots: ClassVar[tuple[str, ...]] = ()
    """Names of what it remembers for each weight."""

    lr: float = 1e-3
    weight_decay: float = 0.0

    def scalars(self, hparams: Columns, count: Tensor) -> dict[str, Tensor]:
        """Returns what `update` needs besides the hyperparameters.

        Args:
            hparams: ``float64[n]`` each.
            count: ``float64[steps, n]``; number of each step, from 1.

        Returns:
            ``float64[steps, n]`` each.
        """
        return {}

    @abc.abstractmethod
    def update(self, weight: Tensor, gradient: Tensor, slots: Mapping[str, Tensor], by: Columns) -> None:
        """Changes a leaf and its slots in place.

        Args:
            weight: ``[n, ...]``.
            gradient: Of the same shape; it is only read.
            slots: Of the same shape each.
            by: Hyperparameters and scalars, ``[n, 1, ...]`` each.
        """

    def native(self, weights: Sequence[nn.Parameter], numbers: Mapping[str, float]) -> torch.optim.Optimizer | None:
        """Returns PyTorch's optimizer for one member alone, whose state has `slots` by the same names, or ``None`` if it has none.

        Args:
            weights: The member's parameters.
            numbers: Its hyperparameters.
        """
        return None

    def check(self, tuned: Collection[str]) -> None:
        """Looks whether it makes sense with what is tuned.

        Args:
            tuned: Names of all hyperparameters.

        Raises:
            SettingsError: If it does not.
        """
        return

    @classmethod
    def hyperparameters(cls) -> list[str]:
        """Returns the names of what can be tuned."""
        return [f.name for f in fields(cls) if f.type in ("float", float)]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SGD(Rule):
    """Stochastic gradient descent.

    Args:
        momentum: Share of the last step that is kept.
        nesterov: Whether to look ahead by the momentum; the same for all members.
    """

    slots: ClassVar[tuple[str, ...]] = ("momentum_buffer",)
    momentum: float = 0.0
    nesterov: bool = False

    def check(self, tuned: Collection[str]) -> None:
        """Refuses to look ahead without a momentum, as PyTorch does."""
        if self.nesterov and not self.momentum and "momentum" not in tuned:
            raise SettingsError("optimizer_settings: nesterov=True needs a momentum: set it beside, or tune it")

    def scalars(self, hparams: Columns, count: Tensor) -> dict[str, Tensor]:
        """Returns whether steps are kept."""
        return {"kept": _kept(hparams, count)}

    def update(self, weight: Tensor, gradient: Tensor, slots: Mapping[str, Tensor], by: Columns) -> None:
        """See `Rule.update`."""
        gradient = torch.addcmul(gradient, weight, by["weight_decay"])
        step = _carried(slots["momentum_buffer"], gradient, by)
        if self.nesterov:
            step = gradient.addcmul_(step, by["momentum"])
        weight.addcmul_(step, by["lr"], value=-1)

    def native(self, weights: Sequence[nn.Parameter], numbers: Mapping[str, float]) -> torch.optim.Optimizer:
        """See `Rule.native`."""
        return torch.optim.SGD(
            weights,
            lr=numbers["lr"],
            momentum=numbers["momentum"],
            weight_decay=numbers["weight_decay"],
            nesterov=self.nesterov and numbers["momentum"] > 0,
            fused=True,
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RMSprop(Rule):
    """Steps divided by a running root mean square of the gradient.

    Args:
        alpha: Share of the mean square that is kept.
        eps: Added to the root.
        momentum: Share of the last step that is kept.
    """

    slots: ClassVar[tuple[str, ...]] = ("square_avg", "momentum_buffer")
    lr: float = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0

    def scalars(self, hparams: Columns, count: Tensor) -> dict[str, Tensor]:
        """Returns the share of the mean square that is new, and whether steps are kept."""
        return {"rest": (1 - hparams["alpha"]).expand_as(count), "kept": _kept(hparams, count)}

    def update(self, weight: Tensor, gradient: Tensor, slots: Mapping[str, Tensor], by: Columns) -> None:
        """See `Rule.update`."""
        gradient = torch.addcmul(gradient, weight, by["weight_decay"])
        square = slots["square_avg"].mul_(by["alpha"]).addcmul_(gradient * by["rest"], gradient)
        step = _carried(slots["momentum_buffer"], gradient.div_(square.sqrt().add_(by["eps"])), by)
        weight.addcmul_(step, by["lr"], value=-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moments(Rule):
    slots: ClassVar[tuple[str, ...]] = ("exp_avg", "exp_avg_sq")
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def scalars(self, hparams: Columns, count: Tensor) -> dict[str, Tensor]:
        """Returns the step size, and what is added to the root, both corrected for the zeros that the moments began with.

        Besides, the shares of the moments that are new, and what the weights decay to.
        """
        root = (1 - hparams["beta2"] ** count) ** 0.5
        return {
            "size": hparams["lr"] * root / (1 - hparams["beta1"] ** count),
            "least": hparams["eps"] * root,
            "first": (1 - hparams["beta1"]).expand_as(count),
            "second": (1 - hparams["beta2"]).expand_as(count),
            "left": _left(hparams, count),
        }

    def _moved(self, weight: Tensor, gradient: Tensor, slots: Mapping[str, Tensor], by: Columns) -> None:
        first = slots["exp_avg"].lerp_(gradient, by["first"])
        second = slots["exp_avg_sq"].mul_(by["beta2"]).addcmul_(gradient * by["second"], gradient)
        weight.addcdiv_(first * by["size"], second.sqrt().add_(by["least"]), value=-1)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Adam(_Moments):
    """Kingma and Ba 2015, with weight decay added to the gradient.

    Args:
        beta1: Share of the mean gradient that is kept.
        beta2: Share of the mean square that is kept.
        eps: Added to the root.
    """

    def update(self, weight: Tensor, gradient: Tensor, slots: Mapping[str, Tensor], by: Columns) -> None:
        """See `Rule.update`."""
        self._moved(weight, torch.addcmul(gradient, weight, by["weight_decay"]), slots, by)

    def native(self, weights: Sequence[nn.Parameter], numbers: Mapping[str, float]) -> torch.optim.Optimizer:
        """See `Rule.native`."""
        return torch.optim.Adam(weights, fused=True, **_with_betas(numbers))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AdamW(_Moments):
    """Adam with weight decay of its own (Loshchilov and Hutter 2019).

    Args:
        beta1: Share of the mean gradient that is kept.
        beta2: Share of the mean square that is kept.
        eps: Added to the root.
    """

    weight_decay: float = 1e-2

    def update(self, weight: Tensor, gradient: Tensor, slots: Mapping[str, Tensor], by: Columns) -> None:
        """See `Rule.update`."""
        weight.mul_(by["left"])
        self._moved(weight, gradient, slots, by)

    def native(self, weights: Sequence[nn.Parameter], numbers: Mapping[str, float]) -> torch.optim.Optimizer:
        """See `Rule.native`."""
        return torch.optim.AdamW(weights, fused=True, **_with_betas(numbers))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Lion(Rule):
    """The sign of an interpolated momentum, with decoupled weight decay.

    Args:
        beta1: Share of the momentum in the step.
        beta2: Share of the momentum that is kept.
    """

    slots: ClassVar[tuple[str, ...]] = ("exp_avg",)
    lr: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.99

    def scalars(self, hparams: Columns, count: Tensor) -> dict[str, Tensor]:
        """Returns the share of the momentum that is new, and what the weights decay to."""
        return {"rest": (1 - hparams["beta2"]).expand_as(count), "left": _left(hparams, count)}

    def update(self, weight: Tensor, gradient: Tensor, slots: Mapping[str, Tensor], by: Columns) -> None:
        """See `Rule.update`."""
        weight.mul_(by["left"])
        kept = slots["exp_avg"]
        weight.addcmul_(torch.lerp(gradient, kept, by["beta1"]).sign_(), by["lr"], value=-1)
        kept.lerp_(gradient, by["rest"])


def _left(hparams: Columns, count: Tensor) -> Tensor:
    """What decoupled decay leaves of a weight in a step."""
    return (1 - hparams["lr"] * hparams["weight_decay"]).expand_as(count)


def _kept(hparams: Columns, count: Tensor) -> Tensor:
    """1 for members with a momentum; 0 for the others, of whose steps nothing is kept, as in `torch.optim`."""
    return (hparams["momentum"] > 0).to(count.dtype).expand_as(count)


def _carried(buffer: Tensor, step: Tensor, by: Columns) -> Tensor:
    """Returns a step with the momentum of those before it, and keeps it."""
    moved = torch.addcmul(step, buffer, by["momentum"])
    buffer.lerp_(moved, by["kept"])
    return moved


def _with_betas(numbers: Mapping[str, float]) -> dict[str, Any]:
    rest = {name: number for name, number in numbers.items() if name not in ("beta1", "beta2")}
    return rest | {"betas": (numbers["beta1"], numbers["beta2"])}


RULES: dict[str, type[Rule]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW, "rmsprop": RMSprop, "lion": Lion}
"""Optimizers by the name that a task takes."""


_SHARES = ("beta1", "beta2", "alpha")
"""Settings that say how much of something is kept."""


def rule(name: str, settings: Mapping[str, Any]) -> Rule:
    """Returns an optimizer.

    Args:
        name: One of `RULES`.
        settings: Fields that differ from their defaults.

    Raises:
        SettingsError: If there is no such optimizer or field, or it cannot be that.

    Example:
        >>> rule("sgd", {"momentum": 0.9}).momentum
        0.9
        >>> rule("sgd", {"beta1": 0.9})
        Traceback (most recent call last):
            ...
        lamarck._errors.SettingsError: optimizer_settings: got 'beta1'; 'sgd' has lr, weight_decay, momentum, nesterov
    """
    if name not in RULES:
        raise SettingsError(f"optimizer: got {name!r}; it must be one of {', '.join(map(repr, RULES))}")
    kind = RULES[name]
    known = [f.name for f in fields(kind)]
    if unknown := [key for key in settings if key not in known]:
        raise SettingsError(f"optimizer_settings: got {', '.join(map(repr, unknown))}; {name!r} has {', '.join(known)}")
    for key, got in settings.items():
        if key == "nesterov":
            if not isinstance(got, bool):
                raise SettingsError(f"optimizer_settings: nesterov: got {got!r}; it must be True or False")
        elif isinstance(got, bool) or not isinstance(got, int | float) or not _allowed(key, got):
            raise SettingsError(f"optimizer_settings: {key}: got {got!r}; {_said(key)}")
    return kind(**settings)


def checked(name: str, low: float, high: float) -> None:
    """Refuses hyperparameters that `torch.optim` would refuse.

    Args:
        name: Of the hyperparameter.
        low: The least that a member has.
        high: The most.

    Raises:
        SettingsError: If there cannot be such an optimizer.
    """
    if not (_allowed(name, low) and _allowed(name, high)):
        raise SettingsError(f"{name}: got {low:g} to {high:g} as hyperparameters; {_said(name)}")


def _allowed(name: str, value: float) -> bool:
    return 0 <= value < (1 if name in _SHARES else math.inf)


def _said(name: str) -> str:
    return f"it must be a number of at least 0 and {'less than 1' if name in _SHARES else 'finite'}"
