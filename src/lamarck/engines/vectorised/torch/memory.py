"""How many members fit in memory at once."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from lamarck.engines.vectorised.torch.program import Program
from lamarck.engines.vectorised.torch.training import Members

__all__ = ["activations", "fitting"]

_SHARE = 0.7
"""Of the memory that is free: allocators, kernels and everybody else need some, too."""


def fitting(program: Program, member: Members, batch: tuple[Tensor, ...], members: int, processes: int) -> int:
    """Returns how many members may train at once, at least 1.

    Args:
        program: What a member computes.
        member: A stack of one.
        batch: A batch of one member.
        members: How many there are in one process.
        processes: How many processes share the memory.
    """
    free = _free(batch[0].device)
    if free is None:
        return members
    weights = sum(tensor.nbytes for tensor in member.weights.values())
    at_rest = sum(tensor.nbytes for tensor in member.tensors()) * members
    in_training = weights + activations(program, member, batch)
    return max(1, min(members, int((_SHARE * free / processes - at_rest) // max(1, in_training))))


def activations(program: Program, member: Members, batch: tuple[Tensor, ...]) -> int:
    """Returns the bytes that one member's forward pass keeps for the backward pass; twice, because gradients of them come and go.

    Args:
        program: What a member computes.
        member: A stack of one.
        batch: A batch of one member, whose first part the module takes. For a module that takes more, only the weights can be counted.
    """
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        seen[tensor.data_ptr()] = tensor.nbytes
        return tensor

    weights = {name: tensor[0].clone().requires_grad_() for name, tensor in member.weights.items()}
    fixed = {name: tensor[0].clone() for name, tensor in member.fixed.items()}
    module = program.module.train()
    with torch.random.fork_rng(devices=[]), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), suppress(Exception):
        torch.func.functional_call(module, weights | fixed, (batch[0],))
    return 2 * sum(seen.values())


def _free(device: torch.device) -> int | None:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        pages, size = "SC_AVPHYS_PAGES", "SC_PAGE_SIZE"
        return os.sysconf(pages) * os.sysconf(size) if pages in os.sysconf_names else None
