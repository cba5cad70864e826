# ruff: noqa: E402 - the error for those without the extra comes first
"""The service as an ASGI application."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from lamarck._errors import require

require("starlette", "serve", "lamarck.server.app")

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from lamarck.server.checkpoint_routes import checkpoint_routes
from lamarck.server.direct import Direct, is_known
from lamarck.server.guard import Door, Guard
from lamarck.server.metrics import Counted, Metrics
from lamarck.server.openapi import document
from lamarck.server.routes import missing, run_routes
from lamarck.server.service import Service
from lamarck.server.tokens import Tokens
from lamarck.server.wire import json_answer

__all__ = ["MAX_CHECKPOINT", "app", "guarded"]

logger = logging.getLogger("lamarck.server")

MAX_CHECKPOINT = 16 * 2**30
"""Most bytes of a checkpoint that goes through the server, unless it is told otherwise."""


def app(
    service: Service,
    *,
    tokens: Tokens | None = None,
    metrics: Metrics | None = None,
    routes: Sequence[BaseRoute] = (),
    max_checkpoint: int = MAX_CHECKPOINT,
) -> Starlette:
    """Returns the application.

    Args:
        service: Whose runs it serves.
        tokens: Who may come; ``None`` lets everybody on this machine, and nobody from elsewhere.
        metrics: Where to count; to count events as well, its ``observe`` is an observer of the service.
        routes: What else there is, for viewers: the page.
        max_checkpoint: Most bytes of a checkpoint that goes through the server.
    """
    counts = Metrics() if metrics is None else metrics

    async def described(request: Request) -> Response:
        return json_answer(document())

    async def counted(request: Request) -> Response:
        return counts.page(service)

    own = [
        *run_routes(service),
        *checkpoint_routes(service, max_checkpoint),
        Route("/openapi.json", described, methods=["GET"]),
        Route("/metrics", counted, methods=["GET"]),
    ]
    door = Door(tokens)
    application = Starlette(
        routes=[*own, *routes],
        middleware=[Middleware(Counted, metrics=counts), Middleware(Guard, door=door)],
        exception_handlers={404: missing, 405: missing},
    )
    if is_known():
        application.state.protocol = partial(Direct, service=service, door=door, metrics=counts)
    else:
        logger.info("this version of uvicorn is not known here, so exchanges go through the application, which is slower")
    return application


def guarded(routes: Sequence[BaseRoute], tokens: Tokens | None) -> Starlette:
    """Returns an application of other routes behind the same door.

    Args:
        routes: What there is, for viewers.
        tokens: Who may come; ``None`` lets everybody on this machine.
    """
    return Starlette(routes=routes, middleware=[Middleware(Guard, door=Door(tokens))], exception_handlers={404: missing, 405: missing})
