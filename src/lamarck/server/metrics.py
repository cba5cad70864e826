"""What Prometheus may ask: how much is done, how fast, and by how many."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import final

from prometheus_client import CollectorRegistry, Counter, Gauge, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lamarck.population import Population
from lamarck.server.service import Service
from lamarck.types import Assigned, Event, Failed, Reported

__all__ = ["Counted", "Metrics"]

_LATENCIES = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, math.inf)


@final
class _Requests(Collector):
    """Requests, and how long they took. There is one for every report, and only the event loop counts them: without the library's locks.

    Args:
        registry: Where to be asked for the numbers.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counts: dict[tuple[str, int], int] = {}
        self._seconds: dict[str, float] = {}
        self._latencies: dict[str, list[int]] = {}
        registry.register(self)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Counts a request."""
        if route not in self._seconds:
            self._seconds[route], self._latencies[route] = 0.0, [0] * len(_LATENCIES)
        self._counts[route, status] = self._counts.get((route, status), 0) + 1
        self._seconds[route] += seconds
        self._latencies[route][bisect_left(_LATENCIES, seconds)] += 1

    def collect(self) -> Iterator[Metric]:
        """Returns the numbers as the library takes them."""
        requests = CounterMetricFamily("lamarck_requests", "Requests, by what was asked and how it was answered", labels=["route", "status"])
        for (route, status), count in self._counts.items():
            requests.add_metric([route, str(status)], count)
        seconds = HistogramMetricFamily("lamarck_request_seconds", "From request to answer, waiting included", labels=["route"])
        bounds = ["+Inf" if bound == math.inf else str(bound) for bound in _LATENCIES]
        for route, latencies in self._latencies.items():
            seconds.add_metric([route], list(zip(bounds, accumulate(latencies), strict=True)), self._seconds[route])
        return iter((requests, seconds))


@final
class Metrics:
    """Counts for one application; they begin at zero when the server starts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self._reports = Counter("lamarck_reports", "Reports acknowledged", registry=registry)
        self._decisions = Counter("lamarck_decisions", "Intervals handed out for the first time", registry=registry)
        self._failures = Counter("lamarck_failures", "Intervals that came to nothing", ["kind"], registry=registry)
        self.answered = _Requests(registry).answered
        self._runs = Gauge("lamarck_runs", "Runs that are not over", registry=registry)
        self._leases = Gauge("lamarck_leases", "Intervals that are being trained", registry=registry)
        self._journal = Gauge("lamarck_journal_bytes", "Size of the journal, with its log", registry=registry)

    def observe(self, event: Event, population: Population) -> None:
        """Counts an event of any run."""
        if isinstance(event, Reported):
            self._reports.inc()
        elif isinstance(event, Assigned):
            self._decisions.inc()
        elif isinstance(event, Failed):
            self._failures.labels(event.failure.kind).inc()

    def page(self, service: Service) -> Response:
        """Returns all numbers as Prometheus reads them."""
        runs = [service.run(name) for name in service.runs()]
        self._runs.set(sum(run.population.ended is None for run in runs))
        self._leases.set(sum(run.leases for run in runs))
        files = [service.journal, service.journal.with_name(service.journal.name + "-wal")]
        self._journal.set(sum(file.stat().st_size for file in files if file.exists()))
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)


@final
class Counted:
    """Counts every request that goes through.

    Args:
        app: What answers.
        metrics: Where to count.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def heard(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, heard)
        finally:
            route = getattr(scope.get("route"), "path", "none")  # the pattern, not the path: that could be anything
            self._metrics.answered(route, status, time.perf_counter() - began)
