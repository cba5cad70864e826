"""Populations of PyTorch modules as one program: an ordinary module, an ordinary loss, an optimizer by name."""

from __future__ import annotations

from lamarck._errors import require

require("torch", "torch", "lamarck.Supervised")

from lamarck.engines.vectorised.torch.supervised import Supervised  # noqa: E402 - only once it is known that there is a PyTorch

__all__ = ["Supervised"]
