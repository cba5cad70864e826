"""What members draw, and numbers that differ between them: against distributions of SciPy, and PyTorch's functions with numbers of Python."""

import numpy as np
import pytest
import scipy.stats
import torch
from torch import distributions, nn
from torch.nn import functional

from lamarck.engines.vectorised.torch.aids import Aids, asked

KEYS = torch.tensor([3, 1 << 60, -5])
SHAPE = (40, 500)
P = 0.3


def drawn(function, key=KEYS[0]):
    with Aids(key):
        return function()


def like(dtype=torch.float32, value=0.0):
    return torch.full(SHAPE, value, dtype=dtype)


# ---- what is drawn has the distribution that it should have -------------------------------------------------------------------------------

CONTINUOUS = {
    "rand": (lambda: torch.rand(SHAPE), scipy.stats.uniform()),
    "rand, sizes": (lambda: torch.rand(40, 500), scipy.stats.uniform()),
    "rand, size by name": (lambda: torch.rand(size=SHAPE, dtype=torch.float64), scipy.stats.uniform()),
    "rand_like": (lambda: torch.rand_like(like()), scipy.stats.uniform()),
    "rand_like, float64": (lambda: torch.rand_like(like(), dtype=torch.float64), scipy.stats.uniform()),
    "uniform_": (lambda: torch.empty(SHAPE).uniform_(), scipy.stats.uniform()),
    "uniform_, from and to": (lambda: torch.empty(SHAPE).uniform_(-1, 3), scipy.stats.uniform(-1, 4)),
    "randn": (lambda: torch.randn(SHAPE), scipy.stats.norm()),
    "randn_like": (lambda: torch.randn_like(like(torch.float64)), scipy.stats.norm()),
    "normal": (lambda: torch.normal(1.0, 2.0, SHAPE), scipy.stats.norm(1, 2)),
    "normal, tensors": (lambda: torch.normal(like(value=1.0), like(value=2.0)), scipy.stats.norm(1, 2)),
    "normal, one tensor": (lambda: torch.normal(like(value=1.0)), scipy.stats.norm(1, 1)),
    "normal, other tensor": (lambda: torch.normal(1.0, std=like(value=2.0)), scipy.stats.norm(1, 2)),
    "normal_": (lambda: torch.empty(SHAPE).normal_(1.0, std=2.0), scipy.stats.norm(1, 2)),
    "exponential_": (lambda: torch.empty(SHAPE).exponential_(2.0), scipy.stats.expon(0, 0.5)),
    "Normal": (lambda: distributions.Normal(like(value=1.0), 2.0).rsample(), scipy.stats.norm(1, 2)),
    "Normal.sample": (lambda: distributions.Normal(1.0, 2.0).sample(SHAPE), scipy.stats.norm(1, 2)),
    "Uniform": (lambda: distributions.Uniform(like(), 2.0).rsample(), scipy.stats.uniform(0, 2)),
    "Exponential": (lambda: distributions.Exponential(2.0).rsample(SHAPE), scipy.stats.expon(0, 0.5)),
    "Laplace": (lambda: distributions.Laplace(like(), 2.0).rsample(), scipy.stats.laplace(0, 2)),
    "Gumbel": (lambda: distributions.Gumbel(like(), 2.0).rsample(), scipy.stats.gumbel_r(0, 2)),
    "LogNormal": (lambda: distributions.LogNormal(like(), 0.5).rsample(), scipy.stats.lognorm(0.5)),
    "rrelu": (lambda: -functional.rrelu(-torch.ones(SHAPE), 0.2, 0.6, training=True), scipy.stats.uniform(0.2, 0.4)),
}


@pytest.mark.parametrize("name", list(CONTINUOUS))
def test_numbers_follow_their_distribution(name):
    function, expected = CONTINUOUS[name]
    numbers = drawn(function)
    assert numbers.shape == SHAPE
    numbers = numbers.double().flatten().numpy()
    assert scipy.stats.kstest(numbers, expected.cdf).pvalue > 1e-3
    standard = (numbers - expected.mean()) / expected.std()
    assert abs(standard.mean()) < 4 / np.sqrt(len(numbers))
    assert standard.var() == pytest.approx(1, abs=0.05)
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 4 / np.sqrt(len(numbers))


WEIGHTS = torch.tensor([0.1, 0.2, 0.3, 0.4])
COUNTED = {
    "bernoulli": (lambda: torch.bernoulli(like(value=P)), [1 - P, P]),
    "bernoulli, p": (lambda: torch.bernoulli(like(), P), [1 - P, P]),
    "bernoulli, method": (lambda: like(value=P).bernoulli(), [1 - P, P]),
    "bernoulli_": (lambda: torch.empty(SHAPE).bernoulli_(P), [1 - P, P]),
    "bernoulli_, tensor": (lambda: torch.empty(SHAPE).bernoulli_(torch.tensor(P)), [1 - P, P]),
    "Bernoulli": (lambda: distributions.Bernoulli(like(value=P)).sample(), [1 - P, P]),
    "randint": (lambda: torch.randint(4, SHAPE), [0.25] * 4),
    "randint, low": (lambda: torch.randint(2, 6, size=SHAPE) - 2, [0.25] * 4),
    "randint, names": (lambda: torch.randint(low=2, high=6, size=SHAPE) - 2, [0.25] * 4),
    "randint_like": (lambda: torch.randint_like(like(), 4), [0.25] * 4),
    "randint_like, low": (lambda: torch.randint_like(like(torch.float64), low=2, high=6) - 2, [0.25] * 4),
    "randperm": (lambda: torch.randperm(20_000).reshape(SHAPE) % 4, [0.25] * 4),
    "multinomial": (lambda: torch.multinomial(WEIGHTS.expand(40, 4), 500, replacement=True), WEIGHTS.tolist()),
    "multinomial, first of two": (lambda: torch.multinomial(3 * WEIGHTS.expand(20_000, 4), 2)[:, 0].reshape(SHAPE), WEIGHTS.tolist()),
    "Categorical": (lambda: distributions.Categorical(WEIGHTS).sample(SHAPE), WEIGHTS.tolist()),
    "gumbel_softmax": (lambda: functional.gumbel_softmax(WEIGHTS.log().expand(*SHAPE, 4), hard=True).argmax(-1), WEIGHTS.tolist()),
    "dropout": (lambda: functional.dropout(like(value=1.0), P) != 0, [P, 1 - P]),
    "dropout, torch": (lambda: torch.dropout(like(value=1.0), P, True) != 0, [P, 1 - P]),
    "dropout, in place": (lambda: functional.dropout(like(value=1.0), P, inplace=True) != 0, [P, 1 - P]),
    "dropout_": (lambda: torch.dropout_(like(value=1.0), P, True) != 0, [P, 1 - P]),
    "alpha_dropout": (lambda: functional.alpha_dropout(like(value=1.0), P, training=True) > 0, [P, 1 - P]),
}


@pytest.mark.parametrize("name", list(COUNTED))
def test_whole_numbers_are_as_frequent_as_they_should_be(name):
    function, expected = COUNTED[name]
    numbers = drawn(function)
    assert numbers.shape == SHAPE
    counts = np.bincount(numbers.long().flatten().numpy(), minlength=len(expected))
    assert len(counts) == len(expected)
    assert scipy.stats.chisquare(counts, np.array(expected) / sum(expected) * counts.sum()).pvalue > 1e-3 or (
        name == "randperm" and counts.tolist() == [5000] * 4
    )


def test_a_permutation_has_everything_once_and_draws_without_replacement_never_repeat():
    assert sorted(drawn(lambda: torch.randperm(100)).tolist()) == list(range(100))
    assert all(len(set(row)) == 3 for row in drawn(lambda: torch.multinomial(WEIGHTS.expand(50, 4), 3)).tolist())


SINGLE = {
    "rand": lambda: torch.rand(()),
    "rand, list": lambda: torch.rand([]),
    "randn": lambda: torch.randn(()),
    "randn_like": lambda: torch.randn_like(torch.tensor(1.0)),
    "randint": lambda: torch.randint(1, 5, ()).float() / 5,
    "normal": lambda: torch.normal(0.0, 1.0, ()),
    "normal_": lambda: torch.empty(()).normal_(),
    "bernoulli": lambda: torch.bernoulli(torch.tensor(P)),
    "dropout": lambda: functional.dropout(torch.tensor(1.0)),
    "Uniform": lambda: distributions.Uniform(0.0, 1.0).sample(),
    "Normal": lambda: distributions.Normal(0.0, 1.0).rsample(),
}


@pytest.mark.parametrize("name", list(SINGLE))
def test_a_single_number_without_dimensions_can_be_drawn(name):
    alone = [drawn(SINGLE[name], key) for key in KEYS]
    together = torch.vmap(lambda key: drawn(SINGLE[name], key), randomness="error")(KEYS)
    assert torch.equal(torch.stack(alone), together)
    assert together.shape == (3,)
    many = torch.vmap(lambda key: drawn(SINGLE[name], key))(torch.arange(100))
    assert len(many.unique()) == {"randint": 4, "bernoulli": 2, "dropout": 2}.get(name, 100)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_what_lies_below_one_stays_there(dtype):
    numbers = drawn(lambda: torch.rand(200_000, dtype=dtype))
    assert numbers.dtype == dtype
    assert 0 <= numbers.min() < 0.01
    assert 0.99 < numbers.max() < 1
    assert drawn(lambda: torch.randn_like(numbers)).dtype == dtype


@pytest.mark.parametrize(
    ("function", "shape", "groups"),
    [
        (functional.dropout1d, (30, 20, 7), (30, 20)),
        (functional.dropout1d, (600, 7), (600,)),
        (functional.dropout2d, (30, 20, 5, 4), (30, 20)),
        (functional.dropout3d, (30, 20, 2, 3, 2), (30, 20)),
        (functional.dropout3d, (600, 2, 3, 2), (600,)),
        (torch.feature_dropout, (30, 20, 7), (30, 20)),
        (functional.feature_alpha_dropout, (30, 20, 7), (30, 20)),
    ],
)
def test_channels_are_dropped_as_a_whole(function, shape, groups):
    made = drawn(lambda: function(torch.ones(shape), P, True)).reshape(*groups, -1)
    assert (made == made[..., :1]).all()
    assert (made[..., 0] != made.max()).double().mean().item() == pytest.approx(P, abs=0.08)


def test_alpha_dropout_keeps_mean_and_variance_and_gives_what_is_dropped_the_lowest_value():
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    made = drawn(lambda: functional.alpha_dropout(x, P, training=True))
    assert made.mean().item() == pytest.approx(0, abs=0.02)
    assert made.var().item() == pytest.approx(1, abs=0.03)
    torch.manual_seed(0)
    theirs = functional.alpha_dropout(torch.ones(1000, dtype=torch.float64), P, training=True).unique()
    torch.testing.assert_close(
        drawn(lambda: functional.alpha_dropout(torch.ones(1000, dtype=torch.float64), P, training=True)).unique(), theirs
    )
    assert drawn(lambda: functional.alpha_dropout(x, 1.0, training=True)).abs().max() == 0


# ---- a member draws the same whoever is beside it -----------------------------------------------------------------------------------------

MHA, ENCODER = nn.MultiheadAttention(6, 2, P), nn.TransformerEncoderLayer(6, 2, 8, P)
INSIDE = {
    "attention": lambda x: MHA(x, x, x)[0],
    "attention without weights": lambda x: MHA(x, x, x, need_weights=False)[0],
    "encoder": ENCODER,
    "gumbel": functional.gumbel_softmax,
    "dropout, in place": lambda x: functional.dropout(1 * x, P, inplace=True),
    "dropout_": lambda x: torch.dropout_(1 * x, P, True),
    "scaled product": lambda x: functional.scaled_dot_product_attention(x, x, x, dropout_p=P, is_causal=True),
}
EVERYTHING = {name: (lambda x, f=f: f()) for name, (f, _) in (CONTINUOUS | COUNTED).items() if name != "gumbel_softmax"} | INSIDE


@pytest.mark.parametrize("name", list(EVERYTHING))
def test_a_member_draws_the_same_in_a_stack_and_alone_and_nothing_else_moves(name):
    x = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(0))

    def value(x, key):
        with Aids(key):
            made = EVERYTHING[name](x)
        return (x + made).sum() if name in INSIDE else x.sum(), made

    def one(key, x):  # some layers have a batching rule with gradients alone
        return torch.func.grad(value, has_aux=True)(x + 0 * key, key)[1]

    before = torch.get_rng_state()
    together = torch.vmap(one, in_dims=(0, None), randomness="error")(KEYS, x)
    alone = [one(key, x) for key in KEYS]
    for row, single in zip(together, alone, strict=True):
        torch.testing.assert_close(row, single)
    assert (alone[0] != alone[1]).any()
    assert torch.equal(one(KEYS[0], x), alone[0])
    assert torch.equal(before, torch.get_rng_state())
    with asked() as names:
        one(KEYS[0], x)
    assert names


def test_two_draws_of_one_pass_differ():
    first, second = drawn(lambda: torch.stack([torch.rand(5000), torch.rand(5000)]))
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1].item()) < 0.06


JUDGED, ONE = nn.MultiheadAttention(6, 2, P).eval(), nn.LSTM(6, 3)
LEFT = {
    "generator": lambda: torch.rand(3, generator=torch.Generator().manual_seed(1)),
    "generator in place": lambda: torch.empty(3).normal_(generator=torch.Generator().manual_seed(1)),
    "not training": lambda: functional.dropout(torch.ones(3), 0.5, training=False),
    "nothing to drop": lambda: functional.dropout(torch.ones(3), 0.0),
    "attention that is judged": lambda: JUDGED(*[torch.ones(2, 6)] * 3)[0],
    "one floor": lambda: ONE(torch.ones(2, 6))[0],
}


@pytest.mark.parametrize("name", list(LEFT))
def test_what_is_not_random_is_left_to_pytorch(name):
    with asked() as names, Aids(KEYS[0]):
        first, second = LEFT[name](), LEFT[name]()
    assert torch.equal(first, second)
    assert not names


def test_how_weights_begin_is_left_to_pytorch():
    torch.manual_seed(0)
    expected = nn.init.normal_(torch.empty(3))
    torch.manual_seed(0)
    assert torch.equal(drawn(lambda: nn.init.normal_(torch.empty(3))), expected)


def test_without_a_key_noise_is_left_to_pytorch():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(drawn(lambda: torch.rand(3), key=None), expected)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("packed", [False, True])
def test_a_recurrent_layer_that_drops_next_to_nothing_is_the_layer(kind, packed):
    layer = kind(6, 3, 3, dropout=1e-9, bidirectional=True)
    x = torch.randn(5, 4, 6)
    if packed:
        x = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 3, 3, 1]))
    ours, theirs = drawn(lambda: layer(x)), layer.eval()(x)
    for mine, their in zip(leaves(ours), leaves(theirs), strict=True):
        torch.testing.assert_close(mine, their, rtol=1e-5, atol=1e-6)


def leaves(made):
    return [made] if isinstance(made, torch.Tensor) else [leaf for part in made if part is not None for leaf in leaves(part)]


@pytest.mark.parametrize("mask", ["none", "causal", "bool", "float", "grouped"])
def test_attention_that_drops_next_to_nothing_is_attention(mask):
    q, k, v = torch.randn(3, 2, 4, 5, 6, dtype=torch.float64)
    given = {"dropout_p": 0.0}
    if mask == "causal":
        given["is_causal"] = True
    elif mask == "grouped":
        k, v, given["enable_gqa"] = k[:, :2], v[:, :2], True
    elif mask != "none":
        given["attn_mask"] = torch.rand(5, 5) > 0.3 if mask == "bool" else torch.randn(5, 5, dtype=torch.float64)
        given["attn_mask"].fill_diagonal_(1)
        given["scale"] = 0.7
    theirs = functional.scaled_dot_product_attention(q, k, v, **given)
    torch.testing.assert_close(
        drawn(lambda: functional.scaled_dot_product_attention(q, k, v, **given | {"dropout_p": torch.tensor(0.0)})), theirs
    )


@pytest.mark.parametrize("need_weights", [True, False])
def test_dropout_of_attention_may_be_a_tensor(need_weights):
    x = torch.randn(4, 2, 6)
    layer = nn.MultiheadAttention(6, 2, P)
    expected = drawn(lambda: layer(x, x, x, need_weights=need_weights)[0])
    layer.dropout = torch.tensor(P)
    torch.testing.assert_close(drawn(lambda: layer(x, x, x, need_weights=need_weights)[0]), expected)
    layer.dropout = torch.tensor(0.0)
    torch.testing.assert_close(drawn(lambda: layer(x, x, x, need_weights=need_weights)[0]), layer.eval()(x, x, x)[0])


# ---- numbers that are tensors -------------------------------------------------------------------------------------------------------------

X = torch.randn(6, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = torch.randn(6, 4, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
W, CLASS, SOFT = torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=torch.float64), Y[:, 0].abs().long() % 4, Y.softmax(1)
HIDDEN = torch.where(torch.arange(30).reshape(6, 5) % 3 == 0, 1, CLASS)

NUMBERS = {
    "leaky_relu": (functional.leaky_relu, "negative_slope", 0.3, {}),
    "elu": (functional.elu, "alpha", 0.3, {}),
    "layer_norm": (functional.layer_norm, "eps", 0.3, {"normalized_shape": (4, 5), "weight": Y[0], "bias": Y[1]}),
    "layer_norm, plain": (functional.layer_norm, "eps", 0.3, {"normalized_shape": (5,)}),
    "rms_norm": (functional.rms_norm, "eps", 0.3, {"normalized_shape": (5,), "weight": Y[0, 0]}),
    "group_norm": (functional.group_norm, "eps", 0.3, {"num_groups": 2, "weight": W, "bias": W}),
    "batch_norm, eps": (functional.batch_norm, "eps", 0.3, {"running_mean": W, "running_var": W, "weight": W, "bias": W}),
    "huber_loss": (functional.huber_loss, "delta", 0.3, {"target": Y}),
    "huber_loss, weighted": (functional.huber_loss, "delta", 0.3, {"target": Y, "reduction": "sum", "weight": Y.abs()}),
    "smooth_l1_loss": (functional.smooth_l1_loss, "beta", 0.3, {"target": Y, "reduction": "none"}),
    "cross_entropy": (functional.cross_entropy, "label_smoothing", 0.3, {"target": CLASS}),
    "cross_entropy, soft": (functional.cross_entropy, "label_smoothing", 0.3, {"target": SOFT, "weight": W}),
} | {
    f"cross_entropy, {reduction}": (
        functional.cross_entropy,
        "label_smoothing",
        0.3,
        {"target": HIDDEN, "weight": W, "ignore_index": 1, "reduction": reduction},
    )
    for reduction in ("mean", "sum", "none")
}


@pytest.mark.parametrize("name", list(NUMBERS))
def test_a_function_whose_number_is_a_tensor_is_the_function(name):
    function, number, value, given = NUMBERS[name]

    def results(value, aids):
        x = X.clone().requires_grad_()
        if aids:
            with Aids(None):
                made = function(x, **given, **{number: value})
        else:
            made = function(x, **given, **{number: value})
        (made * torch.linspace(0, 1, made.numel()).reshape(made.shape)).sum().backward()
        return made.detach(), x.grad

    theirs = results(value, aids=False)
    for mine, their in zip(results(torch.tensor(value, dtype=torch.float64), aids=True), theirs, strict=True):
        torch.testing.assert_close(mine, their, check_stride=False)
    rows = torch.tensor([value, 2 * value], dtype=torch.float64)
    stacked = torch.vmap(lambda v: drawn(lambda: function(X, **given, **{number: v}), key=None))(rows)
    torch.testing.assert_close(stacked[0], theirs[0], check_stride=False)


def test_momentum_of_batch_norm_moves_its_statistics():
    ours, theirs = nn.BatchNorm1d(4).double(), nn.BatchNorm1d(4, momentum=0.3).double()
    ours.momentum = torch.tensor(0.3, dtype=torch.float64)
    with Aids(None):
        torch.testing.assert_close(ours(X), theirs(X))
    for mine, their in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(mine, their)
    with Aids(None):
        torch.testing.assert_close(ours.eval()(X), theirs.eval()(X))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch, when it first loads its compiler
def test_compiled_noise_is_the_same():
    x = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(0))

    def value(x, key):
        with Aids(key):
            noisy = x + torch.randn(4, 5, 6) * functional.dropout(x, P)
            noisy = noisy + functional.alpha_dropout(x, P, training=True) + torch.empty(6).uniform_()
            made = MHA(noisy, noisy, noisy)[0] + functional.gumbel_softmax(noisy, dim=-1)
        return made.square().sum()

    stacked = torch.vmap(torch.func.grad(value), in_dims=(None, 0), randomness="error")
    torch.testing.assert_close(torch.compile(stacked, dynamic=False)(x, KEYS), stacked(x, KEYS), rtol=1e-3, atol=1e-4)


# ---- recurrent layers in plain operations, as on a GPU, whose own kernels cannot be batched ------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("settings", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False, "batch_first": True}])
@pytest.mark.parametrize(
    "layer",
    [nn.LSTM, nn.GRU, nn.RNN, lambda *sizes, **given: nn.RNN(*sizes, nonlinearity="relu", **given)],
    ids=["lstm", "gru", "tanh", "relu"],
)
def test_recurrent_layers_in_plain_operations_compute_the_same(layer, settings, packed):
    torch.manual_seed(0)
    made, x = layer(3, 4, **settings), torch.randn(5, 5, 3)
    if packed:
        x = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 4, 2, 2, 1]), batch_first=settings.get("batch_first", False))
    with Aids(KEYS[0], plain=True):
        got = torch.utils._pytree.tree_leaves(made(x))
    for mine, theirs in zip(got, torch.utils._pytree.tree_leaves(made(x)), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_dropout_between_plain_recurrent_layers_is_that_of_others():
    torch.manual_seed(0)
    made, x = nn.GRU(3, 4, num_layers=2, dropout=0.5), torch.randn(5, 2, 3)
    with Aids(KEYS[0]):
        expected = made(x)[0]
    with Aids(KEYS[0], plain=True):
        torch.testing.assert_close(made(x)[0], expected)
