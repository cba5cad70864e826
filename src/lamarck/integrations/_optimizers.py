"""PyTorch optimizers and schedulers that a framework makes anew for each interval: what of the old ones goes on, and what the new ones say.

Frameworks make an optimizer from hyperparameters. So the new hyperparameters get where the framework puts them, to the parameters that it means
(Hugging Face decays no bias), without a table of names of ours. What training has built up goes on: moments, step counts, how far a schedule
is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from lamarck._errors import require

__all__ = ["go_on", "settings_of", "state_of"]


def settings_of(optimizers: Sequence[Any], schedulers: Sequence[Any]) -> dict[str, Any]:
    """Returns a copy of all that is no moment: the values of parameter groups, and the schedulers' states.

    Args:
        optimizers: Optimizers of PyTorch.
        schedulers: Their learning rate schedulers.
    """
    return {
        "groups": [[_values(group) for group in optimizer.param_groups] for optimizer in optimizers],
        "schedulers": [deepcopy(scheduler.state_dict()) for scheduler in schedulers],
    }


def state_of(optimizers: Sequence[Any], schedulers: Sequence[Any], made: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what `go_on` needs.

    Args:
        optimizers: Optimizers of PyTorch; their moments are not copied.
        schedulers: Their learning rate schedulers.
        made: Their settings when they had just been made.
    """
    return {
        "moments": [optimizer.state_dict()["state"] for optimizer in optimizers],
        "now": settings_of(optimizers, schedulers),
        "made": dict(made),
    }


def go_on(optimizers: Sequence[Any], schedulers: Sequence[Any], state: Mapping[str, Any]) -> dict[str, Any]:
    """Lets optimizers and schedulers that have just been made go on from others, under their own hyperparameters.

    A value that would have been made as it was is as training left it; one that is made differently now is new. A learning rate that a
    scheduler has moved is moved on from there in proportion; where the schedule is a function of the step (``LambdaLR``), it is what the new
    one says.

    Args:
        optimizers: Optimizers that have just been made.
        schedulers: Their schedulers, likewise.
        state: What `state_of` returned; of as many optimizers and schedulers.

    Returns:
        The settings that they were made with, for `state_of`.
    """
    fresh, was, now = settings_of(optimizers, schedulers), state["made"], state["now"]
    for optimizer, moments, *settings in zip(optimizers, state["moments"], now["groups"], was["groups"], fresh["groups"], strict=True):
        groups = [_group(*group) for group in zip(*settings, strict=True)]
        named = [group | {"params": old["params"]} for group, old in zip(groups, optimizer.state_dict()["param_groups"], strict=True)]
        optimizer.load_state_dict({"state": moments, "param_groups": named})
    for scheduler, *states in zip(schedulers, now["schedulers"], was["schedulers"], fresh["schedulers"], strict=True):
        scheduler.load_state_dict(_kept(*states))
        _settle(scheduler)
    return fresh


def _values(group: Mapping[str, Any]) -> dict[str, Any]:
    return {name: deepcopy(value) for name, value in group.items() if name != "params"}


def _group(now: dict[str, Any], was: dict[str, Any], fresh: dict[str, Any]) -> dict[str, Any]:
    group: dict[str, Any] = _kept(now, was, fresh)
    if was.get("initial_lr"):  # there is a scheduler
        group["lr"] = now["lr"] * (fresh["initial_lr"] / was["initial_lr"])
    return group


def _kept(now: Any, was: Any, fresh: Any) -> Any:
    if isinstance(now, dict) and isinstance(was, dict) and isinstance(fresh, dict):
        return {name: _kept(now.get(name), was.get(name), value) for name, value in fresh.items()} | {
            name: value for name, value in now.items() if name not in fresh
        }
    if isinstance(now, list) and isinstance(was, list) and isinstance(fresh, list) and len(now) == len(was) == len(fresh):
        return [_kept(*items) for items in zip(now, was, fresh, strict=True)]
    return now if bool(was == fresh) else fresh


def _settle(scheduler: Any) -> None:
    """Brings rates and what the scheduler says of them in line."""
    groups = scheduler.optimizer.param_groups
    if isinstance(scheduler, require("torch.optim.lr_scheduler", "torch", "lamarck.integrations").LambdaLR):
        for group, base, factor in zip(groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True):
            group["lr"] = base * factor(scheduler.last_epoch)
    scheduler._last_lr = [group["lr"] for group in groups]
