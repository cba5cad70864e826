"""An engine whose workers reach the coordinator over real HTTP: for the conformance suite, and for whoever needs a server in a test."""

import multiprocessing
import threading
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from lamarck.client import Remote, work
from lamarck.server.app import app
from lamarck.server.serve import background
from lamarck.server.service import Service


@contextmanager
def served(journal, *, routes=(), **settings):
    """A service on a journal and its URL."""
    service = Service(journal, **settings)
    try:
        with background(app(service), stopping=service.stop) as url:
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
