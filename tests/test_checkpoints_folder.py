"""What can go wrong with files: full disks, death in the middle, and sweeps at the wrong moment."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import deque

import numpy as np
import pytest

from lamarck._errors import CheckpointError, CheckpointMissing
from lamarck.checkpoints import FolderCheckpoints, flush
from lamarck.testing.checkpoints import check_checkpoints


def listing(folder):
    return sorted(file.name for file in folder.iterdir())


@pytest.fixture(params=["ext4", "other"])
def disk(request, monkeypatch):
    """Both kinds of file systems: one flush does for file and name, or it does not."""
    monkeypatch.setattr("lamarck.checkpoints.folder.named_by_flush", lambda folder: request.param == "ext4")
    return request.param


def test_file_and_folder_are_flushed_in_the_right_order(tmp_path, monkeypatch, disk):
    done = []
    fsync, rename = os.fsync, os.rename

    def flushed(handle):
        done.append(("flush", os.readlink(f"/proc/self/fd/{handle}")))
        fsync(handle)

    def renamed(source, target, **kwargs):
        done.append(("rename", str(source), str(target)))
        rename(source, target, **kwargs)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "rename", renamed)
    folder = tmp_path / "a" / "b"
    name = FolderCheckpoints(folder).put(0, 0, {"x": 1})
    target = str(folder / f"{name}.safetensors")
    made, rest = done[:2], done[2:]
    assert made == [("flush", str(tmp_path / "a")), ("flush", str(tmp_path))]
    if disk == "ext4":
        (move, unfinished, to), last = rest
        assert last == ("flush", target)
    else:
        (_, unfinished), (move, source, to), last = rest
        assert source == unfinished
        assert last == ("flush", str(folder))
    assert (move, to) == ("rename", target)
    assert os.path.dirname(unfinished) == str(folder)


def test_what_was_put_before_is_put_again_whole(tmp_path):
    """A power cut may have left a file of the right length that holds anything."""
    store = FolderCheckpoints(tmp_path)
    name = store.put(0, 0, {"x": np.arange(100)})
    path = tmp_path / f"{name}.safetensors"
    path.write_bytes(bytes(path.stat().st_size))
    assert store.put(0, 0, {"x": np.arange(100)}) == name
    assert store.get(name)["x"].tolist() == list(range(100))
    assert listing(tmp_path) == [path.name]


def flushes(monkeypatch):
    """Names of what is flushed from here on."""
    seen, fsync = [], os.fsync

    def flushed(handle):
        seen.append(os.path.basename(os.readlink(f"/proc/self/fd/{handle}")))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", flushed)
    return seen


def test_every_third_generation_is_flushed_and_the_rest_when_it_is_settled(tmp_path, monkeypatch):
    store = FolderCheckpoints(tmp_path / "x").flushing(every=3)
    names = [store.put(0, 0, {"x": 0})]
    seen = flushes(monkeypatch)
    names += [store.put(0, generation, {"x": generation}) for generation in range(1, 7)]
    files = [f"{name}.safetensors" for name in names]
    assert [name for name in seen if name in files] == [files[2], files[5]]
    seen.clear()
    store.settle([*names[3:5], "0009-00009-0123456789abcdef", "../../etc/passwd"])  # what is not there, or can never be, is no error
    assert seen == [*files[3:5], "x"]


def test_only_file_systems_that_are_known_get_by_with_one_flush(monkeypatch):
    table = """22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
28 1 254:1 / /data rw - btrfs /dev/vdb rw
29 1 254:2 / /big rw - xfs /dev/vdc rw
broken line
"""
    monkeypatch.setattr("pathlib.Path.read_text", lambda self, **_: table)
    kind = flush._kind.__wrapped__
    assert [kind(os.makedev(*number)) for number in ((254, 0), (254, 1), (254, 2), (0, 21), (1, 1))] == ["ext4", "btrfs", "xfs", "proc", ""]

    def fails(self, **_):
        raise FileNotFoundError

    monkeypatch.setattr("pathlib.Path.read_text", fails)
    assert kind(os.makedev(254, 0)) == ""


def test_a_folder_is_made_by_the_first_put_only(tmp_path):
    store = FolderCheckpoints(tmp_path / "a")
    assert (store.names(), store.sweep([])) == ([], [])
    with pytest.raises(CheckpointMissing):
        store.get("0000-00000-0123456789abcdef")
    assert not (tmp_path / "a").exists()


# ---- full disks ------------------------------------------------------------------------------------------------------------------------------

FULL = """
import resource
import numpy as np
from lamarck._errors import CheckpointError
from lamarck.checkpoints import FolderCheckpoints

store = FolderCheckpoints("a")
print(store.put(0, 0, {"x": np.arange(1000)}))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # no file may grow beyond this
try:
    store.put(0, 1, {"x": np.arange(100_000)})
except CheckpointError as error:
    print(error)
print(store.put(0, 2, {"x": np.arange(1001)}))
"""


def test_a_full_disk_changes_nothing_and_says_so(tmp_path):
    said = subprocess.run([sys.executable, "-c", FULL], check=True, capture_output=True, text=True, cwd=tmp_path).stdout.splitlines()
    first, message, second = said
    assert message.startswith(f"{tmp_path}/a/0000-00001: ")
    assert "could not be written: File too large. Nothing else was changed; if the disk is full, make room and resume" in message
    assert listing(tmp_path / "a") == sorted(f"{name}.safetensors" for name in (first, second))
    store = FolderCheckpoints(tmp_path / "a")
    assert [len(store.get(name)["x"]) for name in (first, second)] == [1000, 1001]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_disk_that_fails_at_the_last_moment(tmp_path, monkeypatch, code, disk):
    store = FolderCheckpoints(tmp_path)

    def fsync(handle):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(CheckpointError, match=os.strerror(code)):
        store.put(0, 0, {"x": 1})
    assert listing(tmp_path) == []


def test_ctrl_c_in_the_middle_leaves_nothing(tmp_path, monkeypatch, disk):
    def fsync(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(KeyboardInterrupt):
        FolderCheckpoints(tmp_path).put(0, 0, {"x": 1})
    assert listing(tmp_path) == []


def test_something_in_the_way_of_the_folder(tmp_path):
    (tmp_path / "a").write_text("a file")
    with pytest.raises(CheckpointError, match="could not be written"):
        FolderCheckpoints(tmp_path / "a").put(0, 0, {"x": 1})
    assert (tmp_path / "a").read_text() == "a file"


def test_a_file_that_cannot_be_deleted(tmp_path):
    store = FolderCheckpoints(tmp_path)
    (tmp_path / "0000-00000-0123456789abcdef.safetensors").mkdir()
    with pytest.raises(CheckpointError, match="could not be deleted"):
        store.sweep([])
    with pytest.raises(CheckpointError, match="could not be read"):
        store.get("0000-00000-0123456789abcdef")


# ---- sweeps at the wrong moment --------------------------------------------------------------------------------------------------------------


def test_a_sweep_while_a_file_is_written_leaves_it_alone(tmp_path, monkeypatch):
    store, swept = FolderCheckpoints(tmp_path), []
    rename = os.rename

    def sweep_and_rename(source, target):
        swept.append((listing(tmp_path), FolderCheckpoints(tmp_path).sweep([]), listing(tmp_path)))
        rename(source, target)

    monkeypatch.setattr(os, "rename", sweep_and_rename)
    name = store.put(0, 0, {"x": 1})
    ((before, deleted, after),) = swept
    assert before[0].endswith(".unfinished")
    assert (deleted, after) == ([], before)
    assert store.get(name) == {"x": 1}


@pytest.mark.parametrize("faster", ["holds", "deleted", "cannot"])
def test_a_sweep_between_making_and_locking_a_file(tmp_path, monkeypatch, faster):
    """The sweep has the lock, or has deleted the file already: the writer begins anew. A disk without locks is written all the same."""
    real, calls = fcntl.flock, []

    def flock(handle, operation):
        calls.append(handle)
        if len(calls) == 1:
            if faster == "holds":
                raise BlockingIOError
            if faster == "cannot":
                raise OSError(errno.ENOLCK, "no locks")
            os.unlink(os.readlink(f"/proc/self/fd/{handle}"))
        real(handle, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    store = FolderCheckpoints(tmp_path)
    name = store.put(0, 0, {"x": 1})
    assert len(calls) == (1 if faster == "cannot" else 2)
    assert store.get(name) == {"x": 1}
    monkeypatch.undo()
    store.sweep([name])
    assert listing(tmp_path) == [f"{name}.safetensors"]


# ---- death -----------------------------------------------------------------------------------------------------------------------------------

ENDLESS = """
import os
import numpy as np
from lamarck.checkpoints import FolderCheckpoints

store = FolderCheckpoints("a")
generation = len(store.names())
os.write(1, b"ready\\n")
while True:
    os.write(1, store.put(0, generation, {"x": np.full(100_000, generation)}).encode() + b"\\n")
    generation += 1
"""


def test_kill_9_leaves_no_half_checkpoint(tmp_path):
    rng = random.Random(0)
    store, acknowledged = FolderCheckpoints(tmp_path / "a"), set()
    for _ in range(8):
        writer = subprocess.Popen([sys.executable, "-c", ENDLESS], cwd=tmp_path, stdout=subprocess.PIPE)
        assert writer.stdout.readline() == b"ready\n"
        heard = [writer.stdout.readline() for _ in range(rng.randrange(3))]
        time.sleep(rng.uniform(0.0, 0.004))
        writer.send_signal(signal.SIGKILL)
        said, _ = writer.communicate()
        acknowledged |= {line.decode().strip() for line in (*heard, *said.splitlines(keepends=True)) if line.endswith(b"\n")}
        names = store.names()
        assert acknowledged <= set(names)
        for name in names:
            assert (store.get(name)["x"] == int(name.split("-")[1])).all()
    leftovers = [name for name in listing(tmp_path / "a") if name.endswith(".unfinished")]
    keep = names[:2]
    assert store.sweep(keep, among=names) == names[2:]
    assert [name for name in listing(tmp_path / "a") if name.endswith(".unfinished")] == leftovers
    assert store.sweep(keep) == []
    assert listing(tmp_path / "a") == [f"{name}.safetensors" for name in keep]


def test_the_leftover_of_a_killed_writer_is_swept(tmp_path):
    """One that was certainly in the middle."""
    script = """
import os
from lamarck.checkpoints import FolderCheckpoints
os.rename = lambda source, target: os.kill(os.getpid(), 9)
FolderCheckpoints("a").put(0, 0, {"x": 1})
"""
    (tmp_path / "a").mkdir()
    assert subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False).returncode == -signal.SIGKILL
    (leftover,) = listing(tmp_path / "a")
    assert leftover.endswith(".unfinished")
    store = FolderCheckpoints(tmp_path / "a")
    assert store.names() == []
    assert store.sweep([], among=[]) == []
    assert listing(tmp_path / "a") == [leftover]
    assert store.sweep([]) == []
    assert listing(tmp_path / "a") == []


def test_overlapping_flushes_keep_every_promise_but_the_moment(tmp_path, monkeypatch):
    """The flush runs beside what comes next; the next put waits for it, and its failure is not swallowed."""
    check_checkpoints(lambda name: FolderCheckpoints(tmp_path / name, overlap=True))
    flushed, allowed, real = [], threading.Event(), os.fsync

    def slow(handle):
        allowed.wait(10)
        flushed.append(handle)
        real(handle)

    monkeypatch.setattr(os, "fsync", slow)
    (tmp_path / "x").mkdir()
    store = FolderCheckpoints(tmp_path / "x", overlap=True)
    name = store.put(0, 0, {"a": 1})
    assert flushed == []
    assert store.get(name) == {"a": 1}
    allowed.set()
    store.put(0, 1, {"a": 2})
    assert len(flushed) >= 1  # that of the first

    store._flushed()

    def broken(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    store.put(0, 2, {"a": 3})
    with pytest.raises(CheckpointError, match="No space left"):
        store.put(0, 3, {"a": 4})


def test_two_threads_that_wait_for_the_same_flush_both_go_on(tmp_path):
    class Taken(deque):
        """Another thread takes the last flush just after this one has seen it."""

        def __bool__(self):
            return True

    store = FolderCheckpoints(tmp_path, overlap=True)
    store._flushes = Taken()
    assert store.get(store.put(0, 0, {"x": 1})) == {"x": 1}
    store.settle(store.names())
