"""Steps of training for a stack, in three ways that compute the same: batched, batched and compiled, one member after the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any, final

import torch
from torch import Tensor, nn

from lamarck._errors import first_line
from lamarck.engines.vectorised.torch.batch import alike, evenly, tensors_in
from lamarck.engines.vectorised.torch.debris import unloadable
from lamarck.engines.vectorised.torch.optimizers import Rule
from lamarck.engines.vectorised.torch.pace import CLIP, clipped
from lamarck.engines.vectorised.torch.program import STEP, Program, Tensors, averaged
from lamarck.engines.vectorised.torch.streams import begun

__all__ = ["CompilingFailed", "Members", "Plan", "Way", "Ways"]

logger = logging.getLogger("lamarck")

Way = Callable[["Members", "Plan"], None]
"""Trains all steps of a plan, in place."""

_TILE = 3 << 20
"""Bytes that a core of a CPU works on at once, about what its own cache holds. Of 128 networks of 85,000 weights, two at a time train 1.7 times
as fast as all of them step by step, which fetches everything from memory in every step; of 16 small convolutional ones, two at a time 1.4
times as fast as eight."""
_FUSED = 0.5
"""Of the activations, the share that is written down at all; the rest is used up where it is computed."""

_SIZES = 2
"""Sizes of batches that are compiled for at most, the largest that are seen: the last batch of an epoch is often smaller, and not worth it."""


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

    def rows(self, start: int, stop: int) -> Members:
        """Returns some of the members, in the same memory."""
        return self.map(lambda tensor: tensor[start:stop])


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What n members do in some steps. Nothing in it depends on the way, and nothing waits for the device.

    Args:
        batches: A batch for each step, ``[batch, ...]``, the same for all members: tensors in a tuple or a dictionary.
        chosen: ``int32[steps, n, batch]`` or ``[steps, batch]``: rows of `samples`, instead of `batches`.
        samples: What is chosen from.
        shared: Whether all members see the same batch.
        hparams: ``[n]`` each: what the loss is told; NaN where a conditional one is not active.
        attributes: ``[n]`` each: what the module is told, by the path of the attribute.
        numbers: ``[n]`` each: hyperparameters of the optimizer, by its own names.
        scalars: ``[steps, n]`` each: what it needs besides.
        keys: ``int64[steps, n]``: what noise depends on.
        mask: ``[n, batch]``; which samples of its batches each member counts, ``None`` for all.
        count: ``int64[n]``: steps that each member had behind it.
        steps: ``[steps, n]``: the same in each step, as the loss is told it.
    """

    batches: tuple[Any, ...] = ()
    chosen: Tensor | None = None
    samples: tuple[Tensor, ...] = ()
    shared: bool
    hparams: Tensors
    attributes: Tensors
    numbers: Tensors
    scalars: Tensors
    keys: Tensor
    count: Tensor
    steps: Tensor
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
            steps=self.steps[start:stop],
        )

    def rows(self, start: int, stop: int) -> Plan:
        """Returns the plan of some of the members."""
        own = not self.shared
        return replace(
            self,
            chosen=self.chosen[:, start:stop] if own and self.chosen is not None else self.chosen,
            hparams={name: column[start:stop] for name, column in self.hparams.items()},
            attributes={path: column[start:stop] for path, column in self.attributes.items()},
            numbers={name: column[start:stop] for name, column in self.numbers.items()},
            scalars={name: column[:, start:stop] for name, column in self.scalars.items()},
            keys=self.keys[:, start:stop],
            mask=None if self.mask is None else self.mask[start:stop],
            count=self.count[start:stop],
            steps=self.steps[:, start:stop],
        )

    def batch(self, step: int) -> Any:
        """Returns what everybody sees in a step."""
        return self.batches[step] if self.chosen is None else tuple(samples[self.chosen[step]] for samples in self.samples)


class CompilingFailed(RuntimeError):
    """What is to be trained cannot be compiled here; nothing was trained."""


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
        self._ready: dict[tuple[int, int], bool] = {}
        self._deleted: set[Path] = set()
        self.fused = 4
        """The most steps in one compiled call. Fusing them spares launches and copies, and compiling takes as many times longer."""

    @property
    def unrolled(self) -> int:
        """Steps in one compiled call."""
        return self.fused if len(self._program.trained) <= 8 else 1

    @property
    def compiling(self) -> float:
        """Seconds that compiling takes, about, as measured with two processes on two cores."""
        return 4 + 0.6 * len(self._program.trained) * self.unrolled

    def batched(self, members: Members, plan: Plan) -> None:
        """All members at once, operation by operation."""
        self._advance(members.weights, members.fixed, members.slots, plan)

    def compiled(self, members: Members, plan: Plan) -> None:
        """Forward, backward and optimizer of a tile of members in one compiled function of some steps; steps left over are batched.

        Raises:
            CompilingFailed: If it cannot be compiled; nothing was trained.
        """
        if unseen := sorted(self._program.uncompiled):
            raise CompilingFailed(f"the compiler does not let anybody answer for {', '.join(unseen)}; torch.rand and torch.randn do the same")
        whole = len(plan) - len(plan) % self.unrolled
        sizes = {step: _size(plan.batches[step : step + self.unrolled]) for step in range(0, whole, self.unrolled)}
        wanted = self._wanted(sizes.values())
        first = next((step for step, size in sizes.items() if size == wanted >= 0), None)
        if first is None:
            self.batched(members, plan)
            return
        tiles = list(evenly(len(members), self.tile(members)))  # of two lengths at most, as each is compiled apart
        for start, stop in tiles:
            self._prepare(members.rows(start, stop), plan.rows(start, stop).part(first, first + self.unrolled), (stop - start, wanted))
        with torch._dynamo.config.patch(error_on_recompile=True):
            for start, stop in tiles:
                few, theirs = members.rows(start, stop), plan.rows(start, stop)
                for step, size in sizes.items():
                    block = theirs.part(step, step + self.unrolled)
                    if not (size == wanted and self._ready[stop - start, wanted] and self._ran(few, block)):
                        self.batched(few, block)
        if whole < len(plan):
            self.batched(members, plan.part(whole, len(plan)))

    def looped(self, members: Members, plan: Plan) -> None:
        """One member after the other, in modules whose tensors are rows of the stack."""
        self._program.ordinary.module.train()
        for row in range(len(members)):
            self._alone(row, members.map(lambda tensor, row=row: tensor[row]), plan)  # type: ignore[misc]

    def tile(self, members: Members) -> int:
        """Returns how many members take all their steps before the next ones do: on a CPU as many as its cache holds, otherwise all."""
        weights = list(members.weights.values())
        if weights[0].device.type != "cpu":
            return len(members)
        each = sum(weight[0].nbytes for weight in weights) * (2 + len(members.slots)) + _FUSED * self._program.activations
        return max(1, int(_TILE // each))

    def _wanted(self, sizes: Iterable[int]) -> int:
        """Returns which size of batches is trained by compiled code: the largest, but a new one only if not too many were there before."""
        largest, known = max(sizes, default=-1), {size for _, size in self._ready}
        return max({largest, *known}) if len(known) < _SIZES else max(known)

    def _prepare(self, members: Members, plan: Plan, key: tuple[int, int]) -> None:
        """Compiles for a tile of some length and batches of some size; on a copy, so that whatever goes wrong in it changes nothing."""
        if key in self._ready:
            return
        try:
            self._run(members.map(Tensor.clone), plan)
        except Exception as error:
            if (file := unloadable(error)) is not None and file not in self._deleted:
                logger.warning("%s cannot be loaded, as after a compiler was killed; it is deleted and compiled again", file)
                file.unlink(missing_ok=True)
                self._deleted.add(file)
                self._compiled = None
                self._prepare(members, plan, key)
                return
            if not self._ready:
                raise CompilingFailed(first_line(error)) from error
            self._ready[key] = False
        else:
            self._ready[key] = True

    def _ran(self, members: Members, plan: Plan) -> bool:
        """Trains some steps by what was compiled before; says no, and has changed nothing, if that does not fit them.

        It would not if a module counts something, or if batches hold strings, and to compile again and again would take for ever.
        """
        try:
            self._run(members, plan)
        except Exception as error:
            if type(error).__module__ != "torch._dynamo.exc":
                raise
            return False
        return True

    def _run(self, members: Members, plan: Plan) -> None:
        if self._compiled is None:
            self._compiled = torch.compile(_own(self._flat), dynamic=False, fullgraph=True)  # in pieces it is no faster
        with torch.no_grad():
            self._compiled(members.weights, members.fixed, dict(members.slots), {f.name: getattr(plan, f.name) for f in fields(plan)})

    def _flat(self, weights: Tensors, fixed: Tensors, slots: Mapping[str, Tensors], plan: Mapping[str, Any]) -> None:
        self._advance(weights, fixed, slots, Plan(**plan))

    def _advance(self, weights: Tensors, fixed: Tensors, slots: Mapping[str, Tensors], plan: Plan) -> None:
        dims = (0, 0, None if plan.shared else 0, 0, 0, None if plan.mask is None else 0)
        gradients = torch.vmap(self._program.gradients, in_dims=dims, randomness="different")
        for step in range(len(plan)):
            told = fixed | plan.attributes
            hparams = plan.hparams | {STEP: plan.steps[step]} if self._program.counts else plan.hparams
            gradient, _, kept = gradients(weights, told, plan.batch(step), hparams, plan.keys[step], plan.mask)
            if CLIP in plan.numbers:
                gradient = clipped(gradient, plan.numbers[CLIP])
            for name, buffer in kept.items():
                fixed[name].copy_(buffer)
            by = self._numbers(plan, step)
            along = {
                ndim: {key: number.view(-1, *[1] * (ndim - 1)) for key, number in by.items()}
                for ndim in {weight.ndim for weight in weights.values()}
            }
            for name, weight in weights.items():
                given = gradient.pop(name)
                if name not in self._program.idle:
                    _moved(self._rule, weight, given, {slot: part[name] for slot, part in slots.items()}, along[weight.ndim])

    def _numbers(self, plan: Plan, step: int) -> Tensors:
        return plan.numbers | {name: column[step] for name, column in plan.scalars.items()}

    def _alone(self, row: int, member: Members, plan: Plan) -> None:
        program, held = self._program, member.weights | member.fixed
        module = program.ordinary.hold(held, {path: float(column[row]) for path, column in plan.attributes.items()})
        weights = dict(module.named_parameters())
        trained = [weights[name] for name in program.trained]
        hparams = program.told({name: column[row] for name, column in plan.hparams.items()})
        optimizer = self._native(member, trained, plan, row)
        longest = float(plan.numbers[CLIP][row]) if CLIP in plan.numbers else None
        mask = None if plan.mask is None else plan.mask[row]
        chosen = None if plan.chosen is None or plan.shared else plan.chosen[:, row].long().unbind()
        begun(plan.keys[0, row])  # for noise that nobody has drawn when it was looked for
        for step in range(len(plan)):
            batch = plan.batch(step) if chosen is None else tuple(samples[chosen[step]] for samples in plan.samples)
            if program.counts:
                hparams[STEP] = plan.steps[step, row]
            if program.aided or program.strange:
                with program.noise(plan.keys[step, row]):
                    loss = averaged(program.loss(module, batch, hparams), mask)
            else:
                loss = averaged(program.loss(module, batch, hparams), mask)
            loss.backward()  # type: ignore[no-untyped-call]
            if longest is not None:
                nn.utils.clip_grad_norm_(trained, longest)
            optimizer(step)
            for weight in trained:
                weight.grad = None
        program.ordinary.release(held, program.buffers)

    def _native(self, member: Members, trained: list[nn.Parameter], plan: Plan, row: int) -> Callable[[int], object]:
        """Returns what takes a step of one member: PyTorch's own optimizer on our slots where it has one."""
        made = self._rule.native(trained, {name: float(column[row]) for name, column in plan.numbers.items() if name != CLIP})
        if made is None:
            return lambda step: self._by_rule(member, trained, plan, step, row)
        for index, name in enumerate(self._program.trained):
            state = {slot: part[name] for slot, part in member.slots.items()}
            made.state[trained[index]] = state | {"step": plan.count[row].to(trained[index].device, torch.float32)}
        if "lr" not in plan.scalars:
            return lambda step: made.step()
        rates = plan.scalars["lr"][:, row].tolist()

        def scheduled(step: int) -> object:
            made.param_groups[0]["lr"] = rates[step]
            return made.step()

        return scheduled

    @torch.no_grad()
    def _by_rule(self, member: Members, trained: list[nn.Parameter], plan: Plan, step: int, row: int) -> None:
        by = {name: number[row] for name, number in self._numbers(plan, step).items()}
        for index, name in enumerate(self._program.trained):
            gradient = trained[index].grad
            if gradient is not None:
                _moved(self._rule, trained[index], gradient, {slot: part[name] for slot, part in member.slots.items()}, by)


def _size(batches: Sequence[Any]) -> int:
    """How many numbers are in batches that a loader yielded; -1 if their shapes differ."""
    return sum(tensor.numel() for tensor in tensors_in(batches)) if alike(batches) else -1


def _own(method: Any) -> Callable[..., None]:
    """Returns a method with code of its own: PyTorch gives up compiling one piece of code for many tasks, one after the other."""
    function = method.__func__
    copy = FunctionType(function.__code__.replace(), function.__globals__, function.__name__, function.__defaults__, function.__closure__)
    return MethodType(copy, method.__self__)


def _moved(rule: Rule, weight: Tensor, gradient: Tensor, slots: Tensors, by: Tensors) -> None:
    """Takes a step. Of half precision it is computed in single: 1 - beta2 is smaller than what half precision tells from nothing."""
    if weight.dtype not in (torch.float16, torch.bfloat16):
        rule.update(weight, gradient, slots, by)
        return
    precise = {slot: part.float() for slot, part in slots.items()}
    moved = weight.float()
    rule.update(moved, gradient.float(), precise, by)
    weight.copy_(moved)
    for slot, part in slots.items():
        part.copy_(precise[slot])
