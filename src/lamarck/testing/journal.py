"""The conformance suites of journals.

def test_my_journal(tmp_path):
    check_journal(lambda name: MyJournal(tmp_path / name))
    check_lasting_journal(lambda name: MyJournal(tmp_path / name))
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence

import numpy as np

from lamarck._errors import JournalConflict, JournalError
from lamarck.journal import Journal

__all__ = ["Opened", "check_journal", "check_lasting_journal"]

Opened = Callable[[str], Journal]
"""Opens the journal of a name; a name that was not used before gives an empty journal."""


def check_journal(opened: Opened) -> None:
    """Checks that a journal keeps the contract of `lamarck.journal.Journal`.

    1. Events come back as they were given, in order, numbered without a gap; runs do not know each other.
    2. An append that does not continue the run is a `JournalConflict` and writes nothing; so does one whose events are not bytes.
    3. A read gives what was there when it was called, however long it is read from and whatever is appended meanwhile.
    4. Threads that append to one run lose nothing, write nothing twice, and are told when another was faster.
    5. Whatever is done in whatever order, the journal is what lists in a dictionary would be.
    6. A closed journal refuses everything but ``close``.

    Args:
        opened: Opens a journal.

    Raises:
        AssertionError: If a law is broken.

    Example:
        >>> from lamarck.journal import MemoryJournal
        >>> check_journal(lambda name: MemoryJournal())
    """
    _events_come_back(opened("events"))
    _what_does_not_continue_is_refused(opened("refused"))
    _a_read_shows_one_moment(opened("moment"))
    _threads_lose_nothing(opened("threads"))
    for seed in range(5):
        _it_is_a_dictionary_of_lists(opened(f"model{seed}"), np.random.default_rng(seed))
    _closed_is_closed(opened("closed"))


def check_lasting_journal(opened: Opened) -> None:
    """Checks that a journal outlives its being closed, and that it may be opened more than once.

    1. What was acknowledged is there when the journal is opened again.
    2. Of two that write the same run, one is told so by a `JournalConflict`; two runs may be written side by side.
    3. Whoever opened it sees what another has acknowledged.

    Args:
        opened: Opens a journal; opening the same name again gives the same journal.

    Raises:
        AssertionError: If a law is broken.
    """
    with opened("lasting") as journal:
        journal.append("a", 0, [b"1", b"2"])
        journal.append("b", 0, [b"3"])
    with opened("lasting") as journal:
        assert _all(journal) == {"a": [b"1", b"2"], "b": [b"3"]}, "what was acknowledged is there after opening again"
        assert journal.append("a", 2, [b"4"]) == 3, "a run goes on after opening again"

    with opened("shared") as one, opened("shared") as two:
        assert one.append("a", 0, [b"1"]) == 1
        assert list(two.read("a")) == [b"1"], "another's events are seen"
        _refused(two, "a", 0, [b"2"])
        assert two.append("a", 1, [b"2"]) == 2, "who knows the last event may write"
        _refused(one, "a", 1, [b"3"])
        for sequence in range(5):
            one.append("c", sequence, [b"c"])
            two.append("d", sequence, [b"d"])
        assert _all(one) == _all(two) == {"a": [b"1", b"2"], "c": [b"c"] * 5, "d": [b"d"] * 5}


def _events_come_back(journal: Journal) -> None:
    events = [b"", bytes(range(256)), b"\0", b"x" * 1_000_000, "ä".encode()]
    with journal:
        assert journal.runs() == [], "a new journal has no runs"
        assert list(journal.read("a")) == [], "a run that was never written has no events"
        assert journal.append("a", 0, []) == 0, "appending nothing changes nothing"
        assert journal.runs() == [], "a run without events is none"
        assert journal.append("a", 0, events) == 5, "append returns the number of the last event"
        assert journal.append("a", 5, []) == 5, "appending nothing changes nothing"
        assert journal.append("a", 5, (b"6",)) == 6, "numbers go on"
        assert list(journal.read("a")) == [*events, b"6"], "events come back as they were given"
        for after in range(8):
            assert list(journal.read("a", after)) == [*events, b"6"][after:], "a read begins after the number it is given"
        names = ["a", "A", "", "ü/'\"; --", "b" * 1000]
        for name in names[1:]:
            assert journal.append(name, 0, [name.encode()]) == 1, "each run has numbers of its own"
        assert journal.runs() == sorted(names), "runs are listed by name"
        assert list(journal.read("A")) == [b"A"], "runs do not know each other"
        many = [b"%d" % i for i in range(2500)]
        assert journal.append("many", 0, many) == 2500
        assert list(journal.read("many")) == many, "a long run comes back whole"


def _what_does_not_continue_is_refused(journal: Journal) -> None:
    with journal:
        for after in (1, -1):
            _refused(journal, "a", after, [b"1"])
        journal.append("a", 0, [b"1", b"2"])
        for after in (0, 1, 3):
            _refused(journal, "a", after, [b"3"])
            _refused(journal, "a", after, [])
        for wrong in (["3"], [b"3", 4], b"3", [bytearray(b"3")], [None]):
            try:
                journal.append("a", 2, wrong)  # type: ignore[arg-type]
            except JournalError:
                assert list(journal.read("a")) == [b"1", b"2"], "what is not bytes writes nothing"
            else:
                raise AssertionError(f"events that are not bytes were taken: {wrong!r}")


def _a_read_shows_one_moment(journal: Journal) -> None:
    with journal:
        journal.append("a", 0, [b"%d" % i for i in range(3000)])
        before, started = journal.read("a"), journal.read("a", 1)
        next(started)
        journal.append("a", 3000, [b"later"])
        assert len(list(before)) == 3000, "a read shows what was there when it was called"
        assert len(list(started)) == 2998, "a read in progress does not see what is appended"
        assert len(list(zip(journal.read("a"), journal.read("a", 1), strict=False))) == 3000, "two reads do not disturb each other"


def _threads_lose_nothing(journal: Journal) -> None:
    barrier, conflicts = threading.Barrier(4), itertools.count()

    def write(writer: int) -> None:
        barrier.wait()
        last = 0
        for i in range(25):
            while True:
                try:
                    last = journal.append("a", last, [b"%d %d" % (writer, i), b"."])
                    break
                except JournalConflict:
                    next(conflicts)
                    last = len(list(journal.read("a")))

    with journal:
        threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        events = list(journal.read("a"))
    assert next(conflicts) >= 3, "of four that begin a run, three are told that another was faster"
    assert events[1::2] == [b"."] * 100, "the events of one append stay together"
    for writer in range(4):
        mine = [event for event in events[::2] if event.startswith(b"%d " % writer)]
        assert mine == [b"%d %d" % (writer, i) for i in range(25)], "each event is there once, in its writer's order"


def _it_is_a_dictionary_of_lists(journal: Journal, rng: np.random.Generator) -> None:
    model: dict[str, list[bytes]] = {}
    with journal:
        for _ in range(60):
            run = "abc"[rng.integers(3)]
            known = model.get(run, [])
            after = int(rng.integers(len(known) + 2)) if rng.random() < 0.5 else len(known)
            events = [rng.bytes(int(rng.integers(20))) for _ in range(rng.integers(4))]
            if after != len(known):
                _refused(journal, run, after, events)
            else:
                assert journal.append(run, after, events) == after + len(events)
                if events:
                    model[run] = known + events
            assert list(journal.read(run, after)) == model.get(run, [])[after:]
        assert _all(journal) == model


def _closed_is_closed(journal: Journal) -> None:
    journal.append("a", 0, [b"1", b"2"])
    journal.close()
    journal.close()
    for call in (
        lambda: journal.append("a", 2, [b"3"]),
        lambda: list(journal.read("a")),
        journal.runs,
    ):
        try:
            call()
        except JournalError as error:
            assert "closed" in str(error), "a closed journal says that it is closed"  # noqa: PT017
        else:
            raise AssertionError("a closed journal was used")


def _refused(journal: Journal, run: str, after: int, events: Sequence[bytes]) -> None:
    before = list(journal.read(run))
    try:
        journal.append(run, after, events)
    except JournalConflict as error:
        assert repr(run) in str(error), "a conflict names the run"  # noqa: PT017
        assert list(journal.read(run)) == before, "what is refused writes nothing"
    else:
        raise AssertionError(f"an append after {after} was taken, and the run had {len(before)} events")


def _all(journal: Journal) -> dict[str, list[bytes]]:
    return {run: list(journal.read(run)) for run in journal.runs()}
