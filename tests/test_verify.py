"""Verification: true journals pass, and each kind of forgery is found where it stands."""

from dataclasses import replace

import pytest

from lamarck import exploit
from lamarck._errors import ReportError
from lamarck.pbt import PBT
from lamarck.population import replay
from lamarck.space import Float, Space
from lamarck.testing.simulation import simulate
from lamarck.types import Assigned, Damaged, Ended, Failed, Failure, Report, Reported, Retired, Settings
from lamarck.verify import verify

PBT_ = PBT(space=Space(h=Float(0.0, 1.0)), settings=Settings(population_size=6, interval=2, generations=6, seed=3, max_failures=0))
TRUE = simulate(PBT_, lambda interval, state: (interval.hparams["h"], None), speeds=(1.0, 0.7))


def forged(index, event):
    return [*TRUE[:index], event, *TRUE[index + 1 :]]


def index_of(kind, condition=lambda event: True):
    return next(i for i, event in enumerate(TRUE) if isinstance(event, kind) and condition(event))


def test_true_journals_pass():
    assert verify(TRUE) is None
    assert verify(TRUE[:17]) is None


def test_failures_retirements_and_damage_pass():
    events = list(PBT_.init())

    def add(new):
        events.extend(new)

    for member in range(6):
        add(PBT_.decide(replay(events), member))
        add(PBT_.report(replay(events), Report(member=member, generation=0, step=2, value=float(member), checkpoint=f"{member}-0")))
    add(PBT_.decide(replay(events), 3))
    add(PBT_.fail(replay(events), Failure(member=3, generation=1, kind="damaged", checkpoint="3-0")))
    add(PBT_.decide(replay(events), 4))
    for _ in range(2):
        add(PBT_.fail(replay(events), Failure(member=4, generation=1, kind="lost")))
    assert isinstance(events[-1], Retired)
    assert verify(events) is None
    assert verify([*events[:-1], Retired(member=3, reason="because")]).found == Retired(member=3, reason="because")


def test_a_changed_hyperparameter_is_found():
    i = index_of(Assigned, lambda event: event.interval.copied)
    event = TRUE[i]
    wrong = Assigned(interval=replace(event.interval, hparams={"h": 0.123}))
    found = verify(forged(i, wrong))
    assert (found.sequence, found.found, found.expected) == (i + 1, wrong, event)


def test_another_value_shows_at_the_decision_that_it_would_have_changed():
    i = index_of(Reported, lambda event: event.report.generation == 2)
    best = replace(TRUE[i].report, value=99.0 if TRUE[i].report.value < 0.5 else -99.0)
    found = verify(forged(i, Reported(report=best)))
    assert found is not None
    assert found.sequence > i + 1


def test_what_cannot_follow_at_all_is_explained():
    i = index_of(Reported)
    assert "not handed out" in verify(forged(1, TRUE[i])).why
    assert verify([*TRUE, Ended(reason="target")]).expected is None
    with pytest.raises(ReportError, match="Started"):
        verify(TRUE[1:])
    other = verify(TRUE, exploit=exploit.Never())
    assert other.found.interval.copied


@pytest.mark.parametrize("kind", [Assigned, Reported, Failed, Damaged])
def test_what_is_about_nobody_does_not_follow(kind):
    i = index_of(Assigned) if kind is Assigned else index_of(Reported)
    event = {
        Assigned: lambda: Assigned(interval=replace(TRUE[i].interval, member=99)),
        Reported: lambda: Reported(report=replace(TRUE[i].report, member=99)),
        Failed: lambda: Failed(failure=Failure(member=99, generation=0, kind="lost")),
        Damaged: lambda: Damaged(member=99, checkpoint="0-0"),
    }[kind]()
    found = verify(forged(i, event))
    assert (found.sequence, found.found, found.expected) == (i + 1, event, None)
    assert "member 99" in found.why
