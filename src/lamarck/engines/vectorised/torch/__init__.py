"""Populations of PyTorch modules as one program: an ordinary module, an ordinary loss, an optimizer by name."""

from __future__ import annotations

from lamarck.engines.vectorised.torch.supervised import Supervised

__all__ = ["Supervised"]
