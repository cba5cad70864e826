"""The conformance suites of stores of checkpoints.

def test_my_checkpoints(tmp_path):
    check_checkpoints(lambda name: MyCheckpoints(tmp_path / name))
    check_lasting_checkpoints(lambda name: MyCheckpoints(tmp_path / name))
"""

from __future__ import annotations

import math
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from lamarck._errors import CheckpointError, CheckpointMissing
from lamarck.checkpoints import Checkpoints, open_checkpoints

__all__ = ["Opened", "check_checkpoints", "check_lasting_checkpoints", "same", "states"]

Opened = Callable[[str], Checkpoints]
"""Opens the store of a name; a name that was not used before gives an empty store."""

_NUMBERS = (bool, "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8")


def check_checkpoints(opened: Opened) -> None:
    """Checks that a store keeps the contract of `lamarck.checkpoints.Checkpoints`.

    1. What comes back equals what was put, to the type and the bit, and lives in memory of its own.
    2. A name belongs to one state for ever; two states never share one, even if they are equal.
    3. What cannot be kept is a `CheckpointError` that names the path to it, and changes nothing.
    4. A name that is not in the store, or could lead out of it, is a `CheckpointMissing`.
    5. A sweep deletes exactly what is not live, and only among what it may.
    6. Threads do not disturb each other.

    Args:
        opened: Opens a store.

    Raises:
        AssertionError: If a law is broken.

    Example:
        >>> from lamarck.checkpoints import MemoryCheckpoints
        >>> check_checkpoints(lambda name: MemoryCheckpoints())
    """
    _states_come_back(opened("states"))
    _memory_is_not_shared(opened("memory"))
    _names_are_for_ever(opened("names"))
    _what_cannot_be_kept_is_refused(opened("refused"))
    _what_is_not_there_is_missing(opened("missing"))
    _a_sweep_keeps_what_is_live(opened("sweep"))
    _threads_do_not_disturb_each_other(opened("threads"))


def check_lasting_checkpoints(opened: Opened) -> None:
    """Checks that a store outlives whoever opened it.

    1. What one has put, another can get and sweep.
    2. Equal states of one interval have equal names, wherever they are put.
    3. Its location opens it anew.

    Args:
        opened: Opens a store; opening the same name again gives the same store.

    Raises:
        AssertionError: If a law is broken.
    """
    one, two, state = opened("lasting"), opened("lasting"), {"x": np.arange(3.0), "step": 7}
    name = one.put(3, 7, state)
    assert two.put(3, 7, dict(state)) == name, "an equal state of the same interval has the same name"
    assert one.put(3, 8, state) != name != one.put(4, 7, state), "a state of another interval has another name"
    assert opened("elsewhere").put(3, 7, state) == name, "a name does not depend on the store"
    assert same(two.get(name), state), "what was put by one is got by another"
    assert open_checkpoints(one.location).names() == one.names(), "a location opens the same store"
    other = one.put(3, 7, {"x": np.arange(3.0), "step": 8})
    assert other != name, "another state has another name"
    assert two.sweep([name], among=[other]) == [other], "one may sweep what another has put"
    assert other not in opened("lasting").names(), "what was swept by one is gone for all"


def states() -> dict[str, Any]:
    """Returns states that every store must keep, by what is special about them."""
    grid = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    return {
        "nothing": None,
        "a number": 0.1,
        "plain values": {"a": [1, 2.5, "x", None, True, False, b"\0\xff"], "b": {}, "c": [], "d": (), "e": "", "f": b""},
        "tuples in lists in tuples": ([(1, (2,)), [()]],),
        "special floats": [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1e308],
        "large whole numbers": [2**63 - 1, -(2**63), 2**63, 2**64, -(2**200), 10**5000],
        "odd strings": ["ä\0\n\"'\\", "\ud800", "$float", "\U0001f40a"],
        "whole numbers as keys": {0: "a", 1: {"b": {2: "c", -(2**70): "d"}}, "0": "e"},
        "keys like our own marks": {"$float": "nan", "$array": "x", "x": {"$tuple": [1]}},
        "keys that meet": {"a": {"b": np.ones(1)}, "a.b": np.zeros(1), "a.b'": np.full(1, 2.0), "__metadata__": np.ones(2)},
        "an order": {"z": 1, "a": 2, "m": np.ones(1)},
        "all numbers": {str(np.dtype(dtype)): np.array([0, 1, 1], dtype=dtype) for dtype in _NUMBERS},
        "numpy scalars": [np.dtype(dtype).type(1) for dtype in _NUMBERS],
        "shapes": [np.float32(3).reshape(()), np.zeros((0,)), np.zeros((3, 0, 2), dtype=np.int8), np.ones((1, 1, 1))],
        "memory in another order": [grid.T, grid[:, ::-1, ::2], np.asfortranarray(grid), np.broadcast_to(np.float64(1), (3, 2))],
        "special numbers in arrays": np.array([np.nan, np.inf, -np.inf, -0.0]),
        "the same twice": [grid, grid],
        "an optimiser": {"state": {0: {"step": np.float32(3).reshape(()), "m": np.ones(4)}}, "groups": [{"lr": 0.1, "params": [0]}]},
        "a generator": np.random.default_rng(7).bit_generator.state,
        "another generator": np.random.RandomState(7).get_state(legacy=False),
    }


def same(one: Any, two: Any) -> bool:
    """Returns whether two states are the same: types, order of keys, shapes and bits, with NaN equal to NaN.

    Example:
        >>> import numpy as np
        >>> same({"x": [1, np.zeros(2)]}, {"x": [1, np.zeros(2)]}), same([1], [1.0]), same((1,), [1])
        (True, False, False)
    """
    if type(one) is not type(two):
        return False
    if isinstance(one, dict):
        return list(map(repr, one)) == list(map(repr, two)) and all(same(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, (np.ndarray, np.generic)):
        return bool(one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes())
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", two) or (math.isnan(one) and math.isnan(two))
    return bool(one == two)


def _states_come_back(store: Checkpoints) -> None:
    names = {}
    for member, (what, state) in enumerate(states().items()):
        names[what] = store.put(member, 0, state)
    assert store.names() == sorted(names.values()), "all names are listed, sorted"
    for what, state in states().items():
        assert same(store.get(names[what]), state), f"a state comes back as it was: {what}"
        assert store.size(names[what]) >= 0, "each state has a size"
    ordered = store.get(store.put(0, 1, OrderedDict(b=1, a=2)))
    assert same(ordered, {"b": 1, "a": 2}), "a subclass of dict comes back as a dict"
    large = store.put(0, 2, {"x": np.zeros(10_000)})
    assert store.size(large) >= 80_000, "a size counts the arrays"


def _memory_is_not_shared(store: Checkpoints) -> None:
    state: dict[str, Any] = {"x": np.zeros(3), "list": [1, [2]], "view": np.zeros((4, 4))[::2, 1]}
    name = store.put(0, 0, state)
    state["x"][:] = 1
    state["list"][1].append(3)
    state["view"][:] = 1
    first = store.get(name)
    assert same(first, {"x": np.zeros(3), "list": [1, [2]], "view": np.zeros(2)}), "what is done to a state after it was put does not count"
    first["x"] += 1
    first["list"][1].clear()
    first["view"] += 1
    assert same(store.get(name)["x"], np.zeros(3)), "what is done to a state that was got does not count"
    assert store.get(name)["list"] == [1, [2]], "what is done to a state that was got does not count"


def _names_are_for_ever(store: Checkpoints) -> None:
    names = [store.put(member, generation, {"x": 0.5}) for member in (0, 1, 12345) for generation in (0, 1, 123456)]
    assert len(set(names)) == 9, "equal states of different intervals have names of their own"
    again = store.put(0, 0, {"x": 0.75})
    assert again not in names, "another state of the same interval has a name of its own"
    assert store.get(names[0]) == {"x": 0.5}, "a name keeps its state"
    assert store.get(again) == {"x": 0.75}


def _what_cannot_be_kept_is_refused(store: Checkpoints) -> None:
    itself: list[Any] = []
    itself.append(itself)
    cases: list[tuple[Any, str]] = [
        ({"a": [0, {1, 2}]}, "state['a'][1]: got a set"),
        ({"a": {"b": object()}}, "state['a']['b']: got a object"),
        ({"a": lambda: 0}, "state['a']: got a function"),
        ({"a": 1j}, "state['a']: got a complex"),
        ({"a": bytearray(b"x")}, "state['a']: got a bytearray"),
        ({"a": {(0, 1): 2}}, "state['a']: got the key (0, 1), a tuple"),
        ({"a": {True: 2}}, "state['a']: got the key True, a bool"),
        ({"a": np.array([object()])}, "state['a']: got an array of dtype('O')"),
        ({"a": np.array(["x"])}, "state['a']: got an array of dtype('<U1')"),
        ({"a": np.zeros(1, dtype=">f4")}, "state['a']: got an array of dtype('>f4')"),
        ({"a": np.zeros(1, dtype="c16")}, "state['a']: got an array of dtype('complex128')"),
        ({"a": np.datetime64("2020-01-01")}, "state['a']: got an array of dtype('<M8[D]')"),
        ({"a": np.ma.masked_array([1.0], mask=[True])}, "state['a']: got a MaskedArray"),
        (itself, "nested deeper than"),
    ]
    for state, message in cases:
        try:
            store.put(0, 0, state)
        except CheckpointError as error:
            assert message in str(error), f"a refusal names the path: {message!r} is not in {str(error)!r}"  # noqa: PT017
        else:
            raise AssertionError(f"this was taken: {state!r}")
    assert store.names() == [], "what was refused left nothing behind"


def _what_is_not_there_is_missing(store: Checkpoints) -> None:
    gone = store.put(0, 0, {"x": 1})
    store.sweep([])
    for name in (gone, "0000-00000-0123456789abcdef", "", ".", "..", "../x", "/etc/passwd", "a/b", "a\0b", gone + "/", gone + "\n", "x" * 5000):
        for call in (store.get, store.size):
            try:
                call(name)
            except CheckpointMissing:
                continue
            raise AssertionError(f"{name!r} was found")
        assert store.sweep([], among=[name]) == [], "what is not there is not swept"


def _a_sweep_keeps_what_is_live(store: Checkpoints) -> None:
    assert store.sweep([]) == [], "an empty store has nothing to sweep"
    names = [store.put(member, 0, {"x": member}) for member in range(6)]
    assert store.sweep(names) == []
    assert store.sweep([*names[:4], "0009-00009-0123456789abcdef"], among=names[3:5]) == [names[4]], "only what may go, and is not live, goes"
    assert store.names() == sorted([*names[:4], names[5]])
    assert store.sweep(names[:4], among=[]) == []
    assert store.sweep(names[:2]) == sorted([names[2], names[3], names[5]]), "without 'among', all that is not live goes"
    assert store.names() == sorted(names[:2])
    assert [store.get(name) for name in names[:2]] == [{"x": 0}, {"x": 1}], "what is live stays as it was"
    assert store.sweep([]) == sorted(names[:2])
    assert store.names() == []


def _threads_do_not_disturb_each_other(store: Checkpoints) -> None:
    wrong: list[str] = []

    def work(member: int) -> None:
        for generation in range(8):
            state = {"x": np.full(1000, member), "generation": generation}
            name = store.put(member, generation, state)
            if not same(store.get(name), state) or name not in store.names():
                wrong.append(name)
            if generation % 2 and store.sweep([], among=[name]) != [name]:
                wrong.append(name)

    threads = [threading.Thread(target=work, args=(member,)) for member in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, f"threads disturb each other: {wrong}"
    assert len(store.names()) == 16
