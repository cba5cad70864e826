"""A GPU that is there, in the place of the pretended one of `pretend`: PyTorch says what it waits for, a mode sees what is launched."""

from __future__ import annotations

import warnings
from collections import Counter
from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from library_line import library_line

__all__ = ["DEVICE", "Real", "pretended"]

DEVICE = torch.device("cuda:0")


class Real(TorchDispatchMode):
    """The GPU, while it is entered.

    Attributes:
        seen: What crossed between the devices or waited: (what, line of the library) -> how often.
        kernels: Operations launched one by one: name -> how often.
    """

    def __init__(self):
        super().__init__()
        self.seen, self.kernels = Counter(), Counter()
        self._doing = ""

    def reset(self):
        """Forgets what was counted."""
        self.seen.clear()
        self.kernels.clear()

    def note(self, message, *place):
        """Writes down what PyTorch warns of."""
        if "synchronizing" in str(message):
            self.seen[self._doing, library_line()] += 1

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = function._schema.name.removeprefix("aten::")
        far = [leaf.is_cuda for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        copies = name in ("_to_copy", "copy_")
        to = (far[0] if name == "copy_" else kwargs.get("device", DEVICE).type == "cuda") if copies else None
        self._doing = f"wait: {name}" if not copies or all(far) else "copy to the device" if to else "copy from the device"
        self.kernels[name] += any(far)
        return function(*args, **kwargs)


@contextmanager
def pretended():
    """Enters the GPU."""
    real = Real()
    with warnings.catch_warnings():
        warnings.filterwarnings("always", message=".*synchronizing")
        warnings.showwarning = real.note
        torch.cuda.init()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with real:
                yield real
        finally:
            torch.cuda.set_sync_debug_mode("default")
