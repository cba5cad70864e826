"""Batches out of loaders: one endless row, the same wherever it is entered, in every process, and with any number of workers."""

import gc
import itertools
import multiprocessing
import os
import pickle
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import lamarck as lk
from lamarck.engines.vectorised.torch import Supervised, loader
from lamarck.engines.vectorised.torch.batch import tensors_in
from lamarck.engines.vectorised.torch.loader import Loaded, read

CPU = torch.device("cpu")
SAMPLES = 22


class Noisy(Dataset):
    """Samples with noise out of all three global generators, and a record of what was asked for."""

    def __init__(self, noise=1.0):
        self.noise, self.asked = noise, []

    def __len__(self):
        return SAMPLES

    def __getitem__(self, i):
        self.asked.append(i)
        return torch.tensor(float(i)), self.noise * torch.tensor([torch.rand(()).item(), np.random.rand(), random.random()])


class Stream(IterableDataset):
    """The same without places to ask for."""

    def __init__(self, length=SAMPLES):
        self.length = length

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        first, by = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for i in range(first, self.length, by):
            yield torch.tensor(float(i)), torch.tensor([torch.rand(()).item(), np.random.rand(), random.random()])


class Again:
    """What can be iterated over again and again, and is no DataLoader."""

    def __iter__(self):
        for i in torch.randperm(6).tolist():
            yield {"x": torch.tensor([float(i)]), "names": ["a", "b"], "y": (np.array([i]), torch.rand(1))}


def seeded():
    return torch.Generator().manual_seed(3)


LOADERS = {
    "in order": lambda: DataLoader(Noisy(), batch_size=4),
    "shuffled": lambda: DataLoader(Noisy(), batch_size=4, shuffle=True),
    "without the rest": lambda: DataLoader(Noisy(), batch_size=4, shuffle=True, drop_last=True),
    "own generator": lambda: DataLoader(Noisy(), batch_size=4, shuffle=True, generator=seeded()),
    "sample by sample": lambda: DataLoader(Noisy(), batch_size=None, shuffle=True),
    "with replacement": lambda: DataLoader(Noisy(), batch_size=4, sampler=RandomSampler(range(SAMPLES), True, 50, seeded())),
    "weighted": lambda: DataLoader(Noisy(), batch_size=4, sampler=WeightedRandomSampler(range(SAMPLES), 12)),
    "batch sampler": lambda: DataLoader(Noisy(), batch_sampler=BatchSampler(RandomSampler(range(SAMPLES), generator=seeded()), 5, True)),
    "distributed": lambda: DataLoader(Noisy(), batch_size=4, sampler=DistributedSampler(range(SAMPLES), 2, 1)),
    "iterable": lambda: DataLoader(Stream(), batch_size=4),
    "iterable, endless": lambda: DataLoader(Stream(10**9), batch_size=4),
    "no DataLoader": Again,
}
WORKERS = {
    "shuffled": lambda: DataLoader(Noisy(), batch_size=4, shuffle=True, num_workers=2),
    "iterable": lambda: DataLoader(Stream(), batch_size=4, num_workers=2, persistent_workers=True),
}


def batches(loaded, start, steps):
    return [batch for _, _, plan in loaded.plans(start, steps) for batch in plan["batches"]]


def same(left, right):
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(tensors_in(one), tensors_in(other), strict=True))


def first_column(many):
    return [batch[0].reshape(-1).tolist() for batch in many]


@pytest.mark.parametrize("made", LOADERS.values(), ids=LOADERS)
def test_a_batch_is_a_function_of_its_step(made):
    whole = batches(Loaded(made(), CPU), 0, 20)
    assert len(whole) == 20
    for start, steps in ((0, 3), (3, 9), (7, 1), (13, 7)):
        torch.manual_seed(start)
        np.random.seed(start)
        random.seed(start)
        same(batches(Loaded(made(), CPU), start, steps), whole[start : start + steps])
    going = Loaded(made(), CPU)
    same([batch for start in range(0, 20, 4) for batch in batches(going, start, 4)], whole)


@pytest.mark.parametrize("name", list(LOADERS))
def test_chunks_that_take_turns_see_the_same(name):
    loaded = Loaded(LOADERS[name](), CPU)
    whole = batches(Loaded(LOADERS[name](), CPU), 0, 20)
    for start in range(0, 20, 4):
        for _ in range(6):  # more than are kept open
            same(batches(loaded, start, 4), whole[start : start + 4])


@pytest.mark.parametrize("name", list(LOADERS))
def test_the_generators_of_the_caller_stay_as_they_are(name):
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    expected = torch.rand(3), np.random.rand(3), random.random()
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    batches(Loaded(LOADERS[name](), CPU), 2, 9)
    Loaded(LOADERS[name](), CPU).sample()
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])
    assert random.random() == expected[2]


def test_in_order_it_is_the_loader_gone_through_again_and_again():
    plain = DataLoader(Noisy(0.0), batch_size=4)
    expected = [batch for _ in range(3) for batch in plain]
    same(batches(Loaded(plain, CPU), 0, 18), expected)
    assert [len(batch[0]) for batch in expected[:6]] == [4, 4, 4, 4, 4, 2]


@pytest.mark.parametrize("name", ["shuffled", "own generator"])
def test_every_epoch_is_a_new_order_of_all_samples(name):
    whole = batches(Loaded(LOADERS[name](), CPU), 0, 18)
    epochs = [list(itertools.chain(*first_column(whole[i : i + 6]))) for i in (0, 6, 12)]
    assert all(sorted(epoch) == list(range(SAMPLES)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_no_noise_comes_twice_nor_from_two_generators():
    whole = torch.cat([batch[1].reshape(-1) for batch in batches(Loaded(LOADERS["shuffled"](), CPU), 0, 18)])
    assert whole.unique().numel() == whole.numel() == 3 * SAMPLES * 3


def test_the_generator_of_a_loader_says_which_orders():
    def loaded(seed):
        return Loaded(DataLoader(Noisy(), batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(seed)), CPU)

    assert first_column(batches(loaded(1), 0, 6)) != first_column(batches(loaded(2), 0, 6))


def test_another_process_sees_the_same():
    loaded = Loaded(LOADERS["own generator"](), CPU)
    expected = batches(loaded, 0, 9)
    same(batches(pickle.loads(pickle.dumps(loaded)), 4, 5), expected[4:])


def test_nothing_is_loaded_on_the_way_to_a_place_nor_far_ahead():
    data = Noisy()
    loaded = Loaded(DataLoader(data, batch_size=1, sampler=range(SAMPLES)), CPU)
    plans = loaded.plans(20_000_000 * SAMPLES + 5, 10**9)
    first, stop, _ = next(plans)
    assert (first, stop) == (0, 64)
    assert data.asked == [(5 + i) % SAMPLES for i in range(64)]
    next(plans)
    assert len(data.asked) == 128


def test_large_batches_are_held_few_at_a_time(monkeypatch):
    monkeypatch.setattr(loader, "_BYTES", 100_000)
    for floats, held in ((10, 64), (3000, 8), (10**6, 4)):
        loaded = Loaded(DataLoader(TensorDataset(torch.zeros(3, floats)), batch_size=1), CPU)
        assert [stop - first for first, stop, _ in loaded.plans(0, 70)][:1] == [held]


def test_batches_of_any_build_keep_it():
    (batch,) = batches(Loaded(Again(), CPU), 0, 1)
    assert batch["names"] == ["a", "b"]
    assert isinstance(batch["y"][0], torch.Tensor)
    assert isinstance(batches(Loaded(DataLoader(range(4)), CPU), 0, 1)[0], tuple)  # a bare tensor is a tuple of one


# ---- worker processes, which are forked, and so not out of a process with threads of other tests -------------------------------------------


class Opened(Noisy):
    handle = None

    def __getitem__(self, i):
        return torch.tensor(float(self.handle))


def opening(number):
    torch.utils.data.get_worker_info().dataset.handle = 7


def with_workers():
    for given in WORKERS.values():
        test_a_batch_is_a_function_of_its_step(given)
    same(batches(Loaded(WORKERS["shuffled"](), CPU), 5, 9), batches(Loaded(LOADERS["shuffled"](), CPU), 5, 9))
    gc.collect()
    assert not multiprocessing.active_children()
    loaded = Loaded(WORKERS["shuffled"](), CPU)
    batches(loaded, 0, 3)
    assert len(multiprocessing.active_children()) == 2
    loaded.close()
    gc.collect()
    assert not multiprocessing.active_children()
    files = Loaded(DataLoader(Opened(), batch_size=4, num_workers=1, worker_init_fn=opening), CPU)
    assert first_column(batches(files, 0, 1)) == [[7.0] * 4]


def test_workers_load_what_one_process_loads_and_end_when_the_row_is_closed():
    command = [sys.executable, "-W", "error", "-c", "import test_vectorised_loader as tests; tests.with_workers()"]
    done = subprocess.run(command, cwd=os.path.dirname(__file__), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


# ---- what is no row of batches ----------------------------------------------------------------------------------------------------------


class Uneven:
    def __init__(self):
        self.lengths = itertools.cycle([3, 5])

    def __iter__(self):
        return iter([torch.zeros(2)] * next(self.lengths))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Uneven(), r"3 batches in one epoch, and 5 in another.*never ends"),
        (iter([torch.zeros(2)]), r"yields nothing.*again and again"),
        ((), "yields nothing"),
        ([None], r"yielded None; a batch must be a tensor"),
        ([["a", 3]], r"yielded \['a', 3\]"),
    ],
)
def test_what_is_wrong_with_a_loader_is_said(given, message):
    with pytest.raises(lk.SettingsError, match=message):
        batches(Loaded(given, CPU), 0, 20)


# ---- all at once, to judge by ------------------------------------------------------------------------------------------------------------


def test_a_test_set_is_read_as_it_comes_and_the_same_again():
    plain = DataLoader(Noisy(0.0), batch_size=4)
    for mine, theirs in zip(read("test", plain, CPU), zip(*plain, strict=True), strict=True):
        assert torch.equal(mine, torch.cat(theirs))
    assert set(read("test", DataLoader(Named()), CPU)) == {"inputs", "target"}
    torch.manual_seed(5)
    before = torch.get_rng_state()
    noisy = [read("test", LOADERS["own generator"](), CPU) for _ in range(2)]
    same([noisy[0]], [noisy[1]])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "yields nothing"),
        ([torch.zeros(2, 3), torch.zeros(2, 4)], "must be alike"),
        ([(torch.zeros(2), torch.zeros(3))], "tensors of 2, 3 samples"),
        ([torch.tensor(1.0)], "must be alike"),
        ([None], "yielded None"),
        (itertools.repeat(torch.zeros(1).expand(1 << 33)), "memory is full.*that ends"),
    ],
)
def test_what_cannot_be_read_at_once_is_said(given, message):
    with pytest.raises(lk.SettingsError, match=message):
        read("test", given, CPU)


# ---- training with them -----------------------------------------------------------------------------------------------------------------


def told(members=3, steps=5, start=0):
    return lk.Intervals(
        members=np.arange(members),
        generations=np.zeros(members, dtype=int),
        hparams={"lr": np.linspace(0.001, 0.01, members)},
        start=np.full(members, start),
        steps=steps,
        seeds=np.arange(members) + 10,
    )


def data():
    rng = torch.Generator().manual_seed(0)
    return torch.randn(SAMPLES, 8, generator=rng, dtype=torch.float64), torch.randint(0, 3, (SAMPLES,), generator=rng)


class Named(Dataset):
    def __len__(self):
        return SAMPLES

    def __getitem__(self, i):
        x, y = data()
        return {"inputs": x[i], "target": y[i]}


def network():
    return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)).double()


def named(model, batch, hparams):
    return functional.cross_entropy(model(batch["inputs"]), batch["target"])


@pytest.mark.parametrize("how", ["batched", "looped"])
def test_members_become_what_a_plain_loop_over_the_loader_makes_of_them(how):
    plain = DataLoader(Named(), batch_size=4)
    x, y = data()
    task = Supervised(network, named, train=plain, test=(x, y), optimizer="adam", how=how)
    state = task.init(np.arange(3))
    for start in (0, 5, 10):
        state = task.fit(state, told(start=start))
    for member, rate in enumerate(told().hparams["lr"]):
        torch.manual_seed(member)
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), lr=float(rate))
        for batch in itertools.islice(itertools.chain.from_iterable(itertools.repeat(plain)), 15):
            optimizer.zero_grad()
            named(model, batch, {}).backward()
            optimizer.step()
        for name, weight in model.state_dict().items():
            torch.testing.assert_close(state.weights[name][member], weight, rtol=1e-9, atol=1e-9)


def test_members_at_different_steps_see_the_batches_of_their_steps():
    task = Supervised(network, named, train=DataLoader(Named(), batch_size=4, shuffle=True), test=data(), how="looped")
    apart = told()
    object.__setattr__(apart, "start", np.array([0, 7, 0]))
    state = task.init(np.arange(3))
    together = task.fit(task.gather(state, np.arange(3)), apart)
    for row in range(3):
        alone = task.fit(task.gather(state, np.array([row])), apart.rows(np.array([row])))
        for one, other in zip(alone.tensors(), together.tensors(), strict=True):
            torch.testing.assert_close(one[0], other[row])


def test_a_loader_with_workers_is_not_loaded_by_every_process():
    x, y = data()
    assert Supervised(network, named, train=DataLoader(Named(), num_workers=2), test=(x, y)).processes(64) == 1


def test_a_tuned_batch_size_arrives_nowhere_in_a_loader():
    task = Supervised(network, named, train=DataLoader(Named(), batch_size=4), test=data(), how="looped")
    tuned = told()
    object.__setattr__(tuned, "hparams", {"batch_size": np.array([1, 2, 3])})
    with pytest.raises(lk.SettingsError, match=r"'batch_size'.*arrives nowhere"):
        task.fit(task.init(np.arange(3)), tuned)
