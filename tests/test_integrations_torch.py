"""Hyperparameters set in optimizers and models, and the fault that this is there to prevent."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import lamarck as lk
from lamarck.integrations.torch import set_dropout, set_hparams


def adam(**settings):
    return torch.optim.Adam([nn.Parameter(torch.ones(2))], **settings)


def settings_of(optimizer):
    return [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]


# ---- set_hparams -----------------------------------------------------------------------------------------------------------------------------


def test_the_next_step_is_taken_with_the_new_values():
    """One step of gradient descent by hand: w - lr (g + decay w)."""
    weights = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimizer = torch.optim.SGD([weights], lr=0.5, weight_decay=0.0)
    set_hparams(optimizer, lr=0.1, weight_decay=0.3)
    weights.grad = torch.tensor([1.0], dtype=torch.float64)
    optimizer.step()
    assert weights.item() == pytest.approx(2.0 - 0.1 * (1.0 + 0.3 * 2.0), abs=1e-15)


def test_every_group_gets_the_values_and_keeps_its_others():
    optimizer = torch.optim.SGD(
        [{"params": [nn.Parameter(torch.ones(1))], "lr": 1.0}, {"params": [nn.Parameter(torch.ones(1))]}], lr=0.1, momentum=0.7
    )
    set_hparams(optimizer, lr=0.02)
    assert [(group["lr"], group["momentum"]) for group in optimizer.param_groups] == [(0.02, 0.7), (0.02, 0.7)]


def test_a_restored_optimizer_has_the_donors_rate_until_it_is_set():
    donor, copier = adam(lr=0.3, weight_decay=0.2), adam(lr=0.1)
    for parameter in donor.param_groups[0]["params"]:
        parameter.grad = torch.ones(2)
    donor.step()
    copier.load_state_dict(donor.state_dict())
    assert copier.param_groups[0]["lr"] == 0.3
    moments = {name: value.clone() for name, value in copier.state_dict()["state"][0].items()}
    set_hparams(copier, lr=0.36, weight_decay=0.16)
    assert (copier.param_groups[0]["lr"], copier.param_groups[0]["weight_decay"]) == (0.36, 0.16)
    after = copier.state_dict()["state"][0]
    assert after.keys() == moments.keys()
    assert all(torch.equal(after[name], moments[name]) for name in moments)


def test_in_a_population_every_interval_is_trained_with_what_was_assigned():
    """Law 2, for an optimizer that is part of the copied state."""
    trained = {}

    def train(worker):
        weights = nn.Parameter(torch.tensor([1.0]))
        optimizer = torch.optim.SGD([weights], lr=1e-9, momentum=0.9)
        worker.track(weights=weights, optimizer=optimizer)
        for interval in worker:
            set_hparams(optimizer, **interval.hparams)
            for _ in interval.steps:
                optimizer.zero_grad()
                (weights**2).sum().backward()
                optimizer.step()
            trained[interval.member, interval.generation] = optimizer.param_groups[0]["lr"]
            interval.report(-(weights.item() ** 2))

    history = lk.run(train, lk.Space(lr=lk.Float(1e-4, 1e-1, log=True)), population_size=5, interval=3, generations=6)
    assert history.copies
    assert trained == {record.key: record.hparams["lr"] for record in history.records}
    assert all(history[copy.donor].hparams["lr"] != trained[copy.member, copy.generation] for copy in history.copies)


def test_betas_are_set_together_or_one_by_one():
    optimizer = adam()
    set_hparams(optimizer, betas=[0.5, 0.6])
    assert optimizer.param_groups[0]["betas"] == (0.5, 0.6)
    set_hparams(optimizer, beta2=0.9)
    assert optimizer.param_groups[0]["betas"] == (0.5, 0.9)
    set_hparams(optimizer, beta1=0.1, beta2=0.2)
    assert optimizer.param_groups[0]["betas"] == (0.1, 0.2)


def test_a_rate_in_a_tensor_is_filled_in_place():
    rate = torch.tensor(0.1, dtype=torch.float64)
    optimizer = adam(lr=rate, capturable=False, foreach=False)
    held = optimizer.param_groups[0]["lr"]
    set_hparams(optimizer, lr=0.25)
    assert optimizer.param_groups[0]["lr"] is held
    assert held.item() == 0.25


def test_numbers_of_numpy_become_plain_ones_which_a_checkpoint_can_hold():
    optimizer = adam()
    set_hparams(optimizer, lr=np.float32(0.5), eps=np.float64(0.25), betas=(np.float32(0.5), np.float64(0.75)))
    group = optimizer.param_groups[0]
    assert {type(x) for x in (group["lr"], group["eps"], *group["betas"])} == {float}
    assert (group["lr"], group["eps"], group["betas"]) == (0.5, 0.25, (0.5, 0.75))


def test_a_truth_value_takes_a_truth_value():
    optimizer = adam()
    set_hparams(optimizer, amsgrad=True, foreach=False)
    assert optimizer.param_groups[0]["amsgrad"] is True
    assert optimizer.param_groups[0]["foreach"] is False
    set_hparams(adam(), foreach=None)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"momentum": 0.9},
            r"momentum: parameter group 0 of Adam has no such hyperparameter; it has amsgrad, beta1, beta2, betas, .*lr, .*weight_decay",
        ),
        ({"params": 1}, "params: parameter group 0 of Adam has no such hyperparameter"),
        ({"lr": "0.1"}, r"lr: got '0\.1'; it must be a finite number"),
        ({"lr": math.nan}, "lr: got nan; it must be a finite number"),
        ({"lr": True}, "lr: got True; it must be a finite number"),
        ({"amsgrad": 1}, "amsgrad: got 1; it must be True or False"),
        ({"foreach": 0.5}, "foreach: got 0.5; it must be True or False"),
        ({"betas": 0.9}, r"betas: got 0\.9; it must be 2 finite numbers, like \(0\.9, 0\.999\)"),
        ({"betas": (0.9,)}, r"betas: got \(0\.9,\); it must be 2 finite numbers"),
        ({"beta1": math.inf}, r"beta1: got \(inf, 0\.999\); it must be 2 finite numbers"),
    ],
)
def test_what_cannot_be_set_is_said_and_nothing_is_set(given, says):
    optimizer = adam()
    before = settings_of(optimizer)
    with pytest.raises(lk.SettingsError, match=says):
        set_hparams(optimizer, eps=0.5, **given)
    assert settings_of(optimizer) == before


def test_a_name_that_only_some_groups_have_is_refused():
    optimizer = torch.optim.SGD([{"params": [nn.Parameter(torch.ones(1))], "scale": 2.0}, {"params": [nn.Parameter(torch.ones(1))]}], lr=0.1)
    before = settings_of(optimizer)
    with pytest.raises(lk.SettingsError, match="scale: parameter group 1 of SGD"):
        set_hparams(optimizer, scale=3.0)
    assert settings_of(optimizer) == before


def test_an_optimizer_without_betas_has_no_beta1():
    with pytest.raises(lk.SettingsError, match="beta1: parameter group 0 of SGD has no such hyperparameter"):
        set_hparams(torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1), beta1=0.9)


# ---- set_dropout -----------------------------------------------------------------------------------------------------------------------------


def test_dropout_is_what_was_set():
    model = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.5)))
    ones = torch.ones(1000)
    set_dropout(model, 0)
    assert torch.equal(model(ones), ones)
    set_dropout(model, 1)
    assert torch.equal(model(ones), torch.zeros(1000))


@pytest.mark.parametrize("layer", [nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout])
def test_all_kinds_of_layers_are_set(layer):
    model = nn.Sequential(layer(0.5))
    set_dropout(model, 0.25)
    assert model[0].p == 0.25


def test_attention_and_recurrent_layers_are_set():
    torch.manual_seed(0)
    attention, recurrent = nn.MultiheadAttention(4, 1, dropout=0.9), nn.LSTM(3, 5, num_layers=2, dropout=0.9)
    set_dropout(nn.ModuleList([attention, recurrent]), 0.0)
    x = torch.randn(6, 4)
    first, second = (attention(x, x, x)[0] for _ in range(2))
    assert torch.equal(first, second)
    y = torch.randn(6, 3)
    assert torch.equal(recurrent(y)[0], recurrent(y)[0])


def test_a_recurrent_layer_alone_has_no_dropout_to_set():
    with pytest.raises(lk.SettingsError, match="this LSTM has no dropout to set"):
        set_dropout(nn.LSTM(3, 5), 0.1)


@pytest.mark.parametrize("p", [-0.1, 1.5, math.nan, True, "0.1"])
def test_a_probability_must_be_one(p):
    model = nn.Sequential(nn.Dropout(0.5))
    with pytest.raises(lk.SettingsError, match="it must be a probability from 0 to 1"):
        set_dropout(model, p)
    assert model[0].p == 0.5


def test_a_model_without_dropout_is_refused():
    with pytest.raises(lk.SettingsError, match="this Linear has no dropout to set"):
        set_dropout(nn.Linear(2, 2), 0.1)
