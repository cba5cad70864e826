"""Each rule of the machine by itself, with answers worked out by hand."""

import math

import numpy as np
import pytest

from lamarck import exploit, explore
from lamarck._errors import ReportError, SettingsError, SpaceError, StaleReport, StrategyError
from lamarck.pbt import PBT
from lamarck.population import replay
from lamarck.space import Float, Int, Space
from lamarck.testing.simulation import simulate
from lamarck.types import Assigned, Ended, Exploit, Explore, Failed, Failure, Report, Reported, Retired, Settings, Source, Started

SPACE = Space(h=Float(0.0, 1.0))


def machine(size=4, generations=3, *, exploit=exploit.Truncation(bottom=0.25, top=0.25), explore=explore.Keep(), initial=(), **settings):
    rules = Settings(population_size=size, interval=10, generations=generations, **settings)
    return PBT(space=SPACE, settings=rules, exploit=exploit, explore=explore, initial=initial)


def values(*table):
    """A step function that looks its values up: table[generation][member]."""
    return lambda interval, state: (table[interval.generation][interval.member], None)


def intervals(events):
    return {event.interval.key: event.interval for event in events if isinstance(event, Assigned)}


class Driver:
    """The machine with its journal, for tests that say one thing after the other."""

    def __init__(self, pbt):
        self.pbt, self.events = pbt, list(pbt.init())

    @property
    def population(self):
        return replay(self.events)

    def claim(self, member):
        self.events += self.pbt.decide(self.population, member)
        return self.population.members[member].interval

    def report(self, member, value, checkpoint="auto", **more):
        interval = self.claim(member)
        name = f"{member}-{interval.generation}" if checkpoint == "auto" else checkpoint
        report = Report(member=member, generation=interval.generation, step=interval.until, value=value, checkpoint=name, **more)
        new = self.pbt.report(self.population, report)
        self.events += new
        return new

    def fail(self, member, kind="error", **more):
        interval = self.claim(member)
        new = self.pbt.fail(self.population, Failure(member=member, generation=interval.generation, kind=kind, **more))
        self.events += new
        return new


def test_first_intervals_start_from_nothing_with_the_initial_configurations():
    pbt = machine(initial=[{"h": 0.25}])
    first = intervals(simulate(pbt, values([1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4])))
    assert first[0, 0].hparams == {"h": 0.25}
    assert all(first[m, 0].restore is None and first[m, 0].start == 0 and first[m, 0].until == 10 for m in range(4))


def test_truncation_by_hand():
    events = simulate(machine(), values([4, 3, 2, 1], [4, 3, 2, 5], [0, 0, 0, 0]))
    got = intervals(events)
    assert got[3, 1].parent == (0, 0)
    assert got[3, 1].restore == "0-0"
    assert got[3, 1].hparams == got[0, 0].hparams
    assert got[3, 1].info["reason"] == "bottom 1 of 4: copied member 0, generation 0"
    assert [got[m, 1].parent for m in range(3)] == [(0, 0), (1, 0), (2, 0)]
    assert got[2, 2].parent == (3, 1)  # the child has overtaken everybody and is copied in turn
    assert events[-1] == Ended(reason="generations")


def test_mode_min_is_the_mirror_image():
    down = intervals(simulate(machine(mode="min"), values([4, 3, 2, 1], [4, 3, 2, 1], [0, 0, 0, 0])))
    up = intervals(simulate(machine(), values([-4, -3, -2, -1], [-4, -3, -2, -1], [0, 0, 0, 0])))
    assert {key: (i.parent, i.hparams) for key, i in down.items()} == {key: (i.parent, i.hparams) for key, i in up.items()}
    assert down[0, 1].parent == (3, 0)


def test_same_seed_same_decisions_and_another_seed_others():
    def run(seed):
        return simulate(
            PBT(space=SPACE, settings=Settings(population_size=6, interval=10, generations=5, seed=seed)), lambda i, s: (i.hparams["h"], None)
        )

    assert run(1) == run(1)
    assert run(1) != run(2)


@pytest.mark.parametrize("speeds", [(1.0,), (1.0, 1.0), (1.0, 0.3, 2.7), (0.1, 1, 1, 1, 1, 1)])
def test_synchronous_decisions_do_not_depend_on_workers_or_speeds(speeds):
    pbt = PBT(space=SPACE, settings=Settings(population_size=6, interval=10, generations=6, seed=3))
    one = intervals(simulate(pbt, lambda i, s: (i.hparams["h"] * i.until, None)))
    assert intervals(simulate(pbt, lambda i, s: (i.hparams["h"] * i.until, None), speeds=speeds)) == one


def test_comparison_at_own_age_gives_an_asynchronous_run_the_selection_of_the_synchronous_one():
    """Values grow with age. At own age a slow machine costs nothing; by the latest report its members look bad and are copied over."""

    def grow(interval, state):
        return interval.until + interval.hparams["h"], None

    def copies(compare, lead):
        settings = Settings(population_size=2, interval=10, generations=8, max_lead=lead, compare=compare)
        pbt = PBT(space=SPACE, settings=settings, exploit=exploit.Best(), explore=explore.Keep(), initial=[{"h": 0.9}, {"h": 0.1}])
        events = simulate(pbt, grow, speeds=(0.4, 1.0))
        return [(i.member, i.parent[0]) for i in intervals(events).values() if i.copied]

    assert copies("age", 0)[0] == (1, 0)
    assert (0, 1) not in copies("age", None)
    assert copies("latest", None)[0] == (0, 1)


def test_a_slow_machine_does_not_change_who_wins_when_members_are_compared_at_their_own_age():
    """Each founder improves at a rate of its own; machines differ twofold in speed. The best rate must win whatever machine it is on."""

    def run(compare, lead, best):
        settings = Settings(population_size=8, interval=10, generations=30, max_lead=lead, compare=compare)
        rates = [{"h": 0.99 if member == best else 0.8 + 0.02 * member} for member in range(8)]
        pbt = PBT(space=SPACE, settings=settings, exploit=exploit.Truncation(bottom=0.25, top=0.25), explore=explore.Keep(), initial=rates)
        events = simulate(pbt, lambda i, s: ((s or 0.0) + i.hparams["h"], (s or 0.0) + i.hparams["h"]), speeds=(1.0, 0.5) * 4)
        overwritten = any(i.copied and i.member == best and i.hparams["h"] != 0.99 for i in intervals(events).values())
        return overwritten, replay(events).best.hparams["h"]

    for best in (0, 1):  # on a fast machine, on a slow one
        assert run("age", 0, best) == (False, 0.99) == run("age", None, best)
    assert run("latest", None, 1)[0], "by the latest report the slow machine's good member is taken for a bad one"


def test_max_lead_bounds_the_spread():
    for lead in (0, 1, 2, None):
        spread, ages = 0, {0: 0, 1: 0}
        settings = Settings(population_size=2, interval=10, generations=9, max_lead=lead)
        for event in simulate(PBT(space=SPACE, settings=settings, exploit=exploit.Never()), lambda i, s: (0.0, None), speeds=(1.0, 0.05)):
            if isinstance(event, Assigned):
                spread = max(spread, event.interval.generation - min(ages.values()))
            if isinstance(event, Reported):
                ages[event.report.member] += 1
        assert spread == (lead if lead is not None else 8)


def test_whose_turn_lowest_generation_then_own_then_lowest_id():
    driver = Driver(machine(max_lead=None))
    assert driver.pbt.next(driver.population) == 0
    assert driver.pbt.next(driver.population, held={0, 1}) == 2
    assert driver.pbt.next(driver.population, own=3) == 3
    driver.report(3, 1.0)
    assert driver.pbt.next(driver.population, own=3) == 0
    assert driver.pbt.next(driver.population, held={0, 1, 2}, own=3) == 3
    assert driver.pbt.next(driver.population, held={0, 1, 2, 3}) is None


def test_a_repeated_report_changes_nothing_even_with_another_value():
    driver = Driver(machine())
    driver.report(0, 1.0)
    assert driver.pbt.report(driver.population, Report(member=0, generation=0, step=10, value=99.0)) == ()


@pytest.mark.parametrize(
    ("report", "error", "says"),
    [
        (dict(member=9, generation=0, step=10), ReportError, "members 0 to 3"),
        (dict(member=1, generation=0, step=10), StaleReport, "not handed out"),
        (dict(member=0, generation=3, step=10), StaleReport, "at generation 0"),
        (dict(member=0, generation=0, step=11), ReportError, "from 0 to 10"),
        (dict(member=0, generation=0, step=0), ReportError, "from 0 to 10"),
    ],
)
def test_illegal_reports(report, error, says):
    driver = Driver(machine())
    driver.claim(0)
    with pytest.raises(error, match=says):
        driver.pbt.report(driver.population, Report(value=1.0, **report))


def test_report_of_a_retired_member_is_stale():
    driver = Driver(machine(max_failures=0))
    driver.fail(0)
    driver.fail(0)
    assert driver.population.members[0].retired
    with pytest.raises(StaleReport, match="retired"):
        driver.pbt.report(driver.population, Report(member=0, generation=0, step=10, value=1.0))
    with pytest.raises(ReportError, match="nothing left"):
        driver.pbt.decide(driver.population, 0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_never_copied_and_its_member_copies(bad):
    driver = Driver(machine(exploit=exploit.Never()))
    for member, value in enumerate([bad, 1.0, 2.0, 3.0]):
        driver.report(member, value)
    assert driver.population.best.member == 3
    interval = driver.claim(0)
    assert interval.parent == (3, 0)
    assert interval.info["reason"].startswith("the last value was not finite: ")
    assert not driver.population.cohort(1).donor[0]


def test_nobody_to_copy_means_back_to_own_sound_weights_then_afresh():
    driver = Driver(machine(size=1))
    driver.report(0, 1.0)
    driver.report(0, math.nan)
    interval = driver.claim(0)
    assert (interval.parent, interval.restore, interval.start) == ((0, 0), "0-0", 10)
    lonely = Driver(machine(size=1))
    lonely.report(0, math.nan)
    interval = lonely.claim(0)
    assert (interval.parent, interval.restore, interval.start) == (None, None, 0)
    assert interval.hparams != lonely.population.initial[0]
    assert interval.info["reason"].endswith("fresh start")


def test_without_a_rescue_a_member_is_not_given_anothers_weights():
    pbt = PBT(space=SPACE, settings=Settings(population_size=2, interval=10, generations=3), exploit=exploit.Never(), rescue=None)
    driver = Driver(pbt)
    driver.report(0, 5.0)
    driver.report(1, math.nan)
    assert driver.claim(1).parent is None


def test_a_report_without_a_checkpoint_is_no_donor_and_its_member_goes_back():
    driver = Driver(machine(size=2, exploit=exploit.Best()))
    driver.report(0, 9.0, checkpoint=None)
    driver.report(1, 1.0)
    assert not driver.claim(1).copied
    assert driver.claim(0).parent == (1, 0)  # it has nothing of its own to go on from


def test_a_failed_interval_is_tried_again_then_other_weights_then_retired():
    driver = Driver(machine(size=2, generations=2, exploit=exploit.Never(), max_failures=1))
    driver.report(0, 1.0)
    driver.report(1, 2.0)
    first = driver.claim(0)
    assert [type(e) for e in driver.fail(0)] == [Failed]
    assert driver.claim(0) == first
    assert [type(e) for e in driver.fail(0)] == [Failed, Assigned]
    second = driver.claim(0)
    assert second.parent == (1, 0)
    assert second.info["reason"].startswith("failed 2 times: ")
    driver.fail(0)
    assert driver.claim(0) == second
    assert [type(e) for e in driver.fail(0, message="boom")] == [Failed, Retired]
    assert driver.population.members[0].retired
    assert driver.events[-1].reason == "generation 1 failed 4 times, the last time: boom"
    assert driver.report(1, 2.0)[-1] == Ended(reason="generations")


def test_failures_are_forgotten_after_a_report():
    driver = Driver(machine(max_failures=1))
    driver.fail(0)
    driver.report(0, 1.0)
    assert driver.population.members[0].failures == 0


def test_the_last_member_to_retire_ends_the_run():
    driver = Driver(machine(size=1, max_failures=0))
    driver.fail(0)
    assert driver.fail(0)[-1] == Ended(reason="lost")
    assert driver.pbt.next(driver.population) is None


def test_retired_members_are_not_waited_for():
    driver = Driver(machine(size=2, max_failures=0, exploit=exploit.Never()))
    driver.report(0, 1.0)
    driver.fail(1)
    assert driver.pbt.next(driver.population, held={1}) is None
    driver.fail(1)
    assert driver.pbt.next(driver.population) == 0


def test_a_damaged_checkpoint_sends_its_member_back_and_is_no_donor():
    driver = Driver(machine(size=2, generations=4, exploit=exploit.Never()))
    for member in (0, 1, 0, 1):
        driver.report(member, 1.0)
    interval = driver.claim(0)
    assert interval.restore == "0-1"
    driver.fail(0, kind="damaged", checkpoint="0-1")
    again = driver.claim(0)
    assert (again.restore, again.parent, again.start, again.generation) == ("0-0", (0, 0), 10, 2)
    assert again.hparams == interval.hparams
    assert not driver.population.cohort(1).donor[0]
    assert driver.population.members[0].failures == 0


def test_a_damaged_donor_makes_the_strategy_choose_again():
    driver = Driver(machine(size=3, exploit=exploit.Truncation(bottom=1.0, top=0.5)))
    for member, value in enumerate([1.0, 9.0, 5.0]):
        driver.report(member, value)
    assert driver.claim(0).parent == (1, 0)
    driver.fail(0, kind="damaged", checkpoint="1-0")
    assert driver.claim(0).parent != (1, 0)
    assert driver.population.best.checkpoint is None


def test_a_failure_that_names_another_checkpoint_counts_as_a_failure():
    driver = Driver(machine())
    assert [type(e) for e in driver.fail(0, kind="damaged", checkpoint="nonsense")] == [Failed]


@pytest.mark.parametrize(("mode", "sign"), [("max", 1), ("min", -1)])
def test_target_ends_the_run_and_late_reports_still_count(mode, sign):
    driver = Driver(machine(mode=mode, target=sign * 2.0, max_lead=None))
    driver.claim(1)
    driver.report(0, sign * 1.9)
    assert driver.population.ended is None
    assert driver.report(0, sign * 2.0)[-1] == Ended(reason="target")
    assert driver.pbt.next(driver.population) is None
    assert [type(e) for e in driver.report(1, sign * 7.0)] == [Reported]
    assert driver.population.best.member == 1


def test_each_interval_has_a_seed_of_its_own_and_a_repetition_the_same():
    events = simulate(machine(), values([4, 3, 2, 1], [4, 3, 2, 1], [4, 3, 2, 1]))
    seeds = [i.seed for i in intervals(events).values()]
    assert len(set(seeds)) == len(seeds) == 12
    assert intervals(simulate(machine(), values([4, 3, 2, 1], [4, 3, 2, 1], [4, 3, 2, 1])))[3, 1].seed == intervals(events)[3, 1].seed


class _Wrong(Exploit):
    name = "wrong"

    def __init__(self, source):
        self.source = source

    def to_dict(self):
        return {"name": self.name}

    def __call__(self, member, population, rng):
        return self.source


@pytest.mark.parametrize("source", [Source((0, 5), (0, 5)), Source((9, 0), (9, 0)), Source("x", "y"), Source((1, 0), (1, 0))])
def test_a_strategy_that_names_what_is_not_there_is_told_so(source):
    driver = Driver(machine(exploit=_Wrong(source)))
    driver.report(0, 1.0)
    driver.report(1, 1.0, checkpoint=None)
    with pytest.raises(StrategyError, match="wrong"):
        driver.pbt.decide(driver.population, 0)


class _Explore(Explore):
    name = "custom"

    def __init__(self, fn):
        self.fn = fn

    def to_dict(self):
        return {"name": self.name}

    def __call__(self, hparams, member, population, space, rng):
        return self.fn(hparams, rng)


def test_what_an_exploration_makes_is_brought_into_bounds():
    driver = Driver(machine(explore=_Explore(lambda h, rng: {"h": 1.25}), exploit=exploit.Itself()))
    driver.report(0, 1.0)
    assert driver.claim(0).hparams == {"h": 0.75}  # reflected


@pytest.mark.parametrize("made", [{"h": "much"}, {"h": math.nan}])
def test_an_impossible_configuration_is_refused(made):
    driver = Driver(machine(explore=_Explore(lambda h, rng: made), exploit=exploit.Itself()))
    driver.report(0, 1.0)
    with pytest.raises(StrategyError, match="custom"):
        driver.pbt.decide(driver.population, 0)


def test_a_strategy_may_change_what_it_gets_and_the_donor_keeps_its_own():
    def halve(hparams, rng):
        hparams["h"] /= 2
        return hparams

    driver = Driver(machine(explore=_Explore(halve), exploit=exploit.Itself(), initial=[{"h": 0.5}] * 4))
    driver.report(0, 1.0)
    population = driver.population
    (event,) = driver.pbt.decide(population, 0)
    assert event.interval.hparams == {"h": 0.25}
    assert population.members[0].last.hparams == {"h": 0.5}


def test_an_exploration_without_an_answer_is_told_so():
    driver = Driver(machine(explore=_Explore(lambda h, rng: h.update(h=0.5)), exploit=exploit.Itself()))
    driver.report(0, 1.0)
    with pytest.raises(StrategyError, match="returned None and must return the changed hparams"):
        driver.pbt.decide(driver.population, 0)


def test_scalars_of_numpy_become_plain_values():
    space = Space(h=Float(0.0, 1.0), n=Int(1, 4), on=[True, False], opt=["a", "b"])
    given = {"h": np.float32(0.5), "n": np.int64(2), "on": np.bool_(True), "opt": np.str_("a")}
    settings = Settings(population_size=1, interval=10, generations=3)
    pbt = PBT(space=space, settings=settings, explore=_Explore(lambda h, rng: given), exploit=exploit.Itself(), initial=[given])
    driver = Driver(pbt)
    driver.report(0, 1.0)
    for hparams in (driver.population.initial[0], driver.claim(0).hparams):
        assert hparams == {"h": 0.5, "n": 2, "on": True, "opt": "a"}
        assert list(map(type, hparams.values())) == [float, int, bool, str]


def test_a_strategy_that_raises_is_named():
    def broken(hparams, rng):
        raise KeyError("learning_rate")

    driver = Driver(machine(explore=_Explore(broken), exploit=exploit.Itself()))
    driver.report(0, 1.0)
    with pytest.raises(StrategyError, match="the strategy 'custom' failed for member 0: KeyError: 'learning_rate'"):
        driver.pbt.decide(driver.population, 0)


def test_constraints_are_tried_again_and_given_up_for_the_inherited_configuration():
    space = Space(a=Float(0.0, 1.0), b=Float(0.0, 1.0)).where("a <= b")
    settings = Settings(population_size=1, interval=10, generations=3)
    start = {"a": 0.2, "b": 0.8}
    tried = []

    def sometimes(hparams, rng):
        tried.append(rng.random())
        return {"a": 0.9, "b": 0.1} if len(tried) < 5 else {"a": 0.3, "b": 0.3}

    pbt = PBT(space=space, settings=settings, exploit=exploit.Itself(), explore=_Explore(sometimes), initial=[start])
    driver = Driver(pbt)
    driver.report(0, 1.0)
    assert driver.claim(0).hparams == {"a": 0.3, "b": 0.3}
    assert len(set(tried)) == 5
    never = PBT(space=space, settings=settings, exploit=exploit.Itself(), explore=_Explore(lambda h, r: {"a": 1.0, "b": 0.0}), initial=[start])
    driver = Driver(never)
    driver.report(0, 1.0)
    assert driver.claim(0).hparams == start


def test_the_paper_copies_both_and_the_ablation_one_of_the_two():
    both, weights, hparams = (
        intervals(simulate(machine(size=2, exploit=rule), values([1, 2], [1, 2], [1, 2])))
        for rule in (exploit.Best(), exploit.WeightsOnly(exploit.Best()), exploit.HparamsOnly(exploit.Best()))
    )
    assert (both[0, 1].parent, both[0, 1].hparams) == ((1, 0), both[1, 0].hparams)
    assert (weights[0, 1].parent, weights[0, 1].hparams) == ((1, 0), weights[0, 0].hparams)
    assert (hparams[0, 1].parent, hparams[0, 1].hparams) == ((0, 0), hparams[1, 0].hparams)


def test_rebuilt_from_the_journal():
    pbt = PBT(
        space=SPACE,
        settings=Settings(population_size=3, interval=10, generations=2),
        exploit=exploit.Warmup(exploit.Tournament(), generations=1),
        explore=explore.Chain(explore.Gaussian(0.1), explore.Resample(probability=0.5)),
        rescue=None,
    )
    started = pbt.init({"who": "me"})[0]
    assert isinstance(started, Started)
    again = PBT.of(started)
    assert (again.space, again.settings, again.exploit, again.explore, again.rescue) == (
        pbt.space,
        pbt.settings,
        pbt.exploit,
        pbt.explore,
        None,
    )
    assert PBT.of(machine().init()[0]).rescue == exploit.Top()
    assert PBT.of(started, explore=explore.Keep()).explore == explore.Keep()
    with pytest.raises(SettingsError, match="colour"):
        PBT.of(started, colour=1)


def test_initial_configurations_are_checked():
    with pytest.raises(SettingsError, match="at most one for each member"):
        machine(size=1, initial=[{"h": 0.1}, {"h": 0.2}])
    with pytest.raises(SpaceError):
        machine(initial=[{"h": 2.0}])


@pytest.mark.parametrize(
    "wrong",
    [
        dict(population_size=0),
        dict(population_size=True),
        dict(population_size=2.0),
        dict(interval=0),
        dict(generations=-1),
        dict(mode="up"),
        dict(compare="never"),
        dict(seed="x"),
        dict(max_lead=-1),
        dict(max_lead=1.5),
        dict(max_failures=-1),
        dict(durable_every=0),
        dict(durable_every=True),
        dict(target=math.nan),
    ],
)
def test_settings_say_what_is_allowed(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Settings(**{"population_size": 2, "interval": 1, "generations": 1, **wrong})


def test_reports_take_any_number_and_nothing_else():
    assert Report(member=0, generation=0, step=1, value=np.float32(0.5)).value == 0.5
    with pytest.raises(ReportError, match="report a number"):
        Report(member=0, generation=0, step=1, value="good")
    with pytest.raises(ReportError, match="member"):
        Report(member=-1, generation=0, step=1, value=0.0)
    with pytest.raises(ReportError, match="step"):
        Report(member=1, generation=0, step=1.5, value=0.0)
