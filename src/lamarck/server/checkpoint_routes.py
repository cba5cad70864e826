"""How workers that share no disk with each other put and get checkpoints."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from lamarck._errors import CheckpointError, CheckpointMissing, SettingsError
from lamarck.checkpoints.format import checked_name
from lamarck.checkpoints.rows import whole
from lamarck.server.depot import Depot, Misplaced, exists
from lamarck.server.in_flight import key_of
from lamarck.server.routes import Handler, explained
from lamarck.server.service import Service
from lamarck.server.wire import TooLarge, json_answer, number_in, problem

__all__ = ["checkpoint_routes"]


def checkpoint_routes(service: Service, limit: int) -> list[Route]:
    """Returns the routes for checkpoints that go through the server.

    Args:
        service: Whose runs they belong to.
        limit: Most bytes of one checkpoint.
    """
    depots: dict[str, Depot] = {}

    def depot_of(request: Request) -> Depot:
        run: str = request.path_params["run"]
        depot = depots.get(run)
        if depot is None:
            folder = service.folder(run)
            if folder is None:
                raise SettingsError(f"the checkpoints of run {run!r} are at {service.run(run).location}; ask there")
            depot = depots[run] = Depot(folder)
            depot.tidy()
        return depot

    def name_of(request: Request) -> str:
        return checked_name(request.path_params["name"])

    async def listed(request: Request) -> Response:
        return json_answer({"names": await asyncio.to_thread(depot_of(request).names)})

    async def fetched(request: Request) -> Response:
        depot, name = depot_of(request), name_of(request)
        size = number_in(request.query_params, "size", 1, 1, 2**53)
        if size > limit:
            raise TooLarge(f"a checkpoint here may have {limit:,} bytes")
        try:
            path = depot.path(name)
        except CheckpointMissing as error:
            offset = {"Lamarck-Offset": str(depot.arrived(name))}
            return problem(404, "CheckpointMissing", str(error).rpartition("/")[2], offset)
        return FileResponse(path, media_type="application/octet-stream", stat_result=path.stat())

    async def put(request: Request) -> Response:
        depot, name, query = depot_of(request), name_of(request), request.query_params
        offset, size = number_in(query, "offset", 0, 0, 2**53), number_in(query, "size", -1, 1, 2**53)
        if offset % 1 or size % 1 or size < 1 or offset >= size:
            raise SettingsError("size is the whole number of bytes of the file, and offset, below it, where the bytes of this request belong")
        if size > limit:
            raise TooLarge(f"a checkpoint here may have {limit:,} bytes, and this one has {int(size):,}")
        run = service.run(request.path_params["run"])
        if not run.has(*key_of(name)):
            there = f"members 0 to {len(run.population) - 1} and generations 0 to {run.population.settings.generations - 1}"
            raise CheckpointError(f"got a checkpoint {name!r}; this run has {there}, and a name begins with both")
        if exists(depot, name):
            return Response(status_code=200)
        try:
            await depot.receive(name, int(offset), int(size), request.stream())
        except Misplaced as error:
            return problem(409, "CheckpointError", str(error), {"Lamarck-Offset": str(error.offset)})
        except ClientDisconnect:
            return problem(400, "CheckpointError", "the connection broke; go on with the upload from where it stands")
        return Response(status_code=201)

    async def deleted(request: Request) -> Response:
        depot, name = depot_of(request), name_of(request)
        if name in map(whole, service.run(request.path_params["run"]).population.live()):
            return problem(409, "CheckpointError", f"checkpoint {name} may still be named by a decision, and stays")
        await asyncio.to_thread(depot.delete, name)
        return Response(status_code=204)

    one, all_of_them = "/v1/runs/{run}/checkpoints/{name}", "/v1/runs/{run}/checkpoints"
    table: list[tuple[str, str, Handler]] = [
        ("GET", all_of_them, listed),
        ("GET", one, fetched),
        ("PUT", one, put),
        ("DELETE", one, deleted),
    ]
    return [Route(path, explained(_disk(handler)), methods=[method]) for method, path, handler in table]


def _disk(handler: Handler) -> Handler:
    """Turns a disk that refuses into an error that says so."""

    async def guarded(request: Request) -> Any:
        try:
            return await handler(request)
        except OSError as error:
            raise CheckpointError(f"the server's disk refused: {error.strerror}") from None

    return guarded
