"""The only writer: what is acknowledged is in the journal, and what raises has never happened."""

import threading
from dataclasses import dataclass, replace

import numpy as np
import pytest

from lamarck import codec, exploit, explore
from lamarck._errors import CheckpointError, CodecError, JournalConflict, JournalError, StaleReport, StrategyError
from lamarck.audience import Audience
from lamarck.checkpoints import FolderCheckpoints, MemoryCheckpoints
from lamarck.coordinator import Coordinator, events_of
from lamarck.journal import MemoryJournal
from lamarck.pbt import PBT
from lamarck.population import replay
from lamarck.space import Float, Space
from lamarck.types import Assigned, Explore, Failure, Report, Reported, Settings
from watched import Watched

SPACE = Space(h=Float(0.0, 1.0))


def start(journal=None, store=None, **settings):
    rules = Settings(**({"population_size": 3, "interval": 10, "generations": 3} | settings))
    pbt = PBT(space=SPACE, settings=rules, exploit=exploit.Truncation(bottom=0.4, top=0.4), explore=explore.Keep())
    journal = MemoryJournal() if journal is None else journal
    return Coordinator.start(pbt, journal, "main", MemoryCheckpoints() if store is None else store)


def report(coordinator, interval, value=1.0):
    name = coordinator.checkpoints.put(interval.member, interval.generation, {"x": np.zeros(1)})
    return Report(member=interval.member, generation=interval.generation, step=interval.until, value=value, checkpoint=name)


def test_report_and_next_interval_are_one_transaction():
    journal = Watched()
    coordinator = start(journal)
    first = coordinator.exchange("w", None)
    assert first.key == (0, 0)
    second = coordinator.exchange("w", report(coordinator, first))
    assert second.key == (1, 0)
    assert journal.appended == [1, 1, 2]


def test_each_worker_keeps_its_own_member_when_there_are_enough():
    coordinator = start(max_lead=None)
    at = {worker: coordinator.exchange(worker, None) for worker in "abc"}
    assert {worker: interval.member for worker, interval in at.items()} == {"a": 0, "b": 1, "c": 2}
    for worker in "cab" * 2:
        at[worker] = coordinator.exchange(worker, report(coordinator, at[worker]))
        assert at[worker].member == "abc".index(worker)


def test_a_synchronous_worker_that_is_early_gets_nothing_and_then_its_turn():
    coordinator = start(population_size=2)
    a, b = coordinator.exchange("a", None), coordinator.exchange("b", None)
    assert coordinator.exchange("a", report(coordinator, a)) is None
    assert not coordinator.over
    assert coordinator.exchange("b", report(coordinator, b)).key == (1, 1)
    assert coordinator.exchange("a", None).key == (0, 1)


def test_a_member_that_was_handed_on_is_lost_to_the_worker_that_comes_back():
    coordinator = start()
    interval = coordinator.exchange("old", None)
    assert coordinator.release("old") == 0
    assert coordinator.release("old") is None
    assert coordinator.exchange("new", None) == interval
    with pytest.raises(StaleReport, match="handed to another worker"):
        coordinator.exchange("old", report(coordinator, interval))
    assert coordinator.exchange("new", report(coordinator, interval)) is not None


def test_what_cannot_be_journalled_has_not_happened():
    journal = Watched()
    coordinator = start(journal)
    interval = coordinator.exchange("w", None)
    before = coordinator.population
    journal.full = True
    with pytest.raises(JournalError):
        coordinator.exchange("w", report(coordinator, interval))
    assert coordinator.population is before
    journal.full = False
    assert coordinator.exchange("w", report(coordinator, interval)).key == (1, 0)
    assert replay(events_of(coordinator.journal, "main")) == coordinator.population


def test_a_second_coordinator_is_a_clean_error():
    journal, store = MemoryJournal(), MemoryCheckpoints()
    one = start(journal, store)
    two = Coordinator.resume(journal, "main", store)
    interval = one.exchange("w", None)
    with pytest.raises(JournalConflict):
        two.exchange("w", None)
    assert one.exchange("w", report(one, interval)) is not None


def test_the_report_is_kept_when_the_decision_after_it_fails():
    class Broken(Explore):
        name = "broken"

        def to_dict(self):
            return {"name": "keep"}

        def __call__(self, hparams, member, population, space, rng):
            return {"h": "nonsense"}

    pbt = PBT(space=SPACE, settings=Settings(population_size=1, interval=1, generations=2), exploit=exploit.Itself(), explore=Broken())
    journal, store = MemoryJournal(), MemoryCheckpoints()
    coordinator = Coordinator.start(pbt, journal, "main", store)
    interval = coordinator.exchange("w", None)
    with pytest.raises(StrategyError, match="broken"):
        coordinator.exchange("w", report(coordinator, interval))
    assert [type(event) for event in events_of(journal, "main")][-1] is Reported
    healed = Coordinator.resume(journal, "main", store)
    assert healed.exchange("w", None).key == (0, 1)


def test_a_resumed_run_hands_out_the_standing_intervals_first():
    journal, store = MemoryJournal(), MemoryCheckpoints()
    coordinator = start(journal, store)
    a, b = coordinator.exchange("a", None), coordinator.exchange("b", None)
    coordinator.exchange("a", report(coordinator, a), claim=False)
    length = len(list(journal.read("main")))
    again = Coordinator.resume(journal, "main", store)
    assert again.exchange("x", None) == b
    assert len(list(journal.read("main"))) == length, "nothing new was decided"


def test_checkpoints_that_nobody_may_name_are_swept_and_orphans_at_the_next_start():
    journal, store = MemoryJournal(), MemoryCheckpoints()
    coordinator = start(journal, store, generations=8)
    interval = coordinator.exchange("w", None)
    while interval is not None:
        interval = coordinator.exchange("w", report(coordinator, interval, value=float(interval.member)))
    assert coordinator.over
    assert len(store.names()) <= 3 * 3 + 1
    assert set(store.names()) == coordinator.population.live()
    orphan = store.put(2, 99, {})
    Coordinator.resume(journal, "main", store)
    assert orphan not in store.names()


def test_who_is_refused_because_the_run_is_there_does_not_touch_its_weights():
    journal, store = MemoryJournal(), MemoryCheckpoints()
    one = start(journal, store)
    one.exchange("w", report(one, one.exchange("w", None)))
    kept = store.names()
    with pytest.raises(JournalConflict):
        start(journal, store)
    assert store.names() == kept != []


def test_resuming_leaves_what_another_process_may_be_about_to_report_and_sweeps_what_nobody_can():
    journal, store = MemoryJournal(), MemoryCheckpoints()
    one = start(journal, store)
    interval = one.exchange("w", None)
    old = store.put(interval.member, interval.generation, {"x": np.ones(1)})  # of a training that was not the one reported
    following = one.exchange("w", report(one, interval))
    coming = report(one, following)
    Coordinator.resume(journal, "main", store)
    assert old not in store.names()
    one.exchange("w", coming)
    assert coming.checkpoint in store.names()


def test_a_failure_is_journalled_and_the_interval_handed_out_again():
    coordinator = start()
    interval = coordinator.exchange("w", None)
    failure = Failure(member=0, generation=0, kind="lost", message="gone")
    assert coordinator.exchange("w", failure) == interval
    assert coordinator.population.members[0].failures == 1
    assert isinstance(codec.decode_event(list(coordinator.journal.read("main"))[1]), Assigned)


def test_a_member_that_is_held_already_is_not_handed_out():
    journal, store = MemoryJournal(), MemoryCheckpoints()
    interval = start(journal, store).exchange("a", None)
    again = Coordinator.resume(journal, "main", store)
    again.hold("a", 0)
    assert again.exchange("b", None).key == (1, 0)
    with pytest.raises(StaleReport):
        again.exchange("b", report(again, interval))
    assert again.exchange("a", report(again, interval)).key == (2, 0)


# ---- batches -------------------------------------------------------------------------------------------------------------------------


def test_a_batch_is_one_transaction_and_answers_come_after_it():
    journal, said = Watched(), []
    coordinator = start(journal)
    with coordinator.batch() as answers:
        for worker in "abc":
            interval = coordinator.exchange(worker, None)
            answers.append(lambda key=interval.key: said.append((key, list(journal.appended))))
        assert said == []
    assert said == [((member, 0), [1, 3]) for member in range(3)]
    assert [event.interval.key for event in list(events_of(coordinator.journal, "main"))[1:]] == [(0, 0), (1, 0), (2, 0)]


def test_a_batch_decides_as_exchanges_one_by_one_do():
    def trained(batched):
        coordinator = start(max_lead=None, generations=4)
        at = {worker: coordinator.exchange(worker, None) for worker in "abc"}
        while not coordinator.over:
            said = {worker: report(coordinator, interval, value=interval.hparams["h"]) for worker, interval in at.items() if interval}
            if batched:
                with coordinator.batch():
                    at = {worker: coordinator.exchange(worker, message) for worker, message in said.items()}
            else:
                at = {worker: coordinator.exchange(worker, message) for worker, message in said.items()}
        return list(events_of(coordinator.journal, "main"))

    assert trained(batched=True) == trained(batched=False)


def test_an_observer_that_fails_is_told_of_once_also_if_it_has_no_hash(caplog):
    @dataclass
    class Failing:
        heard: int = 0

        def __call__(self, event, population):
            self.heard += 1
            raise OSError("no room")

    failing = Failing()
    coordinator = start()
    coordinator.audience = Audience((failing,))
    assert coordinator.exchange("a", report(coordinator, coordinator.exchange("a", None))).key == (1, 0)
    assert failing.heard == 2
    assert caplog.text.count("an observer failed; the run goes on") == 1


def test_a_batch_that_cannot_be_journalled_has_not_happened_and_is_told_to_nobody():
    journal, said, heard = Watched(), [], []
    coordinator = start(journal)
    coordinator.audience = Audience((lambda event, population: heard.append(event),))
    first = coordinator.exchange("a", None)
    before = coordinator.population
    heard.clear()
    journal.full = True
    with pytest.raises(JournalError), coordinator.batch() as answers:
        coordinator.exchange("a", report(coordinator, first))
        coordinator.exchange("b", None)
        coordinator.release("b")
        answers.append(lambda: said.append("told"))
    assert (said, heard, coordinator.population) == ([], [], before)
    journal.full = False
    with pytest.raises(StaleReport, match="handed to another"):
        coordinator.exchange("b", report(coordinator, first))  # "a" still holds it
    assert coordinator.exchange("a", report(coordinator, first)).key == (1, 0)
    assert replay(events_of(coordinator.journal, "main")) == coordinator.population


def test_one_that_is_refused_does_not_disturb_the_others_of_its_batch():
    journal = Watched()
    coordinator = start(journal)
    with coordinator.batch():
        a = coordinator.exchange("a", None)
        with pytest.raises(StaleReport):
            coordinator.exchange("b", report(coordinator, a))
        b = coordinator.exchange("b", None)
    assert (a.key, b.key) == ((0, 0), (1, 0))
    assert journal.appended == [1, 2]


def test_one_that_cannot_be_written_down_does_not_take_its_batch_along():
    journal = Watched()
    coordinator = start(journal)
    a, b = coordinator.exchange("a", None), coordinator.exchange("b", None)
    broken = replace(report(coordinator, a), metrics={"loss": {0.1}})
    with coordinator.batch():
        with pytest.raises(CodecError, match=r"metrics\.loss"):
            coordinator.exchange("a", broken)
        assert coordinator.exchange("b", report(coordinator, b)).key == (2, 0)
    assert coordinator.exchange("a", report(coordinator, a)) is None
    assert replay(events_of(journal, "main")) == coordinator.population


# ---- deleting beside -----------------------------------------------------------------------------------------------------------------


def test_nobody_waits_for_what_is_deleted_and_what_cannot_be_is_said(tmp_path, monkeypatch):
    """A disk that takes its time to delete, and then refuses."""
    allowed, begun = threading.Event(), threading.Event()

    def slow(self, live, among=None):
        begun.set()
        allowed.wait(10)
        raise CheckpointError("the disk refuses")

    coordinator = start(store=FolderCheckpoints(tmp_path), generations=9)
    monkeypatch.setattr(FolderCheckpoints, "sweep", slow)
    interval = coordinator.exchange("w", None)
    for _ in range(5):  # three reports are a reason to sweep
        interval = coordinator.exchange("w", report(coordinator, interval))
    assert begun.wait(10)
    assert interval.generation == 1
    allowed.set()
    with pytest.raises(CheckpointError, match="refuses"):
        coordinator.rest()
    coordinator.rest()  # said once


@pytest.mark.parametrize("kept", ["in a journal", "in memory"])
def test_an_earlier_state_is_what_it_was_and_leads_to_the_same(kept):
    class Cut(MemoryJournal):
        """Forgets what it is told to."""

        most = None

        def read(self, run, after=0):
            return iter([*super().read(run)][: self.most][after:])

    journal = Cut() if kept == "in a journal" else None
    coordinator = Coordinator.start(start().pbt, journal, "main", MemoryCheckpoints())

    def generation():
        held = [coordinator.exchange(worker, None) for worker in range(3)]
        for worker, interval in enumerate(held):
            coordinator.exchange(worker, report(coordinator, interval, value=float(interval.member)), claim=False)
        return held

    generation()
    before, sequence = coordinator.population, coordinator.sequence
    assert sequence == 7
    later = generation()
    if journal is not None:
        with pytest.raises(JournalError, match=f"holds {sequence + 6} events of the run 'main', not {sequence}"):
            coordinator.rewind(sequence)
        Cut.most = sequence
    coordinator.rewind(sequence)
    assert coordinator.sequence == sequence
    assert coordinator.population == before
    assert len(coordinator.history().records) == 3
    if journal is None:
        assert generation() == later
