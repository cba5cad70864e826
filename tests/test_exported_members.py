"""The public names: sorted, complete, there, and each at one address."""

from __future__ import annotations

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


def in_dunder_all_order(names: list[str]) -> list[str]:
    """CONSTANTS, then Classes, then functions: the order that ruff keeps (RUF022)."""
    return sorted(names, key=lambda name: (0 if name.isupper() else 1 if name.lstrip("_")[:1].isupper() else 2, name))


def test_the_package_exports_exactly_what_it_lists() -> None:
    assert list(lamarck.__all__) == in_dunder_all_order(list(lamarck.__all__))
    assert len(set(lamarck.__all__)) == len(lamarck.__all__)
    public = {
        name for name, value in vars(lamarck).items() if not name.startswith("_") and not isinstance(value, types.ModuleType) and name != "annotations"
    }
    assert public <= set(lamarck.__all__), f"public but not listed: {sorted(public - set(lamarck.__all__))}"


@pytest.mark.parametrize("name", lamarck.__all__)
def test_every_listed_name_is_there(name: str) -> None:
    assert getattr(lamarck, name) is not None


def test_names_that_are_also_modules_mean_the_function() -> None:
    """`lamarck.run` is a module and a function; whoever imports the module must not take the function away."""
    importlib.import_module("lamarck.runs")
    assert inspect.isfunction(lamarck.run)
    assert inspect.isfunction(lamarck.load)


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
def test_every_module_lists_its_public_names(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    listed = list(module.__all__)
    assert listed == in_dunder_all_order(listed)
    for item in listed:
        assert hasattr(module, item), f"{name} lists {item!r}, which it has not"
    own = {
        item
        for item, value in vars(module).items()
        if not item.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == name
    }
    hidden = own - set(listed)
    assert not hidden, f"{name} defines {sorted(hidden)} without listing them: add them to __all__ or begin the name with an underscore"
