"""A Lightning module, interval by interval, against its own training without a break."""

import copy
from itertools import pairwise

import pytest
import torch

import lamarck as lk
from frameworks import bytes_of, lightning, lightning_killed, lightning_loader, lightning_module, lightning_trainer
from lamarck._errors import SettingsError, TrainingError
from lamarck.checkpoints import MemoryCheckpoints
from lamarck.engines.processes import Processes
from lamarck.integrations._batches import Batches
from lamarck.integrations.lightning import TunedModule

SPACE = lk.Space(lr=lk.Float(1e-3, 1.0, log=True), beta1=lk.Float(0.5, 0.99), decay=lk.Float(0.0, 0.1))
RUN = {"population_size": 3, "interval": 5, "generations": 4, "mode": "min", "seed": 1}

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*have no `val_dataloader`"),
    pytest.mark.filterwarnings("ignore:.*shuffling enabled"),
]


def in_intervals(tuned, *bounds, **hparams):
    for start, until in pairwise((0, *bounds)):
        tuned.train(range(start, until), **hparams)


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


# ---- the same as without ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("package", "schedule", "given"),
    [
        ("lightning", "step", {"max_steps": 20}),
        ("lightning", "step", {"max_epochs": 3, "limit_train_batches": 7}),
        ("lightning", "step", {"max_steps": 20, "limit_train_batches": 3}),
        ("lightning", "cycle", {"max_steps": 20, "accumulate_grad_batches": 2}),
        ("lightning", "sequence", {"max_epochs": -1, "max_steps": 20}),
        ("lightning", "lambda", {"max_steps": 20}),
        ("pytorch_lightning", "step", {"max_steps": 20}),
    ],
    ids=("steps", "epochs", "epochs cut short", "accumulated", "sequence", "lambda", "the other package"),
)
def test_intervals_are_training_without_a_break(package, schedule, given):
    """Seven batches are an epoch: the bounds are within one, at its end, and beyond the next."""
    steps = 21 if "max_epochs" in given and given["max_epochs"] == 3 else 20
    without, module = lightning_module(schedule, package), lightning_module(schedule, package)
    alone, trainer = lightning_trainer(package, **given), lightning_trainer(package, **given)
    alone.fit(without, lightning_loader())
    tuned = TunedModule(trainer, module, lightning_loader())
    in_intervals(tuned, 3, 7, 12, 14, steps)
    assert equal(module.state_dict(), without.state_dict())
    assert module.seen == without.seen
    assert module.epochs == without.epochs
    assert tuned.step == trainer.global_step == alone.global_step == steps
    assert trainer.optimizers[0].param_groups[0]["lr"] == alone.optimizers[0].param_groups[0]["lr"] != 0.1


def test_a_validation_of_the_trainers_own_changes_nothing():
    def fitted(intervals):
        module = lightning_module()
        module.val_dataloader = lambda: lightning_loader(dice=False)
        trainer = lightning_trainer(max_steps=20, val_check_interval=3, num_sanity_val_steps=1)
        if intervals:
            in_intervals(TunedModule(trainer, module, lightning_loader()), 3, 7, 12, 20)
        else:
            trainer.fit(module, lightning_loader())
        return module

    one, other = fitted(intervals=False), fitted(intervals=True)
    assert one.seen == other.seen
    assert equal(one.state_dict(), other.state_dict())


def test_an_epoch_of_unknown_length_begins_anew_where_an_interval_ended_with_it():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(lightning_loader().dataset)

    without, module = lightning_module(), lightning_module()
    lightning_trainer(max_steps=14).fit(without, torch.utils.data.DataLoader(Stream(), batch_size=4))
    in_intervals(TunedModule(lightning_trainer(), module, torch.utils.data.DataLoader(Stream(), batch_size=4)), 7, 10, 14)
    assert module.seen == without.seen


def test_new_hyperparameters_are_where_the_module_puts_them_and_moments_go_on():
    module, trainer = lightning_module("lambda"), lightning_trainer()
    tuned = TunedModule(trainer, module, lightning_loader())
    tuned.train(range(5), lr=0.1, decay=0.0)
    before = copy.deepcopy(tuned.state_dict()["training"]["optimizers"]["moments"][0][0])
    seen = {}
    module.on_train_start = lambda: seen.update(copy.deepcopy(trainer.optimizers[0].state_dict()))
    tuned.train(range(5, 8), lr=0.04, beta1=0.7, decay=0.5)
    assert (seen["param_groups"][0]["lr"], seen["param_groups"][0]["betas"]) == (0.04 * (1 / 6), (0.7, 0.999))
    assert equal(seen["state"][0], before)
    assert (module.hparams.decay, module.decay) == (0.5, 0.5)


def test_a_loader_without_dice_of_its_own_follows_the_intervals_seed():
    def first(seed):
        module = lightning_module()
        tuned = TunedModule(lightning_trainer(), module, lightning_loader(dice=False))
        torch.manual_seed(seed)
        tuned.train(range(2))
        return module.seen

    assert first(1) == first(1) != first(2)


# ---- a population ----------------------------------------------------------------------------------------------------------------------------


def unbroken(schedule, steps):
    """One call of ``fit()`` in which somebody changes hyperparameters before each step."""
    module, trainer = lightning_module("lambda"), lightning_trainer(max_steps=steps)
    step = module.training_step

    def training_step(batch, batch_idx):
        now, (rates,) = module.global_step, [config.scheduler for config in trainer.lr_scheduler_configs]
        hparams = schedule(now)
        module.decay, rates.base_lrs, group = hparams["decay"], [hparams["lr"]], rates.optimizer.param_groups[0]
        group["lr"], group["betas"] = hparams["lr"] * (1 / (1 + now)), (hparams["beta1"], 0.999)
        return step(batch, batch_idx)

    module.training_step = training_step
    trainer.fit(module, lightning_loader())
    return module


def test_a_member_that_begins_after_another_is_as_one_that_begins_alone():
    alone, after = (TunedModule(lightning_trainer(), lightning_module(), lightning_loader()) for _ in range(2))
    begun = copy.deepcopy(after.state_dict())
    after.train(range(9), lr=0.07)
    after.load_state_dict(begun)
    for tuned in (alone, after):
        tuned.train(range(4), lr=0.01)
    assert bytes_of(alone) == bytes_of(after)


def test_whoever_copies_goes_on_as_the_donor_with_hyperparameters_of_its_own():
    """The whole ancestry of any weights is one call of ``fit()`` in which hyperparameters are changed as the schedule says."""
    store = MemoryCheckpoints()
    history = lk.run(lightning, SPACE, checkpoints=store, **RUN)
    assert history.copies
    for record in history.generation(3):
        same = unbroken(history.schedule(record.member), 20)
        assert equal(store.get(record.checkpoint)["module"]["module"], same.state_dict())


@pytest.mark.slow
def test_a_process_that_goes_on_for_one_that_was_killed_trains_the_same():
    small = RUN | {"population_size": 2, "generations": 2}
    inline = lk.run(lightning, SPACE, **small)
    history = lk.run(lightning_killed, SPACE, engine=Processes(workers=1), **small)
    assert [failure.kind for failure in history.failures] == ["lost"]
    assert {(record.key, record.value) for record in history.records} == {(record.key, record.value) for record in inline.records}


# ---- mistakes --------------------------------------------------------------------------------------------------------------------------------


def test_a_trainer_that_saves_is_refused():
    with pytest.raises(SettingsError, match="enable_checkpointing=False"):
        TunedModule(lightning_trainer(enable_checkpointing=True), lightning_module(), lightning_loader())


def test_what_the_module_does_not_have_is_refused():
    tuned = TunedModule(lightning_trainer(), lightning_module(), lightning_loader())
    with pytest.raises(SettingsError, match="^dropout: this Net has no such hyperparameter; its hparams have beta1, decay, lr"):
        tuned.train(range(3), lr=0.3, dropout=0.1)
    assert (tuned.step, tuned.module.hparams.lr) == (0, 0.1)


def test_a_member_that_stands_elsewhere_is_refused():
    tuned = TunedModule(lightning_trainer(), lightning_module(), lightning_loader())
    with pytest.raises(TrainingError, match="begins at step 3, and what is to be trained stands at 0: track it"):
        tuned.train(range(3, 6))


def test_a_trainer_that_ends_before_the_run_says_what_to_set():
    tuned = TunedModule(lightning_trainer(max_steps=4), lightning_module(), lightning_loader())
    with pytest.raises(TrainingError, match=r"stopped at step 4 of 5: its max_steps"):
        tuned.train(range(5))


# ---- batches ---------------------------------------------------------------------------------------------------------------------------------


class Counted(torch.utils.data.Dataset):
    def __init__(self):
        self.read = []

    def __len__(self):
        return 10

    def __getitem__(self, index):
        self.read.append(index)
        return index


def test_what_is_skipped_is_not_read():
    data = Counted()
    batches = Batches(torch.utils.data.DataLoader(data, batch_size=3))
    batches.load_state_dict({"done": 2, "order": None})
    assert [batch.tolist() for batch in batches] == [[6, 7, 8], [9]]
    assert data.read == [6, 7, 8, 9]
    assert len(list(batches)) == 4


def test_an_epoch_of_unknown_length_goes_on():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(range(6))

    batches = Batches(torch.utils.data.DataLoader(Stream(), batch_size=2))
    with pytest.raises(TypeError):
        len(batches)
    batches.done = 1
    state = batches.state_dict()
    assert state == {"done": 1, "order": None}
    batches.load_state_dict(state)
    assert [batch.tolist() for batch in batches] == [[2, 3], [4, 5]]
