"""The same worker over HTTP: a training script on any machine joins a run that a server keeps.

    train(lk.connect("https://host:8765", run="cifar"))

A background thread says every few seconds that the worker is still there, for as long as somebody trains: not when the training loop was left
by an error, or its thread has ended, while the process lives on, as that of a notebook does. If the server goes away for a while, the worker
goes on training and then waits for it; what it reports is counted once, however often it has to be said.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import secrets
import socket
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, final
from urllib.parse import quote, urlencode

from lamarck import codec
from lamarck._errors import LamarckError, PopulationLost, ServiceError, SettingsError, StaleReport
from lamarck._http import Connection
from lamarck.checkpoints import Checkpoints, open_checkpoints
from lamarck.checkpoints.http import HttpCheckpoints
from lamarck.training import Worker, attempt, raised, seed_everything
from lamarck.types import Ended, Failure, Interval, Report

__all__ = ["Remote", "connect", "work"]

logger = logging.getLogger("lamarck")

_WAIT = 20.0
"""Seconds that the server may think about one request; then it is asked again."""


def connect(
    url: str,
    *,
    run: str = "main",
    token: str | None = None,
    worker: str | None = None,
    ca: str | os.PathLike[str] | None = None,
    patience: float = 3600.0,
) -> Worker:
    """Joins a run that a server keeps, and returns a worker like those of the local engines.

    If the script ends by an error, the server hears of it and hands the interval out again; if it ends in order, or by Ctrl-C, the interval
    goes to somebody else at once and does not count as failed. So it does when nothing refers to the worker any more, as in a notebook where
    another has taken its name. A script that is killed is noticed when its heartbeats stay away.

    As engines do, this seeds Python's, NumPy's and PyTorch's global generators from the run's seed, so that weights that are made before the
    first interval are the same in every worker.

    Args:
        url: The server, e.g. ``"https://host:8765"``.
        run: Name of the run.
        token: What ``lamarck token`` made for workers; by default the environment variable ``LAMARCK_TOKEN``.
        worker: What to call this worker; by default the machine's name, the process's number and something random. No two may share a name.
        ca: File of the certificates to trust, for a server that signed its own; by default the system's.
        patience: Seconds to go on trying when the server does not answer; by default an hour, which outlasts a restart.

    Raises:
        NotAllowed: If the server does not accept the token.
        RunMissing: If it has no such run.
        ServiceError: If it cannot be reached.
    """
    remote = Remote(url, run=run, token=token, worker=worker, ca=ca, patience=patience)
    seed_everything(remote.seed)
    joined = Worker(remote, remote.checkpoints, left=remote.unattended)
    remote.serve(joined)
    return joined


def work(train: Callable[[Worker], object], remote: Remote) -> None:
    """Trains until the run is over, as an engine does: a training function that raises is told of and called again.

    Args:
        train: The training function.
        remote: The run.

    Raises:
        TrainingError: If the training function breaks its contract.
        PopulationLost: If every member failed for good.
    """
    try:
        while True:  # once, and once more after each failure
            worker = Worker(remote, remote.checkpoints, left=remote.unattended)
            seed_everything(remote.seed)
            error = attempt(train, worker)
            if error is None:
                return
            assert worker.current is not None
            logger.warning("member %d failed", worker.current.member, exc_info=error)
            remote.failed(raised(worker.current, error))
    finally:
        remote.close()


@final
class Remote:
    """A run on a server, as a worker's transport: takes what the worker says there and brings back its next interval.

    Args:
        url: The server.
        run: Name of the run.
        token: What proves that we may.
        worker: What to call this worker.
        ca: File of the certificates to trust.
        patience: Seconds to go on trying.

    Attributes:
        settings: The run's settings, as plain values.
        checkpoints: Where its weights are.
        worker: What this worker is called.
        seed: Seed for what happens before the first interval.
    """

    def __init__(
        self,
        url: str,
        *,
        run: str = "main",
        token: str | None = None,
        worker: str | None = None,
        ca: str | os.PathLike[str] | None = None,
        patience: float = 3600.0,
    ) -> None:
        self.worker = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}" if worker is None else worker
        if not (self.worker.isascii() and self.worker.isprintable() and " " not in self.worker and 0 < len(self.worker) <= 200):
            raise SettingsError(f"worker: got {self.worker!r}; it must be 1 to 200 visible ASCII characters")
        self._connection = Connection(url, token, ca=ca, patience=patience)
        self._path = f"/v1/runs/{quote(run, safe='')}"
        described: dict[str, Any] = json.loads(self._connection.ask("GET", self._path).body)
        self.settings: dict[str, Any] = described["settings"]
        self.seed: int = self.settings["seed"] & 0xFFFFFFFF
        self.checkpoints: Checkpoints
        if described["checkpoints"] is None:
            store = Connection(f"{url.rstrip('/')}{self._path}/checkpoints", token, ca=ca, patience=patience)
            self.checkpoints = HttpCheckpoints(store)
        else:
            self.checkpoints = open_checkpoints(described["checkpoints"]).flushing(every=self.settings.get("durable_every") or 1)
        self._process = os.getpid()
        self._lease: str | None = None
        self._current: Interval | None = None
        self._heart = _Heart(self._connection.twin(), self._path, self.worker, described["lease_seconds"] / 4)

    def __call__(self, message: Report | Failure | None) -> Interval | None:
        """Says what came of the last interval and returns the next; ``None`` when the run is over.

        Raises:
            StaleReport: If the interval is not this worker's any more.
            ReportError: If the report cannot be counted.
            PopulationLost: If every member failed for good.
            ServiceError: If the server cannot be reached for as long as the patience lasts.
        """
        lease, body = (None, b"") if message is None else (self._lease, codec.encode(message))
        while True:
            query = {"worker": self.worker, "wait": f"{_WAIT:g}"} | ({} if lease is None else {"lease": lease})
            try:
                answer = self._connection.ask("POST", f"{self._path}/exchange?{urlencode(query)}", body, wait=_WAIT)
            except StaleReport:
                self._holds(None, None)
                raise
            if answer.status == 204:  # it was heard, and there is nothing to train yet
                lease, body = None, b""
                self._holds(None, None)
                continue
            record = codec.decode(answer.body)
            if isinstance(record, Interval):
                self._holds(answer.headers["Lamarck-Lease"], record)
                return record
            self._holds(None, None)
            self.close()
            if isinstance(record, Ended) and record.reason == "lost":
                raise PopulationLost("every member failed for good; the server's log shows why")
            return None

    def failed(self, failure: Failure) -> None:
        """Says that an interval came to nothing, without asking for another. That somebody else has it by now is no error."""
        query = {"worker": self.worker, "claim": "false"} | ({} if self._lease is None else {"lease": self._lease})
        with contextlib.suppress(StaleReport):
            self._connection.ask("POST", f"{self._path}/exchange?{urlencode(query)}", codec.encode(failure))
        self._holds(None, None)

    def unattended(self) -> None:
        """Says no longer that the interval is wanted; unless it is reported all the same, the server hands it on when its lease ends."""
        self._heart.lease = None

    def serve(self, holder: object) -> None:
        """Gives the interval back when the process ends, or as soon as nobody refers any more to what trains.

        Args:
            holder: What trains, and refers to this; not the other way round.
        """
        atexit.register(self.leave_at_exit)
        weakref.finalize(holder, self.drop).atexit = False  # the process may have ended by an error, which is for the other to say

    def drop(self, error: object = None) -> None:
        """Gives the interval back, unless the server cannot be reached just now: it then finds out by itself.

        Args:
            error: What has ended the training, if something did; the server then hears of it.
        """
        if os.getpid() != self._process:  # a fork of ours ends: what it got with our memory is not its own
            return
        self._connection.patience = 2.0
        with contextlib.suppress(LamarckError):
            if isinstance(error, Exception) and not isinstance(error, LamarckError) and self._current is not None:
                self.failed(raised(self._current, error))
            self.leave()

    def leave(self) -> None:
        """Gives the interval back, if there is one, so that somebody else can train it at once."""
        lease = self._lease
        if lease is not None:
            self._holds(None, None)
            self._connection.ask("POST", f"{self._path}/release?{urlencode({'worker': self.worker, 'lease': lease})}")
        self.close()

    def close(self) -> None:
        """Ends the heartbeats and lets go of the connections. Whatever else is asked makes a new connection, but no heart beats any more."""
        self._heart.stop()
        atexit.unregister(self.leave_at_exit)
        self._connection.close()
        if isinstance(self.checkpoints, HttpCheckpoints):
            self.checkpoints.close()

    def leave_at_exit(self) -> None:
        """Tells the server, when the process ends, whether it ended by an error."""
        self.drop(getattr(sys, "last_value", None))

    def _holds(self, lease: str | None, interval: Interval | None) -> None:
        self._lease, self._current = lease, interval
        self._heart.owner, self._heart.lease = threading.current_thread(), lease


@final
class _Heart:
    """Says every few seconds that a lease is still wanted."""

    def __init__(self, connection: Connection, path: str, worker: str, pause: float) -> None:
        self.lease: str | None = None
        self.owner = threading.current_thread()
        self._connection, self._path, self._worker, self._pause = connection, path, worker, pause
        self._connection.patience = pause
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lamarck-heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends it."""
        self._over.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():  # in which rubbish may be collected, too
            self._thread.join()
        self._connection.close()

    def _beat(self) -> None:
        refused = lost = None
        while not self._over.wait(self._pause):
            lease = self.lease
            if lease is None or lease == lost:
                continue
            if not (self.owner.is_alive() or self.owner is threading.main_thread()):  # the end of the main thread is that of the process
                lost = lease
                logger.warning("the thread that trained this interval has ended without a word; another worker will get it")
                continue
            if lease == refused:  # and still held: there was no report on its way that had settled it
                lost = lease  # the report will be told the same, and the training loop cannot be stopped before
                logger.warning("this interval was handed to another worker; what is being trained here will not be counted")
                continue
            try:
                self._connection.ask("POST", f"{self._path}/heartbeat?{urlencode({'worker': self._worker, 'lease': lease})}")
            except StaleReport:
                refused = lease
            except ServiceError as error:
                logger.debug("a heartbeat was not heard: %s", error)
