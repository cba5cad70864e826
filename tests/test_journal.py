from __future__ import annotations

import sys
import tempfile
import threading
import tracemalloc

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lamarck._errors import JournalConflict, JournalError
from lamarck.journal import Journal, MemoryJournal, SqliteJournal, open_journal
from lamarck.testing.journal import check_journal, check_lasting_journal


def test_memory():
    check_journal(lambda name: MemoryJournal())


def test_sqlite(tmp_path):
    check_journal(lambda name: SqliteJournal(tmp_path / name))
    check_lasting_journal(lambda name: SqliteJournal(tmp_path / f"{name}.db"))


class Forgetful(Journal):
    """Takes every append for the first one."""

    def __init__(self) -> None:
        self.events: dict[str, list[bytes]] = {}

    def append(self, run, after, events):
        self.events.setdefault(run, []).extend(events)
        return after + len(events)

    def read(self, run, after=0):
        return iter(self.events.get(run, [])[after:])

    def runs(self):
        return sorted(self.events)

    def close(self):
        pass


def test_the_suite_finds_a_journal_that_takes_everything():
    with pytest.raises(AssertionError, match="a run without events is none"):
        check_journal(lambda name: Forgetful())


def test_open_journal(tmp_path):
    assert isinstance(open_journal(None), MemoryJournal)
    with open_journal(str(tmp_path / "a.db")) as journal:
        assert isinstance(journal, SqliteJournal)
        journal.append("a", 0, [b"1"])
    with open_journal(tmp_path / "a.db", readonly=True) as journal:
        assert list(journal.read("a")) == [b"1"]
        with pytest.raises(JournalError, match="opened to be read only"):
            journal.append("a", 1, [b"2"])


def test_a_conflict_says_what_happened_and_what_to_do():
    journal = MemoryJournal()
    journal.append("mnist", 0, [b"1", b"2"])
    with pytest.raises(JournalConflict) as caught:
        journal.append("mnist", 1, [b"x"])
    assert str(caught.value) == (
        "somebody else writes run 'mnist': it has 2 events, and 1 were known here. Nothing was written. "
        "Let one process write a run: stop the other one, or resume from the journal"
    )


class Model(RuleBasedStateMachine):
    """A SQLite journal, opened twice and sometimes anew, against a dictionary of lists."""

    runs = st.sampled_from(["a", "b", "run/ü"])
    events = st.lists(st.binary(max_size=50), max_size=4)

    @initialize()
    def open(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = f"{self.folder.name}/a.db"
        self.model: dict[str, list[bytes]] = {}
        self.writers = [SqliteJournal(self.path), SqliteJournal(self.path)]
        self.reads: list[tuple[object, list[bytes]]] = []

    @rule(writer=st.integers(0, 1), run=runs, events=events)
    def append(self, writer, run, events):
        known = self.model.get(run, [])
        assert self.writers[writer].append(run, len(known), events) == len(known) + len(events)
        if events:
            self.model[run] = known + events

    @rule(writer=st.integers(0, 1), run=runs, events=events, off=st.integers(-3, 3).filter(bool))
    def append_elsewhere(self, writer, run, events, off):
        with pytest.raises(JournalConflict):
            self.writers[writer].append(run, len(self.model.get(run, [])) + off, events)

    @rule(writer=st.integers(0, 1), run=runs, after=st.integers(0, 9))
    def begin_to_read(self, writer, run, after):
        self.reads.append((self.writers[writer].read(run, after), self.model.get(run, [])[after:]))

    @precondition(lambda self: self.reads)
    @rule()
    def read_to_the_end(self):
        read, expected = self.reads.pop()
        assert list(read) == expected

    @rule(writer=st.integers(0, 1))
    def open_again(self, writer):
        self.reads.clear()
        self.writers[writer].close()
        self.writers[writer] = SqliteJournal(self.path)

    @invariant()
    def all_see_the_same(self):
        with SqliteJournal(self.path, readonly=True) as reader:
            for journal in (*self.writers, reader):
                assert {run: list(journal.read(run)) for run in journal.runs()} == self.model

    def teardown(self):
        for writer in self.writers:
            writer.close()
        self.folder.cleanup()


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)


def test_a_long_run_is_read_in_bounded_memory(tmp_path):
    with SqliteJournal(tmp_path / "a.db") as journal:
        for i in range(0, 20_000, 1000):
            journal.append("a", i, [bytes(1000)] * 1000)
        tracemalloc.start()
        try:
            size = sum(len(event) for event in journal.read("a"))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert size == 20_000_000
    assert peak < 5_000_000


def test_times(tmp_path, monkeypatch):
    clock = iter([1000.25, 1000.5])
    monkeypatch.setattr("time.time", lambda: next(clock))
    with SqliteJournal(tmp_path / "a.db") as journal:
        journal.append("a", 0, [b"1", b"2"])
        journal.append("a", 2, [b"3"])
        assert journal.times("a") == [1000.25, 1000.25, 1000.5]
        assert journal.times("b") == []


def test_sqlite_from_many_threads_at_once(tmp_path):
    """Reads of one thread go on while others append to runs of their own."""
    with SqliteJournal(tmp_path / "a.db") as journal:
        journal.append("shared", 0, [b"%d" % i for i in range(3000)])
        wrong: list[object] = []

        def work(name: str) -> None:
            for i in range(20):
                journal.append(name, i, [name.encode()])
                if len(list(journal.read("shared"))) != 3000:
                    wrong.append(name)

        old = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            threads = [threading.Thread(target=work, args=(f"t{i}",)) for i in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(old)
        assert not wrong
        assert {run: len(list(journal.read(run))) for run in journal.runs()} == {"shared": 3000} | {f"t{i}": 20 for i in range(4)}
