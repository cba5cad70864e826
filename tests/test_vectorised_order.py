"""Orders of samples: permutations for any key and length, alike as often as chance has it."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from lamarck.engines.vectorised.torch import Supervised, data
from lamarck.engines.vectorised.torch.data import Sampled
from lamarck.engines.vectorised.torch.order import LONGEST, permuted

KEYS = st.integers(-(2**31), 2**31 - 1)


def orders(keys, length):
    places = torch.arange(length, dtype=torch.int32)
    return permuted(places, torch.as_tensor(keys).to(torch.int32)[:, None], length)


@given(st.integers(1, 3000), st.lists(KEYS, min_size=1, max_size=3))
def test_every_key_gives_a_permutation(length, keys):
    for row in orders(keys, length):
        assert torch.equal(row.sort().values, torch.arange(length, dtype=torch.int32))


@given(st.integers(2, LONGEST), KEYS, st.data())
def test_places_of_the_longest_orders_lead_to_different_samples(length, key, draw):
    first = draw.draw(st.integers(0, length - 1))
    places = torch.arange(first, min(length, first + 500), dtype=torch.int32)
    led = permuted(places, torch.tensor(key, dtype=torch.int32), length)
    assert led.unique().numel() == len(places)
    assert 0 <= led.min() <= led.max() < length
    for one in (0, len(places) - 1):  # what it leads to does not depend on what else is asked for
        assert permuted(places[one : one + 1], torch.tensor(key, dtype=torch.int32), length) == led[one]


@pytest.mark.parametrize("length", [3, 5, 24, 63, 64, 100])
@pytest.mark.parametrize("keys", ["drawn", "counted"])
def test_samples_and_pairs_of_neighbours_come_as_often_as_in_random_permutations(length, keys):
    many = 60_000
    drawn = np.random.default_rng(length).integers(-(2**31), 2**31, many)
    rows = orders(drawn if keys == "drawn" else np.arange(many), length).numpy()
    for place in (0, length // 2, length - 1):
        assert stats.chisquare(np.bincount(rows[:, place], minlength=length)).pvalue > 1e-4
    for place in (0, length - 2):
        pairs = np.bincount(rows[:, place] * length + rows[:, place + 1], minlength=length**2).reshape(length, length)
        assert pairs.diagonal().sum() == 0
        assert stats.chisquare(pairs[~np.eye(length, dtype=bool)]).pvalue > 1e-4


def test_where_a_sample_comes_says_nothing_of_where_another_key_puts_it():
    rows = orders(np.arange(400), 1000).numpy()
    later = stats.spearmanr(rows[:-1].ravel(), rows[1:].ravel()).statistic
    along = stats.spearmanr(rows[:, :-1].ravel(), rows[:, 1:].ravel()).statistic
    assert max(abs(later), abs(along)) < 4 / np.sqrt(rows.size)


# ---- batches of members -----------------------------------------------------------------------------------------------------------------


def sampled(length=24, size=8, *, shared=False):
    return Sampled((torch.arange(length),), size, shared=shared)


def zeros(members=2):
    return np.zeros(members, dtype=np.int64)


DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
WORD, HALF = 2**64 - 1, 2**32 - 1


def mixed_by_hand(z):
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & WORD
    z = (z ^ z >> 27) * 0x94D049BB133111EB & WORD
    return z ^ z >> 31


def key_by_hand(seed, word):
    """SplitMix64, in Python's whole numbers."""
    return mixed_by_hand(mixed_by_hand(seed + 0x9E3779B97F4A7C15 & WORD) ^ word & WORD)


def led_by_hand(place, key, high, low, rounds):
    left, right = divmod(place, low)
    for turn in range(rounds):
        hashed = (right + 0x9E3779B9 * (turn + 1) ^ key) * 0x85EBCA6B & HALF
        signed = (hashed ^ 1 << 31) - (1 << 31)
        hashed = (signed ^ signed >> 15) * 0x2C1B3C6D & HALF
        left, right = right, (left + ((hashed >> 16) * (high, low)[turn % 2] >> 16)) % (high, low)[turn % 2]
    return right + left * low


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("length", "size", "first"), [(1797, 64, 5), (5, 3, 0), (64, 64, 1), (100_000, 32, 10**6), (1, 1, 0), (37, 8, 7)])
def test_orders_are_those_of_whole_numbers_by_hand(device, length, size, first):
    seeds = [3, -5, 2**62]
    got = Sampled((torch.empty(length, device=device),), size, shared=False).indices(zeros(3), np.array(seeds), 4, first).tolist()
    high = math.isqrt(length - 1) + 1
    bases = high, -(-length // high), 6 if length >= 64 else 24
    for step, (row, seed) in enumerate(itertools.product(range(4), seeds)):
        for column in (0, size // 2, size - 1):
            epoch, place = divmod((first + row) * size + column, length)
            key = key_by_hand(key_by_hand(seed, -1), epoch) >> 32
            place = led_by_hand(place, key, *bases)
            while place >= length:
                place = led_by_hand(place, key, *bases)
            assert got[row][step % 3][column] == place


def test_each_member_goes_through_all_samples_in_an_order_of_its_own():
    chosen = sampled().indices(zeros(), np.array([1, 2]), 6)  # two epochs of three batches
    for member in range(2):
        epochs = chosen[:3, member].flatten().tolist(), chosen[3:, member].flatten().tolist()
        assert all(sorted(epoch) == list(range(24)) for epoch in epochs)
        assert epochs[0] != epochs[1]
    assert (chosen[:, 0] != chosen[:, 1]).any()


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 30), st.integers(0, 30), st.booleans())
def test_the_row_goes_on_from_epoch_to_epoch_wherever_it_is_cut(length, size, steps, first, shared):
    drawn, seeds = sampled(length, size, shared=shared), np.array([3, 2**32 - 1])
    whole = drawn.indices(zeros(), seeds, first + steps)
    assert torch.equal(whole[first:], drawn.indices(zeros(), seeds, steps, first))
    row = (whole if shared else whole[:, 1]).flatten()
    for epoch in row[: len(row) // length * length].reshape(-1, length):
        assert sorted(epoch.tolist()) == list(range(length))
    alone = drawn.indices(zeros(1), seeds[1:], first + steps)
    assert torch.equal(row, alone.flatten())


def test_shared_batches_depend_on_the_step_alone():
    drawn = sampled(shared=True)
    whole = drawn.indices(zeros(), np.array([1, 2]), 7)
    later = drawn.indices(np.full(3, 4), np.array([5, 6, 7]), 3)
    assert torch.equal(whole[4:], later)
    assert whole.shape == (7, 8)


@pytest.mark.parametrize("at_once", [1, 50, 1 << 17])
@pytest.mark.parametrize("shared", [False, True])
def test_an_interval_is_the_same_however_it_is_cut_into_stretches(at_once, shared, monkeypatch):
    drawn, start, seeds = sampled(shared=shared), np.full(3, 5), np.array([1, 2, 3])
    whole = drawn.indices(start, seeds, 100)
    monkeypatch.setattr(data, "_AT_ONCE", at_once)
    for chosen in (1, 1000, 1 << 20):
        monkeypatch.setattr(data, "_CHOSEN", chosen)
        plans = list(drawn.plans(start, seeds, 100))
        assert torch.equal(torch.cat([plan["chosen"] for _, _, plan in plans]), whole)
        assert [first for first, _, _ in plans] == [0, *(stop for _, stop, _ in plans[:-1])]
        assert len(plans) == {1: 7, 1000: 1 if shared else 4, 1 << 20: 1}[chosen]
        assert all((stop - first) % 4 == 0 for first, stop, _ in plans)


def test_what_is_planned_does_not_grow_with_the_interval():
    drawn = sampled(length=1_000_000, size=64)
    plans = drawn.plans(zeros(256), np.arange(256), 10**9)
    for _ in range(2):
        first, stop, plan = next(plans)
        assert plan["chosen"].nbytes <= 4 << 20
        assert stop - first == 64


def test_more_samples_than_can_be_put_in_order_are_refused():
    with pytest.raises(Exception, match=r"at most 1073741824.*DataLoader"):
        Sampled((torch.empty(0).expand(LONGEST + 1, 0),), 8, shared=False)


def test_an_interval_trained_in_stretches_ends_with_the_same_weights(monkeypatch):
    import lamarck as lk

    def squared(model, batch, hparams):
        return nn.functional.mse_loss(model(batch[0]), batch[1])

    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    states = []
    for most in (64, 16):
        monkeypatch.setattr(data, "_MOST", most)
        task = Supervised(lambda: nn.Linear(3, 1).double(), squared, train=(x, x[:, :1]), test=(x, x[:, :1]), how="batched", batch_size=7)
        told = lk.Intervals(
            members=np.arange(3), generations=zeros(3), hparams={"lr": np.full(3, 0.01)}, start=zeros(3), steps=90, seeds=np.arange(3)
        )
        states.append(task.fit(task.init(np.arange(3)), told))
    for one, other in zip(states[0].tensors(), states[1].tensors(), strict=True):
        assert torch.equal(one, other)
