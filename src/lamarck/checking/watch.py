"""What a training function holds, tracked or not: a look at the variables of its frames, to name what a restore leaves as it was.

Only fingerprints are kept, and nothing is called but ``state_dict``. What is found is a hint about the cause of a difference that was measured,
never a verdict of its own.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import sys
import sysconfig
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any, Literal, final

import numpy as np

from lamarck.checking.states import leaves
from lamarck.tracking import Stateful
from lamarck.training import ActiveInterval, Worker

__all__ = ["Kind", "Look", "Seen", "look", "user_frames"]

Kind = Literal["generator", "optimizer", "module", "state", "iterator", "container", "array", "plain"]
"""What a variable is, as far as advice goes; the last is numbers and texts."""

_DEPTH = 4
_ENTRIES = 5000
_SAMPLE = 1 << 20
"""Numbers of an array that are looked at; of a longer one evenly many."""
_IGNORED = (ModuleType, Worker, ActiveInterval, FunctionType, BuiltinFunctionType, MethodType, type, Path)
_PACKAGE = Path(__file__).resolve().parent.parent
_INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_unknown = itertools.count()


@final
@dataclass(frozen=True, slots=True)
class Seen:
    """A variable, or a leaf of one that has a state.

    Args:
        owner: Name of the variable, with attributes, e.g. ``"trainer.rng"``.
        where: ``"train()"``, or ``"module data"``.
        kind: What it is.
        type: Name of its class.
        leaf: Path in its state; empty for what is fingerprinted as a whole.
        digest: Fingerprint. Of an iterator, whose position cannot be read, a new one each time.
    """

    owner: str
    where: str
    kind: Kind
    type: str
    leaf: str
    digest: str


Look = Mapping[str, Seen]
"""All that was seen at one moment, by a key that stays the same."""


def user_frames(innermost: FrameType | None, outermost: CodeType) -> list[FrameType]:
    """Returns the frames of the user's code on the stack, the outermost first.

    Args:
        innermost: Where to begin.
        outermost: Code of the function that called the user's.
    """
    frames = []
    while innermost is not None and innermost.f_code is not outermost:
        if innermost.f_globals.get("__name__") not in {"lamarck.training", "lamarck.checking.trial"}:
            frames.append(innermost)
        innermost = innermost.f_back
    return frames[::-1]


def look(frames: list[FrameType]) -> dict[str, Seen]:
    """Fingerprints the variables of frames, and of the modules that they belong to.

    Args:
        frames: As `user_frames` returns them.

    Example:
        >>> import random
        >>> import sys
        >>> def train(rng):
        ...     return look([sys._getframe()])
        >>> train(random.Random(0))["rng in train()"].kind
        'generator'
    """
    looker = _Looker({}, set())
    for frame in frames:
        for name, thing in dict(frame.f_locals).items():
            looker.add(name, f"{frame.f_code.co_name}()", thing, 0)
    own = [frame for frame in frames if not _is_installed(frame.f_code.co_filename)]
    for name, variables in {str(frame.f_globals.get("__name__")): frame.f_globals for frame in own}.items():
        looker.module(name, variables)
    return looker.seen


@dataclass(frozen=True, slots=True)
class _Looker:
    """Walks through objects, each once."""

    seen: dict[str, Seen]
    known: set[int]

    def module(self, name: str, variables: Mapping[str, Any]) -> None:
        for key, thing in list(variables.items()):
            if key.startswith("__"):
                continue
            if not isinstance(thing, ModuleType):
                self.add(key, f"module {name}", thing, 0)
            elif _is_users(thing) and self._first(thing):
                self.module(thing.__name__, vars(thing))

    def add(self, path: str, where: str, thing: Any, depth: int) -> None:
        with suppress(Exception):  # a look must not end what is looked at, whatever objects the user has
            self._add(path, where, thing, depth)

    def _add(self, path: str, where: str, thing: Any, depth: int) -> None:
        if depth > _DEPTH or len(self.seen) > _ENTRIES or isinstance(thing, _IGNORED):
            return
        if isinstance(thing, bool | int | float | str | bytes | None):
            self._note(path, where, "plain", thing, "", _digest(thing))
        elif _is_loop(thing) or not self._first(thing):
            return
        elif (state := _generator_state(thing)) is not None:
            self._note(path, where, "generator", thing, "", _digest(state))
        elif isinstance(thing, Stateful):
            self._stateful(path, where, thing, depth)
        elif isinstance(thing, np.ndarray) or _is_torch(thing, "Tensor"):
            self._note(path, where, "array", thing, "", _digest(thing))
        elif isinstance(thing, dict | list | tuple | set | frozenset | deque):
            self._container(path, where, thing, depth)
        elif isinstance(thing, Iterator):
            self._note(path, where, "iterator", thing, "", str(next(_unknown)))
        else:
            self._attributes(path, where, thing, depth)

    def _stateful(self, path: str, where: str, thing: Any, depth: int) -> None:
        state = thing.state_dict()
        kind: Kind = (
            "module" if _is_torch(thing, "nn.Module") else "optimizer" if isinstance(state, dict) and "param_groups" in state else "state"
        )
        for leaf, value in leaves({"": state}).items():
            self._note(path, where, kind, thing, leaf.removeprefix("/"), _digest(value))
        if kind == "module":
            self._attributes(path, where, thing, depth)

    def _container(self, path: str, where: str, thing: Any, depth: int) -> None:
        with suppress(Exception):
            self._note(path, where, "container", thing, "", _digest(thing))
        items = thing.items() if isinstance(thing, dict) else enumerate(thing) if isinstance(thing, list | tuple) else ()
        for key, item in itertools.islice(items, 100):
            if not isinstance(item, bool | int | float | str | bytes | None):
                self.add(f"{path}[{key!r}]", where, item, depth + 1)

    def _attributes(self, path: str, where: str, thing: Any, depth: int) -> None:
        for name, value in list(getattr(thing, "__dict__", {}).items()):
            if not (name.startswith("__") or (name.startswith("_") and _is_torch(thing, "nn.Module"))):
                self.add(f"{path}.{name}", where, value, depth + 1)

    def _first(self, thing: Any) -> bool:
        """Whether an object was not met before, under another name."""
        new = id(thing) not in self.known
        self.known.add(id(thing))
        return new

    def _note(self, path: str, where: str, kind: Kind, thing: Any, leaf: str, digest: str) -> None:
        self.seen[f"{path}{'/' if leaf else ''}{leaf} in {where}"] = Seen(path, where, kind, type(thing).__name__, leaf, digest)


def _is_torch(thing: Any, name: str) -> bool:
    torch: Any = sys.modules.get("torch")
    for part in name.split("."):
        torch = getattr(torch, part, None)
    return torch is not None and isinstance(thing, torch)


def _is_loop(thing: Any) -> bool:
    """Whether it is the iterator over a worker's own intervals."""
    return getattr(thing, "gi_code", None) is Worker.__iter__.__code__


def _is_users(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and not _is_installed(file) and not Path(file).resolve().is_relative_to(_PACKAGE)


def _is_installed(file: str) -> bool:
    return any(Path(file).resolve().is_relative_to(folder) for folder in _INSTALLED)


def _generator_state(thing: Any) -> Any:
    """The state of a random generator, or ``None`` for anything else. Modules' own generators are seeded for each interval, and no concern."""
    if isinstance(thing, np.random.Generator):
        return thing.bit_generator.state
    if isinstance(thing, np.random.RandomState):
        return thing.get_state()
    if isinstance(thing, random.Random) and not isinstance(thing, random.SystemRandom):
        return thing.getstate()
    return thing.get_state() if _is_torch(thing, "Generator") else None


def _digest(thing: Any) -> str:
    made = hashlib.blake2b(digest_size=12)
    for part in _parts(thing, 0):
        made.update(part)
    return made.hexdigest()


def _parts(thing: Any, depth: int) -> Iterator[bytes]:
    """Bytes that say what a thing holds; of objects only which class they have."""
    yield type(thing).__name__.encode()
    if isinstance(thing, bool | int | float | str | bytes | None):
        yield repr(thing).encode()
    elif _is_torch(thing, "Tensor"):
        yield f"{thing.dtype}{tuple(thing.shape)}".encode()
        yield thing.detach().reshape(-1)[:: 1 + thing.numel() // _SAMPLE].cpu().contiguous().view(sys.modules["torch"].uint8).numpy().tobytes()
    elif isinstance(thing, np.ndarray):
        yield f"{thing.dtype}{thing.shape}".encode()
        if thing.dtype.kind != "O":
            yield np.ascontiguousarray(thing.reshape(-1)[:: 1 + thing.size // _SAMPLE]).tobytes()
    elif depth < _DEPTH and isinstance(thing, set | frozenset):
        yield from sorted(b"".join(_parts(item, depth + 1)) for item in thing)
    elif depth < _DEPTH and isinstance(thing, dict | list | tuple | deque):
        yield str(len(thing)).encode()
        for item in itertools.islice(thing.items() if isinstance(thing, dict) else thing, _ENTRIES):
            yield from _parts(item, depth + 1)
