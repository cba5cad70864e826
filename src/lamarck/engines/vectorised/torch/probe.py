"""A trial with a few members before anything is trained: can this module be batched, and does every hyperparameter arrive?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lamarck._errors import SettingsError
from lamarck.engines.vectorised.torch import aids
from lamarck.engines.vectorised.torch.program import Program
from lamarck.engines.vectorised.torch.training import Members, Plan

__all__ = ["probed"]


class _Watched(dict[str, Any]):
    """Hyperparameters that remember which of them were read."""

    def __init__(self, given: Mapping[str, Any], read: set[str]) -> None:
        super().__init__(given)
        self._read = read

    def __getitem__(self, name: str) -> Any:
        self._read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self._read.add(name)
        return super().get(name, default)


def probed(program: Program, members: Members, plan: Plan, how: str, reached: set[str]) -> None:
    """Computes one gradient for one member, and for two together, and throws it away.

    Args:
        program: What a member computes. It learns whether it needs `Aids`, and which weights no gradient reaches.
        members: The stack.
        plan: What is to be trained.
        how: How; what is never batched need not be.
        reached: Hyperparameters that arrive elsewhere than in the loss.

    Raises:
        SettingsError: If a hyperparameter arrives nowhere, or a module cannot be batched; the message names it, and the way out.
    """
    read: set[str] = set()
    loss = program.loss
    # Python's own generators are not touched by any of this, and PyTorch's is put back.
    with torch.random.fork_rng(devices=[]), aids.asked() as asked:
        try:
            program.loss = lambda model, batch, hparams: loss(model, batch, _Watched(hparams, read))
            _gradients(program, members, plan, 1, batched=False)
        finally:
            program.loss = loss
        program.aided = bool(asked)
        if missing := sorted(set(plan.hparams) - read - reached):
            raise SettingsError(
                f"{', '.join(map(repr, missing))}: tuned, but arrives nowhere: the optimizer has nothing of that name, and the loss does not "
                "read it. Rename it, read it in the loss by hparams[...], or set an attribute of the module by attributes={...}"
            )
        if how != "looped":
            with _blamed(program.module):
                _gradients(program, members, plan, min(2, len(members)), batched=True)


def _gradients(program: Program, members: Members, plan: Plan, size: int, *, batched: bool) -> None:
    few = members.map(lambda tensor: tensor[:size].clone())
    batch = plan.batch(0)
    if not plan.shared:
        batch = tuple(part[:size] for part in batch)
    hparams = {name: column[:size] for name, column in plan.hparams.items()}
    attributes = {path: column[:size] for path, column in plan.attributes.items()}
    mask = None if plan.mask is None else plan.mask[:size]
    keys = plan.keys[0, :size]
    if batched:
        dims = (0, 0, None if plan.shared else 0, 0, 0, None if mask is None else 0)
        torch.vmap(program.gradients, in_dims=dims, randomness="different")(few.weights, few.fixed | attributes, batch, hparams, keys, mask)
        return

    def first(part: Tensor) -> Tensor:
        return part[0]

    one = few.map(first)
    batch = batch if plan.shared else tuple(map(first, batch))
    numbers = {name: column[0] for name, column in hparams.items()}
    told = one.fixed | {path: column[0] for path, column in attributes.items()}
    program.idle = program.unreached(one.weights, told, batch, numbers, keys[0], None if mask is None else mask[0])


@contextmanager
def _blamed(module: nn.Module) -> Iterator[None]:
    """Says in which module it was that batching failed."""
    inside: list[tuple[str, nn.Module]] = []
    hooks = []
    for name, part in module.named_modules():
        hooks.append(part.register_forward_pre_hook(lambda part, args, name=name: inside.append((name, part))))
        hooks.append(part.register_forward_hook(lambda part, args, output: _left(inside)))
    try:
        yield
    except SettingsError:
        raise
    except Exception as error:
        name, part = inside[-1] if inside else ("", module)
        where = f"the module {name!r}, a {type(part).__name__}," if name else f"the model or its loss ({type(module).__name__})"
        raise SettingsError(
            f"{where} cannot be trained for many members at once: {_reason(error)}. Or take how='looped', which trains one member after "
            "the other in the same program"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()


def _left(inside: list[tuple[str, nn.Module]]) -> None:
    inside.pop()


def _reason(error: Exception) -> str:
    text = str(error)
    if ".item()" in text or "data-dependent" in text or "bool" in text:
        return (
            "it looks at the value of a tensor (.item(), `if tensor`, a mask as an index); write it with torch.where or a product with the mask"
        )
    if "inplace" in text or "in-place" in text:
        return "it writes into a new tensor in place; build the tensor by torch.cat, torch.stack or torch.where"
    return f"{type(error).__name__}: {text.splitlines()[0] if text else ''}"
