"""Guards on runs made by hand: what each one warns of, and what it does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm, truncnorm

from lamarck import exploit, explore
from lamarck._rng import generator
from lamarck.guards import AtBound, Collapse, Greed, Noise, OneFamily, Overhead, Watch, Zigzag, check, check_settings, reach, wrong_choice
from lamarck.history import History
from lamarck.pbt import PBT
from lamarck.population import Record
from lamarck.space import Categorical, Float, Int, Space
from lamarck.testing.simulation import simulate
from lamarck.types import Settings, Started

LR = Float(1e-5, 1e-1, log=True)


def history(values, *, space=None, hparams=lambda member, generation: {}, parents=None, samples=None, generations=20, interval=100, **rest):
    """The run in which ``values[g][m]`` is what member m reported for generation g; NaN reports nothing that is finite."""
    settings = Settings(population_size=len(values[0]), interval=interval, generations=generations)
    started = Started(settings=settings, space=Space(space or {}).to_dict(), strategies={}, initial=({},) * len(values[0]))
    records = [
        Record(
            member=m,
            generation=g,
            step=interval * (g + 1),
            value=value,
            fitness=value if math.isfinite(value) else -math.inf,
            checkpoint=f"{m}-{g}",
            hparams=hparams(m, g),
            parent=(parents or {}).get((m, g), (m, g - 1) if g else None),
            samples=samples(m, g) if samples else (),
        )
        for g, row in enumerate(values)
        for m, value in enumerate(row)
    ]
    return History(started=started, records=tuple(records), **rest)


def found(history, *guards, metrics=None):
    return [(finding.name, finding.subject, finding.generation) for finding in check(history, metrics, guards=guards)]


# ---- settings -------------------------------------------------------------------------------------------------------------------------------


def pbt(size=16, generations=20, space=None, interval=100, **strategies):
    settings = Settings(population_size=size, interval=interval, generations=generations)
    return PBT(space=Space(space or {"lr": LR}), settings=settings, **strategies)


def names(machine):
    return [(finding.name, finding.subject) for finding in check_settings(machine)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, []),
        ({"size": 8, "generations": 8}, []),
        ({"generations": 60}, []),
        ({"size": 7}, ["few_members"]),
        ({"generations": 7}, ["few_generations"]),
        ({"generations": 61}, ["many_generations"]),
        ({"size": 2, "generations": 200}, ["few_members", "many_generations"]),
        ({"size": 2, "generations": 200, "exploit": exploit.Never()}, []),
        ({"generations": 200, "exploit": exploit.MultiFrequency()}, []),
        ({"size": 15, "generations": 199, "exploit": exploit.MultiFrequency()}, ["small_sub_populations", "long_period"]),
        ({"size": 8, "generations": 20, "exploit": exploit.MultiFrequency(periods=(1, 5))}, []),
        ({"size": 8, "generations": 20, "exploit": exploit.MultiFrequency(periods=(6, 1))}, ["long_period"]),
    ],
)
def test_sizes(settings, expected):
    assert [name for name, _ in names(pbt(**settings))] == expected


def test_a_model_needs_something_to_model():
    choices = {"kind": Categorical(["a", "b"]), "h": Float(1.0, 2.0, when={"kind": "a"})}
    assert names(pbt(space=choices, explore=explore.PB2())) == [("nothing_to_model", "")]
    assert names(pbt(space=choices | {"lr": LR}, explore=explore.PB2())) == []
    assert names(pbt(space=choices)) == []


def test_the_advice_on_generations_is_an_interval_for_as_many_steps():
    (many,) = check_settings(pbt(generations=200, interval=50))
    assert "interval=400 for the same 10000 steps" in many.text
    (few,) = check_settings(pbt(generations=4, interval=1000))
    assert "interval=200 for the same 4000 steps" in few.text
    (short,) = check_settings(pbt(generations=4, interval=1))
    assert "train longer" in short.text


def test_reach_is_the_number_in_the_literature():
    assert reach(20, math.log(1.25)) == pytest.approx(7.4, rel=0.01)
    assert reach(10, math.log(2.0)) == pytest.approx(2.0**4.5)


SHORT = [("short_reach", "lr")]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (explore.PerturbOrResample(), []),
        (explore.PerturbOrResample(resample=0.0), SHORT),
        (explore.Perturb(), SHORT),
        # 20 generations reach 2**9 = 512, and 512**2 is more than the four decades
        (explore.Perturb(factors=(0.5, 2.0)), []),
        (explore.Perturb(factors=(0.5, 2.0), probability=0.25), SHORT),
        (explore.Perturb(factors=(1.0,)), []),
        (explore.Keep(), []),
        (explore.Gaussian(0.1), []),
        (explore.Function(lambda hparams, rng: hparams), []),
        (explore.Chain(explore.Perturb(), explore.Keep()), SHORT),
        (explore.Chain(explore.Perturb(), explore.Perturb(factors=(0.5, 2.0))), []),
        (explore.Chain(explore.Perturb(), explore.Resample()), []),
        (explore.PerKey({"lr": explore.Perturb()}), SHORT),
        (explore.PerKey({"wd": explore.Perturb()}), []),
        (explore.PerKey({"wd": explore.Keep()}, default=explore.Perturb()), SHORT),
    ],
)
def test_short_reach(strategy, expected):
    assert names(pbt(explore=strategy)) == expected


def test_reach_is_measured_against_the_range_that_members_start_in():
    near = Float(1e-5, 1e-1, log=True, init=(1e-3, 1e-2))
    assert names(pbt(space={"lr": near}, explore=explore.Perturb())) == []
    assert names(pbt(space={"n": Int(1, 4096, log=True)}, explore=explore.Perturb())) == [("short_reach", "n")]


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        (Float(0.0, 0.6), ["stuck_at_zero"]),
        (Float(-1.0, 0.0), ["stuck_at_zero"]),
        (Float(-1.0, 1.0), ["crosses_zero"]),
        (Float(-2.0, -1.0), []),
        (Float(0.5, 0.9), []),
        (Int(0, 8), []),  # moves by at least 1
        (Categorical(["a", "b"]), []),
    ],
)
def test_factors_and_zero(parameter, expected):
    found = check_settings(pbt(space={"x": parameter}, explore=explore.Perturb()))
    assert [finding.name for finding in found] == expected
    assert all((finding.severity == "note") == (finding.name == "crosses_zero") for finding in found)
    assert names(pbt(space={"x": parameter})) == []  # drawn anew now and then


# ---- greed ----------------------------------------------------------------------------------------------------------------------------------


def cooling(rates, *, name="lr", parameter=LR, improving=True, generations=20):
    """Everybody has the same rate in a generation."""
    values = [[float(g if improving else 0)] * 4 for g in range(len(rates))]
    return history(values, space={name: parameter}, hparams=lambda m, g: {name: rates[g]}, generations=generations)


@pytest.mark.parametrize("name", ["lr", "temperature"])
def test_greed_sees_a_rate_fall_tenfold_to_the_floor_in_a_quarter_of_the_budget(name):
    assert found(cooling([1e-3, 5e-4, 3e-4, 1.1e-4, 9e-5], name=name), Greed()) == [("greed", name, 4)]


def test_greed_says_how_far_it_fell():
    (finding,) = check(cooling([1e-3, 1e-5]), guards=[Greed()])
    assert "from 0.001 to 1e-05 by generation 1 of 20" in finding.text
    assert finding.severity == "warning"


@pytest.mark.parametrize(
    "run",
    [
        cooling([1e-3, 5e-4, 3e-4, 1.1e-4, 1.1e-4]),  # not tenfold
        cooling([1e-3, 5e-4, 3e-4, 1.1e-4, 1.1e-4, 1e-5]),  # too late to be early
        cooling([1e-1, 1e-3]),  # not near the floor
        cooling([1e-3, 9e-5], improving=False),
        cooling([1e-3] * 5),
        cooling([1e-4, 1e-3]),
        cooling([0.5, 0.01], name="dropout", parameter=Float(0.0, 1.0)),  # neither logarithmic nor a learning rate by its name
        cooling([50, 1], name="lr", parameter=Int(1, 100)),
    ],
)
def test_greed_is_silent(run):
    assert found(run, Greed()) == []


@pytest.mark.parametrize("name", ["lr", "base_lr", "learning_rate", "adam.lr", "LearningRate", "step_size"])
def test_a_linear_rate_is_known_by_its_name(name):
    assert found(cooling([0.5, 0.01], name=name, parameter=Float(0.0, 1.0)), Greed()) == [("greed", name, 1)]
    assert found(cooling([0.5, 0.01], name=f"{name}x", parameter=Float(0.0, 1.0)), Greed()) == []


def test_greed_is_silent_while_a_third_of_the_population_is_elsewhere():
    def run(high):
        return history([[0.0] * 6, [1.0] * 6], space={"lr": LR}, hparams=lambda m, g: {"lr": 1e-5 if g and m >= high else 1e-3})

    assert found(run(1), Greed()) == [("greed", "lr", 1)]
    assert found(run(2), Greed()) == []


def test_greed_needs_the_rate_from_the_beginning():
    run = history([[0.0, 0.0], [1.0, 1.0]], space={"lr": LR}, hparams=lambda m, g: {"lr": 1e-5} if g else {})
    assert found(run, Greed()) == []


# ---- collapse -------------------------------------------------------------------------------------------------------------------------------

# From 1, the worst of the first generation, to 9: of 8 that were gained half is lost below 5.
ROSE = [[1.0, 2.0], [5.0, 6.0], [9.0, 8.0]]


def test_a_collapse_names_what_is_lost_and_the_way_back():
    (finding,) = check(history([*ROSE, *[[4.9, 0.0]] * 4, [4.5, 0.0]]), guards=[Collapse()])
    assert (finding.name, finding.severity, finding.generation) == ("collapse", "warning", 7)
    assert "it had reached 9, but in generation 7 the best value is 4.5, and for 5 generations" in finding.text
    assert "exploit=Backtracking()" in finding.text


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ([[4.9, 0.0]] * 6, [7]),  # once
        ([[4.9, 0.0]] * 4, []),
        ([[5.0, 0.0]] * 6, []),  # half is not more than half
        ([[4.9, 0.0]] * 4 + [[0.0, 5.0]] + [[4.9, 0.0]] * 4, []),
        ([[math.nan, math.nan]] * 5, [7]),
        ([[math.nan, 0.0]] * 5, [7]),
        ([[math.nan, 9.0]] * 5, []),
    ],
)
def test_a_collapse_is_deep_and_lasts(then, said):
    assert [generation for _, _, generation in found(history([*ROSE, *then]), Collapse())] == said


def test_without_a_beginning_nothing_can_be_lost():
    assert found(history([[math.nan, math.nan], *ROSE, *[[0.0, 0.0]] * 6]), Collapse()) == []
    assert found(history([[-math.inf, 1e308], [1e308, -1e308], *[[-1e308, -1e308]] * 6]), Collapse()) == [("collapse", "", 6)]
    assert found(history([[-1e308, 1e308], *[[-1e308, -1e308]] * 6]), Collapse()) == []  # what was gained is beyond all numbers


def test_a_collapse_where_lower_is_better_is_told_in_its_own_numbers():
    settings = Settings(population_size=1, interval=1, generations=20, mode="min")
    values = [5.0, 1.0, 0.5, *[4.0] * 5]
    records = [
        Record(member=0, generation=g, step=g + 1, value=v, fitness=-v, checkpoint="c", hparams={}, parent=(0, g - 1) if g else None)
        for g, v in enumerate(values)
    ]
    started = Started(settings=settings, space=Space({}).to_dict(), strategies={}, initial=({},))
    (finding,) = check(History(started=started, records=tuple(records)), guards=[Collapse()])
    assert "it had reached 0.5, but in generation 7 the best value is 4," in finding.text


def test_going_back_is_no_collapse():
    """A run that collapses and goes back is not warned of; the same run without is."""
    import cliffs

    def step(interval, x):
        x = cliffs.gained(np.zeros(2) if x is None else x, interval.hparams["h"], interval.start)
        return float(x[0]), x

    said = {}
    for name, strategy in {"back": exploit.Backtracking(), "never": exploit.Never()}.items():
        space = Space(h=Float(0.8, 1.0))  # nobody bears any of it
        machine = PBT(space=space if name == "never" else cliffs.SPACE, settings=Settings(**cliffs.RULES), exploit=strategy)
        said[name] = found(History.of(simulate(machine, step)), Collapse())
    assert said["back"] == []
    assert [name for name, _, _ in said["never"]] == ["collapse"]


# ---- one family -----------------------------------------------------------------------------------------------------------------------------

COPIES = {(1, 1): (0, 0), (2, 2): (0, 1), (3, 3): (1, 2)}
"""Four members; member 0's founder owns two, three and four of them."""


def test_one_family_names_the_generation_and_what_is_expected():
    run = history([[0.0] * 4] * 6, parents=COPIES)
    (finding,) = check(run, guards=[OneFamily()])
    assert (finding.name, finding.generation, finding.severity) == ("one_family", 3, "warning")
    # one copy a generation among four: log2(1) + 4/1 - 1 = 3 and 2 * 3**2 / (3 - 1) = 9
    assert "With 1.0 copies a generation among 4 members this is expected after about 3 generations" in finding.text
    assert "after about 9 if" in finding.text


def test_one_family_late_in_the_run_is_a_note():
    (finding,) = check(history([[0.0] * 4] * 6, parents=COPIES, generations=6), guards=[OneFamily()])
    assert finding.severity == "note"


@pytest.mark.parametrize(
    "run",
    [
        history([[0.0] * 4] * 6),
        history([[0.0] * 4] * 6, parents={key: COPIES[key] for key in [(1, 1), (2, 2)]}),
        history([[0.0] * 4] * 3, parents=COPIES),
        history([[0.0]] * 6),  # a population of one
    ],
)
def test_one_family_is_silent(run):
    assert found(run, OneFamily()) == []


def test_a_fresh_start_founds_a_family_of_its_own_and_the_takeover_is_said_once():
    parents = COPIES | {(0, 4): None, (0, 5): (1, 4)}
    assert found(history([[0.0] * 4] * 7, parents=parents), OneFamily()) == [("one_family", "", 3)]


# ---- at a bound -----------------------------------------------------------------------------------------------------------------------------


def held(places, parameter=LR, name="lr", members=5):
    """``places[g]``: how many members are at the bound that is given, in each generation; the others are in the middle."""
    value = {"low": parameter.low, "high": parameter.high}
    rows = [[value[side]] * count + [parameter.from_unit(0.5)] * (members - count) for side, count in places]
    return history([[0.0] * members] * len(rows), space={name: parameter}, hparams=lambda m, g: {name: rows[g][m]})


@pytest.mark.parametrize(("side", "parameter"), [(s, p) for s in ("low", "high") for p in (LR, Float(0.0, 1.0), Int(1, 8))])
def test_at_bound_sees_most_members_there_for_three_generations(side, parameter):
    other = "high" if side == "low" else "low"
    run = held([(other, 3), (side, 2), (side, 3), (side, 3), (side, 4)], parameter)
    assert found(run, AtBound()) == [(f"at_{side}_bound", "lr", 4)]
    (finding,) = check(run, guards=[AtBound()])
    assert f"80% of the members hold lr at its {'lower' if side == 'low' else 'upper'} bound, {getattr(parameter, side):g};" in finding.text
    assert "since generation 2" in finding.text


def test_within_a_hundredth_of_the_scale_is_at_the_bound():
    def run(u):
        return history([[0.0] * 4] * 3, space={"lr": LR}, hparams=lambda m, g: {"lr": LR.from_unit(u)})

    assert found(run(0.0099), AtBound()) == [("at_low_bound", "lr", 2)]
    assert found(run(0.9901), AtBound()) == [("at_high_bound", "lr", 2)]
    assert found(run(0.0101), AtBound()) == found(run(0.9899), AtBound()) == []


@pytest.mark.parametrize(
    "run",
    [
        held([("low", 3), ("low", 3), ("low", 2), ("low", 3), ("low", 3)]),
        held([("low", 3), ("high", 3), ("low", 3)]),
        held([("low", 2)] * 5, members=4),  # half is not most
        held([("low", 5)] * 5, Int(1, 3)),  # too few values to be anywhere else
        history([[0.0] * 4] * 4, space={"a": Categorical(["x", "y"])}, hparams=lambda m, g: {"a": "x"}),
        # inactive in one generation, and outside the space it is read with
        history([[0.0] * 4] * 4, space={"lr": LR}, hparams=lambda m, g: {} if g == 2 else {"lr": 1e-5}),
        history([[0.0] * 4] * 4, space={"lr": LR}, hparams=lambda m, g: {"lr": 1e-9}),
    ],
)
def test_at_bound_is_silent(run):
    assert found(run, AtBound()) == []


# ---- noise ----------------------------------------------------------------------------------------------------------------------------------


def measured(quality, noise, *, members=20, generations=12, seed=0):
    """Members of fixed quality, normally distributed, measured with normal noise."""
    rng = generator(seed, 0, 0, "noise")
    base = rng.normal(0, quality, members)
    return (base + rng.normal(0, noise, (generations, members))).tolist() if noise else [base.tolist()] * generations


def test_noise_is_seen_in_ups_and_downs():
    ((name, subject, generation),) = found(history(measured(0.5, 1.0)), Noise())
    assert (name, subject) == ("noise", "")
    assert generation >= 3  # three generations make one zigzag, and three of these are looked at


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_noise_is_silent_where_members_differ_by_more(noise):
    assert found(history(measured(1.0, noise)), Noise()) == []


def test_the_share_of_noise_is_estimated_without_bias():
    rng = generator(1, 0, 0, "noise")
    n, sigma, walk = 200_000, 0.7, 0.5
    quality = np.cumsum(np.column_stack([rng.normal(0, 2.0, n), rng.normal(0, walk, (n, 2))]), axis=1) + rng.normal(0, 0.0, n)[:, None]
    values = quality + rng.normal(0, sigma, (n, 3)) + np.array([0.0, 5.0, 7.0])  # everybody improves alike: no noise
    zigzag = Zigzag.of([tuple(line) for line in values])
    assert zigzag.freedom == n - 1
    assert zigzag.noise / zigzag.freedom == pytest.approx(sigma**2, rel=0.02)
    assert zigzag.spread / zigzag.freedom == pytest.approx(2.0**2 + walk**2 + sigma**2, rel=0.02)


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_what_selection_does_to_the_share_is_as_documented(share):
    rng = generator(2, 0, 0, "noise")
    n = 200_000
    values = rng.normal(0, math.sqrt(1 - share), n)[:, None] + rng.normal(0, math.sqrt(share), (n, 3))
    kept = values[values[:, 1] > np.quantile(values[:, 1], 0.2)]
    zigzag = Zigzag.of([tuple(line) for line in kept])
    left = truncnorm.var(norm.ppf(0.2), np.inf)
    assert zigzag.noise / zigzag.spread == pytest.approx(share + share * (1 - share) * (1 / left - 1), abs=0.02)
    assert 0.5 * 0.5 * (1 / left - 1) == pytest.approx(0.18, abs=0.005)


def test_steady_differences_in_speed_are_not_noise():
    speeds = np.linspace(0.0, 1.0, 20)
    run = history([(speeds * g).tolist() for g in range(12)])
    assert found(run, Noise()) == []
    assert Zigzag.of([(0.0, s, 2 * s) for s in speeds]).noise < 0


def test_a_copy_breaks_the_line_and_so_does_a_value_that_is_not_finite():
    values = measured(0.0, 1.0)
    everybody = {(m, g): ((m + 1) % 20, g - 1) for m in range(20) for g in range(1, 12)}
    assert found(history(values, parents=everybody), Noise()) == []
    gaps = [[math.nan if (g + m) % 3 == 0 else value for m, value in enumerate(row)] for g, row in enumerate(values)]
    assert found(history(gaps), Noise()) == []
    assert found(history(values), Noise()) != []


def test_little_is_not_enough():
    assert found(history(measured(0.0, 1.0, members=2)), Noise()) == []


def sampled(spread, sd, *, members=10, generations=4, count=4):
    """Values without ups and downs whose samples scatter: as the mean of ``count`` samples with standard deviation ``sd``."""
    means = (np.linspace(-1, 1, members) * spread).tolist()
    unit = np.resize([-1.0, 1.0], count)
    unit = unit / unit.std(ddof=1)
    return history([means] * generations, samples=lambda m, g: tuple(means[m] + sd * unit))


def test_noise_is_seen_in_samples():
    # the variance of the mean of four samples is sd**2 / 4 = 1
    spread = np.linspace(-1, 1, 10).std(ddof=1)
    assert found(sampled(1.0 / spread * math.sqrt(1.9), 2.0), Noise()) == [("noise", "", 2)]
    (finding,) = check(sampled(1.0 / spread * math.sqrt(1.6), 2.0), guards=[Noise()])
    assert "About 62% of the variance" in finding.text  # 1 / 1.6
    assert "the samples of generations 0 to 2" in finding.text
    assert found(sampled(1.0 / spread * math.sqrt(2.1), 2.0), Noise()) == []


def test_samples_that_agree_outweigh_ups_and_downs():
    values = measured(0.0, 1.0)  # real changes of quality, as the samples say
    assert found(history(values, samples=lambda m, g: (values[g][m], values[g][m])), Noise()) == []
    assert found(history(values[:3], samples=lambda m, g: (values[g][m], values[g][m])[: 2 if m == 0 else 1]), Noise()) == []


def test_all_values_equal_but_samples_scatter():
    (finding,) = check(sampled(0.0, 1.0), guards=[Noise()])
    assert "About 100% of the variance" in finding.text
    assert "the worse one wins 50%" in finding.text


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_wrong_choice_is_what_a_simulation_gives(share):
    rng = generator(3, 0, 0, "noise")
    quality = rng.normal(0, math.sqrt(1 - share), (2, 400_000))
    value = quality + rng.normal(0, math.sqrt(share), (2, 400_000))
    assert np.mean((quality[0] > quality[1]) != (value[0] > value[1])) == pytest.approx(wrong_choice(share), abs=0.003)


# ---- overhead -------------------------------------------------------------------------------------------------------------------------------


def timed(train, *others, generations=4, of=20, interval=100):
    """Reports that say how long they took; ``None`` says nothing."""
    run = history([[0.0, 0.0]] * generations, generations=of, interval=interval)
    said = {"seconds.train": train} | {f"seconds.{i}": seconds for i, seconds in enumerate(others)} | {"loss": 1e9}
    return run, {record.key: {} if train is None else said for record in run.records}


def test_overhead_is_what_does_not_train():
    run, metrics = timed(0.8, 0.15, 0.05)
    assert found(run, Overhead(), metrics=metrics) == [("overhead", "", 3)]
    (finding,) = check(run, metrics, guards=[Overhead()])
    # 0.2 s of 1 s; to be 5 %, training has to take 19 * 0.2 = 3.8 s: 475 steps instead of 100, which leaves 4 generations
    assert "20% of the time" in finding.text
    assert "interval=480 instead of 100" in finding.text
    assert "too few generations" in finding.text


def test_overhead_recommends_what_the_run_can_bear():
    run, metrics = timed(0.8, 0.2, of=100, interval=2)
    (finding,) = check(run, metrics, guards=[Overhead()])
    assert "interval=10 instead of 2 would bring that to 5%, with 20 generations in as many steps." in finding.text


def test_overhead_is_silent():
    assert found(timed(0.9, 0.09)[0], Overhead(), metrics=timed(0.9, 0.09)[1]) == []  # 9 %
    run, metrics = timed(None)
    assert found(run, Overhead(), metrics=metrics) == found(run, Overhead()) == []
    run, metrics = timed(0.5, 0.5, generations=3)  # generation 0 warms up, and two are not enough
    assert found(run, Overhead(), metrics=metrics) == []


# ---- the watch ------------------------------------------------------------------------------------------------------------------------------


def test_a_generation_counts_once_everybody_has_reported():
    whole = held([("low", 4)] * 3)
    part = History(started=whole.started, records=whole.records[:-1])
    assert found(whole, AtBound()) == [("at_low_bound", "lr", 2)]
    assert found(part, AtBound()) == []
    assert found(History(started=whole.started, records=part.records, retired={4: "failed"}), AtBound()) == [("at_low_bound", "lr", 2)]


def test_nobody_left_is_no_generation():
    run = history([[0.0, 0.0]])
    assert check(History(started=run.started, records=(), retired={0: "failed", 1: "failed"})) == ()


def test_a_watch_says_each_thing_once():
    run = held([("low", 4)] * 6)
    watch = Watch(run.started)
    new = []
    for record in run.records:
        watch.add(record, {})
        new.append(watch.close())
    assert [finding.name for finding in watch.findings] == ["at_low_bound"]
    assert [len(findings) for findings in new if findings] == [1]


def test_values_at_the_end_of_the_floating_point_range_are_no_trouble():
    """Their squares are not finite, and warnings are errors here."""
    assert "noise" not in {finding.name for finding in check(history([[1e300 * member for member in range(-2, 2)]] * 6))}


def test_values_that_are_never_finite_are_no_trouble():
    assert check(history([[math.nan] * 4] * 6, space={"lr": LR}, hparams=lambda m, g: {"lr": 1e-3})) == ()


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, -1.0, 1e300])
def test_seconds_that_are_no_time_do_not_count(odd):
    run, metrics = timed(0.8, 0.2, odd)
    assert found(run, Overhead(), metrics=metrics) == [("overhead", "", 3)]
    run, metrics = timed(odd, 0.2)
    assert found(run, Overhead(), metrics=metrics) == []


def test_overhead_of_training_that_takes_no_time_at_all():
    run, metrics = timed(1e-320, 1.0)
    assert found(run, Overhead(), metrics=metrics) == [("overhead", "", 3)]


def test_one_generation_is_written_as_one():
    (finding,) = check(history([[0.0, 0.0], [0.0, 0.0]], parents={(0, 1): (1, 0)}, generations=10), guards=[OneFamily()])
    assert "after about 1 generation if one founder" in finding.text
    space = Space(lr=Float(1e-5, 1.0, log=True))
    rules = Settings(population_size=8, interval=1, generations=1)
    texts = [found.text for found in check_settings(PBT(space=space, settings=rules, explore=explore.Perturb()))]
    assert any("1 generation is too few" in text for text in texts)
    assert any("in 1 generation small steps" in text for text in texts)
