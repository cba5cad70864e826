"""Trackers of a service that is slow, away, back again, or does half of what it is asked."""

from __future__ import annotations

import itertools
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lamarck as lk
from lamarck.observers import tracker as module
from lamarck.observers.account import Account
from lamarck.observers.tracker import Session, Tracker
from lamarck.population import replay
from lamarck.types import Ended
from tracked import SPACE, journal, same, told, until, values


class Service(Session):
    """A service that remembers what it was told, and fails when it is told to."""

    def __init__(self):
        self.points, self.best, self.finished, self.left, self.opened = {}, [], 0, 0, 0
        self.faults, self.free = iter(()), threading.Event()
        self.free.set()

    def answer(self):
        self.free.wait()
        if next(self.faults, False):
            raise OSError("no route to http://me:secret@host\nand more of it")

    def known(self, member):
        self.answer()
        return len(self.points.get(member, ()))

    def improvements(self):
        return len(self.best)

    def report(self, member, points):
        self.answer()
        self.points.setdefault(member, []).extend((point.record.step, point.record.value) for point in points)

    def improve(self, first, points):
        self.answer()
        assert first == len(self.best)
        self.best += [point.record.value for point in points]

    def finish(self, history):
        self.answer()
        self.finished += 1
        self.history = history

    def leave(self):
        self.left += 1


class Pretend(Tracker):
    def __init__(self, service, **settings):
        super().__init__(service="Pretend", cure="`lamarck export`", **settings)
        self.at = service

    def open(self, account):
        self.at.answer()
        self.at.opened += 1
        return self.at


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.0)


def check(service, events):
    history, best = lk.History.of(events), []
    for member in range(history.settings.population_size):
        assert same(service.points[member], values(history, member))
    for record in history.records:
        if record.finite and (not best or record.fitness > best[-1]):
            best.append(record.fitness)
    assert service.best == best
    assert service.finished == 1
    assert service.history.records == history.records
    assert service.history.schedule() == history.schedule()
    assert [(copy.member, copy.donor) for copy in service.history.copies] == [(copy.member, copy.donor) for copy in history.copies]


@given(faults=st.lists(st.booleans(), max_size=40), cut=st.integers(1, 31), size=st.integers(1, 4))
def test_whatever_fails_each_report_arrives_once(faults, cut, size):
    events, service = journal(size=size), Service()
    service.faults = iter(faults)
    observer = Pretend(service)
    population = told(observer, events[:cut])
    until(lambda: next(service.faults, None) is None, "the service has failed as often as it should")
    told(observer, events[cut:], population)
    observer.settle()
    check(service, events)


@given(cuts=st.lists(st.integers(1, 31), max_size=3, unique=True).map(sorted), told_until=st.integers(0, 5))
def test_what_a_kill_kept_out_arrives_once(cuts, told_until):
    events, service = journal(), Service()
    before = 0
    for cut in (*cuts, len(events)):
        observer = Pretend(service)
        heard = max(before, cut - told_until) if cut < len(events) else cut  # a kill: the last ones never reached the service
        if before:
            observer.recall(lk.History.of(events[:before]))
        told(observer, events[before:heard], replay(events[:before]))
        observer.settle()
        before = cut
    check(service, events)


def test_training_does_not_wait_for_a_service_that_hangs(caplog):
    service = Service()
    service.free.clear()
    began = time.monotonic()

    def train(worker):
        worker.track(x=(lambda: 0, lambda state: None))
        for interval in worker:
            interval.report(interval.hparams["lr"])

    observer = Pretend(service, patience=0.1)
    history = lk.run(train, SPACE, population_size=3, interval=10, generations=20, observers=[observer])
    assert len(history.records) == 60
    assert time.monotonic() - began < 60  # and not for ever
    assert "Pretend has not got 60 reports of this run (it does not answer)" in caplog.text
    assert "`lamarck export` sends what is missing" in caplog.text
    service.free.set()


def test_a_service_that_refuses_is_told_of_once_and_tried_once_more_at_the_end(caplog):
    service = Service()
    service.faults = itertools.repeat(True)
    observer = Pretend(service)
    told(observer, journal())
    until(lambda: "tried again until it does" in caplog.text, "the first failure is told of")
    with pytest.raises(lk.ServiceError, match=r"has not got 15 reports of this run \(OSError: no route to http://host\)"):
        observer.settle()
    assert caplog.text.count("Pretend did not take") == 1
    assert "secret" not in caplog.text


def test_a_service_that_comes_back_gets_everything(caplog):
    events, service = journal(), Service()
    service.faults = itertools.repeat(True)
    observer = Pretend(service)
    population = told(observer, events[:20])
    until(lambda: "tried again until it does" in caplog.text, "the failure is told of")
    service.faults = iter(())
    until(lambda: "answers again, and has got everything until now" in caplog.text, "it is told that it is over")
    told(observer, events[20:], population)
    observer.settle()
    check(service, events)


def test_a_run_that_stops_is_left_and_one_that_was_lost_may_go_on():
    events, service = journal(), Service()
    observer = Pretend(service)
    population = told(observer, events[:12])
    observer.settle()
    assert (service.left, service.finished) == (1, 0)
    observer.recall(lk.History.of(events[:12]))
    observer(Ended(reason="lost"), population)
    until(lambda: service.finished == 1, "the end is told")
    service.finished = 0
    told(observer, events[12:], population)
    observer.settle()
    check(service, events)


def test_what_is_told_again_is_not_sent_again():
    events, service = journal(), Service()
    observer = Pretend(service)
    told(observer, events[:20])
    told(observer, events[12:], replay(events[:12]))  # as after going back to a checkpoint
    observer.settle()
    check(service, events)


def test_one_observer_takes_one_run_after_another_and_leaves_no_thread():
    service, events = Service(), journal()
    observer = Pretend(service)
    told(observer, events)
    observer.settle()
    check(service, events)
    observer.at = second = Service()
    told(observer, events)
    observer.close()
    check(second, events)
    observer.close()  # twice
    assert not [thread for thread in threading.enumerate() if thread.name == "lamarck-Pretend"]


def test_an_observer_that_has_not_heard_the_beginning_says_so():
    events = journal()
    with pytest.raises(lk.ReportError, match="has not heard how the run began"):
        told(Pretend(Service()), events[2:], replay(events[:2]))


def test_a_resumed_run_tells_its_observers_the_past():
    def train(worker):
        worker.track(x=(lambda: 0, lambda state: None))
        for interval in worker:
            if interval.generation == limit:
                raise KeyboardInterrupt
            interval.report(interval.hparams["lr"])

    service, rules = Service(), {"population_size": 3, "interval": 10, "generations": 6, "journal": "run.db", "resume": True}
    limit = 3
    with pytest.raises(KeyboardInterrupt):
        lk.run(train, SPACE, **rules, observers=[Pretend(service)])
    assert (service.left, len(service.points[0])) == (1, 3)
    limit = -1
    lk.resume(train, "run.db", observers=[Pretend(service)])
    history = lk.open_run("run.db")
    for member in range(3):
        assert same(service.points[member], values(history, member))
    assert service.finished == 1


def test_no_two_moments_of_a_member_have_the_same_millisecond():
    """A whole past that is recalled has one moment, which may end in half a millisecond; halves are rounded to even numbers."""
    history = lk.History.of(journal(size=1, generations=50))
    account = Account(history.started, fresh=False)
    for record in history.records:
        account.add(record, 1_795_669_200.0005)
    assert len({round(point.at * 1000) for point in account.points}) == 50
