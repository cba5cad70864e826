"""Stacks against ordinary loops with `torch.optim` in the precision that people train in, where gradients are shared, absent or coarse."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import lamarck as lk
from lamarck.engines.vectorised.torch import Supervised, choice
from lamarck.engines.vectorised.torch.training import CompilingFailed, Ways, _own

MEMBERS, STEPS = 3, 30


class Memory(nn.Module):
    """The gradients of its two biases are one tensor."""

    def __init__(self):
        super().__init__()
        self.rnn, self.out = nn.LSTM(2, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.out(self.rnn(x.reshape(len(x), 4, 2))[0][:, -1])


class Summed(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(3, 8)), nn.Parameter(torch.randn(3, 8))

    def forward(self, x):
        return functional.linear(x, self.a + self.b)


class Weighted(nn.Module):
    """The gradient of its logarithms is one number, seen many times."""

    def __init__(self):
        super().__init__()
        self.layer, self.logs = nn.Linear(8, 3), nn.Parameter(torch.zeros(5))

    def forward(self, x):
        return self.layer(x) + self.logs.sum()


class Idle(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(8, 3), nn.Linear(8, 100)

    def forward(self, x):
        return self.layer(x)


BUILDS = {"lstm": Memory, "summed": Summed, "weighted": Weighted, "idle": Idle}
REFERENCES = {
    "sgd": lambda weights, **h: torch.optim.SGD(weights, momentum=0.9, **h),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
}
SETTINGS = {"sgd": {"momentum": 0.9}, "adam": {"weight_decay": 0.0}, "adamw": {"weight_decay": 0.01}, "rmsprop": {}}
RATES = np.geomspace(1e-3, 1e-2, MEMBERS)


def loss(model, batch, hparams):
    # Far from its minimum: where a gradient vanishes, Adam makes steps of its rounding.
    return functional.cross_entropy(model(batch[0]), batch[1]) + 0.01 * (10 + getattr(model, "logs", torch.zeros(1)).sum()) ** 2


def data(dtype):
    rng = torch.Generator().manual_seed(0)
    return torch.randn(24, 8, generator=rng).to(dtype), torch.randint(0, 3, (24,), generator=rng)


def intervals(steps=STEPS, **hparams):
    return lk.Intervals(
        members=np.arange(MEMBERS),
        generations=np.zeros(MEMBERS, dtype=int),
        hparams={"lr": RATES} | {name: np.asarray(column) for name, column in hparams.items()},
        start=np.zeros(MEMBERS, dtype=int),
        steps=steps,
        seeds=np.arange(MEMBERS) + 10,
    )


def trained(build, dtype=torch.float32, optimizer="adamw", told=None, loss=loss, **more):
    """Returns the task and the weights of all members after training."""
    x, y = data(dtype)
    task = Supervised(lambda: build().to(dtype), loss, train=(x, y), test=(x, y), batch_size=8, optimizer=optimizer, **more)
    return task, task.fit(task.init(np.arange(MEMBERS)), told or intervals()).weights


def plain(build, task, member, made, dtype=torch.float32, steps=STEPS):
    """Returns the weights after an ordinary loop on the same batches."""
    x, y = data(dtype)
    torch.manual_seed(member)
    model = build().to(dtype)
    optimizer = made(model.parameters(), lr=float(RATES[member]))
    for rows in task._batches.indices(np.zeros(MEMBERS), intervals().seeds, steps)[:, member]:
        optimizer.zero_grad()
        loss(model, (x[rows], y[rows]), {}).backward()
        optimizer.step()
    return dict(model.named_parameters())


def near(stack, member, weights, tolerance):
    for name, weight in weights.items():
        torch.testing.assert_close(stack[name][member], weight.detach(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("how", ["batched", "looped"])
@pytest.mark.parametrize("optimizer", list(REFERENCES))
@pytest.mark.parametrize("name", list(BUILDS))
def test_gradients_that_are_shared_or_absent_move_each_weight_as_in_a_plain_loop(name, optimizer, how):
    task, stack = trained(BUILDS[name], optimizer=optimizer, optimizer_settings=SETTINGS[optimizer], how=how)
    for member in range(MEMBERS):
        near(stack, member, plain(BUILDS[name], task, member, REFERENCES[optimizer]), 1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch, when it first loads its compiler
def test_they_do_so_compiled():
    def build():
        return nn.Sequential(nn.Unflatten(1, (2, 4)), nn.Flatten(), Summed())  # the compiler cannot see through the first one everywhere

    task, stack = trained(build, optimizer="adam", how="compiled")
    for member in range(MEMBERS):
        near(stack, member, plain(build, task, member, torch.optim.Adam), 1e-4)


def test_a_weight_that_no_gradient_reaches_stays_what_it_is():
    _, stack = trained(Idle, optimizer="adamw", optimizer_settings={"weight_decay": 0.5}, how="batched")
    for member in range(MEMBERS):
        torch.manual_seed(member)
        assert torch.equal(stack["head.weight"][member], Idle().head.weight.detach())


@pytest.mark.parametrize("how", ["batched", "looped"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_half_precision_learns_as_in_a_plain_loop(optimizer, how):
    def build():
        return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))

    settings = {"optimizer": optimizer, "optimizer_settings": SETTINGS[optimizer], "how": how}
    task, stack = trained(build, torch.bfloat16, told=intervals(steps=10), **settings)
    for member in range(MEMBERS):
        near(stack, member, plain(build, task, member, REFERENCES[optimizer], torch.bfloat16, steps=10), 0.05)  # 8 bits


@pytest.mark.parametrize("how", ["batched", "looped"])
def test_an_inactive_hyperparameter_is_what_it_is_where_nobody_tunes_it(how):
    def build():
        return nn.Sequential(nn.Linear(8, 32), nn.Dropout(0.4), nn.Linear(32, 3))

    def each(model, batch, hparams):
        return functional.cross_entropy(model(batch[0]), batch[1], reduction="none")

    more = {"optimizer": "sgd", "optimizer_settings": {"momentum": 0.8}, "attributes": {"dropout": "1.p"}, "loss": each, "how": how}
    absent = [0.1, np.nan, 0.2]
    _, stack = trained(build, told=intervals(momentum=absent, dropout=absent, batch_size=[4, np.nan, 8]), **more)
    _, same = trained(build, told=intervals(momentum=[0.1, 0.8, 0.2], dropout=[0.1, 0.4, 0.2], batch_size=[4, 8, 8]), **more)
    for name, weight in stack.items():
        torch.testing.assert_close(weight, same[name])


def test_judging_knows_what_an_inactive_attribute_is():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.scale = nn.Linear(8, 3), 2.0

        def forward(self, x):
            return self.layer(x) * self.scale

    told = intervals(scale=[np.nan, 2.0, 1.0])
    task, _ = trained(Scaled, told=told, attributes={"scale": "scale"}, how="batched")
    values = task.evaluate(task.gather(task.init(np.arange(1)), np.zeros(MEMBERS, dtype=int)), told).values
    assert values[0] == values[1] != values[2]


# ---- compiling that goes wrong ----------------------------------------------------------------------------------------------------------


def test_what_cannot_be_compiled_has_changed_nothing(monkeypatch):
    def halfway(function, **options):
        def run(weights, fixed, slots, plan):
            for weight in weights.values():
                weight.add_(1)
            raise RuntimeError("no\nmore")

        return run

    monkeypatch.setattr(torch, "compile", halfway)
    monkeypatch.setattr(Ways, "compiling", -1.0)
    monkeypatch.setattr(choice, "_HOPELESS", float("inf"))
    build = BUILDS["summed"]
    with pytest.raises(CompilingFailed, match=r"^no$"):
        trained(build, how="compiled")
    _, stack = trained(build, how="auto", told=intervals(steps=60))
    _, same = trained(build, how="batched", told=intervals(steps=60))
    for name, weight in stack.items():
        torch.testing.assert_close(weight, same[name])


def test_what_would_be_compiled_in_pieces_is_not(monkeypatch):
    def loss(model, batch, hparams):
        torch._dynamo.graph_break()
        return functional.cross_entropy(model(batch[0]), batch[1])

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    with pytest.raises(CompilingFailed, match="graph_break"):
        trained(Summed, loss=loss, how="compiled")


def test_what_fails_later_is_not_trained_again(monkeypatch):
    calls = []

    def breaks(function, **options):
        def run(*arguments):
            calls.append(1)
            if len(calls) == 4:
                raise RuntimeError("out of luck")
            function(*arguments)

        return run

    monkeypatch.setattr(torch, "compile", breaks)
    monkeypatch.setattr(Ways, "tile", lambda ways, members: len(members))
    with pytest.raises(RuntimeError, match="out of luck"):
        trained(BUILDS["summed"], how="compiled")
    assert len(calls) == 4


def eagerly(monkeypatch, refuses):
    """Compiles nothing; whatever is to be compiled for the second time is refused as PyTorch refuses it. Returns the batches of each call."""
    seen = []

    def compiled(function, **options):
        def run(weights, fixed, slots, plan):
            seen.append([tuple(batch[0].shape) for batch in plan["batches"]])
            if refuses(seen):
                raise torch._dynamo.exc.RecompileError("it would have to be compiled anew")
            function(weights, fixed, slots, plan)

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    return seen


def loaded(how, batch_size=7, build=BUILDS["summed"], **more):
    x, y = data(torch.float32)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=batch_size)
    return Supervised(build, loss, train=loader, test=(x, y), optimizer="sgd", how=how, **more)


def fitted(task):
    told = intervals(steps=30)
    state = task.fit(task.init(np.arange(MEMBERS)), told)
    return task.fit(state, told).weights


@pytest.mark.parametrize("refuses", [lambda seen: len(seen) in (3, 4, 9), lambda seen: len(seen) > 1], ids=["some", "all"])
def test_what_would_have_to_be_compiled_again_is_batched(monkeypatch, refuses):
    seen = eagerly(monkeypatch, refuses)
    compiled, batched = fitted(loaded("compiled", batch_size=6)), fitted(loaded("batched", batch_size=6))
    assert len(seen) > 10
    for name, weight in compiled.items():
        torch.testing.assert_close(weight, batched[name])


def test_the_last_batch_of_an_epoch_is_not_compiled_for(monkeypatch):
    """24 samples in batches of 7: the last one has 3."""
    seen = eagerly(monkeypatch, lambda seen: False)
    monkeypatch.setattr(Ways, "unrolled", 2)
    monkeypatch.setattr(Ways, "tile", lambda ways, members: len(members))
    task = loaded("compiled")
    compiled, batched = fitted(task), fitted(loaded("batched"))
    assert {shape for shapes in seen for shape in shapes} == {(7, 8)}
    assert len(seen) > 10
    for name, weight in compiled.items():
        torch.testing.assert_close(weight, batched[name])


def test_batches_of_ever_new_shapes_are_compiled_for_twice_at_most(monkeypatch):
    x, y = data(torch.float32)
    rows = [(x[:size], y[:size]) for size in (3, 3, 4, 4, 3, 3, 5, 5, 6, 6)]
    seen = eagerly(monkeypatch, lambda seen: False)
    monkeypatch.setattr(Ways, "unrolled", 2)
    monkeypatch.setattr(Ways, "tile", lambda ways, members: len(members))

    def made(how):
        task = Supervised(
            BUILDS["summed"], loss, train=torch.utils.data.DataLoader(rows, batch_size=None), test=(x, y), optimizer="sgd", how=how
        )
        state = task.init(np.arange(MEMBERS))
        for start in range(0, 20, 2):
            state = task.fit(state, replace(intervals(steps=2), start=np.full(MEMBERS, start)))
        return state.weights

    compiled, batched = made("compiled"), made("batched")
    assert {shape for shapes in seen for shape in shapes} == {(3, 8), (4, 8)}
    for name, weight in compiled.items():
        torch.testing.assert_close(weight, batched[name])


def test_each_task_is_compiled_by_itself():
    """PyTorch compiles one piece of code at most eight times in a process."""
    one, other = (_own(loaded("compiled").choice._ways["compiled"].__self__._flat).__code__ for _ in range(2))
    assert one is not other
    assert one == other


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.calls = nn.Linear(8, 3), 0

    def forward(self, x):
        self.calls += 1
        return self.layer(x) * (1 + 0 * self.calls)


@pytest.mark.slow
def test_a_module_that_counts_is_trained_compiled():
    compiled, batched = fitted(loaded("compiled", build=Counting)), fitted(loaded("batched", build=Counting))
    for name, weight in compiled.items():
        torch.testing.assert_close(weight, batched[name])
