"""What only loops can train, they train as anybody would write it."""

import numpy as np
import pytest
import torch
import torch.utils.checkpoint
from torch import nn
from torch.nn import functional

from probing import MEMBERS, STEPS, Hooked, data, equal, fitted, intervals, made, task


class Squared(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient * ctx.saved_tensors[0]


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 3)

    def forward(self, x):
        return torch.utils.checkpoint.checkpoint(self.inner, x, use_reentrant=False)


class Replaces(nn.Module):
    """Puts a new tensor in the place of its buffer."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 3)
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x):
        y = self.inner(x)
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * y.detach().mean(0)
        return y - self.mean


def old_weight_norm():
    with pytest.warns(FutureWarning):
        return nn.utils.weight_norm(nn.Linear(8, 3))


def scripted():
    with pytest.warns(DeprecationWarning, match="script"):
        return torch.jit.script(nn.Sequential(nn.Linear(8, 3)))


ORDINARY = {
    "old autograd function": made(after=Squared.apply),
    "checkpoint": Checkpointed,
    "old weight norm": made(make=old_weight_norm),
    "weight norm": made(make=lambda: nn.utils.parametrizations.weight_norm(nn.Linear(8, 3))),
    "spectral norm": made(make=lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(8, 3))),
    "numpy": made(before=lambda x: torch.from_numpy(np.sin(x.numpy()))),
    "values": made(after=lambda x: x * float(x.mean() > 0)),
    "replaces": Replaces,
    "hooked": Hooked,
    "unused": lambda: nn.ModuleDict({"0": nn.Linear(8, 3), "1": nn.Linear(8, 3)}),
}


def plain_loss(model, batch, hparams):
    return functional.cross_entropy((model["0"] if isinstance(model, nn.ModuleDict) else model)(batch[0]), batch[1])


def plainly_trained(build, trainer, member, told):
    """A member's training as anybody would write it."""
    x, y = data()
    chosen = trainer._batches.indices(np.zeros(MEMBERS), told.seeds, STEPS)
    torch.manual_seed(member)
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), lr=float(told.hparams["lr"][member]))
    for step in range(STEPS):
        optimizer.zero_grad()
        rows = chosen[step, member]
        plain_loss(model, (x[rows], y[rows]), {}).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        return model, plain_loss(model, (x, y), {}).item()


@pytest.mark.parametrize("name", list(ORDINARY))
def test_loops_train_every_module_as_a_plain_loop_does(name):
    trainer = task(ORDINARY[name], plain_loss, how="looped")
    state, values = fitted(trainer)
    saved = trainer.save(state)["model"]
    for member in range(MEMBERS):
        model, value = plainly_trained(ORDINARY[name], trainer, member, intervals())
        for key, tensor in model.state_dict().items():
            torch.testing.assert_close(saved[key][member], tensor, rtol=1e-5, atol=1e-5)
        assert values[member] == pytest.approx(value, rel=1e-4)


def test_a_buffer_that_is_replaced_is_a_members_own_in_every_way():
    equal(fitted(task(Replaces, how="batched"))[0], fitted(task(Replaces, how="looped"))[0])


def test_a_scripted_module_is_trained():
    state, values = fitted(task(scripted, how="looped"))
    other, expected = fitted(task(lambda: nn.Sequential(nn.Linear(8, 3)), how="looped"))
    equal(state, other)
    np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_dropout_that_is_computed_again_in_the_backward_pass_drops_the_same():
    class Again(Checkpointed):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 3))

    def checked(model, batch, hparams):
        made = model(batch[0])
        if made.requires_grad:
            made.register_hook(torch.zeros_like)
        return made.sum()

    trainer = task(Again, checked, how="looped")
    state, _ = fitted(trainer)
    assert not trainer.program.keyed
    fresh = trainer.init(np.arange(MEMBERS))
    for name, weight in state.weights.items():
        assert torch.equal(weight, fresh.weights[name])
    first, _ = fitted(task(Again, how="looped"))
    equal(first, fitted(task(Again, how="looped"))[0])
