"""Training on a Ray cluster."""

from lamarck.engines.ray.engine import Ray

__all__ = ["Ray"]
