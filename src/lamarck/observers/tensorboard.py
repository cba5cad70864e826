"""Curves for TensorBoard: one line for each member, over each other."""

from __future__ import annotations

import itertools
import os
import socket
import time
from pathlib import Path
from typing import Any, final

from lamarck._errors import SettingsError, require
from lamarck.observers.scalars import member_name, scalars
from lamarck.population import Population, Record
from lamarck.types import Ended, Event, Reported, Started

__all__ = ["TensorBoardObserver"]

_SUFFIX = "lamarck"
_FILES = itertools.count()


@final
class TensorBoardObserver:
    """Writes values, hyperparameters and metrics for TensorBoard; look at them with ``tensorboard --logdir FOLDER``.

    Each member is a run of its own, ``member-003``, with the scalars ``value``, ``hparams/<name>`` and ``metrics/<name>`` at the step that it
    reported, so that TensorBoard draws the members over each other; where it went on from another member's weights, ``copied_from`` is that
    member's number. Hyperparameters that are no numbers have no curve. When the run is over, the hyperparameters that each member ended with,
    and its last value, go to the HPARAMS tab.

    A new run removes what a former one has written to the folder by this observer, and nothing else. A resumed run goes on. For each report a
    file is opened, added to and closed again: a thousand members need no thousand open files, and no thread is started.

    Args:
        folder: Where to; it is made if it does not exist.

    Raises:
        MissingExtra: If TensorBoard is not installed.
        SettingsError: If the path is a file.

    Example:
        >>> from pathlib import Path
        >>> import lamarck as lk
        >>> def train(worker):
        ...     worker.track(x=(lambda: 0, lambda state: None))
        ...     for interval in worker:
        ...         interval.report(0.5)
        >>> curves = TensorBoardObserver("curves")
        >>> history = lk.run(train, lk.Space(n=lk.Int(1, 2)), population_size=2, interval=5, generations=1, observers=[curves])
        >>> sorted(path.name for path in Path("curves").iterdir() if path.is_dir())
        ['member-000', 'member-001']
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise SettingsError(f"folder: got {str(folder)!r}, which is a file; it must be a folder, which may be a new one")
        # TensorBoard's own records and messages. PyTorch's writer is made of the same, takes seven times as long to import and starts threads.
        self._writer = _module("summary.writer.record_writer").RecordWriter
        self._event = _module("compat.proto.event_pb2").Event
        self._hparams = _module("plugins.hparams.summary_v2")
        self._began = time.time()
        self._file = _new_name()

    def __call__(self, event: Event, population: Population) -> None:
        """Takes in an event."""
        match event:
            case Started():
                for run in ("", "member-*/"):
                    for old in self.folder.glob(f"{run}events.out.tfevents.*.{_SUFFIX}"):
                        old.unlink()
            case Reported():
                record = population.members[event.report.member].last
                assert record is not None
                message = self._event(wall_time=time.time(), step=record.step)
                for tag, number in scalars(record, event.report.metrics).items():
                    message.summary.value.add(tag=tag, simple_value=number)
                self._write(member_name(record.member), message)
            case Ended():
                last = [member.last for member in population.members if member.last is not None]
                self._write("", self._event(wall_time=time.time(), summary=self._experiment(last)))
                for record in last:
                    hparams = {name: str(value) if value is None else value for name, value in record.hparams.items()}
                    summary = self._hparams.hparams_pb(hparams, trial_id=member_name(record.member), start_time_secs=self._began)
                    self._write(member_name(record.member), self._event(wall_time=time.time(), summary=summary))

    def _experiment(self, records: list[Record]) -> Any:
        """What the columns of the HPARAMS tab are."""
        names = dict.fromkeys(name for record in records for name in record.hparams)
        return self._hparams.hparams_config_pb(
            hparams=[self._hparams.HParam(name) for name in names], metrics=[self._hparams.Metric("value")], time_created_secs=self._began
        )

    def _write(self, run: str, message: Any) -> None:
        folder = self.folder / run
        path = folder / self._file
        begun = path.exists()
        if not begun:
            folder.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("ab") as file:
                writer = self._writer(file)
                if not begun:
                    writer.write(self._event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
                writer.write(message.SerializeToString())
        except OSError:
            self._file = _new_name()  # TensorBoard reads no further than a torn record, but goes on with the next file
            raise


def _module(name: str) -> Any:
    return require(f"tensorboard.{name}", "tensorboard", "TensorBoardObserver")


def _new_name() -> str:
    return f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_FILES):04d}.{_SUFFIX}"
