"""An engine whose workers reach the coordinator over real HTTP: for the conformance suite, and for whoever needs a server in a test."""

import json
import multiprocessing
import threading
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from lamarck import codec
from lamarck._http import Connection
from lamarck.client import Remote, work
from lamarck.server.app import app
from lamarck.server.metrics import Metrics
from lamarck.server.serve import background
from lamarck.server.service import Service
from lamarck.testing.engine import SPACE
from lamarck.types import Report
from lamarck.web.live import page_routes

PLAN = {"name": "a", "space": SPACE.to_dict(), "population_size": 3, "interval": 4, "generations": 3, "seed": 1}


def ask(url, method, path, body=b"", *, token="", **headers):
    connection = Connection(url, token, patience=5)
    try:
        return connection.ask(method, path, body, headers=headers, fine=tuple(range(400, 600)))
    finally:
        connection.close()


def create(url, **changes):
    return ask(url, "POST", "/v1/runs", json.dumps(PLAN | changes).encode())


def report(interval, value=1.0):
    return codec.encode(Report(member=interval.member, generation=interval.generation, step=interval.until, value=value))


@contextmanager
def served(journal, *, tokens=None, counted=False, max_checkpoint=2**30, **settings):
    """A service on a journal and its URL."""
    metrics = Metrics()
    service = Service(journal, observers=[metrics.observe] if counted else [], **settings)
    try:
        application = app(service, tokens=tokens, metrics=metrics, routes=page_routes(service), max_checkpoint=max_checkpoint)
        with background(application, stopping=service.stop) as url:
            yield service, url
    finally:
        service.close()


def join(train, url, run, errors):
    try:
        work(train, Remote(url, run=run, patience=20))
    except BaseException as error:
        errors.append(error)


def in_process(train, url, run):
    work(train, Remote(url, run=run, patience=20))


class OverHttp:
    """Serves the run that it is given, and trains it with workers that know no more than the address."""

    def __init__(self, workers, *, direct, processes=False, lease=30.0):
        self.workers, self.direct, self.processes, self.lease = workers, direct, processes, lease

    def __call__(self, train, coordinator):
        if coordinator.over:
            return
        with TemporaryDirectory() as folder, served(Path(folder) / "none.db", lease=self.lease) as (service, url):
            service.add(coordinator.run, coordinator, direct=self.direct)
            errors = []
            if self.processes:
                context = multiprocessing.get_context("spawn")
                workers = [context.Process(target=in_process, args=(train, url, coordinator.run)) for _ in range(self.workers)]
            else:
                workers = [threading.Thread(target=join, args=(train, url, coordinator.run, errors)) for _ in range(self.workers)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            if errors:
                raise errors[0]
