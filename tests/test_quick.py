"""Records with a quick constructor are what `dataclasses` would have made."""

import copy
import dataclasses
import pickle

import pytest

from lamarck._quick import quick


@quick
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Quick:
    a: int
    b: str = "x"
    c: dict = dataclasses.field(default_factory=dict, hash=False)
    seen: tuple = ()

    def __post_init__(self):
        object.__setattr__(self, "seen", (*self.seen, self.a))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    a: int
    b: str = "x"
    c: dict = dataclasses.field(default_factory=dict, hash=False)
    seen: tuple = ()

    def __post_init__(self):
        object.__setattr__(self, "seen", (*self.seen, self.a))


@quick
@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    left: int
    _: dataclasses.KW_ONLY
    right: int = 2


@pytest.mark.parametrize("given", [{"a": 1}, {"a": 2, "b": "y"}, {"a": 3, "c": {"k": 1}, "seen": (0,)}])
def test_the_same_fields_as_ever(given):
    made, expected = Quick(**given), Plain(**given)
    assert dataclasses.asdict(made) == dataclasses.asdict(expected)
    assert repr(made) == repr(expected).replace("Plain", "Quick")
    assert type(made) is Quick
    assert made == Quick(**given)
    assert hash(made) == hash(Quick(**given))
    assert made != Quick(**(given | {"a": 9}))


def test_defaults_that_are_made_are_made_anew():
    assert Quick(a=1).c is not Quick(a=1).c


def test_frozen():
    made = Quick(a=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.a = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        del made.a
    with pytest.raises(AttributeError):
        object.__setattr__(made, "other", 1)
    assert not hasattr(made, "__dict__")


@pytest.mark.parametrize("wrong", [{}, {"a": 1, "z": 2}])
def test_wrong_arguments_are_refused_by_name(wrong):
    with pytest.raises(
        TypeError, match=r"^Quick\.__new__\(\) (missing 1 required keyword-only argument: 'a'|got an unexpected keyword argument 'z')"
    ):
        Quick(**wrong)


def test_by_position_where_the_class_allows_it():
    assert Pair(1) == Pair(left=1, right=2)
    with pytest.raises(TypeError):
        Pair(1, 2)
    with pytest.raises(TypeError):
        Quick(1)


def test_copies_changes_and_pipes():
    pair = Pair(1, right=3)
    assert dataclasses.replace(pair, left=5) == Pair(5, right=3)
    for again in (copy.copy(pair), copy.deepcopy(pair), pickle.loads(pickle.dumps(pair))):
        assert again == pair
        assert type(again) is Pair
    nested = Quick(a=1, c={"k": [1]})
    assert copy.deepcopy(nested).c["k"] is not nested.c["k"]
