"""What workers and viewers ask about runs; the checkpoints have routes of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from lamarck import __version__
from lamarck._errors import LamarckError, SettingsError
from lamarck.server.exchange import PATH, Exchange
from lamarck.server.plan import Plan
from lamarck.server.run import Run
from lamarck.server.service import Service
from lamarck.server.wire import body_of, error_answer, json_answer, json_of, number_in, problem, word_in

__all__ = ["explained", "missing", "run_routes"]

_PAGE = 10_000
_MAX_PLAN = 4 << 20

Handler = Callable[[Request], Awaitable[Response]]


def explained(handler: Handler) -> Handler:
    """Turns the errors of a handler into answers that say them."""

    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except LamarckError as error:
            return error_answer(error)
        except ClientDisconnect:  # nobody hears this
            return problem(400, "ServiceError", "the connection broke in the middle of the request")

    return answered


def run_routes(service: Service) -> list[Route]:
    """Returns the routes for everything but checkpoints.

    Args:
        service: What they ask.
    """

    def run_of(request: Request) -> Run:
        return service.run(request.path_params["run"])

    async def listed(request: Request) -> Response:
        return json_answer({"runs": [_line(service.run(name)) for name in service.runs()], "refused": service.refused})

    async def created(request: Request) -> Response:
        plan = Plan.of(json_of(await body_of(request.receive, _MAX_PLAN)))
        new = await service.create(plan)
        where = {"Location": f"/v1/runs/{plan.name}"}
        return json_answer(_described(service.run(plan.name)), 201 if new else 200, where)

    async def described(request: Request) -> Response:
        return json_answer(_described(run_of(request)))

    async def beaten(request: Request) -> Response:
        await run_of(request).heartbeat(*_holder(request))
        return Response(status_code=204)

    async def released(request: Request) -> Response:
        await run_of(request).release(*_holder(request))
        return Response(status_code=204)

    async def events(request: Request) -> Response:
        run, query = request.path_params["run"], request.query_params
        after, limit = number_in(query, "after", 0, 0, 2**53), number_in(query, "limit", 1000, 1, _PAGE)
        if after % 1 or limit % 1:
            raise SettingsError("after and limit must be whole numbers")
        found = await asyncio.to_thread(service.events, run, int(after), int(limit))
        headers = {"Lamarck-Last": str(int(after) + len(found))}
        return Response(b"".join(event + b"\n" for event in found), headers=headers, media_type="application/x-ndjson")

    async def state(request: Request) -> Response:
        return json_answer(_state(run_of(request)))

    table: list[tuple[str, str, Handler]] = [
        ("GET", "", listed),
        ("POST", "", created),
        ("GET", "/{run}", described),
        ("GET", "/{run}/events", events),
        ("GET", "/{run}/state", state),
        ("POST", "/{run}/heartbeat", beaten),
        ("POST", "/{run}/release", released),
    ]
    return [
        Route(PATH, Exchange(service), methods=["POST"]),  # first, because it is asked for most
        Route("/healthz", explained(_healthy), methods=["GET"]),
        *(Route(f"/v1/runs{path}", explained(handler), methods=[method]) for method, path, handler in table),
    ]


async def _healthy(request: Request) -> Response:
    return json_answer({"status": "ok", "version": __version__})


def _holder(request: Request) -> tuple[str, str]:
    return word_in(request.query_params, "worker"), word_in(request.query_params, "lease")


def _line(run: Run) -> dict[str, Any]:
    population = run.population
    return {
        "name": run.coordinator.run,
        "members": len(population),
        "generations": population.settings.generations,
        "ended": population.ended,
        "training": run.leases,
    }


def _described(run: Run) -> dict[str, Any]:
    return {
        **_line(run),
        "settings": asdict(run.population.settings),
        "checkpoints": run.location,
        "lease_seconds": run.lease,
    }


def _state(run: Run) -> dict[str, Any]:
    population = run.population
    best = population.best
    return {
        **_line(run),
        "best": None
        if best is None
        else {
            "member": best.member,
            "generation": best.generation,
            "step": best.step,
            "value": best.value,
            "checkpoint": best.checkpoint,
            "hparams": dict(best.hparams),
        },
        "states": [
            asdict(state) | {"generation": min(int(generation), population.settings.generations)}
            for state, generation in zip(run.members(), population.generations, strict=True)
        ],
    }


async def missing(request: Request, error: Exception) -> Response:
    """Answers what is asked at an address that is none, or in a way that is not answered there."""
    status = getattr(error, "status_code", 404)
    if status == 405:
        return problem(405, "ServiceError", f"{request.method} is not answered here", getattr(error, "headers", None))
    return problem(status, "ServiceError", "there is nothing at this address; see /openapi.json for what there is")
