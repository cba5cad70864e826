"""Noise that is drawn in a module or a loss is a member's own in every way of training, or refused."""

import numpy as np
import pytest
import torch
import torch.utils.checkpoint
from torch import distributions, nn
from torch.nn import functional

import lamarck as lk
from probing import MEMBERS, SGD, SPACE, equal, fitted, made, task


class Encoder(nn.Module):
    """An autoencoder's first half: what it says is drawn."""

    def __init__(self):
        super().__init__()
        self.mean, self.log_scale = nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x):
        return distributions.Normal(self.mean(x), self.log_scale(x).exp()).rsample()


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.rnn, self.out = kind(2, 4, 2, dropout=0.4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.out(self.rnn(x.reshape(len(x), 4, 2))[0][:, -1])


NOISY = {
    "randn_like": made(before=lambda x: x + 0.5 * torch.randn_like(x)),
    "rand": made(after=lambda x: x + torch.rand(3)),
    "rsample": Encoder,
    "alpha dropout": lambda: nn.Sequential(nn.Linear(8, 16), nn.SELU(), nn.AlphaDropout(0.3), nn.Linear(16, 3)),
    "gru": lambda: Recurrent(nn.GRU),
    "lstm": lambda: Recurrent(nn.LSTM),
    "encoder": lambda: nn.Sequential(nn.Unflatten(1, (2, 4)), nn.TransformerEncoderLayer(4, 2, 8, 0.3), nn.Flatten(), nn.Linear(8, 3)),
    "mixed up": made(before=lambda x: 0.7 * x + 0.3 * x[torch.randperm(len(x))]),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", list(NOISY))
def test_a_members_noise_is_its_own(name, dtype):
    settings = {"dtype": dtype} | SGD
    batched, values = fitted(task(NOISY[name], how="batched", **settings))
    looped, others = fitted(task(NOISY[name], how="looped", **settings))
    equal(batched, looped, dtype=dtype)
    np.testing.assert_allclose(values, others, rtol=1e-9 if dtype == torch.float64 else 1e-3)
    for member in range(MEMBERS):
        for how in ("batched", "looped"):
            alone, _ = fitted(task(NOISY[name], how=how, **settings), members=[member])
            equal(batched, alone, rows=slice(member, member + 1), dtype=dtype)


def noisy_loss(model, batch, hparams):
    return functional.cross_entropy(model(batch[0]) + torch.randn(3), batch[1])


def noisy_evaluate(model, batch, hparams):
    return functional.cross_entropy(model(batch[0]) + torch.randn(3), batch[1], reduction="none")


def drawn_by_numpy(model, batch, hparams):
    return functional.cross_entropy(model(batch[0]) + float(np.random.normal()) * torch.randn(3), batch[1])


@pytest.mark.parametrize(
    ("loss", "evaluate", "how"),
    [
        (noisy_loss, noisy_evaluate, "batched"),
        (noisy_loss, noisy_evaluate, "looped"),
        (noisy_loss, drawn_by_numpy, "batched"),
        (drawn_by_numpy, drawn_by_numpy, "looped"),
    ],
)
def test_decisions_are_those_of_the_inline_engine_whatever_is_drawn(loss, evaluate, how):
    settings = {"population_size": 6, "interval": 3, "generations": 4, "mode": "min", "seed": 3}
    settings["exploit"] = lk.exploit.Truncation(bottom=0.4, top=0.4)
    trainer = task(made(), loss, evaluate=evaluate, how=how, dtype=torch.float64)
    engines = (lk.Vectorised(processes=1), lk.Vectorised(processes=1, members_per_chunk=4), "inline")
    runs = [lk.run(trainer, SPACE, engine=engine, **settings) for engine in engines]
    decided = [{(r.member, r.generation): (r.hparams, r.parent) for r in run.records} for run in runs]
    assert decided[0] == decided[1] == decided[2]
    values = [[r.value for r in sorted(run.records, key=lambda r: (r.generation, r.member))] for run in runs]
    np.testing.assert_allclose(values[1:], [values[0]] * 2, rtol=1e-9)


STRANGE = {
    "numpy": lambda x: x + torch.from_numpy(np.random.normal(size=x.shape)).to(x.dtype),
    "python": lambda x: x * __import__("random").random(),
    "poisson": lambda x: x * torch.poisson(torch.ones(x.shape)),
    "beta": lambda x: x * distributions.Beta(0.5, 0.5, validate_args=False).sample(),
}


@pytest.mark.parametrize("name", list(STRANGE))
def test_noise_from_elsewhere_is_refused_where_it_would_be_wrong_and_right_in_loops(name):
    build = made(after=STRANGE[name])
    for how in ("auto", "batched", "compiled"):
        with pytest.raises(lk.SettingsError, match=r"'0', a Layer, draws noise of its own.*torch\.rand.*how='looped'"):
            fitted(task(build, how=how))
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    together, values = fitted(task(build, how="looped"))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()
    for member in range(MEMBERS):
        alone, value = fitted(task(build, how="looped"), members=[member])
        equal(together, alone, rows=slice(member, member + 1))
        assert value[0] == pytest.approx(values[member])
