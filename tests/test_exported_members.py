"""The public names: sorted, complete, there, and each at one address."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import types

import pytest

import lamarck
from lamarck import _errors

MODULES = sorted(
    module.name for module in pkgutil.walk_packages(lamarck.__path__, "lamarck.") if not any(p.startswith("_") for p in module.name.split("."))
)

PUBLIC = sorted({"__version__", *lamarck._HOME, *lamarck._MODULES})
FOR_PYTORCH = {"Supervised", "torch"}
"""What ``from lamarck import *`` leaves out."""


def in_dunder_all_order(names: list[str]) -> list[str]:
    """CONSTANTS, then Classes, then functions: the order that ruff keeps (RUF022)."""
    return sorted(names, key=lambda name: (0 if name.isupper() else 1 if name.lstrip("_")[:1].isupper() else 2, name))


def test_the_package_exports_exactly_what_it_lists() -> None:
    assert list(lamarck.__all__) == in_dunder_all_order(list(lamarck.__all__))
    assert len(set(lamarck.__all__)) == len(lamarck.__all__)
    public = {name for name, value in vars(lamarck).items() if not name.startswith("_") and not isinstance(value, types.ModuleType)}
    hidden = public - set(PUBLIC) - {"annotations"}
    assert not hidden, f"public but not listed: {sorted(hidden)}"


@pytest.mark.parametrize("name", PUBLIC)
def test_every_listed_name_is_what_its_home_defines(name: str) -> None:
    """Not a module of the same name, for instance."""
    value = getattr(lamarck, name)
    if name in lamarck._HOME:
        assert value is getattr(importlib.import_module(lamarck._HOME[name]), name)
    else:
        assert name == "__version__" or inspect.ismodule(value)


def test_type_checkers_and_python_see_the_same_names() -> None:
    """The imports for type checkers, the table for Python and the list for people agree."""
    source = ast.parse(inspect.getsource(lamarck))
    block = next(node for node in source.body if isinstance(node, ast.If))
    imported = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    modules = {name for name, home in imported.items() if inspect.ismodule(getattr(lamarck, name))}
    assert {name: f"{imported[name]}.{name}" for name in modules} == lamarck._MODULES
    assert {name: home for name, home in imported.items() if name not in modules} == lamarck._HOME
    assert {*imported, "__version__"} == {*lamarck.__all__, *FOR_PYTORCH}
    assert not FOR_PYTORCH & set(lamarck.__all__)


def test_dir_shows_what_is_not_loaded_yet() -> None:
    assert set(PUBLIC) <= set(dir(lamarck))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Spase'"):
        lamarck.Spase  # noqa: B018


def test_all_errors_are_exported() -> None:
    errors = {name for name, value in vars(_errors).items() if inspect.isclass(value) and issubclass(value, _errors.LamarckError)}
    assert errors <= set(lamarck.__all__)


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    """The drawing at the top of _errors.py names every error, each under its base."""
    drawn = []
    for line in (_errors.__doc__ or "").splitlines():
        found = [word for word in line.replace("(", " ").split() if word in vars(_errors)]
        if found:
            drawn.append((line.index(found[0]), found[0]))
    parents = {}
    for i, (depth, name) in enumerate(drawn):
        above = [other for at, other in drawn[:i] if at < depth]
        parents[name] = above[-1] if above else None
    actual = {
        name: value.__bases__[0].__name__ if value is not _errors.LamarckError else None
        for name, value in vars(_errors).items()
        if inspect.isclass(value) and issubclass(value, _errors.LamarckError)
    }
    assert parents == actual


@pytest.mark.parametrize("name", MODULES)
def test_every_module_has_what_it_lists(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    listed = list(getattr(module, "__all__", []))
    assert listed == in_dunder_all_order(listed)
    for item in listed:
        assert hasattr(module, item), f"{name} lists {item!r}, which it has not"
