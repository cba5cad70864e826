"""Scripts that own their loop: alone, under ``lamarck run``, or joined to a server, without a change."""

from __future__ import annotations

from lamarck.scripts.anywhere import worker
from lamarck.scripts.engine import Scripts
from lamarck.scripts.verbs import Client

__all__ = ["Client", "Scripts", "worker"]
