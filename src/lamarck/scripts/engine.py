"""An engine whose workers are scripts: each a process of its own that joins the run as it would join one on another machine."""

from __future__ import annotations

import logging
import os
import secrets
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import final
from urllib.parse import quote, urlencode

from lamarck import codec
from lamarck._errors import SettingsError, StaleReport, TrainingError, require
from lamarck._http import Connection
from lamarck.coordinator import Coordinator
from lamarck.engines import Train
from lamarck.engines._shared import shared
from lamarck.engines.gpus import check_gpus
from lamarck.engines.processes import Processes
from lamarck.server.run import Run
from lamarck.server.service import Service
from lamarck.server.tokens import Tokens, add_token
from lamarck.types import Failure

__all__ = ["Scripts"]

logger = logging.getLogger("lamarck")

_LEASE = 600.0
"""Seconds that a script may be silent. It runs on this machine, where its end is seen at once; a step that lets nothing else run is no end."""

_STARTS = 3
"""How often in a row a script may end without a report."""

_GRACE = 10.0
"""Seconds that scripts get to end in order."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Scripts:
    """Trains a population by a script that calls `lamarck.worker` or makes a `Client`.

    The run is served on this machine's loopback address for as long as it lasts, and the scripts find it by their environment. A script that
    ends before the run is over is started again, as long as something comes of it.

    Args:
        command: Program and arguments, e.g. ``(sys.executable, "train.py")``.
        places: How many scripts at a time, on which GPUs, with how many threads: a `lamarck.Processes`. By default one.
        folder: Where they run; by default here.

    Raises:
        SettingsError: If the places have a time limit, which only training functions can have.
        MissingExtra: If what serves the run is not installed.

    Example:
        >>> from lamarck import Processes
        >>> Scripts(command=("python", "train.py"), places=Processes(workers=4)).places.workers
        4
    """

    command: Sequence[str]
    places: Processes = field(default_factory=lambda: Processes(workers=1))
    folder: Path | None = None

    def __post_init__(self) -> None:
        if self.places.time_limit is not None:
            raise SettingsError("time_limit: scripts have none; give a training function, as in train.py:train, whose process can be replaced")
        for package in ("starlette", "uvicorn", "httptools", "prometheus_client"):
            require(package, "serve", "A script as a worker")

    def __call__(self, train: Train, coordinator: Coordinator) -> None:
        """Trains until the run is over.

        Args:
            train: Not used: what trains is the script.
            coordinator: The run.

        Raises:
            SettingsError: If a GPU is not there.
            TrainingError: If the script cannot be started, or ends again and again without a report.
            PopulationLost: If every member failed for good.
        """
        if coordinator.over:
            return
        check_gpus(self.places.gpus)
        # Scripts themselves import this package, and do without what serves them.
        from lamarck.server.app import app
        from lamarck.server.serve import background

        environments = self.places.environments(len(coordinator.population))
        with shared(coordinator), TemporaryDirectory(prefix="lamarck-") as empty:
            token = add_token(Path(empty) / "tokens", "worker")  # others on this machine can reach the address, too
            service = Service(Path(empty) / "none.db", lease=_LEASE)
            try:
                with background(app(service, tokens=Tokens(Path(empty) / "tokens")), stopping=service.stop) as url:
                    run = service.add(coordinator.run, coordinator, direct=True, reserve=False)
                    # A script that the server has left behind finds out soon: it was started for this run alone.
                    joined = {"LAMARCK_URL": url, "LAMARCK_RUN": coordinator.run, "LAMARCK_TOKEN": token, "LAMARCK_PATIENCE": "20"}
                    with closing(Connection(url, token, patience=_GRACE)) as connection:
                        self._watch([environment | joined for environment in environments], run, connection)
            finally:
                service.close()
        if coordinator.population.ended == "lost":
            raise coordinator.lost()

    def _watch(self, environments: Sequence[Mapping[str, str]], run: Run, connection: Connection) -> None:
        """Keeps a script running in each place until the run is over, and speaks for those that have died."""
        running: dict[int, subprocess.Popen[bytes]] = {}
        names: dict[int, str] = {}
        dead: set[str] = set()
        coordinator, fruitless = run.coordinator, 0
        heard = _heard(coordinator)
        try:
            while not coordinator.over:
                for place, environment in enumerate(environments):
                    process = running.get(place)
                    if process is not None and process.poll() is None:
                        continue
                    if process is not None and not coordinator.over:
                        now = _heard(coordinator)
                        fruitless, heard = (0 if now > heard else fruitless + 1), now
                        if fruitless >= _STARTS * len(environments):
                            raise TrainingError(
                                f"{shlex.join(self.command)} ended {fruitless} times in a row without a report, the last time with status "
                                f"{process.returncode}; what it said is above"
                            )
                        logger.warning("a script ended with status %d before the run was over; it is started again", process.returncode)
                        dead.add(names[place])
                    names[place] = f"script-{place}-{secrets.token_hex(4)}"
                    running[place] = self._start({**environment, "LAMARCK_WORKER": names[place]})
                for name in dead:
                    _speak_for(name, run, connection)
                time.sleep(0.05)
            self._end(running, _GRACE)  # they hear that it is over, and end by themselves
        finally:
            for process in running.values():
                if process.poll() is None:
                    process.terminate()
            self._end(running, _GRACE)
            for process in running.values():
                process.kill()
                process.wait()

    def _start(self, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        try:
            # A session of its own: Ctrl-C is for us to answer, and they are asked to end in order.
            return subprocess.Popen(  # noqa: S603 - it is the user's own command
                list(self.command), cwd=self.folder, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            raise TrainingError(f"{self.command[0]!r} cannot be started: {error.strerror or error}") from None

    @staticmethod
    def _end(running: Mapping[int, subprocess.Popen[bytes]], seconds: float) -> None:
        """Waits for all scripts to end, but not for ever."""
        end = time.monotonic() + seconds
        while any(process.poll() is None for process in running.values()) and time.monotonic() < end:
            time.sleep(0.02)


def _speak_for(worker: str, run: Run, connection: Connection) -> None:
    """Says that a worker has died, if it holds an interval; also one that it is handed after its death, in answer to its last words."""
    lease = run.lease_of(worker)
    if lease is None:
        return
    interval = lease.interval
    failure = Failure(member=interval.member, generation=interval.generation, kind="lost", message="the script died")
    query = urlencode({"worker": worker, "lease": lease.token, "claim": "false"})
    with suppress(StaleReport):  # it had spoken for itself
        connection.ask("POST", f"/v1/runs/{quote(run.coordinator.run, safe='')}/exchange?{query}", codec.encode(failure))


def _heard(coordinator: Coordinator) -> int:
    """How much has come of the scripts: reports, and failures that were told."""
    population = coordinator.population
    return int(population.generations.sum()) + sum(member.failures for member in population.members)
