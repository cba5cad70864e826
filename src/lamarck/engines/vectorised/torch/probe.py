"""A trial with a few members before anything is trained: does it work, does every hyperparameter arrive, and can this module be batched?"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn

from lamarck._errors import LamarckError, SettingsError, TrainingError, first_line
from lamarck.engines.vectorised.torch import streams
from lamarck.engines.vectorised.torch.aids import Aids, asked
from lamarck.engines.vectorised.torch.layers import opened
from lamarck.engines.vectorised.torch.memory import Living
from lamarck.engines.vectorised.torch.numbers import SETTABLE
from lamarck.engines.vectorised.torch.program import STEP, Program, averaged
from lamarck.engines.vectorised.torch.training import Members, Plan
from lamarck.engines.vectorised.watched import Watched

__all__ = ["probed"]

logger = logging.getLogger("lamarck")

_LOOPED = "Or take how='looped', which trains one member after the other in the same program"
_backward = opened(torch.autograd.backward)
"""The backward pass, of which `Aids` sees what is computed again."""
_UNSEEN_BY_COMPILERS = frozenset({"normal", "rand_like", "randint_like", "randn_like"})


def probed(program: Program, members: Members, plan: Plan, how: str, paced: Collection[str], reached: Collection[str]) -> None:
    """Computes one gradient for one member by itself, and for two together, and throws it away.

    Args:
        program: What a member computes. It learns what noise it draws, and which weights no gradient reaches.
        members: The stack.
        plan: What is to be trained.
        how: How; what is never batched need not be.
        paced: Hyperparameters that arrive in the optimizer.
        reached: Those that arrive elsewhere, other than in the loss.

    Raises:
        SettingsError: If a hyperparameter arrives nowhere, or a module cannot be batched; the message names it, and the way out.
        TrainingError: If the loss raises.
    """
    with streams.restored(plan.keys.device):  # nobody's generators are touched by any of this
        read, named = _tried(program, members, plan)
        for name in sorted(named & set(paced) & set(plan.hparams)):
            logger.warning(
                "%r is read by the loss and set in the optimizer, too, which has one of that name; rename it if it is not both", name
            )
        if missing := sorted(set(plan.hparams).difference(read, paced, reached)):
            raise SettingsError(
                f"{', '.join(map(repr, missing))}: tuned, but arrives nowhere: the optimizer has nothing of that name, and the loss does not "
                "read it. Rename it, read it in the loss by hparams[...], or set an attribute of the module by attributes={...}"
            )
        if how == "looped":
            return
        if program.strange:
            place = _named(*_drawing(program, members, plan))
            raise SettingsError(
                f"{place} draws noise of its own, which would not be a member's own if many were trained at once. Draw it with torch.rand, "
                f"torch.randn or another function of torch, without a generator. {_LOOPED}"
            )
        if hooked := [name for name, weight in program.ordinary.module.named_parameters() if _hooked(weight)]:
            raise SettingsError(f"the parameter {hooked[0]!r} has a hook, which would not be called if many were trained at once. {_LOOPED}")
        with _blamed(program.module, plan.attributes):
            _together(program, members, plan)


def _tried(program: Program, members: Members, plan: Plan) -> tuple[set[str], set[str]]:
    """Trains one member by itself for a step, as every module can; returns the hyperparameters that the loss read, and those by their names."""
    read: set[str] = set()
    one = members.map(lambda tensor: tensor[0].clone())
    module = program.ordinary.hold(one.weights | one.fixed, _numbers(plan))
    module.train()
    batch, before = _batch(plan), streams.standing(plan.keys.device)
    with asked() as names, Living() as living, Aids(plan.keys[0, 0]):
        hparams = _told(program, plan, read)
        try:
            said = program.loss(module, batch, hparams)
        except LamarckError:
            raise
        except Exception as error:
            told = f"; hparams has {', '.join(plan.hparams)}" if isinstance(error, KeyError) else ""
            raise TrainingError(f"loss: it raised when it was first called, {type(error).__name__}: {error}{told}") from error
        loss, forward = averaged(said, None if plan.mask is None else plan.mask[0]), len(names)
        if not loss.requires_grad:
            raise SettingsError("loss: what it returned does not depend on the weights, so that there is nothing to train by it")
        _backward(loss)
    program.counts = STEP in hparams.named
    program.keyed = len(names) == forward
    program.strange = not program.keyed or not streams.same(before, streams.standing(plan.keys.device))
    program.aided = bool(names) or bool(plan.attributes)  # a probability that is 0 for this member may not be for the next one
    program.uncompiled = _UNSEEN_BY_COMPILERS & set(names)
    weights = dict(module.named_parameters())
    gradients = {name: weights[name].grad for name in program.trained}
    if sparse := [name for name, gradient in gradients.items() if gradient is not None and gradient.layout is not torch.strided]:
        raise SettingsError(f"the gradient of {sparse[0]!r} is sparse, and stacks are not; build its layer without sparse=True")
    program.idle = frozenset(name for name, gradient in gradients.items() if gradient is None)
    program.activations = max(0, living.most - sum(weights[name].nbytes for name in program.trained))
    module.zero_grad()
    if plan.mask is not None and _mixed(program, module, plan):
        norms = [_named(name, part) for name, part in module.named_modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        raise SettingsError(
            f"batch_size: it is tuned, but the loss of a sample depends on the others in its batch{', by ' + norms[0] if norms else ','} and "
            "those beyond a member's own batch size cannot be left out. Normalise each sample by itself (LayerNorm, GroupNorm), or take "
            "batch_size out of the search space"
        )
    program.ordinary.release(one.weights | one.fixed, program.buffers)
    return read, hparams.named


@torch.no_grad()
def _mixed(program: Program, module: nn.Module, plan: Plan) -> bool:
    """Says whether the losses of the first half of a batch change with what the second half is."""
    batch = _batch(plan)
    half = len(batch[0]) // 2
    other = tuple(torch.cat([part[:half], part[:1].expand(len(part) - half, *part.shape[1:])]) for part in batch)

    def losses(samples: Any) -> Tensor:
        with program.noise(plan.keys[0, 0]):
            return program.loss(module, samples, _told(program, plan, set()))[:half]

    return not torch.allclose(losses(batch), losses(other), rtol=1e-3, atol=1e-5, equal_nan=True)


def _told(program: Program, plan: Plan, read: set[str]) -> Watched:
    return Watched(program.told({name: column[0] for name, column in plan.hparams.items()}), read, {STEP: plan.steps[0, 0]})


def _batch(plan: Plan) -> Any:
    return plan.batch(0) if plan.shared else tuple(part[0] for part in plan.batch(0))


def _numbers(plan: Plan) -> dict[str, float]:
    return {path: float(column[0]) for path, column in plan.attributes.items()}


def _together(program: Program, members: Members, plan: Plan) -> None:
    size = min(2, len(members))
    few, theirs = members.map(lambda tensor: tensor[:size].clone()), plan.rows(0, size)
    dims = (0, 0, None if plan.shared else 0, 0, 0, None if plan.mask is None else 0)
    gradients = torch.vmap(program.gradients, in_dims=dims, randomness="different")
    hparams = theirs.hparams | ({STEP: theirs.steps[0]} if program.counts else {})
    gradients(few.weights, few.fixed | theirs.attributes, theirs.batch(0), hparams, theirs.keys[0], theirs.mask)


def _hooked(weight: Any) -> bool:
    return bool(weight._backward_hooks) or bool(getattr(weight, "_post_accumulate_grad_hooks", None))


# ---- whose fault it is --------------------------------------------------------------------------------------------------------------------

Place = tuple[str, nn.Module]
"""A module and its name."""


@contextmanager
def _followed(module: nn.Module, enter: Callable[[Place], None], leave: Callable[[Place], None]) -> Iterator[None]:
    """Calls one function whenever a module is entered, and another when it is left."""
    hooks = []
    for place in module.named_modules():
        hooks.append(place[1].register_forward_pre_hook(lambda part, args, place=place: enter(place)))
        hooks.append(place[1].register_forward_hook(lambda part, args, output, place=place: leave(place)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _named(name: str, part: nn.Module) -> str:
    return f"the module {name!r}, a {type(part).__name__}," if name else f"the model or its loss ({type(part).__name__})"


def _drawing(program: Program, members: Members, plan: Plan) -> Place:
    """Returns the innermost module that draws noise of its own; the model itself, if none does."""
    one = members.map(lambda tensor: tensor[0].clone())
    module = program.ordinary.hold(one.weights | one.fixed, _numbers(plan))
    begun: list[Any] = []
    found: list[Place] = []

    def left(place: Place) -> None:
        if not streams.same(begun.pop(), streams.standing(plan.keys.device)):
            found.append(place)

    with _followed(module, lambda place: begun.append(streams.standing(plan.keys.device)), left), Aids(plan.keys[0, 0]):
        program.loss(module, _batch(plan), _told(program, plan, set()))
    program.ordinary.release(one.weights | one.fixed, program.buffers)
    return found[0] if found else ("", module)


@contextmanager
def _blamed(module: nn.Module, attributes: Iterable[str]) -> Iterator[None]:
    """Says in which module it was that batching failed."""
    inside: list[Place] = []
    try:
        with _followed(module, inside.append, lambda place: _left(inside)):
            yield
    except SettingsError:
        raise
    except Exception as error:
        name, part = inside[-1] if inside else ("", module)
        mine = [path for path in attributes if path.rpartition(".")[0] == name]
        if mine and "Tensor" in str(error):
            raise SettingsError(
                f"the attribute {mine[0]!r} of a {type(part).__name__} cannot differ between members that are trained at once: "
                f"{_reason(error)}. What can: {SETTABLE}, and whatever a module of yours computes with as with a number. {_LOOPED}"
            ) from error
        raise SettingsError(f"{_named(name, part)} cannot be trained for many members at once: {_reason(error)}. {_LOOPED}") from error


def _left(inside: list[Place]) -> None:
    inside.pop()


def _reason(error: Exception) -> str:
    text = str(error)
    if ".item()" in text or "data-dependent" in text or "bool" in text:
        return (
            "it looks at the value of a tensor (.item(), `if tensor`, a mask as an index); write it with torch.where or a product with the mask"
        )
    if "inplace" in text or "in-place" in text:
        return "it writes into a new tensor in place; build the tensor by torch.cat, torch.stack or torch.where"
    return f"{type(error).__name__}: {shorten(first_line(error), 200)}"
