"""From the words on a command line to Python objects."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lamarck._errors import SettingsError, SpaceError, TrainingError
from lamarck.cli.target import Target, load_space
from lamarck.space import Float, Space

TRAIN = """
import lamarck as lk
import helper

space = lk.Space(lr=lk.Float(0.1, 0.2))
not_a_space = 3

class Jobs:
    @staticmethod
    def second(worker):
        return "second"

def train(worker):
    return helper.answer
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "helper.py").write_text("answer = 42\n")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "place", "name", "is_file"),
    [
        ("train.py:train", "train.py", "train", True),
        ("deep/down/train.py:Jobs.second", "deep/down/train.py", "Jobs.second", True),
        ("package.module:train", "package.module", "train", False),
        ("C:/jobs/train.py:train", "C:/jobs/train.py", "train", True),
    ],
)
def test_targets(text, place, name, is_file):
    target = Target.parse(text)
    assert (target.place, target.name, target.text, target.is_file) == (place, name, text, is_file)


@pytest.mark.parametrize("text", ["train.py", "train", "", ":train", "train.py:", "train.py:2x", "train.py:a b", "m:f.<locals>.g"])
def test_what_is_not_a_target_is_refused_with_an_example(text):
    with pytest.raises(SettingsError, match=r"\.py:train"):
        Target.parse(text)


def test_a_file_is_loaded_with_its_neighbours(folder):
    assert Target.parse("train.py:train").load_function(folder)(None) == 42
    assert Target.parse("train.py:Jobs.second").load_function(folder)(None) == "second"


def test_a_file_in_a_folder_is_loaded_with_its_neighbours(folder, tmp_path):
    assert Target.parse(f"{folder.name}/train.py:train").load_function(folder.parent)(None) == 42


def test_a_module_is_looked_for_in_the_folder(folder):
    assert Target.parse("train:train").load_function(folder)(None) == 42


def test_an_installed_module_is_found(tmp_path):
    from json import dumps

    assert Target.parse("json:dumps").load_function(tmp_path) is dumps


def test_a_file_is_imported_once(folder):
    first = Target.parse("train.py:train").load(folder)
    assert Target.parse(f"../{folder.name}/train.py:train").load(folder) is first
    assert sys.modules["train"].train is first


def test_a_file_with_the_name_of_another_module_does_not_replace_it(tmp_path):
    import json

    (tmp_path / "json.py").write_text("def train(worker): return 'mine'\n")
    assert Target.parse("json.py:train").load_function(tmp_path)(None) == "mine"
    assert sys.modules["json"] is json


def test_a_class_defined_in_the_file_knows_its_module(tmp_path):
    (tmp_path / "jobs.py").write_text(
        "from dataclasses import dataclass\n\n@dataclass\nclass Thing:\n    x: 'int'\n\ndef train(worker): return Thing(1)\n"
    )
    thing = Target.parse("jobs.py:train").load_function(tmp_path)(None)
    assert sys.modules[type(thing).__module__].Thing is type(thing)


def test_an_unknown_file(folder, monkeypatch):
    monkeypatch.chdir("/")
    with pytest.raises(SettingsError, match=r"no file 'tarin.py' in '.*'; did you mean 'train.py'\?"):
        Target.parse("tarin.py:train").load(folder)
    monkeypatch.chdir(folder)
    with pytest.raises(SettingsError, match=r"^there is no file 'other_name.py'; check the path$"):
        Target.parse("other_name.py:train").load(folder)


def test_an_unknown_module(folder):
    with pytest.raises(SettingsError, match=r"no module 'no_such_thing\.deep', neither"):
        Target.parse("no_such_thing.deep:train").load(folder)
    with pytest.raises(SettingsError, match=r"no module 'json\.deep', neither"):
        Target.parse("json.deep:train").load(folder)


def test_an_unknown_name(folder):
    with pytest.raises(SettingsError, match=r"train.py has no 'trian'; it has space, Jobs, train; did you mean 'train'\?"):
        Target.parse("train.py:trian").load(folder)
    with pytest.raises(SettingsError, match=r"train.py has no 'x'; it has second"):
        Target.parse("train.py:Jobs.x").load(folder)
    (folder / "empty.py").write_text("")
    with pytest.raises(SettingsError, match="it has nothing that could be meant"):
        Target.parse("empty.py:train").load(folder)


def test_what_is_not_a_function(folder):
    with pytest.raises(SettingsError, match=r"train.py:not_a_space: got 3; a training function takes a worker"):
        Target.parse("train.py:not_a_space").load_function(folder)


@pytest.mark.parametrize(
    ("code", "kind"), [("1 / 0", ZeroDivisionError), ("import no_such_thing", ModuleNotFoundError), ("def f(:", SyntaxError)]
)
@pytest.mark.parametrize("target", ["broken.py:train", "broken:train"])
def test_a_module_that_fails_is_the_users_error(tmp_path, code, kind, target):
    (tmp_path / "broken.py").write_text(code)
    with pytest.raises(TrainingError, match=rf"could not be imported: {kind.__name__}") as caught:
        Target.parse(target).load(tmp_path)
    assert type(caught.value.__cause__) is kind
    assert "broken" not in sys.modules


# ---- spaces ----------------------------------------------------------------------------------------------------------------------------

SPACE = Space(lr=Float(1e-5, 0.1, log=True))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("space.toml", "[lr]\nlow = 1e-5\nhigh = 0.1\nlog = true\n"),
        ("space.json", '{"lr": {"low": 1e-5, "high": 0.1, "log": true}}'),
        ("space.csv", "name,min,max,scale\nlr,1e-5,0.1,log\n"),
    ],
)
def test_a_space_from_a_file(folder, name, text):
    (folder / name).write_text(text)
    assert load_space(name, Target.parse("train.py:train"), folder) == (SPACE, name)


def test_a_space_from_python(folder):
    space, source = load_space("train.py:space", Target.parse("json:dumps"), folder)
    assert (space, source) == (Space(lr=Float(0.1, 0.2)), "train.py:space")


def test_the_space_beside_the_training_function_is_the_default(folder):
    space, source = load_space(None, Target.parse("train.py:train"), folder)
    assert (space, source) == (Space(lr=Float(0.1, 0.2)), "train.py:space")


def test_no_space_anywhere(folder):
    with pytest.raises(SettingsError, match=r"helper.py has no 'space', and none was given; .* --space space.toml"):
        load_space(None, Target.parse("helper.py:train"), folder)


def test_something_else_than_a_space(folder):
    with pytest.raises(SettingsError, match=r"train.py:not_a_space is 3; it must be a lamarck.Space"):
        load_space("train.py:not_a_space", Target.parse("train.py:train"), folder)


@pytest.mark.parametrize("source", ["space", "space.yaml", "space.txt"])
def test_a_source_of_an_unknown_kind(folder, source):
    with pytest.raises(SettingsError, match=r"ends in .toml, .json, .csv, or a Python object"):
        load_space(source, Target.parse("train.py:train"), folder)


def test_a_space_file_that_cannot_be_read(folder):
    train = Target.parse("train.py:train")
    with pytest.raises(SettingsError, match=r"there is no file 'space.toml'"):
        load_space("space.toml", train, folder)
    (folder / "latin.toml").write_bytes(b"[lr]\nlow = \xff")
    with pytest.raises(SettingsError, match=r"'latin.toml' cannot be read"):
        load_space("latin.toml", train, folder)
    (folder / "wrong.toml").write_text("[lr]\nlow = 2.0\nhigh = 1.0\n")
    with pytest.raises(SpaceError, match=r"^wrong.toml: .*lr"):
        load_space("wrong.toml", train, folder)


def test_an_absolute_path_needs_no_folder(folder):
    target = Target.parse(f"{folder / 'train.py'}:train")
    assert target.load_function(Path("/nowhere"))(None) == 42
