from __future__ import annotations

import json
import subprocess
import sys
import uuid
from typing import ClassVar

import fsspec
import numpy as np
import pytest
import safetensors.numpy
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from lamarck._errors import CheckpointDamaged, CheckpointError, CheckpointMissing, MissingExtra
from lamarck.checkpoints import FolderCheckpoints, MemoryCheckpoints, RemoteCheckpoints, open_checkpoints
from lamarck.checkpoints import format as container
from lamarck.testing.checkpoints import check_checkpoints, check_lasting_checkpoints, same, states


def remote():
    """A store in fsspec's memory that nobody else uses."""
    return f"memory://{uuid.uuid4()}"


def test_memory():
    check_checkpoints(lambda name: MemoryCheckpoints())


def test_folder(tmp_path):
    check_checkpoints(lambda name: FolderCheckpoints(tmp_path / name))
    check_lasting_checkpoints(lambda name: FolderCheckpoints(tmp_path / "deep" / "er" / name))


def test_remote(tmp_path):
    url = remote()
    for base in (url, f"file://{tmp_path}"):
        check_checkpoints(lambda name, base=base: RemoteCheckpoints(f"{base}/{name}"))
        check_lasting_checkpoints(lambda name, base=base: RemoteCheckpoints(f"{base}/lasting/{name}/"))


class Careless(MemoryCheckpoints.__mro__[1]):
    """Keeps what it is given, as it is."""

    location = None

    def __init__(self):
        self.states = {}

    def flushing(self, *, every=1, overlap=False):
        return self

    def settle(self, names):
        pass

    def put(self, member, generation, state):
        self.states[f"{member}-{generation}"] = state
        return f"{member}-{generation}"

    def get(self, name):
        return self.states[name]

    def names(self):
        return sorted(self.states)

    def size(self, name):
        return 10**6

    def sweep(self, live, among=None):
        return []


def test_the_suite_finds_a_store_that_does_not_copy():
    with pytest.raises(AssertionError, match="comes back as"):
        check_checkpoints(lambda name: Careless())


def test_open_checkpoints(tmp_path):
    assert isinstance(open_checkpoints(None), MemoryCheckpoints)
    name = open_checkpoints(tmp_path / "a").put(0, 0, {"x": 1})
    assert open_checkpoints(f"file://{tmp_path}/a").names() == [name]
    assert isinstance(open_checkpoints(f"file://{tmp_path}/a"), FolderCheckpoints)
    url = remote()
    name = open_checkpoints(url).put(0, 0, {"x": 1})
    assert open_checkpoints(url + "/").get(name) == {"x": 1}
    with pytest.raises(CheckpointError, match="no-such-kind://x: the checkpoint could not be opened: ValueError: Protocol not known"):
        open_checkpoints("no-such-kind://x")


def test_the_stores_need_their_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "blake3", None)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    for call in (lambda: FolderCheckpoints(tmp_path).put(0, 0, 1), lambda: RemoteCheckpoints("memory://x")):
        with pytest.raises(MissingExtra, match=r"pip install 'lamarck\[durable\]'"):
            call()
    assert MemoryCheckpoints().put(0, 0, 1) == "0-0"


# ---- any state -------------------------------------------------------------------------------------------------------------------------------

dtypes = st.sampled_from(["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8"]).map(np.dtype)
shapes = npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
arrays = npst.arrays(dtypes, shapes)
scalars = dtypes.flatmap(npst.from_dtype)
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5)
keys = st.text(max_size=3) | st.integers() | st.sampled_from(["$float", "a.b", "a", "__metadata__"])
trees = st.recursive(
    plain | arrays | scalars,
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


@given(trees)
@settings(max_examples=80)
def test_any_state_comes_back_as_it_was(state):
    for where in (None, "folder", "memory://any"):
        store = open_checkpoints(where)
        name = store.put(1, 2, state)
        assert same(store.get(name), state)
        store.sweep([])


@given(trees, trees)
def test_equal_bytes_are_equal_states(one, two):
    names = [container.packed(0, 0, state).name() for state in (one, two)]
    assert (names[0] == names[1]) == same(one, two)


# ---- the file --------------------------------------------------------------------------------------------------------------------------------


def test_any_safetensors_library_reads_the_arrays(tmp_path):
    state = {
        "model": {"fc": {"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.array([True, False])}},
        "steps": [np.int64(7)],
        "big": np.ones((3, 5))[:, ::2],
        "half": np.float16([1, 2, 3]),
        "lr": 0.1,
    }
    name = FolderCheckpoints(tmp_path).put(3, 7, state)
    path = tmp_path / f"{name}.safetensors"
    arrays = safetensors.numpy.load_file(path)
    assert {key: value.tolist() for key, value in arrays.items()} == {
        "model.fc.weight": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]],
        "model.fc.bias": [True, False],
        "steps.0": 7,
        "big": [[1.0] * 3] * 3,
        "half": [1.0, 2.0, 3.0],
    }
    assert arrays["half"].dtype == np.float16
    with safetensors.safe_open(path, "np") as file:
        assert json.loads(file.metadata()["lamarck"]) == {
            "v": 1,
            "state": {
                "model": {"fc": {"weight": {"$array": "model.fc.weight"}, "bias": {"$array": "model.fc.bias"}}},
                "steps": [{"$scalar": "steps.0"}],
                "big": {"$array": "big"},
                "half": {"$array": "half"},
                "lr": 0.1,
            },
        }


@pytest.mark.parametrize("what", states())
def test_every_file_is_sound_safetensors_with_aligned_arrays(tmp_path, what):
    name = FolderCheckpoints(tmp_path).put(0, 0, states()[what])
    data = (tmp_path / f"{name}.safetensors").read_bytes()
    loaded = dict(safetensors.deserialize(data))
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__")
    assert set(loaded) == set(header)
    for key, entry in header.items():
        begin, end = entry["data_offsets"]
        assert data[8 + length :][begin:end] == bytes(loaded[key]["data"])
        count = int(np.prod(entry["shape"], dtype=np.int64))
        assert count == 0 or (8 + length + begin) % ((end - begin) // count) == 0


def test_the_name_is_the_hash_of_the_file(tmp_path):
    import blake3

    name = FolderCheckpoints(tmp_path).put(12345, 7, {"x": np.arange(1000)})
    data = (tmp_path / f"{name}.safetensors").read_bytes()
    assert name == f"12345-00007-{blake3.blake3(data).hexdigest()[:16]}"


def test_a_golden_file_is_read_for_ever(tmp_path):
    """Written by version 1; if this fails, old runs can no longer be resumed."""
    header = (
        b'{"__metadata__":{"lamarck":"{\\"v\\":1,\\"state\\":{\\"w\\":{\\"$array\\":\\"w\\"},\\"n\\":{\\"$dict\\":[[0,{\\"$tuple\\":'
        b'[1,{\\"$float\\":\\"nan\\"},{\\"$int\\":\\"0x10000000000000000\\"}]}]]},\\"b\\":{\\"$bytes\\":\\"b\\"}}}"},'
        b'"w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[2],"data_offsets":[8,10]}}'
    )
    header += b" " * (-len(header) % 8)
    data = len(header).to_bytes(8, "little") + header + np.array([1, -2], dtype="<f4").tobytes() + b"ok"
    state = {"w": np.array([[1, -2]], dtype=np.float32), "n": {0: (1, float("nan"), 2**64)}, "b": b"ok"}
    (tmp_path / "0003-00007-4150e8d62329f9c6.safetensors").write_bytes(data)
    store = FolderCheckpoints(tmp_path)
    assert same(store.get("0003-00007-4150e8d62329f9c6"), state)
    assert store.put(3, 7, state) == "0003-00007-4150e8d62329f9c6"


def test_one_wrong_bit_anywhere_is_noticed(tmp_path):
    store = FolderCheckpoints(tmp_path)
    name = store.put(0, 0, {"x": np.arange(3), "list": [1, 0.5, "a"]})
    path = tmp_path / f"{name}.safetensors"
    good = path.read_bytes()
    for place in range(len(good)):
        for bit in (0, 3, 7):
            path.write_bytes(good[:place] + bytes([good[place] ^ (1 << bit)]) + good[place + 1 :])
            with pytest.raises(CheckpointDamaged) as caught:
                store.get(name)
            assert str(caught.value) == f"{path}: the bytes are not those that were saved as checkpoint {name!r}; restore another one"
    path.write_bytes(good)
    assert store.get(name)["list"] == [1, 0.5, "a"]


def test_a_file_that_is_too_short_too_long_or_another_is_noticed(tmp_path):
    store = FolderCheckpoints(tmp_path)
    name = store.put(0, 0, {"x": np.arange(3)})
    other = store.put(0, 1, {"x": np.arange(4)})
    path = tmp_path / f"{name}.safetensors"
    good = path.read_bytes()
    bombs = [b"", b"[" * 100_000, b'{"__metadata__":{"lamarck":"' + b"[" * 100_000, b'{"__metadata__":1}', b"[]"]
    bombs.append(b'{"__metadata__":{"lamarck":"{}"},"x":{"dtype":"F64","shape":[1000000000000],"data_offsets":[0,8]}}')
    bombs.append(b'{"__metadata__":{"lamarck":"{}"},"x":{"dtype":"F64","shape":[-1],"data_offsets":[0,8]}}')
    wrong = [len(bomb).to_bytes(8, "little") + bomb + bytes(8) for bomb in bombs]
    wrong += [good[:size] for size in range(0, len(good), 7)] + [good + b"\0", b"\xff" * 50]
    wrong.append((tmp_path / f"{other}.safetensors").read_bytes())
    for data in wrong:
        path.write_bytes(data)
        with pytest.raises(CheckpointDamaged):
            store.get(name)


def test_damage_to_a_remote_file_is_noticed():
    store = RemoteCheckpoints(remote())
    name = store.put(0, 0, {"x": np.arange(3)})
    path = f"{store._root}/{name}.safetensors"
    data = bytearray(store._files.cat_file(path))
    data[-1] ^= 1
    store._files.pipe_file(path, bytes(data))
    with pytest.raises(CheckpointDamaged, match=f"{store.url}/{name}"):
        store.get(name)


def test_a_file_of_a_newer_version_says_so(tmp_path, monkeypatch):
    store = FolderCheckpoints(tmp_path)
    monkeypatch.setattr(container, "_VERSION", 2)
    name = store.put(0, 0, 1)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="has version 2, and 1 is known here: upgrade Lamarck"):
        store.get(name)


def test_a_structure_that_is_too_long_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(container, "_HEADER", 1000)
    with pytest.raises(CheckpointError, match="at most 1,000 are allowed: keep long lists in arrays"):
        FolderCheckpoints(tmp_path).put(0, 0, list(range(1000)))
    with pytest.raises(CheckpointError, match="got member -1, generation 0"):
        FolderCheckpoints(tmp_path).put(-1, 0, 0)


def test_a_read_that_ends_early_is_noticed():
    class Short:
        def readinto(self, buffer):
            return 0

    with pytest.raises(CheckpointDamaged, match=r"^here: "):
        container.unpacked("0000-00000-0123456789abcdef", Short(), 100, "here")


def test_memory_names():
    store = MemoryCheckpoints()
    assert [store.put(3, 7, i) for i in range(3)] == ["3-7", "3-7+1", "3-7+2"]
    assert [store.get(name) for name in store.names()] == [0, 1, 2]
    store.sweep(["3-7+1"])
    assert store.put(3, 7, 3) == "3-7"


def test_memory_adopts_the_names_of_another_store():
    store = MemoryCheckpoints()
    assert store.location is None
    store.adopt({"0003-00007-0123456789abcdef": {"x": 1}})
    assert store.get("0003-00007-0123456789abcdef") == {"x": 1}
    assert store.sweep([]) == ["0003-00007-0123456789abcdef"]


# ---- remote failures -------------------------------------------------------------------------------------------------------------------------


class Failing(MemoryFileSystem):
    """Breaks down while something is uploaded or deleted, as an object store does when the network goes."""

    protocol = "failing"
    store: ClassVar[dict] = {}
    pseudo_dirs: ClassVar[list] = [""]
    working = True
    discarded = 0

    def _open(self, path, mode="rb", **kwargs):
        file = super()._open(path, mode, **kwargs)
        if mode == "wb" and not Failing.working:

            def write(data):
                raise ConnectionError("the network is gone")

            def discard():
                Failing.discarded += 1

            file.write, file.discard = write, discard
        return file

    def rm_file(self, path):
        if not Failing.working:
            raise PermissionError("no")
        super().rm_file(path)


def test_a_remote_store_that_breaks_down(monkeypatch):
    fsspec.register_implementation("failing", Failing, clobber=True)
    store = RemoteCheckpoints("failing://x")
    name = store.put(0, 0, {"x": 1})
    monkeypatch.setattr(Failing, "working", False)
    with pytest.raises(CheckpointError, match=r"could not be written: ConnectionError: the network is gone\. Nothing else"):
        store.put(0, 1, {"x": 2})
    assert Failing.discarded == 1
    with pytest.raises(CheckpointError, match="could not be deleted: PermissionError: no"):
        store.sweep([])
    monkeypatch.setattr(Failing, "working", True)
    again = store.put(0, 1, {"x": 2})  # the torso of the first try is not taken for the whole
    assert [store.get(each) for each in (name, again)] == [{"x": 1}, {"x": 2}]


def test_a_remote_upload_is_not_repeated(monkeypatch):
    store = RemoteCheckpoints(remote())
    name = store.put(0, 0, {"x": 1})
    monkeypatch.setattr(store._files, "open", pytest.fail)
    assert store.put(0, 0, {"x": 1}) == name


def test_other_files_beside_checkpoints_are_left_alone(tmp_path):
    for store in (FolderCheckpoints(tmp_path), RemoteCheckpoints(f"file://{tmp_path}")):
        name = store.put(0, 0, 1)
        (tmp_path / "notes.txt").write_text("mine")
        (tmp_path / "model.safetensors").write_text("mine")
        assert store.names() == [name]
        assert store.sweep([]) == [name]
        assert sorted(file.name for file in tmp_path.iterdir()) == ["model.safetensors", "notes.txt"]
    with pytest.raises(CheckpointMissing):
        store.get("model")


def test_nothing_here_imports_what_it_does_not_need(tmp_path):
    script = """
import sys
import numpy as np
from lamarck.checkpoints import MemoryCheckpoints, open_checkpoints
store = MemoryCheckpoints()
store.get(store.put(0, 0, {"x": np.ones(3)}))
assert not {"torch", "blake3", "fsspec", "safetensors"} & sys.modules.keys()
store = open_checkpoints("folder")
store.get(store.put(0, 0, {"x": np.ones(3), "y": [b"1", 2.0]}))
assert not {"torch", "fsspec"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)


@pytest.mark.parametrize("make", [lambda path: MemoryCheckpoints(), FolderCheckpoints, lambda path: RemoteCheckpoints(remote())])
def test_what_somebody_else_has_deleted_in_the_meantime_does_not_stop_a_sweep(make, tmp_path, monkeypatch):
    store = make(tmp_path)
    first, second = store.put(0, 0, {"x": 1}), store.put(0, 1, {"x": 2})
    listed = store.names()
    monkeypatch.setattr(type(store), "names", lambda self: listed)  # as it was before the other's sweep
    assert store.sweep([second]) == [first]
    assert store.sweep([]) == [second]
    assert store.sweep([]) == []
