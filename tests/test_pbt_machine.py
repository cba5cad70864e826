"""The Laws, under whatever hypothesis can think of: any order of claims, reports, failures, repetitions and lies."""

import math

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lamarck import codec, exploit, explore
from lamarck._errors import ReportError, StaleReport
from lamarck.pbt import PBT
from lamarck.population import apply, replay
from lamarck.space import Categorical, Float, Int, Space
from lamarck.types import Assigned, Failure, Report, Reported, Retired, Settings

SPACE = Space(lr=Float(1e-4, 1.0, log=True), width=Int(1, 9), low=Float(0.0, 1.0), high=Float(0.0, 1.0), kind=Categorical(["a", "b"])).where(
    "low <= high"
)

EXPLOITS = [
    exploit.Truncation(),
    exploit.Truncation(bottom=0.5, top=0.5),
    exploit.Tournament(),
    exploit.Welch(k=2),
    exploit.Best(),
    exploit.Never(),
    exploit.Itself(),
    exploit.FirstOf(exploit.WeightsOnly(exploit.Best()), exploit.Itself()),
    exploit.HparamsOnly(exploit.Tournament()),
    exploit.Grace(exploit.Warmup(exploit.Margin(exploit.Truncation(), absolute=0.1), generations=2), generations=1),
]
VALUES = st.one_of(st.sampled_from([0.0, 1.0, math.nan, math.inf, -math.inf]), st.floats(-3, 3))


class Machine(RuleBasedStateMachine):
    @initialize(
        size=st.integers(1, 6),
        lead=st.sampled_from([0, 1, 3, None]),
        compare=st.sampled_from(["age", "latest"]),
        mode=st.sampled_from(["max", "min"]),
        rule=st.sampled_from(EXPLOITS),
        change=st.sampled_from([explore.PerturbOrResample(), explore.Gaussian(0.3), explore.Keep()]),
        rescue=st.sampled_from([None, exploit.Top()]),
        seed=st.integers(0, 3),
    )
    def begin(self, size, lead, compare, mode, rule, change, rescue, seed):
        settings = Settings(
            population_size=size, interval=10, generations=4, mode=mode, seed=seed, max_lead=lead, compare=compare, max_failures=1
        )
        self.pbt = PBT(space=SPACE, settings=settings, exploit=rule, explore=change, rescue=rescue)
        self.events, self.population, self.held, self.stored = [], None, {}, set()
        self.done = {}
        self.add(self.pbt.init())

    def add(self, events):
        for event in events:
            before = self.population
            self.population = apply(before, event)
            self.events.append(event)
            if isinstance(event, Reported):
                self.done[event.report.key] = event.report
                if event.report.checkpoint is not None:
                    self.stored.add(event.report.checkpoint)
            if isinstance(event, Assigned):
                self.check(event.interval)
            if isinstance(event, Retired):
                self.held = {worker: member for worker, member in self.held.items() if member != event.member}
        self.stored &= self.population.live()  # the most eager sweep there is

    def check(self, interval):
        SPACE.validate(interval.hparams)
        assert interval.until - interval.start == 10
        assert interval.generation == max((g + 1 for m, g in self.done if m == interval.member), default=0)
        if interval.parent is None:
            assert interval.restore is None
            assert interval.start == 0
        else:
            judged = self.done[interval.parent]
            assert interval.restore == judged.checkpoint is not None  # Law 1
            assert interval.restore in self.stored  # Law 9
            assert math.isfinite(judged.value)
            assert interval.start == judged.step
            if self.pbt.settings.compare == "age":
                assert interval.parent[1] < interval.generation  # Law 6

    @rule(worker=st.integers(0, 3))
    def claim(self, worker):
        if worker in self.held:
            return
        member = self.pbt.next(self.population, set(self.held.values()))
        active = [m for m in self.population.members if not m.retired]
        if member is None:
            return
        lead = self.pbt.settings.max_lead
        generation = int(self.population.generations[member])
        if lead is not None:
            assert generation - min(int(self.population.generations[m.id]) for m in active) <= lead  # Law 5
        assert member not in self.held.values()
        self.add(self.pbt.decide(self.population, member))
        assert self.pbt.decide(self.population, member) == ()  # asking again changes nothing
        self.held[worker] = member

    @precondition(lambda self: self.held)
    @rule(data=st.data(), value=VALUES, saved=st.integers(0, 9), damaged=st.booleans())
    def report(self, data, value, saved, damaged):
        worker = data.draw(st.sampled_from(sorted(self.held)))
        interval = self.population.members[self.held.pop(worker)].interval
        name = f"{interval.member}-{interval.generation}" if saved else None
        report = Report(member=interval.member, generation=interval.generation, step=interval.until, value=value, checkpoint=name)
        self.add(self.pbt.report(self.population, report))
        assert self.pbt.report(self.population, report) == ()  # Law 8: a repeated report changes nothing

    @precondition(lambda self: self.held)
    @rule(data=st.data(), kind=st.sampled_from(["error", "lost", "timeout", "damaged"]))
    def fail(self, data, kind):
        worker = data.draw(st.sampled_from(sorted(self.held)))
        member = self.held.pop(worker)
        interval = self.population.members[member].interval
        name = interval.restore if kind == "damaged" else None
        failure = Failure(member=member, generation=interval.generation, kind=kind, message="it broke", checkpoint=name)
        self.add(self.pbt.fail(self.population, failure))
        if name is not None:
            assert self.population.members[member].interval.restore != name

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def vanish(self, data):
        """The worker dies and nobody says so: the interval stands."""
        member = self.held.pop(data.draw(st.sampled_from(sorted(self.held))))
        assert self.population.members[member].interval is not None

    @rule(member=st.integers(0, 9), generation=st.integers(0, 9), step=st.integers(0, 200))
    def lie(self, member, generation, step):
        before = self.population
        state = before.members[member] if member < len(before) else None
        standing = state.interval if state else None
        if standing and standing.generation == generation and standing.start < step <= standing.until:
            return
        report = Report(member=member, generation=generation, step=step, value=1.0)
        if state and not state.retired and generation < before.generations[member]:
            assert self.pbt.report(before, report) == ()
        else:
            with pytest.raises(ReportError):
                self.pbt.report(before, report)
        if not (standing and standing.generation == generation):
            with pytest.raises(StaleReport):
                self.pbt.fail(before, Failure(member=member, generation=generation, kind="error"))
        assert self.population is before

    @invariant()
    def journal_is_the_truth(self):
        if getattr(self, "events", None):
            again = replay(codec.decode(codec.encode(event)) for event in self.events)
            assert again == self.population
            assert (again.generations == self.population.generations).all()
            assert again.live() == self.population.live()

    @invariant()
    def disk_is_bounded(self):
        if getattr(self, "population", None) and self.pbt.settings.max_lead is not None:
            assert len(self.population.live()) <= len(self.population) * (self.pbt.settings.max_lead + 5) + 1

    @invariant()
    def cohorts_are_what_the_records_say(self):
        """The incremental cohorts equal those counted from nothing."""
        if getattr(self, "population", None) is None:
            return
        for member in self.population.members:
            kept = self.population.cohort(member.id)
            fresh = self.population._count(kept.age)
            assert kept.fitness.tolist() == pytest.approx(fresh.fitness.tolist(), nan_ok=True, abs=0)
            assert kept.generation.tolist() == fresh.generation.tolist()
            assert kept.donor.tolist() == fresh.donor.tolist()


TestMachine = Machine.TestCase
TestMachine.settings = hypothesis_settings(max_examples=120, stateful_step_count=40, deadline=None)
