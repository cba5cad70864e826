"""Checkpoints that go through the server, and what Prometheus is told."""

import errno
import json
import time
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3

import lamarck as lk
from http_engine import ask, create, served
from lamarck._http import Connection
from lamarck.checkpoints import FolderCheckpoints
from lamarck.checkpoints.http import HttpCheckpoints
from lamarck.client import Remote
from lamarck.coordinator import Coordinator
from lamarck.server.depot import Depot
from lamarck.testing.checkpoints import check_checkpoints, check_lasting_checkpoints
from lamarck.testing.engine import SPACE, train
from lamarck.types import Report


def test_checkpoints_through_the_server_keep_the_contract(monkeypatch):
    with served("s.db") as (service, url):
        monkeypatch.delenv("LAMARCK_TOKEN", raising=False)
        settings = lk.Settings(population_size=12346, interval=1, generations=123457)  # the suite has names of all lengths

        def store(name):
            if name not in service.runs():
                run = Coordinator.start(lk.PBT(space=SPACE, settings=settings), None, name, FolderCheckpoints(f"s.checkpoints/{name}"))
                service.add(name, run, direct=False)
            return HttpCheckpoints(Connection(f"{url}/v1/runs/{name}/checkpoints", patience=5))

        check_checkpoints(store)
        check_lasting_checkpoints(store)


def test_an_upload_goes_on_where_it_broke_and_counts_only_when_it_is_whole():
    with served("s.db", max_checkpoint=100_000) as (_, url):
        create(url)
        data = np.random.default_rng(0).bytes(50_000)
        name = f"0000-00000-{blake3(data).hexdigest(length=8)}"
        path = f"/v1/runs/a/checkpoints/{name}"

        def put(offset, body, size=50_000):
            return ask(url, "PUT", f"{path}?offset={offset}&size={size}", body)

        folder = Path("s.checkpoints/a")
        short = put(0, data[:20_000])
        assert short.status == 422
        assert ask(url, "GET", path).headers["Lamarck-Offset"] == "20000"
        wrong = put(30_000, data[30_000:])
        assert (wrong.status, wrong.headers["Lamarck-Offset"]) == (409, "20000")
        assert ask(url, "GET", "/v1/runs/a/checkpoints").body == b'{"names":[]}'
        assert put(20_000, data[20_000:]).status == 201
        assert put(0, data).status == 200, "it is there already"
        ranged = ask(url, "GET", path, Range="bytes=49990-")
        assert (ranged.status, ranged.body) == (206, data[-10:])
        assert (folder / f"{name}.safetensors").read_bytes() == data
        bad = ask(url, "PUT", f"/v1/runs/a/checkpoints/0001-00000-{'0' * 16}?offset=0&size=4", b"oops")
        assert (bad.status, json.loads(bad.body)["error"]) == (422, "CheckpointDamaged")
        more = ask(url, "PUT", f"/v1/runs/a/checkpoints/0001-00000-{'0' * 16}?offset=0&size=4", b"ooops")
        assert (more.status, json.loads(more.body)["error"]) == (422, "CheckpointError")
        assert put(0, b"", size=100_001).status == 413
        assert put(0, b"", size=0).status == 422
        for odd in ("..%2f..%2fetc%2fpasswd", "%2e%2e", "x", "0000-00000-0123456789ABCDEF", name + "%00"):
            assert ask(url, "PUT", f"/v1/runs/a/checkpoints/{odd}?size=4", b"oops").status == 404
        assert [file.name for file in folder.iterdir()] == [f"{name}.safetensors"], "nothing else is left behind"
        assert sorted(file.name for file in Path().iterdir()) == ["s.checkpoints", "s.db", "s.db-lock", "s.db-shm", "s.db-wal"]


def test_a_checkpoint_of_a_member_or_a_generation_that_there_is_not_is_refused():
    with served("s.db") as (_, url):
        create(url)
        store = HttpCheckpoints(Connection(f"{url}/v1/runs/a/checkpoints", patience=5))
        for member, generation in [(3, 0), (0, 3), (12345, 67890)]:
            with pytest.raises(lk.CheckpointError, match="this run has members 0 to 2 and generations 0 to 2, and a name begins with both"):
                store.put(member, generation, {"x": np.zeros(2**17)})  # more than a connection holds by itself
        store.put(2, 2, {"x": 1})
        store.close()
    assert [file.name[:10] for file in Path("s.checkpoints/a").iterdir()] == ["0002-00002"]


@pytest.mark.parametrize("restarted", [False, True])
def test_what_nobody_can_report_any_more_is_swept_when_the_run_is_over(restarted):
    """Here a run that ends with its target, while somebody else has just saved what comes too late."""
    with served("s.db", lease=0.5) as (service, url):
        create(url, population_size=2, target=10.0)
        first, second = Remote(url, run="a"), Remote(url, run="a")
        interval, other = first(None), second(None)
        second.checkpoints.put(other.member, 0, {"x": 2})
        name = first.checkpoints.put(interval.member, 0, {"x": 1})
        odd = FolderCheckpoints("s.checkpoints/a").put(7, 7, {"x": 3})  # of a server that did not refuse it
        if not restarted:
            second.leave()
        assert first(Report(member=interval.member, generation=0, step=interval.until, value=11.0, checkpoint=name)) is None
        if not restarted:
            until = time.monotonic() + 20
            while odd in service.run("a").coordinator.checkpoints.names() and time.monotonic() < until:
                time.sleep(0.01)
            assert service.run("a").coordinator.checkpoints.names() == [name]
        second.close()
    with served("s.db") as (service, _):
        assert service.run("a").coordinator.checkpoints.names() == [name]


def test_a_full_disk_is_told_to_the_worker_and_to_whoever_looks_after_the_server(monkeypatch, caplog):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Depot, "_keep", full)
    with served("s.db") as (_, url):
        create(url)
        store = HttpCheckpoints(Connection(f"{url}/v1/runs/a/checkpoints", patience=5))
        with pytest.raises(lk.CheckpointError, match="make room on the server's disk"), caplog.at_level("ERROR", "lamarck.server"):
            store.put(0, 0, {"x": 1})
        store.close()
    (line,) = [record.message for record in caplog.records]
    assert line.endswith("could not be written: No space left on device; make room on this disk")


def test_what_a_decision_may_name_cannot_be_deleted():
    with served("s.db") as (_, url):
        create(url, population_size=1)
        remote = Remote(url, run="a")
        interval = remote(None)
        name = remote.checkpoints.put(0, 0, {"x": np.zeros(3)})
        remote(Report(member=0, generation=0, step=interval.until, value=1.0, checkpoint=name))
        assert ask(url, "DELETE", f"/v1/runs/a/checkpoints/{name}").status == 409
        assert remote.checkpoints.sweep([]) == []
        assert remote.checkpoints.get(name)["x"].shape == (3,)
        remote.leave()


def test_what_was_uploaded_and_not_yet_reported_survives_a_restart():
    with served("s.db") as (_, url):
        create(url, population_size=1)
        remote = Remote(url, run="a")
        interval = remote(None)
        name = remote.checkpoints.put(0, 0, {"x": np.zeros(3)})
        remote.close()
    with served("s.db") as (_, url):
        again = Remote(url, run="a", worker=remote.worker)
        again._holds(remote._lease, interval)
        after = again(Report(member=0, generation=0, step=interval.until, value=1.0, checkpoint=name))
        assert after.restore == name
        assert again.checkpoints.get(name)["x"].shape == (3,)
        again.leave()


def test_metrics_count_what_happened():
    with served("s.db", counted=True) as (_, url):
        create(url)
        train(lk.connect(url, run="a"))
        page = ask(url, "GET", "/metrics").body.decode()
    for line in ("lamarck_reports_total 9.0", "lamarck_decisions_total 9.0", "lamarck_leases 0.0", "lamarck_runs 0.0"):
        assert line in page
    assert 'lamarck_requests_total{route="/v1/runs/{run}/exchange",status="200"} 10.0' in page
    assert 'lamarck_request_seconds_count{route="/v1/runs/{run}/exchange"} 10.0' in page
    assert float(page.split("\nlamarck_journal_bytes ")[1].split()[0]) > 1000
