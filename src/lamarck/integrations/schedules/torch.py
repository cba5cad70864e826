"""PyTorch: a learning rate scheduler that follows a schedule, and sets the optimizer's other hyperparameters as well.

    schedule = lamarck.open_run("train.db").schedule()
    scheduler = ScheduleLR(optimizer, schedule)
    for batch in batches:
        ...
        optimizer.step()
        scheduler.step()

What is not the optimizer's, such as dropout, is set by ``schedule(step)`` and `lamarck.integrations.torch.set_dropout`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

from lamarck._errors import SettingsError, require
from lamarck.integrations.torch import set_hparams
from lamarck.schedule import Schedule

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler
else:
    LRScheduler = require("torch.optim.lr_scheduler", "torch", "lamarck.integrations.schedules.torch").LRScheduler

__all__ = ["ScheduleLR"]


@final
class ScheduleLR(LRScheduler):
    """Sets an optimizer's hyperparameters by the step, the same in all its parameter groups.

    A scheduler like those of PyTorch: it begins with step 0 when it is made, and goes on by one with each ``step()``. Its state is the step
    alone; the schedule is given anew when training is resumed, as the functions of ``LambdaLR`` are.

    Args:
        optimizer: Any optimizer of PyTorch.
        schedule: What to follow; after its end its last values stay.
        names: Which of the schedule's hyperparameters are set, and what the parameter groups call them: ``{"rate": "lr"}``; ``beta1`` and
            ``beta2`` are known. By default all that the optimizer has by the same name.
        stride: Steps of the schedule for one ``step()``: 1, the default, where ``step()`` follows each batch; the batches of an epoch where it
            follows each epoch.
        last_epoch: How often ``step()`` was called before, less one, as in all schedulers.

    Raises:
        SettingsError: If the optimizer has none of the hyperparameters, or a value is not allowed for one.

    Example:
        >>> from lamarck import Schedule
        >>> import torch
        >>> from lamarck.schedule import Piece
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        >>> scheduler = ScheduleLR(optimizer, Schedule((Piece(0, 1, {"lr": 0.1, "momentum": 0.9}), Piece(1, 2, {"lr": 0.05, "momentum": 0.5}))))
        >>> optimizer.step(); scheduler.step()
        >>> optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"], scheduler.get_last_lr()
        (0.05, 0.5, [0.05])
    """

    def __init__(
        self, optimizer: Optimizer, schedule: Schedule, *, names: Mapping[str, str] | None = None, stride: int = 1, last_epoch: int = -1
    ) -> None:
        if isinstance(stride, bool) or not isinstance(stride, int) or stride < 1:
            raise SettingsError(f"stride: got {stride!r}; it must be a whole number of steps, at least 1")
        self.schedule, self.stride = schedule, stride
        self.names = {name: name for name in schedule.names if _has(optimizer, name)} if names is None else dict(names)
        if strange := [name for name in self.names if name not in schedule.names]:
            raise SettingsError(f"names: got {strange[0]!r}, which the schedule does not set; it sets {', '.join(schedule.names)}")
        if not self.names:
            raise SettingsError(
                f"the schedule sets {', '.join(schedule.names) or 'nothing'}, and this {type(optimizer).__name__} has none of it; "
                "say what it calls them: names={'rate': 'lr'}"
            )
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """Returns the learning rate of each parameter group at this step, and sets everything else: `step` asks this."""
        hparams = self.schedule(self.last_epoch * self.stride)
        set_hparams(self.optimizer, **{theirs: hparams[ours] for ours, theirs in self.names.items() if ours in hparams})
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Returns how far it is, as plain numbers."""
        return {"last_epoch": self.last_epoch, "_step_count": self._step_count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a state, and sets what the schedule says there, whatever was restored into the optimizer before.

        Args:
            state_dict: What `state_dict` gave.
        """
        super().load_state_dict(state_dict)
        self._last_lr = self.get_lr()


def _has(optimizer: Optimizer, name: str) -> bool:
    return all((name in group and name != "params") or (name in ("beta1", "beta2") and "betas" in group) for group in optimizer.param_groups)
