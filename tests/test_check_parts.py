"""The parts of the check, each against results worked out by hand."""

import itertools
import math
import os
import pickle
import random
import signal
import sys
import types
from collections import deque

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lamarck.checking.judge import Noise, failed, ineffective
from lamarck.checking.plan import plan
from lamarck.checking.report import CheckReport, Costs, Effect, Experiment, Finding
from lamarck.checking.states import Difference, differences, leaves
from lamarck.checking.trial import Job, Trouble, attempt
from lamarck.checking.watch import look, user_frames
from lamarck.cli.check import _costs
from lamarck.space import Categorical, Constant, Float, Int, Space

# ---- states ---------------------------------------------------------------------------------------------------------------------------------


def relative(one, other):
    found = differences({"x": one}, {"x": other})
    return [difference.relative for difference in found]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), []),
        (np.array([np.inf, 2.0]), np.array([np.inf, 1.0]), [0.5]),
        (np.array([0.0, -8.0]), np.array([2.0, -8.0]), [0.25]),
        (np.array([1.0]), np.array([np.nan]), [math.inf]),
        (np.array([1.0, 2.0]), np.array([1.0]), [math.inf]),
        (np.array([1, 2]), np.array([1, 3]), [math.inf]),
        (np.array([3 + 4j]), np.array([3 - 4j]), [8 / 5]),
        (torch.tensor([1.0, 4.0]), torch.tensor([1.0, 2.0]), [0.5]),
        (torch.tensor([1.0, 4.0], dtype=torch.bfloat16), torch.tensor([1.0, 2.0], dtype=torch.bfloat16), [0.5]),
        (torch.tensor([1, 2]), torch.tensor([1, 2]), []),
        (np.float32(2.0), np.float32(1.0), [0.5]),
        (2.0, 1.0, [0.5]),
        (math.nan, math.nan, []),
        (2, 1, [math.inf]),
        (1, True, [math.inf]),
        ("adam", "sgd", [math.inf]),
        (None, None, []),
    ],
)
def test_how_far_leaves_are_apart(one, other, expected):
    assert relative(one, other) == pytest.approx(expected)


def test_leaves_are_named_by_their_path_and_missing_ones_are_told():
    one = {"model": {"0.weight": 1.0}, "log": [1, {"a": 2}], "rng": "x"}
    other = {"model": {"0.weight": 1.0, "0.bias": 0.0}, "log": [1, {"a": 3}]}
    assert list(leaves(one)) == ["model/0.weight", "log/0", "log/1.a", "rng"]
    assert {(difference.leaf, difference.text) for difference in differences(one, other)} == {
        ("log/1.a", "2 and 3"),
        ("rng", "missing afterwards"),
        ("model/0.bias", "new afterwards"),
    }


def test_differences_are_told_in_words():
    found = differences(
        {"a": np.zeros(4), "b": np.arange(3), "c": "x" * 99, "d": np.zeros(2)},
        {"a": np.full(4, 0.25), "b": np.zeros(3, int), "c": "", "d": np.zeros(3)},
    )
    assert [difference.text for difference in found] == [
        "up to 0.25 apart",
        "2 of 3 numbers differ",
        f"'{'x' * 36}... and ''",
        "shape (2,) and (3,)",
    ]


# ---- noise ----------------------------------------------------------------------------------------------------------------------------------


def apart(leaf, by):
    return Difference(leaf=leaf, relative=by, text="")


def test_without_noise_everything_counts_but_rounding():
    noise = Noise.of([])
    found = [apart("a", 1e-7), apart("b", 1e-5), apart("n", math.inf)]
    assert noise.beyond(found) == (found[1], found[2])
    assert noise.beyond(found, floor=0.0) == tuple(found)


def test_with_noise_ten_times_as_much_counts():
    noise = Noise.of([apart("a", 1e-3), apart("b", 1e-4), apart("count", math.inf)])
    assert noise == Noise(relative=1e-3, unsteady=frozenset({"count"}))
    assert noise.beyond([apart("a", 0.9e-2), apart("b", 1.1e-2), apart("count", math.inf), apart("n", math.inf)]) == (
        apart("b", 1.1e-2),
        apart("n", math.inf),
    )


# ---- the plan -------------------------------------------------------------------------------------------------------------------------------


def test_the_trials_of_a_plan():
    made = plan(Space(lr=Float(0.0, 1.0)), interval=10, intervals=4, seed=3)
    assert made.base == {"lr": 0.5}
    assert [(i.key, i.start, i.until, i.parent) for i in made.unbroken()] == [
        ((0, 0), 0, 10, None),
        ((0, 1), 10, 20, (0, 0)),
        ((0, 2), 20, 30, (0, 1)),
        ((0, 3), 30, 40, (0, 2)),
    ]
    assert made.saved == (0, 1)
    assert [i.key for i in made.resumed()] == [(0, 2), (0, 3)]
    assert [i.key for i in made.second()] == [(1, 0), (1, 1), (0, 0), (0, 1)]
    copied = made.copied({"lr": 0.9})
    assert [(i.key, i.hparams) for i in copied] == [((1, 0), made.other), ((1, 1), made.other), ((0, 2), {"lr": 0.9})]
    assert copied[-1].seed == made.unbroken()[2].seed
    assert len({i.seed for i in (*made.unbroken(), *copied[:2])}) == 6


SPACE = Space(
    opt=Categorical(["sgd", "adam", "lion"]),
    momentum=Float(0.0, 1.0, when={"opt": "sgd"}),
    beta=Float(0.5, 1.0, when={"opt": "adam"}),
    n=Int(1, 2),
    only=Constant(7),
    low=Float(0.0, 1.0),
    high=Float(0.0, 1.0),
).where("low < high")


@settings(max_examples=30)
@given(st.integers(0, 1000))
def test_every_configuration_of_a_plan_is_allowed_and_differs_in_what_it_should(seed):
    made = plan(SPACE, interval=1, intervals=2, seed=seed)
    assert SPACE.contains(made.base)
    assert SPACE.contains(made.other)
    changes = {change.name: change for change in made.changes}
    assert list(changes) == list(SPACE.names)
    assert changes["only"].after == ()
    for name in ("opt", "momentum", "beta", "n", "low", "high"):
        change = changes[name]
        assert 1 <= len(change.after) <= 2
        assert SPACE.contains(change.before)
        for after in change.after:
            assert SPACE.contains(after)
            assert after[name] != change.before[name]
            if name != "opt":
                assert {key for key in after if after[key] != change.before[key]} == {name}


# ---- costs and the report -------------------------------------------------------------------------------------------------------------------


def test_training_that_takes_no_time_beside_saving_is_no_ground_for_a_recommendation():
    for train, timed in ((0.0, False), (0.0009, False), (0.0011, True)):
        costs = Costs(steps=5, train=train, save=0.01, restore=0.001, bytes=170)
        assert costs.timed is timed
        said = str(_costs(costs))
        assert ("check with longer ones: --interval 500" in said) is not timed
        assert ("steps or more" in said) is timed


def test_the_recommended_interval_keeps_the_overhead_under_two_percent():
    costs = Costs(steps=50, train=2.0, save=0.1, restore=0.058, bytes=10)
    assert costs.overhead == pytest.approx(0.16)
    assert costs.share == pytest.approx(0.08)
    assert costs.recommended == 200  # 8 % of 50 steps are 2 % of 200
    assert costs.training == (3000, 6000)


@given(st.floats(1e-6, 1e3), st.floats(0, 1e2), st.floats(0, 1e2), st.integers(1, 10_000))
def test_the_recommendation_is_never_too_short_and_never_much_too_long(train, save, restore, steps):
    costs = Costs(steps=steps, train=train, save=save, restore=restore, bytes=0)
    exact = costs.overhead / 0.02 * steps / train
    assert exact * (1 - 1e-9) <= costs.recommended <= max(1.2 * exact, exact + 1)


def test_a_report_says_what_it_found():
    fault = Finding(kind="leak", fault=True, title="It leaks.", evidence=("here",), advice="mend it")
    warning = Finding(kind="repeat", fault=False, title="It shakes.")
    assert str(CheckReport(findings=(fault, warning))).splitlines() == [
        "not fit for population training: 1 fault",
        "fault: It leaks.",
        "  here",
        "  mend it",
        "warning: It shakes.",
    ]
    assert CheckReport(findings=(warning,)).verdict == "fit for population training, with 1 warning"
    assert CheckReport(findings=(warning,)).fit


def test_an_experiment_in_a_few_words():
    tiny, far, exact = apart("a", 2e-8), apart("b", 0.25), apart("n", math.inf)
    assert Experiment(name="x", compared=0).result == "failed"
    assert Experiment(name="x", compared=4).result == "identical"
    assert Experiment(name="x", compared=4, differences=(tiny,)).result == "1 of 4 leaves differ, up to 2.0e-08 relative: negligible"
    assert Experiment(name="x", compared=4, differences=(tiny, far), counted=(far,)).result == "2 of 4 leaves differ, up to 2.5e-01 relative"
    assert Experiment(name="x", compared=4, differences=(exact,), counted=(exact,)).result == "1 of 4 leaves differ"


@pytest.mark.parametrize(
    ("name", "kept", "call"),
    [
        ("lr", "optimizer/param_groups.0.lr", "set_hparams(optimizer, lr=interval.hparams['lr'])"),
        ("rate", "optimizer/param_groups.0.lr", "set_hparams(optimizer, lr=interval.hparams['rate'])"),
        ("beta1", "optimizer/param_groups.0.betas.0", "set_hparams(optimizer, beta1=interval.hparams['beta1'])"),
    ],
)
def test_the_call_that_helps_names_the_optimizers_own_name(name, kept, call):
    finding = ineffective(Effect(name=name, before=0.01, after=(0.1,), result="nothing"), kept)
    assert finding.fault
    assert call in finding.advice


def test_a_hyperparameter_that_nothing_holds_is_called_without_effect_all_the_same():
    finding = ineffective(Effect(name="lr", before=0.01, after=(0.1, 0.001), result="nothing"), None)
    assert finding.title == "lr has no effect after a restore."
    assert finding.evidence == ("tried: 0.1 and 0.001 instead of 0.01; state and value stay the same",)
    assert "if it acts only later" in finding.advice


def test_a_failure_says_when_it_came():
    assert failed("x", Trouble(kind="raised", message="E: e", trace="", after=0)).title == "The training function raises: E: e"
    assert failed("x", Trouble(kind="raised", message="E: e", trace="", after=3)).title == "The training function raises after 3 reports: E: e"


# ---- looking at variables -------------------------------------------------------------------------------------------------------------------


class Optimizer:
    def __init__(self):
        self.param_groups = [{"lr": 0.1}]

    def state_dict(self):
        return {"param_groups": self.param_groups}

    def load_state_dict(self, state):
        self.param_groups = state["param_groups"]


class Trainer:
    def __init__(self):
        self.rng, self.inner, self.me = np.random.default_rng(0), types.SimpleNamespace(count=0), self


def looked(**things):
    def hold():
        held = things  # noqa: F841 - it is looked at
        return look([sys._getframe()])

    return hold()


def changed(before, after):
    return {key for key in before if before[key].digest != after[key].digest}


@pytest.mark.parametrize(
    ("thing", "change", "kind"),
    [
        (np.random.default_rng(0), lambda it: it.random(), "generator"),
        (np.random.RandomState(0), lambda it: it.rand(), "generator"),
        (random.Random(0), lambda it: it.random(), "generator"),
        (torch.Generator().manual_seed(0), lambda it: torch.rand(1, generator=it), "generator"),
        (np.zeros(3), lambda it: it.fill(1), "array"),
        (torch.zeros(3, dtype=torch.bfloat16), lambda it: it.fill_(1), "array"),
        (deque([1]), lambda it: it.append(2), "container"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_change_of_any_kind_of_thing_is_seen(thing, change, kind):
    before = looked(it=thing)
    again = looked(it=thing)
    change(thing)
    after = looked(it=thing)
    key = next(key for key in before if key.startswith("held['it']"))
    assert before[key].kind == kind
    assert key not in changed(before, again)
    assert key in changed(before, after)


def test_attributes_are_looked_at_and_circles_do_no_harm():
    trainer = Trainer()
    before = looked(it=trainer)
    trainer.rng.random()
    trainer.inner.count += 1
    assert changed(before, looked(it=trainer)) == {"held['it'].rng in hold()", "held['it'].inner.count in hold()"}


def test_a_module_is_looked_at_leaf_by_leaf_and_an_optimizer_is_told_from_it():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    optimizer = Optimizer()
    before = looked(model=model, optimizer=optimizer)
    model(torch.randn(4, 2))
    optimizer.param_groups[0]["lr"] = 0.2
    after = looked(model=model, optimizer=optimizer)
    assert {key.split(" in ")[0]: before[key].kind for key in changed(before, after)} == {
        "held['model']/1.running_mean": "module",
        "held['model']/1.running_var": "module",
        "held['model']/1.num_batches_tracked": "module",
        "held['optimizer']/param_groups.0.lr": "optimizer",
    }


def test_the_order_of_a_set_is_no_difference_and_the_position_of_an_iterator_always_is():
    one, other = {0, 8}, {8, 0}
    assert list(one) != list(other)
    assert changed(looked(it=one), looked(it=other)) == set()
    squares = itertools.cycle([1, 4])
    before = looked(it=squares)
    assert any(before[key].kind == "iterator" for key in changed(before, looked(it=squares)))


class Hostile:
    @property
    def __dict__(self):
        raise RuntimeError("do not look")


def test_whatever_cannot_be_looked_at_is_left_out():
    seen = looked(it=Hostile(), sparse=torch.zeros(3).to_sparse(), fine=np.zeros(2))
    assert "held['fine'] in hold()" in seen


def test_frames_are_the_users_from_the_outermost():
    def outermost():
        return inner()

    def inner():
        return user_frames(sys._getframe(), caller.__code__)

    def caller():
        return outermost()

    assert [frame.f_code.co_name for frame in caller()] == ["outermost", "inner"]


# ---- a trial --------------------------------------------------------------------------------------------------------------------------------


def job(tmp_path, function, **changes):
    made = plan(Space(lr=Float(0.0, 1.0)), interval=2, intervals=2, seed=0)
    given = dict(script=made.unbroken(), seed=0, known={}, probe=None, log=str(tmp_path / "log"))
    return Job(train=pickle.dumps(function), checkpoints=str(tmp_path / "states"), **(given | changes))


class Import:
    """Pickled, this is a function that fails when it is imported."""

    def __reduce__(self):
        return os.kill, (0, "not a signal")


def test_a_function_that_cannot_be_imported_is_a_trouble_of_its_own(tmp_path):
    outcome = attempt(job(tmp_path, Import()), "spawn")
    assert outcome.trouble.kind == "raised"
    assert "TypeError" in outcome.trouble.message


class Killed:
    """Pickled, this ends the process that unpickles it."""

    def __reduce__(self):
        return signal.raise_signal, (signal.SIGKILL,)


def test_a_process_that_is_killed_is_noticed(tmp_path):
    outcome = attempt(job(tmp_path, Killed()), "spawn")
    assert outcome.trouble == Trouble(kind="died", message="the process ended, killed by SIGKILL", trace="", after=0)
