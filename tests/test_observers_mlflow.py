"""Runs that MLflow's own client reads back."""

from __future__ import annotations

import json
import socket
import threading
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest

import lamarck as lk
from lamarck.coordinator import events_of
from lamarck.journal import SqliteJournal
from lamarck.observers.mlflow import MlflowObserver
from lamarck.population import replay
from lamarck.schedule import Schedule
from lamarck.types import Reported
from tracked import improvements, journal, killed_and_resumed, resumed, same, told, values


@pytest.fixture(autouse=True)
def _file_store(monkeypatch):
    """Lets MLflow write plain files, which cost a hundredth of a database that has to be made first."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")


def uri():
    return Path("store").absolute().as_uri()


def tracker(**settings):
    return MlflowObserver("digits", **{"tracking_uri": uri(), "patience": 300.0, **settings})


def client(where=None):
    return mlflow.MlflowClient(where or uri())


def runs(where=None, experiment="digits"):
    """Populations, the newest first: (run, members by name)."""
    found = client(where).search_runs([client(where).get_experiment_by_name(experiment).experiment_id], order_by=["attributes.start_time DESC"])
    parents = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    return [(run, {it.info.run_name: it for it in found if it.data.tags.get("mlflow.parentRunId") == run.info.run_id}) for run in parents]


def points(run, name, where=None):
    found = client(where).get_metric_history(run.info.run_id, name)
    return [(metric.step, metric.value) for metric in sorted(found, key=lambda metric: metric.timestamp)]


def artifact(run, name):
    return json.loads(Path(client().download_artifacts(run.info.run_id, name, ".")).read_text())


def check(events, where=None):
    """That the one population there is holds exactly what the journal says."""
    history = lk.History.of(events)
    ((parent, members),) = runs(where)
    assert sorted(members) == [f"member-{member:03d}" for member in range(history.settings.population_size)]
    for name, run in members.items():
        records = history.member(int(name[-3:]))
        assert same(points(run, "value", where), values(history, int(name[-3:])))
        assert points(run, "hparams/lr", where) == [(record.step, record.hparams["lr"]) for record in records]
        copied = [(record.step, record.parent[0]) for record in records if record.parent and record.parent[0] != record.member]
        assert points(run, "copied_from", where) == copied
        assert run.info.status == "FINISHED"
        assert run.data.params == {key: str(value) for key, value in records[-1].hparams.items()}
        assert run.data.tags.get("hparams.optimizer") == records[-1].hparams.get("optimizer")
    assert points(parent, "best", where) == [(record.step, record.value) for record in improvements(history)]
    assert parent.info.status == "FINISHED"
    return history, parent


# ---- what is there --------------------------------------------------------------------------------------------------------------------------


def test_a_population_is_a_run_with_a_run_for_each_member():
    events, observer = journal(size=4, generations=8), tracker(name="first")
    told(observer, events)
    observer.settle()
    history, parent = check(events)
    assert history.copies  # or nothing was tested of them
    assert parent.info.run_name == "first"
    assert parent.data.params["population_size"] == "4"
    assert parent.data.params["exploit"] == "truncation"
    assert parent.data.tags["lamarck.best_member"] == str(history.best.member)
    assert Schedule.from_list(artifact(parent, "schedule.json")) == history.schedule()
    assert [(it["member"], tuple(it["donor"])) for it in artifact(parent, "copies.json")] == [(it.member, it.donor) for it in history.copies]


def test_metrics_are_there_under_names_that_mlflow_takes():
    def train(worker):
        worker.track(x=(lambda: 0, lambda state: None))
        for interval in worker:
            interval.report(0.5, metrics={"top@5/all": 0.25 * interval.generation})

    lk.run(train, lk.Space(n=lk.Int(1, 2)), population_size=1, interval=10, generations=3, observers=[tracker()])
    ((_, members),) = runs()
    assert points(members["member-000"], "metrics/top_5/all") == [(10, 0.0), (20, 0.25), (30, 0.5)]
    assert not [thread for thread in threading.enumerate() if "MLflow" in thread.name]


def test_names_that_mlflow_would_take_for_the_same_stay_apart():
    def train(worker):
        worker.track(x=(lambda: 0, lambda state: None))
        for interval in worker:
            interval.report(0.5, metrics={"top@5": 1.0, "top#5": 2.0, "top_5": 3.0})

    space = lk.Space({"a@": lk.Constant("x"), "a#": lk.Constant("y"), "a_": lk.Constant(7)})
    lk.run(train, space, population_size=1, interval=10, generations=1, observers=[tracker()])
    ((_, members),) = runs()
    run = members["member-000"]
    assert run.info.status == "FINISHED"
    assert sorted(run.data.params.values()) == ["7", "x", "y"]
    assert sorted(value for name, value in run.data.metrics.items() if name.startswith("metrics/")) == [1.0, 2.0, 3.0]
    assert sorted(value for name, value in run.data.tags.items() if name.startswith("hparams")) == ["x", "y"]


def test_the_command_that_helps_can_be_pasted():
    assert MlflowObserver("it's mine", tracking_uri=uri()).cure == """`lamarck export JOURNAL --mlflow 'it'"'"'s mine'`"""


def test_more_than_one_request_takes_is_sent_in_parts():
    events, observer = journal(size=1, generations=700), tracker()
    observer.recall(lk.History.of(events))
    observer.settle()
    check(events)


# ---- again and again ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cuts", [[1], [7], [12, 13], [5, 20, 25]])
def test_a_resumed_run_goes_on_and_nothing_is_there_twice(cuts):
    events = journal()
    resumed(tracker, events, cuts)
    check(events)


def test_what_a_kill_kept_out_is_sent_when_the_run_goes_on():
    events = journal()
    observer = tracker()
    told(observer, events[:10])
    observer.settle()
    later = tracker()  # knows nothing of what was told in between
    later.recall(lk.History.of(events[:20]))
    told(later, events[20:], replay(events[:20]))
    later.settle()
    check(events)


def test_a_killed_process_leaves_a_run_that_another_goes_on_with():
    where = f"sqlite:///{Path('tracked.db').absolute()}"  # and that a database is as good
    killed_and_resumed(
        f"from lamarck.observers.mlflow import MlflowObserver\nobserver = MlflowObserver('digits', tracking_uri={where!r}, patience=300.0)"
    )
    history = check(list(events_of(SqliteJournal("run.db", readonly=True), "main")), where)[0]
    assert len(history.records) == 30


def test_a_new_run_does_not_mix_with_a_former_one_even_if_it_began_in_the_same_way():
    events, other = journal(), journal(seed=1)
    for told_ in (events, events, other):
        observer = tracker()
        told(observer, told_)
        observer.settle()
    assert len(runs()) == 3
    assert {len(points(members["member-000"], "value")) for _, members in runs()} == {5}


def test_a_run_goes_on_in_the_one_of_its_own_values():
    first, second = journal(), journal()
    last = next(place for place, event in enumerate(second) if isinstance(event, Reported))
    changed = [*second[:last], replace(second[last], report=replace(second[last].report, value=0.125))]
    for events in (first[:10], changed):
        observer = tracker()
        told(observer, events)
        observer.settle()
    observer = tracker()
    observer.recall(lk.History.of(first))
    observer.settle()
    (_, newer), (_, older) = runs()
    assert same(points(older["member-000"], "value"), values(lk.History.of(first), 0))
    assert [value for run in newer.values() for _, value in points(run, "value")] == [0.125]


def test_a_run_of_which_the_server_knows_nothing_is_sent_whole():
    events, observer = journal(), tracker()
    observer.recall(lk.History.of(events))
    observer.settle()
    check(events)


# ---- what can go wrong ----------------------------------------------------------------------------------------------------------------------


def test_a_store_that_cannot_be_opened_is_refused_at_once():
    Path("file").touch()
    for address, why in ((Path("file/store").absolute().as_uri(), "NotADirectoryError"), ("postgresql+none://me:secret@host/db", "sqlalchemy")):
        with pytest.raises(lk.SettingsError, match=f"tracking_uri: MLflow cannot use it: .*{why}") as refused:
            tracker(tracking_uri=address)
        assert "secret" not in str(refused.value)


def test_an_address_that_cannot_be_used_is_refused_at_once():
    with pytest.raises(lk.SettingsError, match="tracking_uri: MLflow cannot use it"):
        MlflowObserver("digits", tracking_uri="gopher://x")
    with pytest.raises(lk.SettingsError, match="experiment: got ''"):
        MlflowObserver("")


def test_a_server_that_refuses_does_not_stop_the_run(monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    def train(worker):
        worker.track(x=(lambda: 0, lambda state: None))
        for interval in worker:
            interval.report(0.5)

    with socket.socket() as closed:  # bound and not listening, so that nobody else does
        closed.bind(("127.0.0.1", 0))
        observer = tracker(tracking_uri=f"http://127.0.0.1:{closed.getsockname()[1]}")
        history = lk.run(train, lk.Space(n=lk.Int(1, 2)), population_size=2, interval=5, generations=4, observers=[observer])
    assert history.ended == "generations"
    assert "MLflow has not got 8 reports of this run (MlflowException: " in caplog.text
    assert "`lamarck export JOURNAL --mlflow digits` sends what is missing" in caplog.text
