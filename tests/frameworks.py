"""Models of a few numbers in the frameworks that people train with, and the training functions that train populations of them.

Nothing in them is drawn by chance after the beginning, so that an interval's seed makes no difference, and the truth is the framework's own
training without a break. In a module that worker processes can import.
"""

import os
import signal
from pathlib import Path


def once(name):
    """Kills this process, the first time."""
    if not Path(name).exists():
        Path(name).touch()
        os.kill(os.getpid(), signal.SIGKILL)


def in_(worker, train, killed):
    """Calls a function for each interval; with ``killed``, this process dies in one of them, the first time."""
    for interval in worker:
        value = train(interval)
        if killed and interval.key == (1, 1):
            once("killed")
        interval.report(value)


# ---- Hugging Face ----------------------------------------------------------------------------------------------------------------------------


def hugging_face_trainer(kind=None, **arguments):
    """A trainer of BERT, 50 examples in 13 batches."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=9,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    data = [{"input_ids": [1, 2, number % 9, number * 7 % 9], "labels": number % 2} for number in range(50)]
    quiet = {"logging_strategy": "no", "disable_tqdm": True, "use_cpu": True, "dataloader_pin_memory": False, "save_strategy": "no"}
    given = {"max_steps": 30, "per_device_train_batch_size": 4, "data_seed": 3, "warmup_steps": 5, "lr_scheduler_type": "cosine"}
    args = transformers.TrainingArguments("trainer", **quiet | given | arguments)
    model = transformers.BertForSequenceClassification(config)
    trainer = (kind or transformers.Trainer)(model, args, train_dataset=data, eval_dataset=data)
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def hugging_face(worker, *, killed=False):
    from lamarck.integrations.transformers import TunedTrainer

    trainer = hugging_face_trainer()
    tuned = TunedTrainer(trainer)
    worker.track(trainer=tuned)

    def train(interval):
        tuned.train(interval.steps, **interval.hparams)
        return trainer.evaluate()["eval_loss"]

    in_(worker, train, killed)


def hugging_face_killed(worker):
    hugging_face(worker, killed=True)
