"""An ordinary module and loss as functions of one member's tensors: what is batched, looped over, or compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value
from torch.nn.attention import SDPBackend, sdpa_kernel

from lamarck._errors import SettingsError
from lamarck.engines.vectorised.torch.aids import Aids
from lamarck.engines.vectorised.torch.ordinary import Ordinary
from lamarck.engines.vectorised.torch.streams import begun

__all__ = ["STEP", "Attributes", "Loss", "Measure", "Program", "Tensors", "averaged", "one_or_more"]

Tensors = dict[str, Tensor]
"""Tensors by the names that a state_dict uses."""

Loss = Callable[[nn.Module, Any, Mapping[str, Any]], Tensor]
"""loss(model, batch, hparams): a number, or one for each sample."""

Said = Tensor | float
Measure = Callable[[nn.Module, Any, Mapping[str, Any]], Said | Mapping[str, Said]]
"""evaluate(model, batch, hparams): a number, or one for each sample; or several of these by name, the first of which is the value."""

STEP = "step"
"""By this name the loss is told how many steps the member has behind it."""

Attributes = Mapping[str, str | Sequence[str]]
"""Hyperparameter -> attributes of the module that it sets, e.g. ``{"dropout": "3.p"}``."""


@contextmanager
def _without_onednn() -> Iterator[None]:
    before = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = before


def _nothing() -> None:
    pass


class _Judged(nn.Module):
    """The module inside what is computed from it, so that its tensors can be replaced by `functional_call`."""

    def __init__(self, model: nn.Module, kept: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self._kept = tuple(kept)
        recurrent = [part for part in model.modules() if isinstance(part, nn.RNNBase)]
        self.recurrent = bool(recurrent)
        for part in recurrent:  # its weights are replaced by rows of a stack, which cuDNN must not bring together in one place
            part.flatten_parameters = _nothing  # type: ignore[method-assign]

    @property
    def in_parts(self) -> bool:
        """Whether there are recurrent layers that a device has kernels of its own for, which must not be used; `Aids` sees to that."""
        return self.recurrent and next(iter(self.model.parameters())).device.type != "cpu"

    def forward(self, function: Loss | Measure, batch: Any, hparams: Mapping[str, Any], key: Tensor | None) -> tuple[Any, Tensors]:
        # The other kernels of attention and of recurrent layers, or their gradients, have no batching rules, and would run member by member.
        recurrence = nullcontext() if self.in_parts or not self.recurrent else _without_onednn()
        with sdpa_kernel(SDPBackend.MATH), recurrence, nullcontext() if key is None else Aids(key, plain=self.in_parts):
            said = function(self.model, batch, hparams)
            return said, {name: self.model.get_buffer(name) for name in self._kept}  # some modules replace a buffer, others write into it


def one_or_more(name: str, said: Any) -> Tensor:
    """Returns what a function of the user returned, which must be a tensor.

    Args:
        name: Of the function.
        said: What it returned.

    Raises:
        SettingsError: If it is something else.
    """
    if not isinstance(said, Tensor):
        raise SettingsError(
            f"{name}: it returned {said!r}, a {type(said).__name__}; it must return a tensor: one number, or one for each sample"
        )
    return said


def averaged(loss: Tensor, mask: Tensor | None) -> Tensor:
    """Returns the loss of a batch.

    Args:
        loss: A number, or one for each sample.
        mask: ``[batch]``; 1 for samples that count, 0 for others; ``None`` if all do.

    Raises:
        SettingsError: If some do not count, and the loss is one number.
    """
    loss = one_or_more("loss", loss)
    if mask is None:
        return loss.mean() if loss.ndim else loss  # a mean of one number is an operation more in every step of a loop
    if loss.shape != mask.shape:
        raise SettingsError(
            f"loss: it returned the shape {tuple(loss.shape)}; with a tuned batch size it must return one number for each sample, "
            f"{tuple(mask.shape)}, so that "
            'those which do not count can be left out: reduction="none"'
        )
    return (loss * mask).sum() / mask.sum()


@final
class Program:
    """What a member computes.

    Args:
        build: Makes the module.
        loss: What training lessens.
        attributes: Hyperparameters that set attributes of the module.

    Attributes:
        activations: Bytes that a step of one member takes besides its weights and their gradients, at the most.
        aided: Whether a forward pass asks `Aids` for anything; false spares a detour at every operation, which some of them are not compiled
            with.
        keyed: Whether `Aids` answers for noise; not if the backward pass computes parts of the forward pass again, because it would not know
            what was drawn there.
        uncompiled: What `Aids` is asked for that PyTorch's compiler keeps from it.
        strange: Whether noise is drawn where `Aids` does not see it.
        counts: Whether the loss looks at the step.
        idle: What is trained in name, but never reached by a gradient: such weights stay what they are, as with `torch.optim`.
        constants: Hyperparameters that are no numbers, and the same for all members.
        attributes: Path of each attribute that a hyperparameter sets -> (that hyperparameter, what the module says itself).
        shapes: Shape and type of everything that a member has, by name.
        chances: Those of them that are the probability of a dropout.

    Raises:
        SettingsError: If an attribute is not there or not a number, or the module has nothing to train.
    """

    def __init__(self, build: Callable[[], nn.Module], loss: Loss, attributes: Attributes) -> None:
        if isinstance(build, nn.Module):
            raise SettingsError(
                f"model: got a module, a {type(build).__name__}; give a function that makes one, for each member anew: its class, or a lambda"
            )
        self._build, self.loss = build, loss
        self.aided, self.keyed, self.strange = True, True, False
        self.activations = 0
        self.counts = False
        self.uncompiled: frozenset[str] = frozenset()
        self._ordinary: Ordinary | None = None
        self.idle: frozenset[str] = frozenset()
        self.constants: Mapping[str, Any] = {}
        with torch.random.fork_rng(devices=[]):
            module = build()
        if not isinstance(module, nn.Module):
            raise SettingsError(f"model: it returned {module!r}; it must be a function that returns a new torch.nn.Module")
        for name, weight in module.named_parameters():
            if nn.parameter.is_lazy(weight):
                raise SettingsError(f"model: {name!r} has no shape yet; give the sizes of lazy layers, which nobody can stack otherwise")
        self.trained = [name for name, weight in module.named_parameters() if weight.requires_grad]
        self.buffers = [name for name, _ in module.named_buffers()]
        self.fixed = [name for name, weight in module.named_parameters() if not weight.requires_grad] + self.buffers
        if not self.trained:
            raise SettingsError("model: it has no parameter that requires a gradient")
        tensors = dict(module.named_parameters()) | dict(module.named_buffers())
        self.shapes = {name: (tensors[name].shape, tensors[name].dtype) for name in (*self.trained, *self.fixed)}
        self.saved = list(module.state_dict())
        places = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
        first = {id(tensor): name for name, tensor in reversed([*module.named_parameters(), *module.named_buffers()])}
        self.aliases = {name: first[id(tensor)] for name, tensor in places.items() if name in self.saved and name != first[id(tensor)]}
        bound = {path: name for name, paths in attributes.items() for path in ([paths] if isinstance(paths, str) else paths)}
        self.attributes = {path: (name, _made_buffer(module, path)) for path, name in bound.items()}
        self.chances = frozenset(path for path in bound if _is_chance(module, path))
        self._judged = _Judged(module, self.buffers)

    @property
    def module(self) -> nn.Module:
        """The module whose tensors are replaced; its own are never trained."""
        return self._judged.model

    @property
    def ordinary(self) -> Ordinary:
        """A module for loops, untouched."""
        if self._ordinary is None:
            with torch.random.fork_rng(devices=[]):
                module = self._build()
            self._ordinary = Ordinary(module.to(next(self.module.parameters()).device))
        return self._ordinary

    @contextmanager
    def noise(self, key: Tensor, *, aided: bool | None = None, strange: bool | None = None) -> Iterator[None]:
        """Gives one member's pass by itself the noise of a key.

        Args:
            key: ``int64[]``.
            aided: See `aided`, which it is by default.
            strange: See `strange`.
        """
        if not self.keyed or (self.strange if strange is None else strange):
            begun(key)
        if self.aided if aided is None else aided:
            with Aids(key if self.keyed else None):
                yield
        else:
            yield

    def fresh(self, seed: int) -> Tensors:
        """Returns the tensors of a new member.

        Args:
            seed: What PyTorch's generator starts from while the module is made.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = self._build()
        tensors = dict(module.named_parameters()) | dict(module.named_buffers())
        return {name: tensors[name].detach() for name in (*self.trained, *self.fixed)}

    def gradients(
        self, weights: Tensors, fixed: Tensors, batch: Any, hparams: Tensors, key: Tensor, mask: Tensor | None
    ) -> tuple[Tensors, Tensor, Tensors]:
        """Returns the gradient of the loss, the loss, and what has become of the buffers, of one member on one batch.

        Args:
            weights: What is trained.
            fixed: Everything else, attributes included.
            batch: The batch.
            hparams: A number each.
            key: ``int64[]``; what noise depends on.
            mask: ``[batch]``; 1 for samples that count, 0 for others; ``None`` if all do.
        """

        def value(weights: Tensors) -> tuple[Tensor, Tensors]:
            kept = {name: fixed[name].clone() for name in self.buffers}  # batch norm writes into its buffers
            loss, kept = self._called(self.loss, weights | fixed | kept, batch, hparams, key if self.aided or self._judged.in_parts else None)
            return averaged(loss, mask), kept

        (gradient, (loss, kept)) = grad_and_value(value, has_aux=True)(weights)
        return gradient, loss, kept

    def told(self, hparams: Mapping[str, Any]) -> dict[str, Any]:
        """Returns all that a loss is told of one member.

        Args:
            hparams: A number each.
        """
        return {**hparams, **self.constants}

    def judged(self, function: Measure, tensors: Tensors, batch: Any, hparams: Tensors, key: Tensor) -> Any:
        """Returns what a function says about one member; the module is in evaluation mode by then.

        Args:
            function: What is asked.
            tensors: Of the member, attributes included.
            batch: The batch.
            hparams: A number each.
            key: ``int64[]``; what noise depends on.
        """
        return self._called(function, tensors, batch, hparams, key)[0]

    def _called(self, function: Loss | Measure, tensors: Tensors, batch: Any, hparams: Tensors, key: Tensor | None) -> tuple[Any, Tensors]:
        replaced = {f"model.{name}": tensor for name, tensor in tensors.items()}
        called: tuple[Any, Tensors] = functional_call(self._judged, replaced, (function, batch, self.told(hparams), key))
        return called

    def state_dict(self, tensors: Tensors) -> Tensors:
        """Returns tensors as the module's own ``state_dict`` names them; what it leaves out is left out."""
        return {name: tensors[self.aliases.get(name, name)] for name in self.saved}


def _is_chance(module: nn.Module, path: str) -> bool:
    home, _, name = path.rpartition(".")
    owner = module.get_submodule(home)
    return isinstance(owner, {"p": nn.modules.dropout._DropoutNd, "dropout": nn.MultiheadAttention | nn.RNNBase}.get(name, ()))


def _made_buffer(module: nn.Module, path: str) -> float:
    """Makes an attribute something that `functional_call` can replace, and returns what it was."""
    home, _, name = path.rpartition(".")
    try:
        owner = module.get_submodule(home)
        value = getattr(owner, name)
    except AttributeError:
        raise SettingsError(f"attributes: the module has no {path!r}; give the path to an attribute, such as '3.p' of a Sequential") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingsError(f"attributes: {path!r} is {value!r}; only a number can be set to a hyperparameter")
    delattr(owner, name)
    owner.register_buffer(name, torch.tensor(float(value)), persistent=False)
    return float(value)
