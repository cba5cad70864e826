"""The service over HTTP: what is asked and answered, and what the client makes of it."""

import asyncio
import gc
import json
import os
import socket
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

import lamarck as lk
from http_engine import PLAN, ask, create, report, served
from lamarck import codec
from lamarck._errors import JournalConflict, RunMissing, ServiceError, SettingsError, StaleReport
from lamarck._http import Connection
from lamarck.client import Remote, _Heart, work
from lamarck.server.plan import Plan
from lamarck.testing.engine import SPACE, train
from lamarck.training import Worker
from lamarck.types import Failure, Report


def test_a_run_is_created_once_and_trained_by_workers_that_join():
    with served("s.db") as (_, url):
        assert create(url).status == 201
        assert create(url).status == 200, "a retry after a lost answer"
        other = create(url, seed=2)
        assert (other.status, json.loads(other.body)["error"]) == (422, "SettingsError")
        assert create(url, name="b", exploit="truncation:bottom=0.4,top=0.4").status == 201
        for run in "ab":
            train(lk.connect(url, run=run))
        listed = json.loads(ask(url, "GET", "/v1/runs").body)["runs"]
        assert [(run["name"], run["ended"]) for run in listed] == [("a", "generations"), ("b", "generations")]
        events = ask(url, "GET", "/v1/runs/a/events?limit=3&after=1")
        assert [json.loads(line)["$type"] for line in events.body.splitlines()] == ["Assigned", "Reported", "Assigned"]
        assert events.headers["Lamarck-Last"] == "4"
        state = json.loads(ask(url, "GET", "/v1/runs/a/state").body)
        assert [member["state"] for member in state["states"]] == ["done"] * 3
        assert state["best"]["value"] == max(record.value for record in lk.open_run("s.db", name="a").records)
    reference = lk.run(train, SPACE, population_size=3, interval=4, generations=3, seed=1)
    served_ones = lk.open_run("s.db", name="a").records
    assert {r.key: (r.value, r.hparams) for r in served_ones} == {r.key: (r.value, r.hparams) for r in reference.records}
    assert lk.load("s.db", name="a")["x"].shape == (1,)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "../x"}, "name: got"),
        ({"population_size": 0}, "population_size"),
        ({"population_size": 10**9}, "at most 10000"),
        ({"interval": 2**70}, "2\\*\\*53"),
        ({"steps": 12}, "one of steps and generations"),
        ({"mode": ["max"]}, "mode"),
        ({"seed": "x"}, "seed"),
        ({"exploit": "truncatoin"}, "truncation"),
        ({"explore": 7}, "explore"),
        ({"space": {"h": {"type": "float", "low": 1, "high": 0}}}, "h"),
        ({"space": []}, "space"),
        ({"initial": [{"h": 99}]}, "h"),
        ({"initial": 3}, "initial"),
        ({"stratified": 1}, "stratified"),
        ({"info": []}, "info"),
        ({"surprise": 1}, "unknown field 'surprise'"),
    ],
)
def test_a_run_that_cannot_be_is_refused_with_a_reason(changes, says):
    with pytest.raises(lk.LamarckError, match=says):
        Plan.of(PLAN | changes)


def test_a_plan_has_what_it_must_have():
    for name in ("name", "space", "population_size", "interval", "generations"):
        with pytest.raises(SettingsError, match=name if name != "generations" else "steps"):
            Plan.of({key: value for key, value in PLAN.items() if key != name})
    with pytest.raises(SettingsError, match="an object"):
        Plan.of([1])
    assert Plan.of(PLAN | {"rescue": None}).pbt.rescue is None
    with pytest.raises(SettingsError, match="whole number of intervals"):
        Plan.of({key: value for key, value in PLAN.items() if key != "generations"} | {"steps": 9})


def test_a_refused_creation_leaves_nothing_behind():
    with served("s.db") as (_, url):
        for body in (b"", b"{", b"[]", b'{"name": NaN}', b"\xff", b'"\\ud800"', b"[" * 5000, json.dumps(PLAN | {"mode": "best"}).encode()):
            assert ask(url, "POST", "/v1/runs", body).status == 422
        assert ask(url, "POST", "/v1/runs", b" " * (5 << 20)).status == 413
        assert json.loads(ask(url, "GET", "/v1/runs").body)["runs"] == []


def test_exchange_by_hand():
    with served("s.db") as (service, url):
        create(url)
        path = "/v1/runs/a/exchange?worker=w"
        answer = ask(url, "POST", path)
        interval, lease = codec.decode(answer.body), answer.headers["Lamarck-Lease"]
        assert interval.key == (0, 0)
        said = report(interval)
        length = len(service.events("a"))
        refused = {
            (422, "ReportError"): [("", said), (f"&lease={lease}", codec.encode(interval))],
            (422, "CodecError"): [(f"&lease={lease}", b"{}"), (f"&lease={lease}", said[:-1]), (f"&lease={lease}", b"\x80\x04\x95")],
            (422, "SettingsError"): [("&claim=maybe", b""), ("&wait=999", b""), ("&wait=nan", b""), ("&lease=%20", b"")],
            (409, "StaleReport"): [("&lease=0-0-0-00000000-aaaaaaaa", said)],
        }
        for (status, error), cases in refused.items():
            for query, body in cases:
                got = ask(url, "POST", path + query, body)
                assert (got.status, json.loads(got.body)["error"]) == (status, error), (query, body)
        assert ask(url, "POST", path + f"&lease={lease}", said + b" " * (1 << 20)).status == 413
        assert ask(url, "POST", "/v1/runs/a/exchange").status == 422
        assert ask(url, "POST", "/v1/runs/no/exchange?worker=w").status == 404
        assert ask(url, "GET", path).status == 405
        assert len(service.events("a")) == length, "what was refused has changed nothing"
        assert ask(url, "POST", f"/v1/runs/a/heartbeat?worker=w&lease={lease}").status == 204
        assert ask(url, "POST", f"/v1/runs/a/heartbeat?worker=v&lease={lease}").status == 409
        first = ask(url, "POST", path + f"&lease={lease}", said)
        again = ask(url, "POST", path + f"&lease={lease}", said)
        assert (first.status, first.body, first.headers["Lamarck-Lease"]) == (200, again.body, again.headers["Lamarck-Lease"])
        assert ask(url, "POST", f"/v1/runs/a/release?worker=w&lease={first.headers['Lamarck-Lease']}").status == 204


def test_a_restart_on_the_same_journal_goes_on_with_every_run():
    with served("s.db") as (service, url):
        create(url)
        create(url, name="b")
        remote = Remote(url, run="a")
        interval = remote(None)
        remote.close()
    with served("s.db", lease=30) as (service, url):
        assert service.runs() == ["a", "b"]
        again = Remote(url, run="a", worker=remote.worker)
        again._holds(remote._lease, interval)
        assert again(Report(member=0, generation=0, step=4, value=1.0)).key == (1, 0), "the server has forgotten the lease, and knows its fence"
        again.close()
        train(lk.connect(url, run="b"))
        assert service.run("b").population.ended == "generations"


def test_a_run_that_cannot_go_on_here_does_not_keep_the_others_from_it():
    space = lk.Space(h=lk.Float(0.01, 1.0)).where(lambda hparams: hparams["h"] > 0)
    lk.run(train, space, population_size=2, interval=2, generations=1, journal="s.db", name="own")
    with served("s.db") as (service, url):
        create(url)
        assert service.runs() == ["a"]
        assert "own" in service.refused
        assert create(url, name="own").status == 422
        assert ask(url, "GET", "/v1/runs/own").status == 404


def test_followers_hear_everything_in_order_and_are_let_go():
    with served("s.db") as (service, url):
        create(url)
        train(lk.connect(url, run="a"))
        done = asyncio.run(first(service.follow("a", after=1), 19))
        assert done == list(enumerate(service.events("a", after=1), 2))


async def first(events, count):
    found = []
    async for event in events:
        found.append(event)
        if len(found) == count:
            break
    await events.aclose()
    return found


def test_what_the_server_refuses_is_the_same_error_here():
    with served("s.db") as (_, url):
        create(url)
        with pytest.raises(RunMissing, match="there is no run 'none' here; there is 'a'"):
            Remote(url, run="none")
        remote = Remote(url, run="a")
        with pytest.raises(lk.ReportError, match="lease is missing"):
            remote(Report(member=0, generation=0, step=4, value=1.0))
        interval = remote(None)
        remote._lease = "0-0-0-00000000-aaaaaaaa"
        with pytest.raises(StaleReport):
            remote(Report(member=0, generation=0, step=4, value=1.0))
        assert remote(None) == interval
        remote.failed(Failure(member=0, generation=0, kind="error", message="x"))
        remote.leave()
    assert len(lk.open_run("s.db", name="a").failures) == 1


def test_a_server_that_is_away_is_waited_for_and_then_given_up():
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with pytest.raises(ServiceError, match="gave no answer for 0.3 s"):
        Remote(f"http://127.0.0.1:{port}", patience=0.3)


@pytest.mark.parametrize("url", ["", "host:8765", "ftp://x", "http://", "http://a:b@c", "http://x?y", "http://x:port"])
def test_addresses_that_are_none(url):
    with pytest.raises(SettingsError, match="url: got"):
        Connection(url)


def test_a_token_that_is_none_and_a_worker_without_a_name():
    with pytest.raises(SettingsError, match="printable ASCII"):
        Connection("http://x", "tök\nen")
    with pytest.raises(SettingsError, match="worker: got"):
        Remote("http://127.0.0.1:1", worker="a b")


def test_an_interval_is_given_back_when_a_worker_leaves():
    with served("s.db") as (_, url):
        create(url)
        remote = Remote(url, run="a")
        interval = remote(None)
        remote.leave_at_exit()
        other = Remote(url, run="a")
        assert other(None) == interval
        other.leave()
    assert lk.open_run("s.db", name="a").failures == ()


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", r"ignore:os\.fork\(\) was called:RuntimeWarning"
)  # of threads; this child only leaves
def test_a_fork_of_a_worker_that_ends_gives_nothing_back():
    with served("s.db") as (service, url):
        create(url)
        remote = Remote(url, run="a")
        interval = remote(None)
        child = os.fork()
        if child == 0:
            try:
                remote.leave_at_exit()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert service.run("a").leases == 1
        assert remote(Report(member=0, generation=interval.generation, step=4, value=1.0)) is not None
        remote.leave()


def test_heartbeats_keep_a_slow_worker_its_lease():
    with served("s.db", lease=1.0) as (_, url):
        create(url)
        remote = Remote(url, run="a")
        interval = remote(None)
        time.sleep(2.5)
        assert remote(Report(member=0, generation=interval.generation, step=4, value=1.0)) is not None
        remote.leave()


def left_by_an_error(url):
    """As in a notebook: the traceback is kept, and with it the worker."""
    with pytest.raises(ZeroDivisionError) as error:
        for _ in lk.connect(url, run="a", worker="broken"):
            _ = 1 / 0
    return error


def left_by_a_break(url):
    worker = lk.connect(url, run="a", worker="broken")
    for _ in worker:
        break
    return worker


def in_a_thread_that_ends(url):
    remote = Remote(url, run="a", worker="broken")
    thread = threading.Thread(target=remote, args=(None,))
    thread.start()
    thread.join()
    return remote


@pytest.mark.parametrize("abandoned", [left_by_an_error, left_by_a_break, in_a_thread_that_ends])
def test_an_interval_that_nobody_trains_any_more_is_handed_on_although_its_process_lives(abandoned):
    with served("s.db", lease=0.5) as (service, url):
        create(url, population_size=1)
        held = abandoned(url)
        assert service.run("a").lease_of("broken") is not None
        remote = Remote(url, run="a", worker="other", patience=20)
        interval = remote(None)
        assert interval.key == (0, 0)
        assert service.run("a").lease_of("broken") is None
        remote.leave()
        del held


def test_a_worker_that_nobody_refers_to_any_more_gives_its_interval_back_at_once():
    """As in a notebook, where another takes its name. The lease is an hour: only a word can have freed the only member."""
    with served("s.db", lease=3600.0) as (service, url):
        create(url, population_size=1)
        worker = lk.connect(url, run="a")
        worker.track(x=np.zeros(1))
        intervals = iter(worker)
        assert next(intervals).key == (0, 0)
        del worker, intervals
        gc.collect()
        assert service.run("a").leases == 0
        assert service.run("a").population.members[0].failures == 0


def test_a_loop_that_was_left_goes_on_where_it_was():
    with served("s.db", lease=0.5) as (service, url):
        create(url, population_size=1, generations=2)
        worker = lk.connect(url, run="a")
        worker.track(x=np.zeros(1))
        first = iter(worker)
        assert next(first).key == (0, 0)
        second = iter(worker)
        interval = next(second)
        first.close()  # says nothing of the interval that the second loop trains by now
        time.sleep(1.5)
        assert service.run("a").leases == 1
        assert interval.key == (0, 0)
        interval.report(1.0)
        assert [interval.key for interval in train_on(second)] == [(0, 1)]
        assert worker.over


def train_on(intervals):
    for interval in intervals:
        yield interval
        interval.report(1.0)


def test_a_page_of_events_costs_no_more_than_it_holds():
    with served("s.db") as (service, url):
        create(url)
        train(lk.connect(url, run="a"))
        read, journal = [], service._reader

        class Counting:
            close = journal.close

            def read(self, run, after):
                for event in journal.read(run, after):
                    read.append(event)
                    yield event

        service._reader = Counting()
        body = ask(url, "GET", "/v1/runs/a/events?limit=3&after=1").body
        assert body.splitlines() == read
        assert len(read) == 3


def test_workers_of_two_servers_on_one_journal_are_told_at_once():
    with served("s.db") as (_, url):
        create(url)
        with served("s.db") as (_, second):
            remote, other = Remote(url, run="a"), Remote(second, run="a")
            interval = remote(None)
            begun = time.monotonic()
            with pytest.raises(JournalConflict, match="somebody else writes run 'a'.*stop the other one"):
                other(None)
            assert time.monotonic() - begun < 10, "it does not wait for what cannot come"
            assert remote(Report(member=0, generation=0, step=4, value=1.0)) != interval
            remote.leave()
            other.close()


class Refusing:
    """A connection over which heartbeats are refused, while somebody else does something."""

    def __init__(self, meanwhile):
        self.meanwhile, self.asked = meanwhile, threading.Semaphore(0)

    def ask(self, method, path):
        self.meanwhile()
        self.asked.release()
        raise StaleReport("it is over")

    def close(self):
        pass


def test_a_heartbeat_that_comes_after_the_report_is_no_reason_to_warn(caplog):
    leases = iter(f"lease-{i}" for i in range(100))
    connection = Refusing(lambda: setattr(heart, "lease", next(leases)))  # the report was heard first, and the next interval is here
    heart = _Heart(connection, "", "w", 0.01)
    heart.lease = next(leases)
    for _ in range(5):
        assert connection.asked.acquire(timeout=10)
    heart.stop()
    assert caplog.text == ""


def test_a_worker_is_told_once_that_its_interval_is_lost(caplog):
    connection = Refusing(lambda: None)
    heart = _Heart(connection, "", "w", 0.01)
    for lease in "ab":
        heart.lease = lease
        assert connection.asked.acquire(timeout=10)
        deadline = time.monotonic() + 60
        while caplog.text.count("handed to another worker") < "ab".index(lease) + 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
    heart.stop()
    assert caplog.text.count("handed to another worker") == 2


def test_the_end_by_failure_is_heard():
    def always(worker):
        worker.track(x=np.zeros(1))
        for _ in worker:
            raise ValueError("as always")

    with served("s.db") as (_, url):
        create(url, population_size=1, max_failures=0)
        with pytest.raises(lk.PopulationLost):
            work(always, Remote(url, run="a"))
        with pytest.raises(lk.TrainingError, match="before its first interval"):
            work(lambda worker: 1 / 0, Remote(url, run="a"))
        create(url, name="b")
        with pytest.raises(lk.TrainingError, match="before the run was over"):
            work(lambda worker: None, Remote(url, run="b"))


def test_a_worker_that_lost_its_interval_and_finds_its_checkpoint_gone_goes_on():
    with served("s.db") as (service, url):
        create(url, population_size=1, generations=2)
        remote = Remote(url, run="a")
        said = []

        def transport(message):
            if not said and isinstance(message, Report):
                said.append(remote(message))
                return replace(said[0], restore="0000-00000-0123456789abcdef")  # swept since, because another worker has reported
            if isinstance(message, Failure):
                raise StaleReport("handed on")
            return remote(message)

        train(Worker(transport, remote.checkpoints))
        assert service.run("a").population.ended == "generations"
