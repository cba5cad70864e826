"""Hugging Face: a ``transformers.Trainer`` that trains interval by interval.

trainer = transformers.Trainer(model, TrainingArguments(max_steps=10_000, save_strategy="no"), train_dataset=..., eval_dataset=...)
tuned = TunedTrainer(trainer)
worker.track(trainer=tuned)
for interval in worker:
    tuned.train(interval.steps, **interval.hparams)
    interval.report(trainer.evaluate()["eval_loss"])
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, final

from lamarck._errors import SettingsError, TrainingError, require
from lamarck.integrations._intervals import check_start
from lamarck.integrations._optimizers import go_on, settings_of, state_of

if TYPE_CHECKING:
    from transformers import Trainer

__all__ = ["TunedTrainer"]

_Callback: Any = require("transformers", "transformers", "lamarck.integrations.transformers").TrainerCallback

_TUNABLE = (
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "learning_rate",
    "lr_scheduler_type",
    "max_grad_norm",
    "warmup_steps",
    "weight_decay",
)
"""The training arguments that a trainer reads when it trains, and not when it is made."""


@final
class TunedTrainer:
    """A trainer that trains so many steps at a time, and whose state can be tracked.

    Each interval is a call of ``trainer.train()`` that resumes as from a checkpoint of the trainer's own, but from memory: steps are counted
    on, the learning rate follows one schedule over ``max_steps``, and the batches go on where they were in their epoch. The trainer makes its
    optimizer anew from its arguments, and the moments are put in. So the arguments mean here what they always mean.

    Which batches: those of the epoch's order, from where the interval begins. With ``TrainingArguments(data_seed=...)`` that order is the same
    for every member, and training is what it is without Lamarck, batch for batch. Without, each interval has an order of its own, from its
    seed.

    Saved are parameters that are trained, and buffers. What is frozen, such as the model under an adapter, must be the same in every worker.
    Lines of the log are those of the last interval; callbacks with a state of their own belong to the process, and not to the member.

    Args:
        trainer: The trainer, new, in one process. ``max_steps`` (or the epochs) of its arguments must cover the run.

    Raises:
        SettingsError: If the trainer saves checkpoints of its own, makes its model anew (``model_init``), was given an optimizer (override
            ``create_optimizer`` instead, which is asked in each interval), or trains one model in several processes.

    Example:
        >>> import torch, transformers
        >>> from transformers import BertConfig, BertForSequenceClassification, TrainingArguments
        >>> config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
        >>> data = [{"input_ids": [1, 2, i % 9], "labels": i % 2} for i in range(32)]
        >>> args = TrainingArguments(
        ...     max_steps=20, save_strategy="no", logging_strategy="no", disable_tqdm=True, use_cpu=True, dataloader_pin_memory=False
        ... )
        >>> trainer = transformers.Trainer(BertForSequenceClassification(config), args, train_dataset=data)
        >>> _ = trainer.pop_callback(transformers.PrinterCallback)
        >>> tuned = TunedTrainer(trainer)
        >>> tuned.train(range(0, 3), learning_rate=1e-3)
        >>> tuned.train(range(3, 10), learning_rate=1e-4)
        >>> tuned.step, trainer.optimizer.param_groups[0]["initial_lr"]
        (10, 0.0001)
    """

    def __init__(self, trainer: Trainer) -> None:
        if trainer.args.save_strategy != "no":
            raise _refused("Lamarck saves with each report; give the trainer TrainingArguments(save_strategy='no')")
        if trainer.model_init is not None:
            raise _refused("model_init makes the model anew in each interval; make it before, and give model=")
        if trainer.optimizer is not None or trainer.lr_scheduler is not None or trainer.optimizer_cls_and_kwargs is not None:
            raise _refused(
                "its optimizer does not follow the trainer's arguments, so nothing that is tuned would reach it; leave it out, or override "
                "create_optimizer in a subclass of Trainer"
            )
        if trainer.args.world_size > 1 or trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
            raise _refused("it shares one model among processes; in a population each process trains members of its own")
        self.trainer = trainer
        self._gone: dict[str, Any] | None = None  # what training has come to, apart from the weights
        self._bounds = _Bounds()
        trainer.add_callback(self._bounds)

    @property
    def step(self) -> int:
        """Steps of the optimizer taken."""
        return int(self._gone["progress"]["global_step"]) if self._gone else 0

    def train(self, steps: range, **hparams: Any) -> None:
        """Trains some steps of the optimizer, each of ``gradient_accumulation_steps`` batches.

        Args:
            steps: Which, as ``interval.steps`` says.
            **hparams: Training arguments by their names: ``learning_rate``, ``weight_decay``, ``adam_beta1``, ``adam_beta2``, ``adam_epsilon``,
                ``max_grad_norm``, ``warmup_steps``, ``lr_scheduler_type``.

        Raises:
            SettingsError: If the trainer reads no such argument while it trains.
            TrainingError: If it stands at another step than the first, or stops before the last.
        """
        if strange := sorted(set(hparams) - set(_TUNABLE)):
            raise SettingsError(f"{strange[0]}: a trainer does not read this while it trains; it reads {', '.join(_TUNABLE)}")
        check_start(steps, self.step)
        trainer, bounds = self.trainer, self._bounds
        for name, value in hparams.items():
            setattr(trainer.args, name, value)
        trainer.optimizer = trainer.lr_scheduler = None  # it makes new ones
        bounds.until, bounds.state = steps.stop, self._gone and self._gone["optimizer"]
        with _resumable(trainer, self._gone and self._gone["progress"]) as folder:
            trainer.train(resume_from_checkpoint=folder)
        self._gone = {
            "progress": dataclasses.asdict(trainer.state) | {"log_history": [], "stateful_callbacks": {}},
            "optimizer": state_of([trainer.optimizer], [trainer.lr_scheduler], bounds.made),
            "scaler": scaler.state_dict() if (scaler := trainer.accelerator.scaler) is not None else None,
        }
        if self.step != steps.stop:
            raise TrainingError(
                f"the trainer stopped at step {self.step} of {steps.stop}: give it TrainingArguments(max_steps=...) of at least the whole run"
            )

    def state_dict(self) -> dict[str, Any]:
        """Returns the weights that are trained, and all that training has come to."""
        frozen = self._frozen()
        return {"model": {name: value for name, value in self.trainer.model.state_dict().items() if name not in frozen}, "training": self._gone}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts a state back.

        Args:
            state: What `state_dict` returned.

        Raises:
            TrainingError: If it is not of this model.
        """
        lacking = self.trainer.model.load_state_dict(state["model"], strict=False)
        if wrong := [*lacking.unexpected_keys, *(name for name in lacking.missing_keys if name not in self._frozen())]:
            raise TrainingError(f"the state to restore is of another model: {wrong[0]} is in one of them only")
        self._gone = state["training"]
        if self._gone is not None and self._gone["scaler"] is not None:
            self.trainer.accelerator.scaler.load_state_dict(self._gone["scaler"])

    def _frozen(self) -> set[str]:
        return {name for name, parameter in self.trainer.model.named_parameters(remove_duplicate=False) if not parameter.requires_grad}


@final
class _Bounds(_Callback):  # type: ignore[misc]
    """Where an interval begins, and where it ends."""

    def __init__(self) -> None:
        self.until = 0
        self.state: dict[str, Any] | None = None
        self.made: dict[str, Any] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, *, optimizer: Any, lr_scheduler: Any, **_: Any) -> None:
        """Lets the new optimizer go on from the old one."""
        parts = [optimizer], [lr_scheduler]
        self.made = settings_of(*parts) if self.state is None else go_on(*parts, self.state)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ends the call when the interval is over."""
        control.should_training_stop |= state.global_step >= self.until


def _refused(why: str) -> SettingsError:
    return SettingsError(f"this trainer cannot train a population: {why}")


@contextmanager
def _resumable(trainer: Trainer, progress: Mapping[str, Any] | None) -> Iterator[str | None]:
    """What a trainer resumes from: a folder that says how far it is. Weights it would look for there are in place already."""
    if progress is None:
        yield None
        return
    with TemporaryDirectory(prefix="lamarck-") as folder:
        (Path(folder) / "trainer_state.json").write_text(json.dumps(progress), encoding="utf-8")
        vars(trainer)["_load_from_checkpoint"] = lambda *_, **__: None  # in the method's place
        try:
            yield folder
        finally:
            del vars(trainer)["_load_from_checkpoint"]
