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


def bytes_of(tuned):
    """A state to the last bit, independent of the thing."""
    from lamarck.checkpoints.tree import flatten

    structure, leaves = flatten(tuned.state_dict())
    return structure, {name: (leaf.code, leaf.shape, leaf.data.tobytes()) for name, leaf in leaves.items()}


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


# ---- Lightning -------------------------------------------------------------------------------------------------------------------------------


def lightning_module(schedule="step", package="lightning", **hparams):
    """A module that writes down which batches it sees, and when its epochs begin."""
    import importlib

    import torch
    from torch.optim import lr_scheduler

    class Net(importlib.import_module(package).LightningModule):
        def __init__(self, lr=0.1, beta1=0.9, decay=0.0):
            super().__init__()
            self.save_hyperparameters()
            torch.manual_seed(0)
            self.net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
            self.decay = decay
            self.seen, self.epochs = [], []

        def training_step(self, batch, index):
            x, y = batch
            self.seen.append((self.current_epoch, index, self.global_step, x[:, 0].tolist()))
            return ((self.net(x) - y) ** 2).mean() + self.decay * sum(p.square().sum() for p in self.parameters())

        def on_train_epoch_start(self):
            self.epochs.append(self.current_epoch)

        def validation_step(self, batch, index):
            x, y = batch
            self.log("loss", ((self.net(x) - y) ** 2).mean())

        def configure_optimizers(self):
            optimizer = torch.optim.Adam(self.parameters(), lr=self.hparams.lr, betas=(self.hparams.beta1, 0.999))
            if schedule == "step":  # of epochs
                return [optimizer], [lr_scheduler.StepLR(optimizer, 1, 0.5)]
            if schedule == "cycle":
                rates = lr_scheduler.OneCycleLR(optimizer, self.hparams.lr, total_steps=40)
            elif schedule == "sequence":
                parts = [lr_scheduler.LinearLR(optimizer, total_iters=5), lr_scheduler.CosineAnnealingLR(optimizer, 35)]
                rates = lr_scheduler.SequentialLR(optimizer, parts, [5])
            else:
                rates = lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
            return [optimizer], [{"scheduler": rates, "interval": "step"}]

    return Net(**hparams)


def lightning_loader(dice=True):  # None: nothing is shuffled
    """26 examples in 7 batches."""
    import torch

    x = torch.randn(26, 3, generator=torch.Generator().manual_seed(0))
    data = torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True).sin())
    return torch.utils.data.DataLoader(
        data, batch_size=4, shuffle=dice is not None, generator=torch.Generator().manual_seed(3) if dice else None
    )


def lightning_trainer(package="lightning", **given):
    import importlib

    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
    return importlib.import_module(package).Trainer(**quiet | (given or {"max_steps": 20}))


def lightning(worker, *, killed=False):
    from lamarck.integrations.lightning import TunedModule

    trainer, module, data = lightning_trainer(max_epochs=-1), lightning_module("lambda"), lightning_loader()
    judged = lightning_loader(dice=None)
    tuned = TunedModule(trainer, module, data)
    worker.track(module=tuned)

    def train(interval):
        tuned.train(interval.steps, **interval.hparams)
        return trainer.validate(module, judged, verbose=False)[0]["loss"]

    in_(worker, train, killed)


def lightning_killed(worker):
    lightning(worker, killed=True)


# ---- Stable-Baselines3 -----------------------------------------------------------------------------------------------------------------------


def still_life(continuous=False):
    """An environment whose episodes last one step and which has no state: it makes no difference that it begins anew."""
    import gymnasium
    import numpy as np

    class StillLife(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,)) if continuous else gymnasium.spaces.Discrete(3)

        def reset(self, *, seed=None, options=None):
            return np.array([0.5, -0.5], dtype=np.float32), {}

        def step(self, action):
            return (
                np.array([0.5, -0.5], dtype=np.float32),
                -(float(action[0] - 0.3) ** 2) if continuous else float(action == 1),
                True,
                False,
                {},
            )

    return StillLife()


def agent(kind="PPO", **given):
    import stable_baselines3

    continuous = kind in ("SAC", "TD3", "DDPG")
    on_policy = (
        {"n_steps": 8, "batch_size": 8} if kind == "PPO" else {"n_steps": 8} if kind == "A2C" else {"learning_starts": 8, "batch_size": 8}
    )
    env = given.pop("env", None) or still_life(continuous)
    return getattr(stable_baselines3, kind)("MlpPolicy", env, seed=0, device="cpu", policy_kwargs={"net_arch": [4]}, **on_policy | given)


def at_step(step):
    """What a member draws by chance depends on the step alone."""
    from lamarck.training import seed_everything

    seed_everything(1000 + step)


def stable_baselines3(worker, *, killed=False):
    from lamarck.integrations.stable_baselines3 import TunedAgent

    model = agent()
    tuned = TunedAgent(model, total_timesteps=64)
    worker.track(agent=tuned)

    def train(interval):
        at_step(interval.start)
        tuned.train(interval.steps, **interval.hparams)
        return sum(float(parameter.abs().sum()) for parameter in model.policy.parameters())

    in_(worker, train, killed)


def stable_baselines3_killed(worker):
    stable_baselines3(worker, killed=True)


# ---- scikit-learn ----------------------------------------------------------------------------------------------------------------------------


def numbers():
    """50 examples, of which each has one of three targets."""
    import numpy as np

    x = np.random.default_rng(0).random((50, 4))
    return x, np.digitize(x.sum(1), [1.7, 2.3])


def perceptron():
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((5,), random_state=0)


def scikit_learn(worker, *, killed=False):
    from sklearn.metrics import log_loss

    from lamarck.integrations.sklearn import TunedEstimator

    x, y = numbers()
    tuned = TunedEstimator(perceptron(), x, y, batch_size=8, seed=3)
    worker.track(model=tuned)

    def train(interval):
        tuned.train(interval.steps, **interval.hparams)
        return log_loss(y, tuned.estimator.predict_proba(x))

    in_(worker, train, killed)


def scikit_learn_killed(worker):
    scikit_learn(worker, killed=True)


# ---- Keras -----------------------------------------------------------------------------------------------------------------------------------


def keras_model(optimizer=None):
    import keras

    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(5, activation="tanh"), keras.layers.BatchNormalization(), keras.layers.Dropout(0.2, seed=3)]
    model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(3, activation="softmax")])
    model.compile(optimizer or keras.optimizers.Adam(), loss="sparse_categorical_crossentropy")
    return model


def keras(worker, *, killed=False):
    from lamarck.integrations.keras import TunedModel

    x, y = numbers()
    tuned = TunedModel(keras_model(), x, y, batch_size=8, seed=3)
    worker.track(model=tuned)

    def train(interval):
        tuned.train(interval.steps, **interval.hparams)
        return float(tuned.model.evaluate(x, y, verbose=0))

    in_(worker, train, killed)


def keras_killed(worker):
    keras(worker, killed=True)
