"""The service as an ASGI application."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from lamarck.server.checkpoint_routes import checkpoint_routes
from lamarck.server.routes import missing, run_routes
from lamarck.server.service import Service

__all__ = ["MAX_CHECKPOINT", "app"]

MAX_CHECKPOINT = 16 * 2**30
"""Most bytes of a checkpoint that goes through the server, unless it is told otherwise."""


def app(service: Service, *, routes: Sequence[BaseRoute] = (), max_checkpoint: int = MAX_CHECKPOINT) -> Starlette:
    """Returns the application.

    Args:
        service: Whose runs it serves.
        routes: What else there is, for viewers: the page.
        max_checkpoint: Most bytes of a checkpoint that goes through the server.
    """
    own = [*run_routes(service), *checkpoint_routes(service, max_checkpoint)]
    return Starlette(routes=[*own, *routes], exception_handlers={404: missing, 405: missing})
