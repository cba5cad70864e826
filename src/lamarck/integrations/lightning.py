"""Lightning: a ``LightningModule`` that its ``Trainer`` fits interval by interval.

trainer = L.Trainer(max_steps=10_000, enable_checkpointing=False)
tuned = TunedModule(trainer, module, train_loader)
worker.track(module=tuned)
for interval in worker:
    tuned.train(interval.steps, **interval.hparams)
    interval.report(trainer.validate(module, validation_loader)[0]["loss"])
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any, final

from lamarck._errors import SettingsError, TrainingError
from lamarck.integrations._batches import Batches
from lamarck.integrations._intervals import check_start
from lamarck.integrations._optimizers import go_on, settings_of, state_of

if TYPE_CHECKING:
    from lightning import LightningModule, Trainer

__all__ = ["TunedModule"]

_ELSEWHERE = ("state_dict", "optimizer_states", "lr_schedulers", "hyper_parameters", "hparams_name")
"""What Lightning would put into a checkpoint, and what goes here on ways of its own."""


@final
class TunedModule:
    """A module that is fitted so many steps at a time, and whose state can be tracked.

    Each interval is a call of ``trainer.fit()`` that resumes in the middle of an epoch as from a checkpoint of Lightning's own, but from
    memory: steps, epochs and callbacks go on, and so does the place in the data. ``configure_optimizers`` is asked anew, under the new
    hyperparameters, and the moments and the schedulers' progress are put in.

    Hyperparameters are set where the module has them: in ``self.hparams`` and, if it keeps some by that name, as attributes. What the module
    reads only when it is made does not change any more.

    Which batches: those of the epoch's order, from where the interval begins. A ``DataLoader`` with a ``generator`` of its own goes on in the
    order that it has begun, and training is what it is without Lamarck, batch for batch. Without, each interval has an order of its own, from
    its seed.

    Args:
        trainer: A trainer of the package ``lightning`` or ``pytorch_lightning``, in one process. Its ``max_steps`` or ``max_epochs`` must cover
            the run.
        module: What it trains.
        train_dataloader: A ``DataLoader``, or any iterable of batches that begins anew with each ``iter()``.

    Raises:
        SettingsError: If the trainer saves checkpoints of its own, or trains one model in several processes.

    Example:
        >>> import lightning
        >>> import torch
        >>> class Line(lightning.LightningModule):
        ...     def __init__(self, lr=0.1):
        ...         super().__init__()
        ...         self.save_hyperparameters()
        ...         self.slope = torch.nn.Parameter(torch.zeros(()))
        ...     def training_step(self, batch, index):
        ...         return ((batch[0] * self.slope - batch[0] * 3) ** 2).mean()
        ...     def configure_optimizers(self):
        ...         return torch.optim.SGD([self.slope], lr=self.hparams.lr)
        >>> data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(8)), batch_size=2)
        >>> quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False, "logger": False}
        >>> tuned = TunedModule(lightning.Trainer(max_steps=20, accelerator="cpu", **quiet), Line(), data)
        >>> tuned.train(range(0, 5), lr=0.05)
        >>> tuned.train(range(5, 20), lr=0.2)
        >>> tuned.step, round(tuned.module.slope.item(), 3)
        (20, 2.999)
    """

    def __init__(self, trainer: Trainer, module: LightningModule, train_dataloader: Any) -> None:
        if trainer.checkpoint_callbacks:
            raise _refused("Lamarck saves with each report; give the trainer enable_checkpointing=False")
        if trainer.world_size > 1:
            raise _refused("it shares one model among processes; in a population each process trains members of its own")
        self.trainer, self.module = trainer, module
        self._loader = train_dataloader if _places_itself(train_dataloader) else Batches(train_dataloader)
        self._gone: dict[str, Any] = {"step": 0, "trainer": _begun(trainer, module, self._loader), "optimizers": None}  # all but the weights
        self._until = 0
        self._loops: dict[str, Any] | None = None  # where the interval that is trained has ended
        self._made: dict[str, Any] = {}
        self._memory = trainer.strategy.checkpoint_io = _Memory()
        trainer.callbacks.append(_callback(trainer, begin=self._begin, after_batch=self._after_batch))

    @property
    def step(self) -> int:
        """Steps of the optimizer taken, as ``trainer.global_step`` counts them."""
        return int(self._gone["step"])

    def train(self, steps: range, **hparams: Any) -> None:
        """Trains some steps of the optimizer.

        Args:
            steps: Which, as ``interval.steps`` says. Of several optimizers each step of each counts, as in Lightning.
            **hparams: Hyperparameters by the names that the module has for them.

        Raises:
            SettingsError: If the module has no such hyperparameter.
            TrainingError: If it stands at another step than the first, or stops at another than the last.
        """
        for name in hparams:
            if name not in self.module.hparams and not _is_setting(getattr(self.module, name, None)):
                known = ", ".join(sorted(self.module.hparams)) or "nothing: call self.save_hyperparameters() in its __init__"
                raise SettingsError(f"{name}: this {type(self.module).__name__} has no such hyperparameter; its hparams have {known}")
        check_start(steps, self.step)
        for name, value in hparams.items():
            if name in self.module.hparams:
                self.module.hparams[name] = value
            if _is_setting(getattr(self.module, name, None)):
                setattr(self.module, name, value)
        self._until, self._loops = steps.stop, None
        # Optimizers and schedulers are left out: what is to become of them in _begin is more than Lightning would do.
        self._memory.held = self._gone["trainer"] | {"state_dict": self.module.state_dict(), "optimizer_states": [], "lr_schedulers": []}
        self.module.train()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*have no `val_dataloader`")  # who judges does it after the interval
            self.trainer.fit(self.module, self._loader, ckpt_path="in memory")
        if self.trainer.global_step != steps.stop:
            raise TrainingError(
                f"the trainer stopped at step {self.trainer.global_step} of {steps.stop}: its max_steps or max_epochs must cover the run, and "
                "where a batch is several steps, because there are several optimizers, intervals must be whole batches"
            )
        self.trainer.save_checkpoint("in memory", weights_only=False)
        checkpoint = {key: value for key, value in self._memory.held.items() if key not in _ELSEWHERE}
        checkpoint["loops"] = {"fit_loop": self._loops or _next_epoch(self.trainer)}
        self._gone = {"step": steps.stop, "trainer": checkpoint, "optimizers": state_of(*self._parts(), self._made)}

    def state_dict(self) -> dict[str, Any]:
        """Returns the weights, and all that training has come to."""
        return {"module": self.module.state_dict(), "training": self._gone}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts a state back.

        Args:
            state: What `state_dict` returned.
        """
        self.module.load_state_dict(state["module"])
        self._gone = state["training"]

    def _parts(self) -> tuple[list[Any], list[Any]]:
        return self.trainer.optimizers, [config.scheduler for config in self.trainer.lr_scheduler_configs]

    def _begin(self) -> None:
        """Lets the new optimizers go on from the old ones."""
        self._made = settings_of(*self._parts()) if (old := self._gone["optimizers"]) is None else go_on(*self._parts(), old)

    def _after_batch(self, batch: int) -> None:
        """Ends the call when the interval is over, and keeps where it was: afterwards Lightning counts a broken epoch as a whole one."""
        if self.trainer.global_step >= self._until and not self.trainer.should_stop:
            if isinstance(self._loader, Batches):
                self._loader.done = 0 if self.trainer.is_last_batch else batch + 1  # of an epoch that the trainer may have cut short
            self._loops = None if self.trainer.is_last_batch else deepcopy(self.trainer.fit_loop.state_dict())
            self.trainer.should_stop = True


@final
class _Memory:
    """Where a trainer saves to and resumes from: what Lightning calls a ``CheckpointIO``."""

    def __init__(self) -> None:
        self.held: dict[str, Any] = {}

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Keeps what there is to save."""
        self.held = checkpoint

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: Any = None) -> dict[str, Any]:
        """Returns what was laid out."""
        return dict(self.held)

    def teardown(self) -> None:
        """There is nothing to close."""


def _callback(trainer: Trainer, begin: Callable[[], None], after_batch: Callable[[int], None]) -> Any:
    """A callback of the package that the trainer is from."""
    package = _package(trainer)
    base: Any = importlib.import_module("lightning.pytorch.callbacks" if package == "lightning" else f"{package}.callbacks").Callback

    def on_train_start(self: Any, trainer: Any, pl_module: Any) -> None:
        begin()

    def on_train_batch_end(self: Any, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        after_batch(batch_idx)

    return type("Bounds", (base,), {"on_train_start": on_train_start, "on_train_batch_end": on_train_batch_end})()


def _begun(trainer: Trainer, module: LightningModule, loader: Any) -> dict[str, Any]:
    """The checkpoint of a trainer that has not begun."""
    loops = _next_epoch(trainer)
    loops["state_dict"] |= {"combined_loader": [deepcopy(loader.state_dict())]}
    checkpoint: dict[str, Any] = {
        "pytorch-lightning_version": importlib.import_module(_package(trainer)).__version__,
        "loops": {"fit_loop": loops},
        "callbacks": {callback.state_key: deepcopy(callback.state_dict()) for callback in trainer.callbacks},
        type(trainer.precision_plugin).__qualname__: deepcopy(trainer.precision_plugin.state_dict()),
    }
    module.on_save_checkpoint(checkpoint)
    return checkpoint


def _next_epoch(trainer: Trainer) -> dict[str, Any]:
    """The progress of a trainer whose next epoch is about to begin."""
    loops: dict[str, Any] = deepcopy(trainer.fit_loop.state_dict())
    for count in loops["epoch_progress"].values():
        count["ready"] = count["completed"] + 1
    batches = loops["epoch_loop.batch_progress"]
    batches["current"], batches["is_last_batch"] = dict.fromkeys(batches["current"], 0), False
    return loops


def _package(trainer: Trainer) -> str:
    """There are two, of the same content."""
    return next(kind.__module__.partition(".")[0] for kind in type(trainer).__mro__ if kind.__name__ == "Trainer")


def _places_itself(loader: Any) -> bool:
    return hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")


def _is_setting(value: Any) -> bool:
    return isinstance(value, int | float | str)


def _refused(why: str) -> SettingsError:
    return SettingsError(f"this trainer cannot train a population: {why}")
