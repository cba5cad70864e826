"""A module as its owner made it, which holds one member after the other: what loops train, and what every module can do."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import final

from torch import Tensor, nn

__all__ = ["Ordinary"]


@final
class Ordinary:
    """A module for one member at a time.

    Args:
        module: As it was made.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._tensors = dict(module.named_parameters()) | dict(module.named_buffers())
        if any(isinstance(part, nn.RNNBase) for part in module.modules()):
            # Which cuDNN would have brought together: those of a member are rows of the stack, and have to stay.
            warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")

    def hold(self, tensors: Mapping[str, Tensor], attributes: Mapping[str, float]) -> nn.Module:
        """Puts a member's tensors in the place of the module's, so that training the module trains them in their own memory.

        Args:
            tensors: By name.
            attributes: Numbers by the path of the attribute.
        """
        for name, tensor in tensors.items():
            self._tensors[name].data = tensor
        for path, value in attributes.items():
            home, _, name = path.rpartition(".")
            owner = self.module.get_submodule(home)
            whole = isinstance(getattr(owner, name), int) and value.is_integer()
            setattr(owner, name, int(value) if whole else value)
        return self.module

    def release(self, tensors: Mapping[str, Tensor], buffers: Sequence[str]) -> None:
        """Copies what the module has put in place of a buffer, instead of writing into it, to where the buffer was.

        Args:
            tensors: What it was given to `hold`.
            buffers: Names of the buffers.
        """
        now = dict(self.module.named_buffers()) if buffers else {}
        for name in buffers:
            if now[name] is not self._tensors[name]:
                tensors[name].copy_(now[name].detach())
                home, _, last = name.rpartition(".")
                setattr(self.module.get_submodule(home), last, self._tensors[name])
