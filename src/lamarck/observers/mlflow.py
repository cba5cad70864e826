"""MLflow: the population as a run, and in it a run for each member."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, final

from lamarck._errors import SettingsError, require
from lamarck.history import History
from lamarck.observers.account import Account, Point, copies_of
from lamarck.observers.scalars import member_name
from lamarck.observers.tracker import Session, Tracker, told

__all__ = ["MlflowObserver"]

_MARK, _MEMBER, _PARENT = "lamarck.run", "lamarck.member", "mlflow.parentRunId"
_SILENCE = "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"
_METRICS, _ENTRIES, _LONGEST = 900, 100, 5_000
"""What one request may hold: metrics, parameters or tags, characters of a value. MLflow's own limits are 1000, 100 and 6000."""


@final
class MlflowObserver(Tracker):
    """Tells an MLflow tracking server, or writes a store that ``mlflow ui`` shows.

    The population is a run, and each member a run nested in it, ``member-003``, with the metrics ``value``, ``generation``,
    ``hparams/<name>``, ``metrics/<name>``, and ``copied_from`` where it went on from another member's weights, at the steps that it
    reported. Hyperparameters that are no numbers are tags, ``hparams.<name>``. The population has the settings as parameters, and the
    metric ``best``. At the end each member gets as parameters the hyperparameters that it ended with, and the population gets
    ``schedule.json``, what the best weights have followed, and ``copies.json``, who took over whose weights.

    Training never waits: a thread sends what was reported. While the server is away it is tried again, at most a minute apart, and then
    gets all that has piled up. A resumed run goes on in the same MLflow runs, and what they lack is sent; a new run never mixes with a
    former one.

    Args:
        experiment: Name of the experiment; it is made if it does not exist.
        name: What to call the population; by default its training function.
        tracking_uri: Server or store; by default what MLflow uses by itself: ``MLFLOW_TRACKING_URI``, or a file ``mlflow.db`` here.
        **settings: See `lamarck.observers.tracker.Tracker`: ``patience=30.0``, seconds to wait at the end for a server that is behind.

    Raises:
        MissingExtra: If MLflow is not installed.
        SettingsError: If the experiment has no name, or MLflow cannot use such an address.

    Example:
        >>> tracker = MlflowObserver("digits", name="first", tracking_uri="http://127.0.0.1:5000")  # for run(..., observers=[tracker])
        >>> tracker.experiment, tracker.patience
        ('digits', 30.0)
    """

    def __init__(self, experiment: str, *, name: str | None = None, tracking_uri: str | None = None, **settings: Any) -> None:
        if not isinstance(experiment, str) or not experiment.strip():
            raise SettingsError(f"experiment: got {experiment!r}; it must be a name, e.g. 'digits'")
        super().__init__(service="MLflow", cure=f"`lamarck export JOURNAL --mlflow {shlex.quote(experiment)}`", **settings)
        mlflow = require("mlflow", "mlflow", "MlflowObserver")
        self._entities, self._tracking = mlflow.entities, mlflow.tracking
        self.experiment, self.name = experiment, name
        self.tracking_uri = tracking_uri or mlflow.get_tracking_uri()
        try:
            self._client = mlflow.MlflowClient(self.tracking_uri)
        except mlflow.exceptions.MlflowException as error:
            raise SettingsError(f"tracking_uri: MLflow cannot use it: {error.message}") from None
        except Exception as error:  # it has opened a store, and folders, databases and their drivers raise errors of their own
            raise SettingsError(f"tracking_uri: MLflow cannot use it: {told(error)}") from None

    def open(self, account: Account) -> Session:
        """Begins a run at the server, or finds it again."""
        found = self._client.get_experiment_by_name(self.experiment)
        experiment = self._client.create_experiment(self.experiment) if found is None else found.experiment_id
        return _Session(self._client, self._entities, self._tracking, experiment, account, self.name)


@final
class _Session(Session):
    """A population in an experiment.

    Attributes:
        parent: The population's run.
        members: Each member's run.
        next: Of each member that was found, the first generation that is not there.
    """

    def __init__(self, client: Any, entities: Any, tracking: Any, experiment: str, account: Account, name: str | None) -> None:
        self._client, self._entities, self._experiment = client, entities, experiment
        self.members: dict[int, str] = {}
        self.next: dict[int, int] = {}
        self._names: dict[str, str] = {}
        self.parent = "" if account.fresh else self._found(account)
        if self.parent:
            self._status("RUNNING")
        else:
            tags = tracking.context.registry.resolve_tags({_MARK: account.mark})
            self.parent = self._begun(name or account.title, tags)
            self._log(self.parent, params=account.settings)
        self._improvements = len(client.get_metric_history(self.parent, "best"))

    def known(self, member: int) -> int:
        return self.next.get(member, 0)

    def improvements(self) -> int:
        return self._improvements

    def report(self, member: int, points: Sequence[Point]) -> None:
        if member not in self.members:
            self.members[member] = self._begun(member_name(member), {_PARENT: self.parent, _MEMBER: str(member)})
        words = {f"hparams.{name}": value for name, value in points[-1].record.hparams.items() if not isinstance(value, bool | int | float)}
        # `value` comes last: of a store that is killed between two metrics it tells that the others are there.
        metrics = [self._metric(name, number, point) for point in points for name, number in reversed(point.scalars.items())]
        self._log(self.members[member], metrics=metrics, tags=words)

    def improve(self, first: int, points: Sequence[Point]) -> None:
        self._log(self.parent, metrics=[self._metric("best", point.record.value, point) for point in points])
        self._improvements = first + len(points)

    def finish(self, history: History) -> None:
        lost = history.ended == "lost"  # such a run may go on, and parameters are for good
        for member, run in self.members.items():
            if not lost:
                self._log(run, params=history.member(member)[-1].hparams)
        self._log(self.parent, tags={"mlflow.note.content": str(history)})
        if any(record.finite for record in history.records):
            best = history.best
            self._log(self.parent, tags={"lamarck.best_member": str(best.member), "lamarck.best_step": str(best.step)})
            self._client.log_text(self.parent, history.schedule().to_text("json"), "schedule.json")
        self._client.log_text(self.parent, json.dumps(copies_of(history), indent=1), "copies.json")
        self._status("FAILED" if lost else "FINISHED")

    def leave(self) -> None:
        self._status("KILLED")

    def _found(self, account: Account) -> str:
        """The newest run that was begun in the same way and knows nothing else of it."""
        for run in self._searched(f"tags.`{_MARK}` = '{account.mark}'"):
            members = {int(child.data.tags[_MEMBER]): child.info.run_id for child in self._searched(f"tags.`{_PARENT}` = '{run.info.run_id}'")}
            values = {member: self._values(child) for member, child in members.items()}
            if all(account.agrees(member, known) for member, known in values.items()):
                self.members = members
                self.next = {member: max(known, default=-1) + 1 for member, known in values.items()}
                return str(run.info.run_id)
        return ""

    def _searched(self, query: str) -> Iterator[Any]:
        token: str | None = None
        while True:
            page = self._client.search_runs([self._experiment], query, order_by=["attributes.start_time DESC"], page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _values(self, run: str) -> dict[int, float]:
        """Values of a member by generation, which its moment tells: no other of its reports has the same."""
        generations = {metric.timestamp: int(metric.value) for metric in self._client.get_metric_history(run, "generation")}
        return {generations[metric.timestamp]: metric.value for metric in self._client.get_metric_history(run, "value")}

    def _begun(self, name: str, tags: Mapping[str, str]) -> str:
        return str(self._client.create_run(self._experiment, run_name=name, tags=dict(tags)).info.run_id)

    def _status(self, status: str) -> None:
        with _unprinted():
            for run in (*self.members.values(), self.parent):
                if status == "RUNNING":
                    self._client.update_run(run, status)
                else:
                    self._client.set_terminated(run, status)

    def _metric(self, name: str, number: float, point: Point) -> Any:
        return self._entities.Metric(self._allowed(name), number, round(point.at * 1000), point.record.step)

    def _allowed(self, name: str) -> str:
        """A name that MLflow takes, and no other name has: two that differ only in what MLflow does not take shall not be one curve."""
        if name not in self._names:
            allowed = _allowed(name)
            if allowed in self._names.values():
                allowed = f"{allowed[:240]}_{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"
            self._names[name] = allowed
        return self._names[name]

    def _log(self, run: str, *, metrics: Sequence[Any] = (), **entries: Mapping[str, Any]) -> None:
        """Sends metrics, ``params`` and ``tags``, in as many requests as it takes."""
        for start in range(0, len(metrics), _METRICS):
            self._client.log_batch(run, metrics=metrics[start : start + _METRICS])
        makers = {"params": self._entities.Param, "tags": self._entities.RunTag}
        for kind, given in entries.items():
            made = [makers[kind](self._allowed(name), str(value)[:_LONGEST]) for name, value in given.items()]
            for start in range(0, len(made), _ENTRIES):
                self._client.log_batch(run, **{kind: made[start : start + _ENTRIES]})


@contextmanager
def _unprinted() -> Iterator[None]:
    """Keeps MLflow from printing two lines of addresses for each member when its run ends."""
    before = os.environ.get(_SILENCE)
    os.environ[_SILENCE] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SILENCE]
        else:
            os.environ[_SILENCE] = before


def _allowed(name: str) -> str:
    """A name that MLflow takes.

    Example:
        >>> _allowed("hparams/lr"), _allowed("metrics/top@5"), _allowed("metrics//../x")
        ('hparams/lr', 'metrics/top_5', 'metrics/_/_/x')
    """
    return "/".join("_" if part in ("", ".", "..") else part for part in re.sub(r"[^\w.\- :/]", "_", name).split("/"))[:250]
