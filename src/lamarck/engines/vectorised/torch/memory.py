"""How many members fit in memory at once."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, TypeVar, final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lamarck.engines import _machine
from lamarck.engines.vectorised.torch.batch import tensors_in
from lamarck.engines.vectorised.torch.program import Program
from lamarck.engines.vectorised.torch.training import Members

__all__ = ["Living", "activations", "fitting", "free", "peak"]

T = TypeVar("T")

_SHARE = 0.7
"""Of the memory that is free: allocators, kernels and everybody else need some, too."""


def fitting(program: Program, member: Members, batch: Any, members: int, processes: int) -> int:
    """Returns how many members may train at once, at least 1. How many are judged at once is found when they are.

    Args:
        program: What a member computes.
        member: A stack of one.
        batch: A batch of one member.
        members: How many there are in one process.
        processes: How many processes share the memory.
    """
    device = next(iter(member.weights.values())).device
    left = free(device)
    if left is None:
        return members
    weights = sum(tensor.nbytes for tensor in member.weights.values())
    at_rest = sum(tensor.nbytes for tensor in member.tensors()) * members
    in_training = weights + activations(program, member, batch)
    if device.type == "cuda":
        in_training *= 2  # steps that are recorded keep their memory to themselves, and some are never recorded
    return max(1, min(members, int((_SHARE * left / processes - at_rest) // max(1, in_training))))


def activations(program: Program, member: Members, batch: Any) -> int:
    """Returns the bytes that computing one member's gradient takes at the most, besides the gradient itself.

    Args:
        program: What a member computes.
        member: A stack of one.
        batch: A batch of one member. If the loss cannot be computed without more, nothing is counted.
    """
    weights = {name: tensor[0].clone() for name, tensor in member.weights.items()}
    fixed = {name: tensor[0].clone() for name, tensor in member.fixed.items()}
    key = torch.zeros((), dtype=torch.int64, device=next(iter(weights.values())).device)
    program.module.train()
    hparams: dict[str, Tensor] = {}
    with torch.random.fork_rng(devices=[]), suppress(Exception):
        while True:
            try:
                _, taken = peak(lambda: program.gradients(weights, fixed, batch, dict(hparams), key, None))
                return max(0, taken - sum(weight.nbytes for weight in weights.values()))
            except KeyError as error:  # there are no hyperparameters yet
                (name,) = set(error.args) - set(hparams)
                hparams[name] = torch.tensor(0.5, device=key.device)
    return 0


def peak(work: Callable[[], T]) -> tuple[T, int]:
    """Returns what a function returns, and the bytes of the tensors that it makes, when there are the most.

    Args:
        work: The function.
    """
    with Living() as living:
        return work(), living.most


@final
class Living(TorchDispatchMode):
    """Counts the memory of tensors that are made while it is entered, as long as they live.

    Attributes:
        most: Bytes of all of them, when there were the most.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._now, self._known = 0, dict[int, Any]()
        self.most = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {tensor.untyped_storage()._cdata for tensor in _dense((args, kwargs or {}))}
        made = function(*args, **(kwargs or {}))
        for tensor in _dense(made):
            if tensor.untyped_storage()._cdata not in given:  # of which it would be a view
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        name, size = storage._cdata, storage.nbytes()

        def gone(_: Any) -> None:
            self._now -= size
            del self._known[name]

        if name not in self._known:
            self._known[name] = weakref.ref(storage, gone)
            self._now += size
            self.most = max(self.most, self._now)


def _dense(made: Any) -> Iterator[Tensor]:
    return (tensor for tensor in tensors_in(made) if tensor.layout is torch.strided)  # others have several storages, or none


def free(device: torch.device) -> int | None:
    """Returns the bytes that are free where a device has its tensors, or ``None`` if nobody says."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by PyTorch, for what comes next
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return _machine.memory()
