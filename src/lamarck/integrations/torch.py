"""PyTorch: hyperparameters into an optimizer and a model, after every restore.

Why this is needed. A member that copies another loads the donor's optimizer by ``load_state_dict``, momentum and all, which is right. But with
the moments come the donor's learning rate and weight decay, so that what was just explored is undone, silently, and everybody trains with what
the first donor had. The cure is to set the hyperparameters at the beginning of every interval, after the restore::

    for interval in worker:
        set_hparams(optimizer, lr=interval.hparams["lr"], weight_decay=interval.hparams["weight_decay"])
        set_dropout(model, interval.hparams["dropout"])

A learning rate scheduler writes ``lr`` too, and has the last word. Where there is one, tune a factor on its rates instead.
"""

from __future__ import annotations

import math
import numbers
from typing import TYPE_CHECKING, Any

from lamarck._errors import SettingsError, require

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["set_dropout", "set_hparams"]

_BETAS = {"beta1": 0, "beta2": 1}


def set_hparams(optimizer: torch.optim.Optimizer, **hparams: Any) -> None:
    """Sets hyperparameters of an optimizer, the same in all its parameter groups.

    Args:
        optimizer: Any optimizer of PyTorch, restored or new. Its moments are left alone.
        **hparams: Values by the names that the parameter groups use: ``lr``, ``weight_decay``, ``momentum``, ``eps`` ... Where there are
            ``betas``, ``beta1`` and ``beta2`` set one of the two. A rate held in a tensor, as compiled steps want it, is filled in place.

    Raises:
        SettingsError: If a group has no hyperparameter of that name, or the value is of another kind than what it replaces: a finite number,
            a truth value, or as many finite numbers. Then nothing is set.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.Adam([torch.zeros(3)], lr=0.1)
        >>> set_hparams(optimizer, lr=0.02, beta1=0.8)
        >>> optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"]
        (0.02, (0.8, 0.999))
        >>> set_hparams(optimizer, momentum=0.9)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        lamarck._errors.SettingsError: momentum: parameter group 0 of Adam has no such hyperparameter; it has amsgrad, beta1, beta2, betas, ...
    """
    torch = require("torch", "torch", "lamarck.integrations.torch")
    changed: list[dict[str, Any]] = []
    for index, group in enumerate(optimizer.param_groups):
        where = f"parameter group {index} of {type(optimizer).__name__}"
        new: dict[str, Any] = {}
        for name, value in hparams.items():
            if name in _BETAS and "betas" in group:
                betas = list(new.get("betas", group["betas"]))
                betas[_BETAS[name]] = value
                new["betas"] = _checked(name, group["betas"], tuple(betas))
            elif name in group and name != "params":
                new[name] = _checked(name, group[name], value)
            else:
                raise SettingsError(f"{name}: {where} has no such hyperparameter; it has {', '.join(_names(group))}")
        changed.append(new)
    for group, new in zip(optimizer.param_groups, changed, strict=True):
        for name, value in new.items():
            if isinstance(group[name], torch.Tensor):
                group[name].fill_(value)
            else:
                group[name] = value


def set_dropout(model: nn.Module, p: float) -> None:
    """Sets the probability of every dropout in a model: dropout layers of all kinds, and those inside attention and recurrent layers.

    Args:
        model: Any module.
        p: Probability that a unit is dropped, 0 to 1.

    Raises:
        SettingsError: If the probability is not one, or the model has no dropout. Then nothing is set.

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5))
        >>> set_dropout(model, 0.1)
        >>> model
        Sequential(
          (0): Linear(in_features=4, out_features=8, bias=True)
          (1): ReLU()
          (2): Dropout(p=0.1, inplace=False)
        )
    """
    nn = require("torch.nn", "torch", "lamarck.integrations.torch")
    if not _is_number(p) or not 0 <= p <= 1:
        raise SettingsError(f"p: got {p!r}; it must be a probability from 0 to 1")
    layers = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
    found = [(module, "p") for module in model.modules() if isinstance(module, layers)]
    # A recurrent network of one layer keeps the attribute and never reads it.
    found += [
        (module, "dropout")
        for module in model.modules()
        if isinstance(module, nn.MultiheadAttention) or (isinstance(module, nn.RNNBase) and module.num_layers > 1)
    ]
    if not found:
        raise SettingsError(f"this {type(model).__name__} has no dropout to set; give it an nn.Dropout, or leave dropout out of the space")
    for module, attribute in found:
        setattr(module, attribute, float(p))


def _names(group: dict[str, Any]) -> list[str]:
    return sorted((set(group) - {"params"}) | (set(_BETAS) if "betas" in group else set()))


def _checked(name: str, old: Any, new: Any) -> Any:
    if isinstance(old, tuple | list):
        if not isinstance(new, tuple | list) or len(new) != len(old) or not all(map(_is_number, new)):
            raise SettingsError(f"{name}: got {new!r}; it must be {len(old)} finite numbers, like {old!r}")
        return type(old)(map(_plain, new))
    if isinstance(old, bool) or old is None:
        if not isinstance(new, bool) and new is not old:
            raise SettingsError(f"{name}: got {new!r}; it must be True or False")
        return new
    if not _is_number(new):
        raise SettingsError(f"{name}: got {new!r}; it must be a finite number")
    return _plain(new)


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, numbers.Real) and math.isfinite(value)


def _plain(value: Any) -> int | float:
    """What is set is saved with the optimizer, and a checkpoint keeps plain numbers only."""
    return value if isinstance(value, int) else float(value)
