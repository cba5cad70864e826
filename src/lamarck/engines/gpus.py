"""Which GPUs this machine shows, without a library that would have to be installed for it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lamarck._errors import SettingsError

__all__ = ["check_gpus"]

_DEVICES = Path("/dev")

_UNCOUNTED = ("dxg", "kfd", "nvhost-gpu", "nvmap")
"""What Linux shows for GPUs that have no numbers there: of Windows below it, of AMD, and parts of NVIDIA's boards."""


def check_gpus(asked: Sequence[str]) -> None:
    """Looks whether GPUs that are asked for are there. Where that cannot be known, everything is taken to be there.

    Args:
        asked: As ``CUDA_VISIBLE_DEVICES`` names them.

    Raises:
        SettingsError: If there is no GPU, or none of such a number. A run would otherwise train on the processors, and nobody would be told.
    """
    if not asked or sys.platform != "linux" or any((_DEVICES / name).exists() for name in _UNCOUNTED):
        return
    count = len(list(_DEVICES.glob("nvidia[0-9]*")))
    beyond = [gpu for gpu in asked if not count or (gpu.isdecimal() and int(gpu) >= count)]
    if beyond:
        here = "shows no GPU" if not count else "shows one GPU, '0'" if count == 1 else f"shows {count} GPUs, '0' to '{count - 1}'"
        raise SettingsError(
            f"gpus: got {', '.join(map(repr, beyond))}; this machine {here}. Name others, or none to train on the processors "
            "(--gpus none on the command line); a job or a container sees only those that it was given"
        )
