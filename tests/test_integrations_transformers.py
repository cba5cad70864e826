"""A Hugging Face trainer, interval by interval, against its own training without a break."""

import copy
import gc

import pytest
import torch
import transformers

import lamarck as lk
from frameworks import bytes_of, hugging_face, hugging_face_killed, hugging_face_trainer
from lamarck._errors import SettingsError, TrainingError
from lamarck.checkpoints import MemoryCheckpoints
from lamarck.engines.processes import Processes
from lamarck.integrations.transformers import TunedTrainer

SPACE = lk.Space(learning_rate=lk.Float(1e-4, 1e-1, log=True), weight_decay=lk.Float(0.0, 0.3), adam_beta1=lk.Float(0.5, 0.99))
RUN = {"population_size": 3, "interval": 8, "generations": 3, "mode": "min", "seed": 1}


@pytest.fixture(scope="module", autouse=True)
def _little_garbage():
    """Leaves out what is there already whenever garbage is collected, which Accelerate does for each call of ``train()``."""
    gc.freeze()
    yield
    gc.unfreeze()


PLATEAU = {
    "lr_scheduler_type": "reduce_lr_on_plateau",
    "lr_scheduler_kwargs": {"patience": 0},
    "eval_strategy": "steps",
    "eval_steps": 2,
    "learning_rate": 0.1,
    "optim": "sgd",
    "train_sampling_strategy": "sequential",
}


def in_intervals(tuned, *bounds, **hparams):
    for start, until in zip((0, *bounds), bounds, strict=False):
        tuned.train(range(start, until), **hparams)


def weights(trainer):
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


class ByASchedule(transformers.TrainerCallback):
    """One call of ``train()`` in which somebody changes hyperparameters before each step."""

    def __init__(self, schedule):
        self.schedule = schedule

    def on_step_begin(self, args, state, control, *, optimizer, lr_scheduler, **_):
        hparams = self.schedule(state.global_step)
        lr_scheduler.base_lrs = [hparams["learning_rate"]] * 2
        for group, factor in zip(optimizer.param_groups, lr_scheduler.lr_lambdas, strict=True):
            group["lr"] = hparams["learning_rate"] * factor(state.global_step)
            group["betas"] = (hparams["adam_beta1"], group["betas"][1])
        optimizer.param_groups[0]["weight_decay"] = hparams["weight_decay"]  # the other group's are biases, which do not decay


def unbroken(schedule, steps):
    trainer = hugging_face_trainer()
    tuned = TunedTrainer(trainer)
    trainer.add_callback(ByASchedule(schedule))
    tuned.train(range(steps))
    return trainer


# ---- the same as without ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [{}, {"gradient_accumulation_steps": 2}, PLATEAU],
    ids=("cosine", "accumulated", "plateau"),
)
def test_intervals_are_training_without_a_break(arguments):
    """13 batches are an epoch: the bounds are within one, at its end, and beyond the next."""
    trainer, without = hugging_face_trainer(**arguments), hugging_face_trainer(**arguments)
    without.train()
    tuned = TunedTrainer(trainer)
    in_intervals(tuned, 3, 13, 26, 30)
    assert equal(weights(trainer), weights(without))
    assert tuned.step == trainer.state.global_step == without.state.global_step == 30
    assert trainer.state.epoch == without.state.epoch
    assert trainer.optimizer.param_groups[0]["lr"] != trainer.args.learning_rate
    assert trainer.optimizer.param_groups[0]["lr"] == without.optimizer.param_groups[0]["lr"]


def test_every_optimizer_value_is_where_the_trainer_puts_it():
    trainer = hugging_face_trainer(lr_scheduler_type="constant")
    tuned = TunedTrainer(trainer)
    in_intervals(tuned, 2, learning_rate=0.1, weight_decay=0.3)
    tuned.train(range(2, 4), learning_rate=0.02, weight_decay=0.2, adam_beta2=0.9, adam_epsilon=1e-5)
    decayed, others = trainer.optimizer.param_groups
    assert [(group["lr"], group["betas"], group["eps"]) for group in (decayed, others)] == [(0.02, (0.9, 0.9), 1e-5)] * 2
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.2, 0.0)
    assert {int(state["step"]) for state in trainer.optimizer.state.values()} == {4}


def test_without_a_data_seed_the_order_comes_from_the_intervals_seed():
    def trained(seed):
        trainer = hugging_face_trainer(data_seed=None)
        tuned = TunedTrainer(trainer)
        torch.manual_seed(seed)
        tuned.train(range(4))
        return weights(trainer)

    assert equal(trained(1), trained(1))
    assert not equal(trained(1), trained(2))


# ---- a population ----------------------------------------------------------------------------------------------------------------------------


def test_a_member_that_begins_after_another_is_as_one_that_begins_alone():
    alone, after = (TunedTrainer(hugging_face_trainer()) for _ in range(2))
    begun = copy.deepcopy(after.state_dict())
    after.train(range(9), learning_rate=0.07)
    after.load_state_dict(begun)
    for tuned in (alone, after):
        tuned.train(range(4), learning_rate=0.01)
    assert bytes_of(alone) == bytes_of(after)


def test_whoever_copies_goes_on_as_the_donor_with_hyperparameters_of_its_own():
    """The whole ancestry of any weights is one call of ``train()`` in which hyperparameters are changed as the schedule says."""
    store = MemoryCheckpoints()
    history = lk.run(hugging_face, SPACE, checkpoints=store, **RUN)
    assert len({record.value for record in history.records}) > 3
    assert history.copies
    for record in history.generation(2):
        same = unbroken(history.schedule(record.member), 24)
        assert equal(store.get(record.checkpoint)["trainer"]["model"], weights(same))
        assert same.evaluate()["eval_loss"] == record.value


@pytest.mark.slow
def test_a_process_that_goes_on_for_one_that_was_killed_trains_the_same():
    small = RUN | {"population_size": 2, "generations": 2, "interval": 3}
    inline = lk.run(hugging_face, SPACE, **small)
    history = lk.run(hugging_face_killed, SPACE, engine=Processes(workers=1), **small)
    assert [failure.kind for failure in history.failures] == ["lost"]
    assert {(record.key, record.value) for record in history.records} == {(record.key, record.value) for record in inline.records}


def test_what_is_frozen_is_not_saved():
    trainer = hugging_face_trainer()
    trainer.model.bert.requires_grad_(requires_grad=False)
    tuned = TunedTrainer(trainer)
    in_intervals(tuned, 2, 5)
    state = copy.deepcopy(tuned.state_dict())
    assert set(state["model"]) == {"classifier.weight", "classifier.bias"}
    after = weights(trainer)
    tuned.train(range(5, 8))
    tuned.load_state_dict(state)
    assert equal(weights(trainer), after)
    with pytest.raises(TrainingError, match="of another model: bert"):
        TunedTrainer(hugging_face_trainer()).load_state_dict(state)


# ---- mistakes --------------------------------------------------------------------------------------------------------------------------------


class Own(transformers.Trainer):
    def __init__(self, model, args, **given):
        super().__init__(model, args, optimizers=(torch.optim.SGD(model.parameters()), None), **given)


@pytest.mark.parametrize(
    ("given", "cure"),
    [({"save_strategy": "steps"}, "save_strategy='no'"), ({"kind": Own}, "override create_optimizer")],
    ids=str,
)
def test_a_trainer_that_cannot_be_one_of_many_is_refused(given, cure):
    with pytest.raises(SettingsError, match=cure):
        TunedTrainer(hugging_face_trainer(**given))


def test_what_is_not_read_while_training_is_refused():
    tuned = TunedTrainer(hugging_face_trainer())
    with pytest.raises(SettingsError, match="^lr: a trainer does not read this while it trains; it reads .*learning_rate"):
        tuned.train(range(3), lr=0.1)
    assert tuned.step == 0


def test_a_member_that_stands_elsewhere_is_refused():
    tuned = TunedTrainer(hugging_face_trainer())
    tuned.train(range(3))
    with pytest.raises(TrainingError, match="begins at step 0, and what is to be trained stands at 3: track it"):
        tuned.train(range(3))


def test_a_trainer_that_ends_before_the_run_says_what_to_set():
    tuned = TunedTrainer(hugging_face_trainer())
    with pytest.raises(TrainingError, match=r"stopped at step 30 of 31.*max_steps"):
        tuned.train(range(31))
