"""A task as other processes get it: whether they could load it at all, and its data in memory that all of them share.

Pickle names a function by its module. A new process finds the module ``__main__`` by running the program's file again, so what stands in a
notebook, at a prompt, or below the guard of a script is not there; and a script without a guard would start processes without end. All of
that is seen here, before any process is started.
"""

from __future__ import annotations

import ast
import io
import pickle
import sys
import threading
from collections.abc import Iterator
from multiprocessing.spawn import get_preparation_data
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Parcel", "Unsendable"]

_GUARD = "`if __name__ == '__main__':`"


class Unsendable(Exception):
    """Why a task cannot go to another process, and what to do."""


@final
class Parcel(NamedTuple):
    """A task without its data, and the data.

    Args:
        pickled: The task; arrays and tensors in it are left out.
        data: Their buffers, in memory that the task goes on using.
    """

    pickled: bytes
    data: list[pickle.PickleBuffer]

    @classmethod
    def of(cls, task: Any) -> Parcel:
        """Makes ready what can be sent.

        Args:
            task: Anything.

        Raises:
            Unsendable: If pickle refuses it, or another process could not load it.
        """
        data: list[pickle.PickleBuffer] = []
        file = io.BytesIO()
        pickler = _Pickler(file, data)
        try:
            pickler.dump(task)
        except Exception as error:
            raise Unsendable(f"it cannot be pickled ({error}): build it from functions and classes at the top level of a module") from None
        if (reason := _unloadable(pickler.own)) is not None:
            raise Unsendable(reason)
        return cls(file.getvalue(), data)

    def open(self) -> Any:
        """Returns the task. Its arrays and tensors stand in the buffers."""
        return pickle.loads(self.pickled, buffers=self.data)  # noqa: S301 - made by our own parent on this machine, a moment ago


@final
class _Pickler(pickle.Pickler):
    """Leaves data out, tensors' too, and remembers what it found in the program itself.

    Attributes:
        own: Names of functions and classes at the top of ``__main__``.
    """

    def __init__(self, file: io.BytesIO, data: list[pickle.PickleBuffer]) -> None:
        super().__init__(file, protocol=5, buffer_callback=data.append)
        self.own: set[str] = set()
        self._storages: dict[int, NDArray[np.uint8]] = {}

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, FunctionType | type) and value.__module__ == "__main__":
            self.own.add(value.__qualname__.partition(".")[0])
        torch = sys.modules.get("torch")
        if torch is None or type(value) is not torch.Tensor or value.device.type != "cpu" or value.layout != torch.strided:
            return NotImplemented
        if value.requires_grad or value.is_conj() or value.is_neg():
            return NotImplemented
        storage = value.untyped_storage()  # views of one storage stay that
        whole = self._storages.setdefault(storage.data_ptr(), torch.empty(0, dtype=torch.uint8).set_(storage).numpy())
        return _tensor, (whole, value.dtype, tuple(value.shape), value.stride(), value.storage_offset())


def _tensor(storage: NDArray[np.uint8], dtype: Any, shape: tuple[int, ...], stride: tuple[int, ...], offset: int) -> Any:
    import torch

    whole = torch.from_numpy(storage[: len(storage) // dtype.itemsize * dtype.itemsize])
    return whole.view(dtype).as_strided(shape, stride, offset)


def _unloadable(own: set[str]) -> str | None:
    """Why another process could not load what the program itself defines, or could not even begin; ``None`` if nothing is known against it.

    Args:
        own: Names of functions and classes at the top of ``__main__``.
    """
    begin = get_preparation_data("")
    path, module = begin.get("init_main_from_path"), begin.get("init_main_from_name", "__main__")
    main = sys.modules["__main__"]
    if path is not None and not Path(path).exists():
        return "the program stands in no file that another process could run (did it come through a pipe?): put it into one"
    if path is None and module.rpartition(".")[2] == "__main__":  # nothing is run again: a prompt, a notebook, or `python -m package`
        named = ", ".join(sorted(own))
        return f"{named} cannot be found from there: put what the task is made of into a module, and import it" if own else None
    try:
        tree = ast.parse(Path(path or main.__file__ or "").read_bytes())
    except (OSError, SyntaxError, ValueError):  # something that Python can run and we cannot read
        return None
    guards = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "__name__" in ast.dump(node.test)]
    line = _running(vars(main))
    if line is not None and not any(guard.lineno <= line <= (guard.end_lineno or 0) for guard in guards):
        return f"each process runs the script first, from its beginning, and would come by here again: put this under {_GUARD}"
    below = own & set(_defined(guards)) - set(_defined(node for node in tree.body if node not in guards))
    if below:
        return f"{', '.join(sorted(below))} stands below {_GUARD}, where no other process comes by: move it up"
    return None


def _running(namespace: dict[str, Any]) -> int | None:
    """The line of the program that the main thread is in, or ``None`` if the program's own level is behind it."""
    frame: FrameType | None = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        if frame.f_globals is namespace and frame.f_code.co_name == "<module>":
            return frame.f_lineno
        frame = frame.f_back
    return None


def _defined(nodes: Any) -> Iterator[str]:
    for node in nodes:
        for inner in ast.walk(node):
            if isinstance(inner, ast.FunctionDef | ast.ClassDef):
                yield inner.name
