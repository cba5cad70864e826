"""Steps of training for a stack, in three ways that compute the same: batched, batched and compiled, one member after the other."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, final

import torch
from torch import Tensor, nn

from lamarck.engines.vectorised.torch.aids import Aids
from lamarck.engines.vectorised.torch.optimizers import Rule
from lamarck.engines.vectorised.torch.program import Program, Tensors, averaged

__all__ = ["Members", "Plan", "Way", "Ways"]

Way = Callable[["Members", "Plan"], None]
"""Trains all steps of a plan, in place."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """A stack: every tensor is ``[n, ...]``.

    Args:
        weights: What is trained.
        fixed: Buffers and frozen parameters.
        slots: What the optimizer remembers: slot -> weight -> tensor.
    """

    weights: Tensors
    fixed: Tensors
    slots: Mapping[str, Tensors]

    def __len__(self) -> int:
        return len(next(iter(self.weights.values())))

    def tensors(self) -> Iterator[Tensor]:
        """Yields all tensors, always in the same order."""
        for part in (self.weights, self.fixed, *self.slots.values()):
            yield from part.values()

    def map(self, function: Callable[[Tensor], Tensor]) -> Members:
        """Returns the stack of what a function makes of each tensor."""
        made = {key: {name: function(tensor) for name, tensor in part.items()} for key, part in self.slots.items()}
        return Members(
            weights={name: function(tensor) for name, tensor in self.weights.items()},
            fixed={name: function(tensor) for name, tensor in self.fixed.items()},
            slots=made,
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What n members do in some steps. Nothing in it depends on the way, and nothing waits for the device.

    Args:
        batches: A batch for each step: tensors ``[n, batch, ...]``, or ``[batch, ...]`` if they are shared.
        chosen: ``int64[steps, n, batch]`` or ``[steps, batch]``: rows of `samples`, instead of `batches`.
        samples: What is chosen from.
        shared: Whether all members see the same batch.
        hparams: ``[n]`` each: what the loss and the module are told.
        numbers: ``[n]`` each: hyperparameters of the optimizer, by its own names.
        scalars: ``[steps, n]`` each: what it needs besides.
        keys: ``int64[steps, n]``: what noise depends on.
        mask: ``[n, batch]``; which samples of its batches each member counts, ``None`` for all.
        count: ``int64[n]``: steps that each member had behind it.
    """

    batches: tuple[tuple[Tensor, ...], ...] = ()
    chosen: Tensor | None = None
    samples: tuple[Tensor, ...] = ()
    shared: bool
    hparams: Tensors
    numbers: Tensors
    scalars: Tensors
    keys: Tensor
    count: Tensor
    mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def part(self, start: int, stop: int) -> Plan:
        """Returns some of the steps."""
        return replace(
            self,
            batches=self.batches[start:stop],
            chosen=None if self.chosen is None else self.chosen[start:stop],
            scalars={name: column[start:stop] for name, column in self.scalars.items()},
            keys=self.keys[start:stop],
            count=self.count + start,
        )

    def batch(self, step: int) -> tuple[Tensor, ...]:
        """Returns what everybody sees in a step."""
        return self.batches[step] if self.chosen is None else tuple(samples[self.chosen[step]] for samples in self.samples)


@final
class Ways:
    """The ways to train.

    Args:
        program: What a member computes.
        rule: The optimizer.
    """

    def __init__(self, program: Program, rule: Rule) -> None:
        self._program, self._rule = program, rule
        self._compiled: Callable[..., None] | None = None
        self.unrolled = 4 if len(program.trained) <= 8 else 1
        """Steps in one compiled call. Fusing steps saves launches; compiling takes as many times longer."""

    def batched(self, members: Members, plan: Plan) -> None:
        """All members at once, operation by operation."""
        self._advance(members.weights, members.fixed, members.slots, plan)

    def compiled(self, members: Members, plan: Plan) -> None:
        """All members at once, forward, backward and optimizer in one compiled function of some steps; what is left over is batched."""
        if self._compiled is None:
            self._compiled = torch.compile(self._flat, dynamic=False)
        whole = len(plan) - len(plan) % self.unrolled
        for step in range(0, whole, self.unrolled):
            part = plan.part(step, step + self.unrolled)
            with torch.no_grad():
                self._compiled(members.weights, members.fixed, dict(members.slots), {f.name: getattr(part, f.name) for f in fields(part)})
        if whole < len(plan):
            self.batched(members, plan.part(whole, len(plan)))

    def looped(self, members: Members, plan: Plan) -> None:
        """One member after the other, in modules whose tensors are rows of the stack."""
        for row in range(len(members)):
            self._alone(row, members.map(lambda tensor, row=row: tensor[row]), plan)  # type: ignore[misc]

    def _flat(self, weights: Tensors, fixed: Tensors, slots: Mapping[str, Tensors], plan: Mapping[str, Any]) -> None:
        self._advance(weights, fixed, slots, Plan(**plan))

    def _advance(self, weights: Tensors, fixed: Tensors, slots: Mapping[str, Tensors], plan: Plan) -> None:
        dims = (0, 0, None if plan.shared else 0, 0, 0, None if plan.mask is None else 0)
        gradients = torch.vmap(self._program.gradients, in_dims=dims, randomness="different")
        for step in range(len(plan)):
            gradient, _, kept = gradients(weights, fixed, plan.batch(step), plan.hparams, plan.keys[step], plan.mask)
            for name, buffer in kept.items():
                fixed[name].copy_(buffer)
            by = self._numbers(plan, step)
            for name, weight in weights.items():
                shape = (-1,) + (1,) * (weight.ndim - 1)
                self._rule.update(
                    weight,
                    gradient.pop(name),
                    {slot: part[name] for slot, part in slots.items()},
                    {key: number.view(shape) for key, number in by.items()},
                )

    def _numbers(self, plan: Plan, step: int) -> Tensors:
        return plan.numbers | {name: column[step] for name, column in plan.scalars.items()}

    def _alone(self, row: int, member: Members, plan: Plan) -> None:
        program = self._program
        module = _filled(copy.deepcopy(program.module), program, member, {name: column[row] for name, column in plan.hparams.items()})
        weights = dict(module.named_parameters())
        trained = [weights[name] for name in program.trained]
        hparams = {name: column[row] for name, column in plan.hparams.items()}
        optimizer = self._native(member, trained, plan, row)
        mask = None if plan.mask is None else plan.mask[row]
        for step in range(len(plan)):
            batch = plan.batch(step) if plan.shared else self._own(plan, step, row)
            if program.aided:
                with Aids(plan.keys[step, row]):
                    loss = averaged(program.loss(module, batch, hparams), mask)
            else:
                loss = averaged(program.loss(module, batch, hparams), mask)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer(step)
            for weight in trained:
                weight.grad = None

    @staticmethod
    def _own(plan: Plan, step: int, row: int) -> tuple[Tensor, ...]:
        if plan.chosen is None:
            return tuple(part[row] for part in plan.batches[step])
        return tuple(samples[plan.chosen[step, row]] for samples in plan.samples)

    def _native(self, member: Members, trained: list[nn.Parameter], plan: Plan, row: int) -> Callable[[int], object]:
        """Returns what takes a step of one member: PyTorch's own optimizer on our slots where it has one."""
        made = self._rule.native(trained, {name: float(column[row]) for name, column in plan.numbers.items()})
        if made is None:
            return lambda step: self._by_rule(member, trained, plan, step, row)
        for index, name in enumerate(self._program.trained):
            state = {slot: part[name] for slot, part in member.slots.items()}
            made.state[trained[index]] = state | {"step": plan.count[row].to(trained[index].device, torch.float32)}
        return lambda step: made.step()

    @torch.no_grad()
    def _by_rule(self, member: Members, trained: list[nn.Parameter], plan: Plan, step: int, row: int) -> None:
        by = {name: number[row] for name, number in self._numbers(plan, step).items()}
        for index, name in enumerate(self._program.trained):
            gradient = trained[index].grad
            if gradient is not None:
                self._rule.update(trained[index], gradient, {slot: part[name] for slot, part in member.slots.items()}, by)


def _filled(module: nn.Module, program: Program, member: Members, hparams: Tensors) -> nn.Module:
    """Puts rows of a stack in the place of a module's tensors, so that training the module trains the rows."""
    tensors = member.weights | member.fixed
    parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())
    for name in (*program.trained, *program.fixed):
        if name in parameters:
            parameters[name].data = tensors[name]
        else:
            buffers[name].data = tensors[name]
    for path, name in program.bound.items():
        buffers[path].data = hparams[name]
    return module
