"""The servers that `service.py` asks: ours, a bare handler of the same framework, an echo, and the pattern of a multiprocessing manager.

python benchmarks/_service_side.py KIND PORT MEMBERS JOURNAL
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from multiprocessing.managers import BaseManager
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lamarck.server.app import app
from lamarck.server.plan import Plan
from lamarck.server.serve import listening, serve
from lamarck.server.service import Service

__all__ = ["PATH", "Population", "Shared", "plan"]

PATH = "/v1/runs/main/exchange"
ANSWER = (
    b'{"$type":"Interval","v":1,"generation":7,"hparams":{"lr":0.00123,"wd":0.000123,"dropout":0.312},"info":{"reason":"carry on"},'
    b'"member":3,"parent":[3,6],"restore":"0003-00006-0123456789abcdef","seed":1234567890,"start":6,"until":7}'
)
SPACE = {
    "lr": {"type": "float", "low": 1e-5, "high": 0.1, "log": True},
    "wd": {"type": "float", "low": 1e-6, "high": 0.01, "log": True},
    "dropout": {"type": "float", "low": 0.0, "high": 0.6},
}


def plan(members: int) -> Plan:
    """A run that goes on for as long as it is measured."""
    return Plan.of({"name": "main", "space": SPACE, "population_size": members, "interval": 1, "generations": 10**6, "max_lead": None})


def ours(port: int, members: int, journal: Path) -> None:
    """The service, with its journal on the disk; the weights, which the load only pretends to have, would be elsewhere."""
    service = Service(journal, shared="memory://weights")
    asyncio.run(service.create(plan(members)))
    serve(app(service), listening("127.0.0.1", port), stopping=service.stop)


def bare(port: int) -> None:
    """The least that an HTTP handler for reports must do: read JSON, write JSON. It decides nothing and keeps nothing."""

    async def handler(request: Request) -> Response:
        json.loads(await request.body() or b"null")
        return Response(ANSWER, media_type="application/json", headers={"Lamarck-Lease": "3-7-0-00000000-9f86d081"})

    serve(Starlette(routes=[Route(PATH, handler, methods=["POST"])]), listening("127.0.0.1", port), stopping=lambda: None)


async def echo(port: int) -> None:
    """A round trip through the loopback and an event loop, without HTTP."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)

    async with await asyncio.start_server(answer, "127.0.0.1", port) as server:
        await server.serve_forever()


class Population:
    """What scripts of that pattern share: values and hyperparameters by member, and four questions. Nothing is kept on a disk."""

    def __init__(self, members: int) -> None:
        self.values = [float("-inf")] * members
        self.hparams = [{"lr": random.random(), "wd": random.random(), "dropout": random.random()} for _ in range(members)]

    def save(self, member: int, value: float) -> None:
        """Notes a value."""
        self.values[member] = value

    def should_exploit(self, member: int) -> bool:
        """Whether a member is among the worst fifth."""
        return sorted(self.values).index(self.values[member]) < len(self.values) // 5

    def exploit(self, member: int) -> int:
        """Copies one of the best fifth."""
        order = sorted(range(len(self.values)), key=self.values.__getitem__)
        donor = random.choice(order[-max(1, len(order) // 5) :])
        self.hparams[member] = dict(self.hparams[donor])
        return donor

    def explore(self, member: int) -> dict[str, float]:
        """Changes what was copied."""
        self.hparams[member] = {name: value * random.choice((0.8, 1.25)) for name, value in self.hparams[member].items()}
        return self.hparams[member]


class Shared(BaseManager):
    """The manager."""


def manager(port: int, members: int) -> None:
    """A population behind a manager, as such scripts have it."""
    population = Population(members)
    Shared.register("population", callable=lambda: population)
    Shared(("127.0.0.1", port), b"benchmark").get_server().serve_forever()


if __name__ == "__main__":
    kind, port, members, journal = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    match kind:
        case "ours":
            ours(port, members, journal)
        case "bare":
            bare(port)
        case "manager":
            manager(port, members)
        case _:
            asyncio.run(echo(port))
