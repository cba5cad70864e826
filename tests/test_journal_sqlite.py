"""What can go wrong with a file: other programs, other processes, full disks, and death."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import pytest

from lamarck._errors import JournalConflict, JournalError
from lamarck.journal import SqliteJournal, reading


def raw(path):
    return sqlite3.connect(path, isolation_level=None)


def snapshot(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def sound(path):
    connection = raw(path)
    try:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()


# ---- the file --------------------------------------------------------------------------------------------------------------------------------


def test_the_file_says_whose_it_is_and_every_commit_is_flushed(tmp_path):
    with SqliteJournal(tmp_path / "a.db") as journal:
        journal.append("a", 0, [b"1"])
        pragmas = {name: journal._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")}
    assert pragmas == {"journal_mode": "wal", "synchronous": 2}
    head = (tmp_path / "a.db").read_bytes()[:100]
    assert head[68:72] == b"Lmrk"
    assert head[60:64] == bytes([0, 0, 0, 1])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.db", "a.db-lock"]


def test_the_folder_is_flushed_when_the_file_is_new(tmp_path, monkeypatch):
    flushed = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (flushed.append(os.readlink(f"/proc/self/fd/{handle}")), real(handle))[1])
    SqliteJournal(tmp_path / "a.db").close()
    assert flushed == [str(tmp_path)]
    SqliteJournal(tmp_path / "a.db").close()
    assert flushed == [str(tmp_path)]


def test_paths_with_odd_characters(tmp_path):
    path = tmp_path / "a b?mode=ro#%41&ü.db"
    with SqliteJournal(path) as journal:
        journal.append("a", 0, [b"1"])
    assert path.exists()
    with SqliteJournal(path, readonly=True) as journal:
        assert list(journal.read("a")) == [b"1"]


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("what", ["text", "short", "sqlite", "wal", "newer"])
def test_a_file_that_is_not_ours_is_refused_and_not_touched(tmp_path, what, readonly):
    path = tmp_path / "theirs.db"
    message = "is not a journal of Lamarck; it was not touched"
    if what in ("text", "short"):
        path.write_bytes(b"hello, world\n" * (100 if what == "text" else 1))
    elif what == "newer":
        SqliteJournal(path).close()
        connection = raw(path)
        connection.execute("PRAGMA user_version = 2")
        connection.close()
        message = "has version 2, and 1 is known here: written by a newer Lamarck: upgrade"
    else:
        # Somebody's database, left by a process that was killed: SQLite would tidy it up on opening.
        script = "import sqlite3, os; c = sqlite3.connect('theirs.db', isolation_level=None); "
        script += "c.execute('PRAGMA journal_mode=WAL'); " if what == "wal" else ""
        script += "c.execute('CREATE TABLE t(x)'); c.execute('INSERT INTO t VALUES (1)'); os._exit(0)"
        subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(JournalError, match=message):
        SqliteJournal(path, readonly=readonly)
    assert snapshot(tmp_path) == before


def test_an_empty_file_becomes_a_journal(tmp_path):
    """As `mktemp` makes it, or a process that was killed before its first commit leaves it."""
    (tmp_path / "a.db").touch()
    with pytest.raises(JournalError, match="the file is empty: no run was begun in it"):
        SqliteJournal(tmp_path / "a.db", readonly=True)
    with SqliteJournal(tmp_path / "a.db") as journal:
        assert journal.append("a", 0, [b"1"]) == 1


def test_there_must_be_a_folder_and_to_read_a_file(tmp_path):
    with pytest.raises(JournalError, match=r"there is no folder .*/no; make it, or give another path"):
        SqliteJournal(tmp_path / "no" / "a.db")
    with pytest.raises(JournalError, match="there is no journal of that name"):
        SqliteJournal(tmp_path / "a.db", readonly=True)
    with pytest.raises(JournalError, match="Is a directory"):
        SqliteJournal(tmp_path)
    assert snapshot(tmp_path) == {}


def test_a_relative_path_stays_where_it_was(tmp_path, monkeypatch):
    (tmp_path / "one").mkdir()
    monkeypatch.chdir(tmp_path / "one")
    with SqliteJournal("a.db") as journal:
        monkeypatch.chdir(tmp_path)
        journal.append("a", 0, [b"1"])
    assert (tmp_path / "one" / "a.db").exists()


def test_a_damaged_file_is_noticed(tmp_path):
    path = tmp_path / "a.db"
    with SqliteJournal(path) as journal:
        journal.append("a", 0, [bytes(500)] * 1000)
    content = bytearray(path.read_bytes())
    middle = len(content) // 8192 * 4096
    content[middle : middle + 4096] = b"\xaa" * 4096
    path.write_bytes(content)
    with SqliteJournal(path, readonly=True) as journal, pytest.raises(JournalError, match=r"SQLITE_CORRUPT.*sqlite3 FILE \.recover") as caught:
        list(journal.read("a"))
    assert "is lost" not in str(caught.value), "what is damaged may well have lost something"


def test_a_missing_event_is_noticed(tmp_path):
    path = tmp_path / "a.db"
    with SqliteJournal(path) as journal:
        journal.append("a", 0, [b"1", b"2", b"3"])
    connection = raw(path)
    connection.execute("DELETE FROM events WHERE sequence = 2")
    connection.close()
    with SqliteJournal(path) as journal, pytest.raises(JournalError, match="event 2 of run 'a' is missing"):
        list(journal.read("a"))


# ---- rights ----------------------------------------------------------------------------------------------------------------------------------


def as_nobody(work):
    """Runs ``work`` in a child that has no special rights, and returns what it said."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Newer Pythons, and JAX if another test has loaded it, warn of forking with threads; this child only opens a file.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            answer = repr(work())
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(writing, answer.encode()[:4000])
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        return pipe.read().decode()


@pytest.fixture
def archive():
    """A folder that everybody may read and nobody write."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
        os.chmod(name, 0o755)


def test_an_archived_journal_can_be_read_but_not_written(archive):
    path = archive / "a.db"
    with SqliteJournal(path) as journal:
        journal.append("a", 0, [b"1", b"2"])
    for file in archive.iterdir():
        file.chmod(0o444)
    archive.chmod(0o555)
    before = snapshot(archive)
    assert as_nobody(lambda: list(SqliteJournal(path, readonly=True).read("a"))) == "[b'1', b'2']"
    assert as_nobody(lambda: SqliteJournal(path)).startswith(f"JournalError: {path}-lock: the journal's lock file cannot be opened")
    assert snapshot(archive) == before


def test_a_journal_in_use_is_read_by_who_may_not_write(archive):
    path = archive / "a.db"
    with SqliteJournal(path) as journal:
        journal.append("a", 0, [b"1", b"2"])
        archive.chmod(0o555)
        assert as_nobody(lambda: list(SqliteJournal(path, readonly=True).read("a"))) == "[b'1', b'2']"
        archive.chmod(0o755)


def test_a_log_that_cannot_be_indexed_is_not_passed_over(archive):
    """A writer was killed; its last events are in the log alone, and who may not write cannot read that."""
    path = archive / "a.db"
    script = f"import os; from lamarck.journal import SqliteJournal; SqliteJournal({str(path)!r}).append('a', 0, [b'1']); os._exit(0)"
    subprocess.run([sys.executable, "-c", script], check=True)
    (archive / "a.db-shm").unlink()
    archive.chmod(0o555)
    assert "SQLITE_CANTOPEN" in as_nobody(lambda: list(SqliteJournal(path, readonly=True).read("a")))
    archive.chmod(0o755)
    with SqliteJournal(path, readonly=True) as journal:
        assert list(journal.read("a")) == [b"1"]


def test_a_file_that_may_not_be_written(archive):
    path = archive / "a.db"
    SqliteJournal(path).close()
    archive.chmod(0o777)
    path.chmod(0o444)
    (archive / "a.db-lock").chmod(0o666)
    assert "SQLITE_READONLY" in as_nobody(lambda: SqliteJournal(path).append("a", 0, [b"1"]))
    archive.chmod(0o755)


# ---- full disks ------------------------------------------------------------------------------------------------------------------------------


def test_a_full_database_loses_nothing_acknowledged(tmp_path):
    with SqliteJournal(tmp_path / "a.db") as journal:
        journal._connection.execute("PRAGMA max_page_count = 30")
        last = 0
        with pytest.raises(JournalError, match=r"SQLITE_FULL.*Nothing that was acknowledged is lost.*make room, then go on with `resume`"):
            while True:
                last = journal.append("a", last, [b"%d" % last + bytes(1000)] * 2)
        assert 10 < last < 120
        assert [event[:2] for event in journal.read("a")] == [(b"%d" % (i // 2 * 2) + bytes(1))[:2] for i in range(last)]
        journal._connection.execute("PRAGMA max_page_count = 1000")
        assert journal.append("a", last, [b"room"]) == last + 1
    assert sound(tmp_path / "a.db")


FULL = """
import resource, sys
from lamarck._errors import JournalError
from lamarck.journal import SqliteJournal

journal, last = SqliteJournal("a.db"), 0
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))  # no file may grow beyond this
try:
    while True:
        last = journal.append("a", last, [b"%d" % last, bytes(3000)])
        print(last, flush=True)
except JournalError as error:
    print(error, flush=True)
try:
    journal.append("a", last, [bytes(3000)] * 100)
except JournalError as error:
    print(len(list(journal.read("a"))), flush=True)
"""


def test_a_disk_that_takes_no_more_loses_nothing_acknowledged(tmp_path):
    said = subprocess.run([sys.executable, "-c", FULL], check=True, capture_output=True, text=True, cwd=tmp_path).stdout.splitlines()
    *acknowledged, message, again = said
    last = int(acknowledged[-1])
    assert last > 20
    assert "Nothing that was acknowledged is lost" in message
    assert "SQLITE_FULL" in message or "SQLITE_IOERR" in message
    assert again == str(last)
    with SqliteJournal(tmp_path / "a.db") as journal:
        events = list(journal.read("a"))
        assert len(events) == last
        assert events[::2] == [b"%d" % i for i in range(0, last, 2)]
        assert journal.append("a", last, [b"room"]) == last + 1
    assert sound(tmp_path / "a.db")


# ---- several at once -------------------------------------------------------------------------------------------------------------------------


def test_another_program_that_keeps_the_file_locked(tmp_path):
    with SqliteJournal(tmp_path / "a.db", patience=0.05) as journal:
        other = raw(tmp_path / "a.db")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match=r"SQLITE_BUSY.*another program keeps the file locked"):
            journal.append("a", 0, [b"1"])
        assert list(journal.read("a")) == []
        other.execute("ROLLBACK")
        other.close()
        assert journal.append("a", 0, [b"1"]) == 1


def test_a_file_system_without_locks_is_explained(tmp_path, monkeypatch):
    def refused(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(JournalError, match=r"a\.db-lock: this file system does not lock files.*keep the journal on a disk of this machine"):
        SqliteJournal(tmp_path / "a.db")
    assert not (tmp_path / "a.db").exists()


def test_another_writer_that_does_not_end(tmp_path):
    with SqliteJournal(tmp_path / "a.db", patience=0.05) as journal, open(tmp_path / "a.db-lock") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(JournalError, match=r"another process has been writing for more than 0\.05 s"):
            journal.append("a", 0, [b"1"])
        with pytest.raises(JournalError, match="another process has been writing"):
            SqliteJournal(tmp_path / "a.db", patience=0.05)
        fcntl.flock(other, fcntl.LOCK_UN)
        assert journal.append("a", 0, [b"1"]) == 1


def test_readers_leave_the_file_as_it_is(tmp_path):
    with SqliteJournal(tmp_path / "a.db") as journal:
        journal.append("a", 0, [bytes(1000)] * 2000)  # more than the log holds before SQLite would move it
        journal.append("a", 2000, [b"in the log"])
        before = {name: content for name, content in snapshot(tmp_path).items() if not name.endswith("-shm")}
        for _ in range(3):
            with SqliteJournal(tmp_path / "a.db", readonly=True) as reader:
                assert len(list(reader.read("a"))) == 2001
        assert {name: content for name, content in snapshot(tmp_path).items() if not name.endswith("-shm")} == before


def marks(folder):
    return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.iterdir()}


@pytest.mark.parametrize("lock", [True, False])
def test_reading_what_nobody_writes_leaves_nothing_beside_it(tmp_path, lock):
    with SqliteJournal(tmp_path / "a.db") as journal:
        journal.append("a", 0, [b"event"] * 2500)
    if not lock:  # a copy
        (tmp_path / "a.db-lock").unlink()
    before = marks(tmp_path)
    with SqliteJournal(tmp_path / "a.db", readonly=True) as reader:
        assert (len(list(reader.read("a"))), reader.runs(), len(reader.times("a"))) == (2500, ["a"], 2500)
        assert marks(tmp_path) == before
    assert marks(tmp_path) == before


def test_a_link_to_a_journal_is_that_journal(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.db"
    link.symlink_to(Path("..", "real.db"))
    with SqliteJournal(tmp_path / "real.db") as writer, SqliteJournal(link, patience=0.1) as other:
        writer.append("main", 0, [b"one"])
        with SqliteJournal(link, readonly=True) as reader:
            assert list(reader.read("main")) == [b"one"]  # which is in the log as yet
        other.append("main", 1, [b"two"])
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["elsewhere", "link.db", "real.db", "real.db-lock"]


def test_a_reader_follows_a_writer_that_comes_and_goes(tmp_path):
    with SqliteJournal(tmp_path / "a.db") as journal:
        journal.append("a", 0, [b"1"])
    with SqliteJournal(tmp_path / "a.db", readonly=True) as reader:
        assert list(reader.read("a")) == [b"1"]
        with SqliteJournal(tmp_path / "a.db") as journal:
            journal.append("a", 1, [b"2"])
            assert list(reader.read("a")) == [b"1", b"2"]
        assert list(reader.read("a")) == [b"1", b"2"]
        assert sorted(file.name for file in tmp_path.iterdir()) == ["a.db", "a.db-lock"]


COMER = """
import sys
from lamarck.journal import SqliteJournal
for sequence in range(150):
    with SqliteJournal(sys.argv[1]) as journal:
        journal.append("a", sequence, [b"%d" % sequence + bytes(3000)])
"""


def test_what_is_read_is_whole_while_a_writer_comes_and_goes(tmp_path):
    path = tmp_path / "a.db"
    SqliteJournal(path).close()
    writer = subprocess.Popen([sys.executable, "-c", COMER, str(path)])
    seen, end = 0, time.monotonic() + 60
    try:
        while writer.poll() is None:
            assert time.monotonic() < end, "the writer has not ended within a minute"
            with SqliteJournal(path, readonly=True) as reader:
                found = list(reader.read("a"))
            assert found == [b"%d" % sequence + bytes(3000) for sequence in range(len(found))]
            assert len(found) >= seen
            seen = len(found)
    finally:
        writer.kill()
        writer.wait()
    assert writer.returncode == 0
    with SqliteJournal(path, readonly=True) as reader:
        assert len(list(reader.read("a"))) == 150
    assert sound(path)


def test_a_writer_that_begins_while_a_copy_is_read_is_noticed(tmp_path, monkeypatch):
    path = tmp_path / "a.db"
    with SqliteJournal(path) as journal:
        journal.append("a", 0, [b"1"])
    (tmp_path / "a.db-lock").unlink()
    reader, asked = SqliteJournal(path, readonly=True), reading._rows

    def late(connect, options, query, values):
        found = asked(connect, options, query, values)
        if "immutable" in options:
            with SqliteJournal(path) as journal:
                journal.append("a", 1, [b"2"])
        return found

    with monkeypatch.context() as patched:
        patched.setattr(reading, "_rows", late)
        assert reader._rows("SELECT count(*) FROM events", ()) == [(2,)]


def test_a_reader_does_not_wait_for_ever_for_a_writer_that_hangs(tmp_path):
    SqliteJournal(tmp_path / "a.db").close()
    with open(tmp_path / "a.db-lock", "rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(JournalError, match=r"has been writing for more than 0\.05 s\. Nothing was read"):
            SqliteJournal(tmp_path / "a.db", readonly=True, patience=0.05)


def test_a_file_system_without_locks_can_be_read(tmp_path, monkeypatch):
    with SqliteJournal(tmp_path / "a.db") as journal:
        journal.append("a", 0, [b"1"])

    def refuse(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with SqliteJournal(tmp_path / "a.db", readonly=True) as reader:
        assert list(reader.read("a")) == [b"1"]


WRITER = """
import sys
from lamarck._errors import JournalConflict
from lamarck.journal import SqliteJournal

me, count = sys.argv[1], int(sys.argv[2])
journal, shared, conflicts = SqliteJournal("a.db"), 0, 0
print("ready", flush=True)
sys.stdin.readline()
for i in range(count):
    journal.append(me, i, [b"%d" % i])
    while True:
        try:
            shared = journal.append("shared", shared, [f"{me} {i}".encode()])
            break
        except JournalConflict:
            conflicts += 1
            shared += len(list(journal.read("shared", shared)))
journal.close()
print(conflicts)
"""


def test_two_processes_write_one_file_and_a_third_reads(tmp_path):
    """Both make the file at the same time, each writes a run of its own, and they fight over a third run: nothing is lost or mixed up."""
    count = 100
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, name, str(count)], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in "ab"
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    with SqliteJournal(tmp_path / "a.db", readonly=True) as reader:
        for writer in writers:
            writer.stdin.write("\n")
            writer.stdin.flush()
        seen: list[bytes] = []
        while any(writer.poll() is None for writer in writers):
            now = list(reader.read("shared"))
            assert now[: len(seen)] == seen
            seen = now
        for writer in writers:
            said, _ = writer.communicate()
            assert writer.returncode == 0
            assert said.strip().isdigit()
        shared = list(reader.read("shared"))
        for name in "ab":
            assert list(reader.read(name)) == [b"%d" % i for i in range(count)]
            assert [event for event in shared if event.startswith(name.encode())] == [f"{name} {i}".encode() for i in range(count)]
        assert len(shared) == 2 * count
    assert sound(tmp_path / "a.db")


def test_a_second_process_that_resumed_the_same_run(tmp_path):
    with SqliteJournal(tmp_path / "a.db") as journal:
        journal.append("a", 0, [b"1"])
        script = "from lamarck.journal import SqliteJournal; j = SqliteJournal('a.db'); print(j.append('a', 1, [b'theirs'])); j.close()"
        subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, capture_output=True)
        with pytest.raises(JournalConflict, match="somebody else writes run 'a': it has 2 events, and 1 were known here"):
            journal.append("a", 1, [b"ours"])
        assert list(journal.read("a")) == [b"1", b"theirs"]


# ---- death -----------------------------------------------------------------------------------------------------------------------------------

ENDLESS = """
import os, sys
from lamarck.journal import SqliteJournal

journal = SqliteJournal("a.db")
last = len(list(journal.read("a")))
os.write(1, b"%d\\n" % last)
while True:
    last = journal.append("a", last, [b"%d" % (last + i + 1) + bytes(400) for i in range(last % 7)] + [b"end"])
    os.write(1, b"%d\\n" % last)
"""


def test_kill_9_loses_nothing_acknowledged(tmp_path):
    """One journal, killed again and again at random points of its life: opening, writing, flushing, moving the log."""
    rng = random.Random(0)
    acknowledged = 0
    for _ in range(10):
        writer = subprocess.Popen([sys.executable, "-c", ENDLESS], cwd=tmp_path, stdout=subprocess.PIPE)
        first = int(writer.stdout.readline())  # it has opened the journal and counted
        assert first >= acknowledged
        heard = [writer.stdout.readline() for _ in range(rng.randrange(60))]
        time.sleep(rng.uniform(0.0, 0.002))
        writer.send_signal(signal.SIGKILL)
        said, _ = writer.communicate()
        assert writer.returncode == -signal.SIGKILL
        acknowledged = int([b"%d" % first, *heard, *said.split(b"\n")[:-1]][-1])
        with SqliteJournal(tmp_path / "a.db", readonly=True) as reader:
            events = list(reader.read("a"))
        assert len(events) >= acknowledged
        assert len(events) - acknowledged <= 7  # one append, whole or not at all, that nobody was told of
        assert not events or events[-1] == b"end"
        for number, event in enumerate(events, 1):
            assert event == b"end" or event == b"%d" % number + bytes(400)
    assert acknowledged > 100
    assert sound(tmp_path / "a.db")


def test_kill_9_while_the_file_is_made(tmp_path):
    script = "import sys; from lamarck.journal import SqliteJournal; print(flush=True); SqliteJournal('a.db').append('a', 0, [b'1'])"
    rng = random.Random(1)
    for _ in range(8):
        writer = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE)
        writer.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.006))
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        with SqliteJournal(tmp_path / "a.db") as journal:
            assert list(journal.read("a")) in ([], [b"1"])
            assert journal.append("b", 0, [b"1"]) == 1
        for file in tmp_path.iterdir():
            file.unlink()


@pytest.mark.parametrize("how", ["deleted", "moved", "replaced", "folder"])
def test_what_goes_into_a_file_that_is_gone_is_not_acknowledged(how, tmp_path):
    folder = tmp_path / "runs"
    folder.mkdir()
    path = folder / "run.db"
    with SqliteJournal(path) as journal:
        journal.append("main", 0, [b"one"])
        if how == "folder":
            shutil.rmtree(folder)
        elif how == "moved":
            path.rename(folder / "other.db")
        else:
            path.unlink()
        if how == "replaced":
            path.write_bytes(b"")
        with pytest.raises(JournalError, match="the journal's file is gone"):
            journal.append("main", 1, [b"two"])
