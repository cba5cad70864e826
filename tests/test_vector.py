"""A vector is a tuple, whatever is done to it, and no copy disturbs another."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamarck._vector import Tail, Vector

ITEMS = st.one_of(st.lists(st.integers(), max_size=5), st.integers(0, 300).map(lambda size: list(range(size))))


@given(ITEMS, st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers()), max_size=8))
def test_a_vector_is_a_tuple_that_one_can_change_without_changing_it(items, changes) -> None:
    plain, vector = tuple(items), Vector(items)
    before = [(plain, vector)]
    for place, item in changes if items else ():
        index = int(place * len(items))
        plain, vector = (*plain[:index], item, *plain[index + 1 :]), vector.replaced(index, item)
        before.append((plain, vector))
    for expected, got in before:
        assert tuple(got) == expected
        assert len(got) == len(expected)
        assert tuple(got[i] for i in range(len(got))) == expected
        assert got == Vector(expected)
        assert hash(got) == hash(Vector(expected))
        assert copy.deepcopy(got) == got


def test_vectors_of_different_items_differ() -> None:
    assert Vector([1, 2]) != Vector([1, 3])
    assert Vector([1, 2]) != Vector([1])
    assert Vector([1, 2]) != [1, 2]
    assert repr(Vector([1, 2])) == "Vector([1, 2])"


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 128])
@pytest.mark.parametrize("beyond", [0, 1, 64, 1000])
def test_there_is_nothing_beyond_either_end(size, beyond) -> None:
    vector = Vector(range(size))
    for index in (size + beyond, -1 - beyond):
        with pytest.raises(IndexError):
            vector[index]
        with pytest.raises(IndexError):
            vector.replaced(index, 0)


@pytest.mark.parametrize("room", [1, 2, 63, 64, 65, 128, 300])
def test_a_tail_holds_the_last(room):
    tail: Tail[int] = Tail(room)
    states = []
    for i in range(1000):
        tail = tail.added(i)
        kept = list(tail)
        assert kept == list(range(i + 1))[-len(kept) :]
        assert min(i + 1, room) <= len(kept) <= room + 126
        if i % 100 == 0:
            states.append((tail, kept))
    assert all(list(before) == kept for before, kept in states)  # what was made of it changed nothing


def test_tails_are_equal_by_what_they_hold():
    assert Tail(3).added(1) == Tail(3).added(1) != Tail(3).added(2)
    assert hash(Tail(3).added(1)) == hash(Tail(3).added(1))
    assert Tail(3) != [1]
    assert repr(Tail(3).added("a")) == "Tail(['a'])"
