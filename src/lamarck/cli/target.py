"""From what stands on the command line to Python objects: training functions and search spaces."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, final

from lamarck._errors import LamarckError, SettingsError, SpaceError, TrainingError
from lamarck.space import Space
from lamarck.training import Worker, check_train

__all__ = ["ByName", "Target", "load_space"]

_FORMATS = (".toml", ".json", ".csv")
_MISSING = object()


@final
@dataclass(frozen=True, slots=True)
class Target:
    """A Python object by name: ``module:name``, or ``path/file.py:name``.

    Args:
        place: Module, or file that ends in ``.py``.
        name: Name in it; dots go into classes.
        text: As it was written.

    Example:
        >>> Target.parse("train.py:train")
        Target(place='train.py', name='train', text='train.py:train')
    """

    place: str
    name: str
    text: str

    @classmethod
    def parse(cls, text: str) -> Target:
        """Reads a target.

        Raises:
            SettingsError: If the text has another form.
        """
        place, _, name = text.rpartition(":")
        if not place or not all(part.isidentifier() for part in name.split(".")):
            file = text if text.endswith(".py") else "train.py"
            raise SettingsError(f"got {text!r}; name the function as well: a file and a function, as in {file}:train, or module:function")
        return cls(place, name, text)

    @property
    def is_file(self) -> bool:
        """Whether it is given by a file."""
        return self.place.endswith(".py")

    def module(self, folder: Path) -> ModuleType:
        """Imports the module, with its own folder first on the path, as Python does for a script.

        Args:
            folder: What a relative path starts from, and where modules are looked for.

        Raises:
            SettingsError: If there is no such file or module.
            TrainingError: If the module itself fails; the cause is its exception.
        """
        file = folder / self.place
        if self.is_file and not file.is_file():
            near = difflib.get_close_matches(file.name, [path.name for path in file.parent.glob("*.py")], n=1)
            raise SettingsError(
                f"there is no file {self.place!r}{_under(folder)}" + (f"; did you mean {near[0]!r}?" if near else "; check the path")
            )
        home = str((file.parent if self.is_file else folder).resolve())
        if home not in sys.path:
            sys.path.insert(0, home)
        try:
            return _from_file(file.resolve()) if self.is_file else importlib.import_module(self.place)
        except ModuleNotFoundError as error:
            if self.is_file or error.name is None or not f"{self.place}.".startswith(f"{error.name}."):
                raise self._failed(error) from error
            raise SettingsError(
                f"there is no module {self.place!r}, neither{_under(folder, 'in this folder')} nor among the installed packages; "
                "give module:function or path/file.py:function"
            ) from None
        except Exception as error:
            raise self._failed(error) from error

    def load(self, folder: Path) -> Any:
        """Imports the module and returns the object.

        Args:
            folder: What a relative path starts from.

        Raises:
            SettingsError: If there is no such file, module or name.
            TrainingError: If the module itself fails; the cause is its exception.
        """
        found: Any = self.module(folder)
        for part in self.name.split("."):
            place, found = found, getattr(found, part, _MISSING)
            if found is _MISSING:
                names = [name for name, thing in vars(place).items() if _is_own(place, thing)]
                near = difflib.get_close_matches(part, names, n=1)
                meant = f"; did you mean {near[0]!r}?" if near else ""
                raise SettingsError(f"{self.place} has no {part!r}; it has {', '.join(names) or 'nothing that could be meant'}{meant}")
        return found

    def load_function(self, folder: Path) -> Callable[..., object]:
        """Does `load` for something that can be called with a worker.

        Raises:
            SettingsError: If it is not there, or something else.
            TrainingError: If the module itself fails.
        """
        function: Callable[..., object] = self.load(folder)
        check_train(self.text, function)
        return function

    def _failed(self, error: Exception) -> TrainingError:
        return TrainingError(f"{self.place} could not be imported: {type(error).__name__}: {error}")


@final
@dataclass(frozen=True, slots=True)
class ByName:
    """A training function that every process imports for itself, from wherever it is.

    What another process is sent is the name; it gets the function itself.

    Args:
        target: The function.
        folder: What a relative path starts from; absolute, because it holds for all processes.
    """

    target: Target
    folder: Path

    @property
    def text(self) -> str:
        """The function as it was named."""
        return self.target.text

    def __call__(self, worker: Worker) -> object:
        """Trains."""
        return self.resolved()(worker)

    def resolved(self) -> Callable[..., object]:
        """Returns the function itself."""
        return self.target.load_function(self.folder)

    def __reduce__(self) -> tuple[Any, ...]:
        return Target.load_function, (self.target, self.folder)


def load_space(source: str | None, train: Target | None, folder: Path) -> tuple[Space, str]:
    """Reads the search space.

    Args:
        source: A file that ends in ``.toml``, ``.json`` or ``.csv``; a Python target; or ``None`` for the name ``space`` beside the training
            function.
        train: The training function, or ``None`` for a script, beside which nothing can be looked for without running it.
        folder: What a relative path starts from.

    Returns:
        The space, and what it was read from: a file, or a target.

    Raises:
        SettingsError: If there is no such file or name, or what is there is not a space.
        SpaceError: If the file does not describe a space.
        TrainingError: If the module fails.
    """
    if source is None and train is None:
        raise SettingsError(
            "a script needs the search space in a file: --space space.toml. If a training function was meant, name it as well: train.py:train"
        )
    if source is None:
        assert train is not None
        target = Target(train.place, "space", f"{train.place}:space")
        if "space" not in vars(target.module(folder)):
            raise SettingsError(
                f"{train.place} has no 'space', and none was given; add one there, as in "
                "space = lamarck.Space(lr=lamarck.Float(1e-5, 0.1, log=True)), or give a file: --space space.toml"
            )
    elif source.endswith(_FORMATS):
        return _from_text(folder / source, source), source
    elif ":" in source:
        target = Target.parse(source)
    else:
        raise SettingsError(f"space: got {source!r}; give a file that ends in {', '.join(_FORMATS)}, or a Python object, as in train.py:space")
    found = target.load(folder)
    if not isinstance(found, Space):
        raise SettingsError(f"{target.text} is {found!r}; it must be a lamarck.Space")
    return found, target.text


def _from_text(path: Path, source: str) -> Space:
    try:
        return Space.from_text(path.read_text(encoding="utf-8"), path.suffix.removeprefix("."))
    except FileNotFoundError:
        raise SettingsError(f"space: there is no file {source!r}; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"space: {source!r} cannot be read: {error}") from None
    except LamarckError as error:
        raise SpaceError(f"{source}: {error}") from None


def _from_file(file: Path) -> ModuleType:
    """Imports a file once, under its own name unless another module has that."""
    for name in (file.stem, f"_lamarck_{file.stem}"):
        loaded = sys.modules.get(name)
        if loaded is None:
            break
        if getattr(loaded, "__file__", None) == str(file):
            return loaded
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _is_own(place: Any, thing: Any) -> bool:
    """Whether a thing could be meant by somebody who misspelt its name."""
    home = getattr(place, "__module__", None) or getattr(place, "__name__", "")
    return isinstance(thing, Space) or (callable(thing) and getattr(thing, "__module__", None) == home)


def _under(folder: Path, here: str = "") -> str:
    return (f" {here}" if here else "") if folder.resolve() == Path.cwd() else f" in {str(folder)!r}"
