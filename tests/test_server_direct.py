"""Exchanges straight from the connection: they are answered as the application would answer them, in whatever pieces they come."""

import asyncio
import http.client
import json
import logging
import socket
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from http_engine import ask, create, report, served
from lamarck import codec
from lamarck._errors import JournalError
from lamarck.journal import SqliteJournal
from lamarck.server import app as application
from lamarck.server.direct import Direct, is_known
from lamarck.server.exchange import PATH, Exchange
from lamarck.server.orders import Orders
from lamarck.server.run import Run

ADDRESS = "/v1/runs/a/exchange?worker=w"


def request(address=ADDRESS, body=b"", *headers, method="POST", version="1.1"):
    lines = [f"{method} {address} HTTP/{version}", "Host: localhost", *headers]
    if not any(line.startswith("Transfer-Encoding") for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class Line:
    """A connection on which bytes are sent as they are."""

    def __init__(self, url):
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def say(self, *pieces, pause=0.0):
        for piece in pieces:
            self.socket.sendall(piece)
            time.sleep(pause)
        return self

    def hear(self):
        """Status, headers and body of the next answer; ``None`` when the other side has hung up."""
        answer = http.client.HTTPResponse(self.socket, method="POST")
        one = self.socket.makefile("rb", buffering=0)  # which reads not a byte of the answer after this one
        answer.fp = one
        try:
            answer.begin()
        except (http.client.RemoteDisconnected, ConnectionResetError):
            return None
        return answer.status, answer.headers, answer.read()


@pytest.fixture
def direct_only(monkeypatch):
    async def refuse(*_):
        raise AssertionError("this went through the application")

    monkeypatch.setattr(Exchange, "__call__", refuse)


@pytest.fixture
def counted(monkeypatch):
    """How many exchanges have gone through the application."""
    seen, real = [], Exchange.__call__

    async def counting(self, scope, receive, send):
        seen.append(scope["path"])
        await real(self, scope, receive, send)

    monkeypatch.setattr(Exchange, "__call__", counting)
    return seen


def test_what_workers_usually_say_goes_straight_through(direct_only):
    with served("s.db") as (service, url), Line(url) as line:
        create(url)
        status, headers, body = line.say(request()).hear()
        assert (status, headers["Content-Type"]) == (200, "application/json")
        for _ in range(2):
            status, headers, body = line.say(request(f"{ADDRESS}&lease={headers['Lamarck-Lease']}", report(codec.decode(body)))).hear()
            assert status == 200
        assert line.say(request("/v1/runs/no/exchange?worker=w")).hear()[0] == 404
        assert line.say(request("/v1/runs/a/exchange")).hear()[0] == 422
        assert line.say(request(ADDRESS, b"{}")).hear()[0] == 422
        assert line.say(request(f"{ADDRESS}&lease=0-0-0-00000000-a", report(codec.decode(body)))).hear()[0] == 409
        for origin in ("http://elsewhere", "http://[", "null", ""):
            assert line.say(request(ADDRESS, b"", f"Origin: {origin}")).hear()[0] == 403
        kinds = [json.loads(event)["$type"] for event in service.events("a")]
        assert kinds == ["Started", "Assigned", "Reported", "Assigned", "Reported", "Assigned"]


def test_in_whatever_pieces_it_comes(direct_only):
    with served("s.db") as (_, url), Line(url) as line:
        create(url)
        first = line.say(request()).hear()
        said = request(f"{ADDRESS}&lease={first[1]['Lamarck-Lease']}", report(codec.decode(first[2])))
        second = line.say(*(said[i : i + 1] for i in range(len(said)))).hear()
        assert codec.decode(second[2]).generation + codec.decode(second[2]).member == 1
        for cut in range(0, len(said), 7):
            again = line.say(said[:cut], said[cut:], pause=0.002).hear()
            assert (again[0], again[1]["Lamarck-Lease"], again[2]) == (200, second[1]["Lamarck-Lease"], second[2])


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({"headers": ["Transfer-Encoding: chunked"]}, b"0\r\n\r\n"),
        ({"headers": ["Expect: 100-continue"]}, b""),
        ({"headers": ["Connection: close"]}, b""),
        ({"version": "1.0"}, b""),
        ({"address": "/v1/runs/%61/exchange?worker=w"}, b""),
        ({}, b" " * (1 << 17)),
        ({}, b" " * ((1 << 20) + 1)),
    ],
)
def test_the_unusual_takes_the_other_way(changes, body, counted):
    with served("s.db") as (_, url), Line(url) as line:
        create(url)
        expected = 200 if len(body) < 10 else 422 if len(body) < 1 << 20 else 413
        headers = changes.pop("headers", [])
        line.say(request(changes.pop("address", ADDRESS), body, *headers, **changes))
        assert line.hear()[0] == expected
        assert len(counted) == 1


def test_requests_that_do_not_wait_for_answers_are_answered_in_order(counted):
    with served("s.db") as (_, url), Line(url) as line:
        create(url)
        state = request("/v1/runs/a/state", method="GET")
        line.say(request() + state + request() + request() + state + request("/v1/runs/a/exchange?worker=v"))
        got = [line.hear() for _ in range(6)]
        assert [answer[0] for answer in got] == [200] * 6
        leases = [got[i][1]["Lamarck-Lease"] for i in (0, 2, 3, 5)]
        assert leases[0] == leases[1] == leases[2] != leases[3]
        assert line.say(request()).hear()[1]["Lamarck-Lease"] == leases[0]
        assert counted, "whoever does not wait is queued by uvicorn"


def test_whoever_hangs_up_while_waiting_is_given_nothing(direct_only):
    with served("s.db", lease=3600) as (service, url):
        create(url, population_size=1)
        with Line(url) as line:
            lease = line.say(request()).hear()[1]["Lamarck-Lease"]
            with Line(url) as gone:
                gone.say(request("/v1/runs/a/exchange?worker=gone&wait=60"))
                time.sleep(0.1)
            time.sleep(0.1)
            ask(url, "POST", f"/v1/runs/a/release?worker=w&lease={lease}")
            assert line.say(request("/v1/runs/a/exchange?worker=next&wait=60")).hear()[0] == 200
        assert service.run("a").lease_of("gone") is None


def test_half_a_report_is_none():
    with served("s.db") as (service, url):
        create(url)
        with Line(url) as line:
            _, headers, body = line.say(request()).hear()
            said = request(f"{ADDRESS}&lease={headers['Lamarck-Lease']}", report(codec.decode(body)))
            before = service.events("a")
            line.say(said[:-1])
        time.sleep(0.1)
        assert service.events("a") == before
        with Line(url) as line:
            assert line.say(said).hear()[0] == 200


def test_whoever_waits_is_sent_away_when_the_server_stops(direct_only):
    with ExitStack() as lines:
        with served("s.db", lease=3600) as (_, url):
            create(url, population_size=1)
            idle, waiting = (lines.enter_context(Line(url)) for _ in range(2))
            assert idle.say(request()).hear()[0] == 200
            waiting.say(request("/v1/runs/a/exchange?worker=v&wait=60"))
            time.sleep(0.1)
            began = time.monotonic()
        assert time.monotonic() - began < 4, "nobody was waited for"
        assert waiting.hear()[0] == 503
        assert [line.hear() for line in (waiting, idle)] == [None, None]


def test_what_is_in_progress_when_the_server_stops_is_answered(direct_only, monkeypatch):
    carry_out = Orders._carry_out
    with ExitStack() as lines:
        with served("s.db") as (_, url):
            create(url)
            monkeypatch.setattr(Orders, "_carry_out", lambda self: asyncio.get_running_loop().call_later(0.5, carry_out, self))
            line = lines.enter_context(Line(url)).say(request())
            time.sleep(0.1)
        status, headers, _ = line.hear()
        assert (status, headers["Connection"], line.hear()) == (200, "close", None)


def test_a_fault_of_ours_is_said_and_the_connection_goes_on(direct_only, monkeypatch, caplog):
    with served("s.db") as (_, url), Line(url) as line:
        create(url)
        with monkeypatch.context() as patch, caplog.at_level(logging.ERROR, "lamarck.server"):
            patch.setattr(Run, "_exchange", lambda *_: 1 / 0)
            status, _, body = line.say(request()).hear()
        assert (status, json.loads(body)["error"]) == (500, "ServiceError")
        assert "division by zero" in caplog.text
        assert line.say(request()).hear()[0] == 200


def test_what_cannot_be_written_may_be_asked_again(direct_only, monkeypatch):
    def full(*_):
        raise JournalError("no space left")

    with served("s.db") as (service, url), Line(url) as line:
        create(url)
        before = service.events("a")
        with monkeypatch.context() as patch:
            patch.setattr(SqliteJournal, "append", full)
            status, headers, body = line.say(request()).hear()
        assert (status, headers["Retry-After"], json.loads(body)["error"]) == (503, "1", "JournalError")
        assert service.events("a") == before
        assert line.say(request()).hear()[0] == 200


def test_exchanges_are_counted_with_the_others():
    with served("s.db", counted=True) as (_, url):
        create(url)
        for name in ("a", "a", "none"):
            ask(url, "POST", f"/v1/runs/{name}/exchange?worker=w")
        page = ask(url, "GET", "/metrics").body.decode()
        assert 'lamarck_requests_total{route="/v1/runs/{run}/exchange",status="200"} 2.0' in page
        assert 'lamarck_requests_total{route="/v1/runs/{run}/exchange",status="404"} 1.0' in page
        assert 'lamarck_request_seconds_count{route="/v1/runs/{run}/exchange"} 3.0' in page
        families = {family.name: family.samples for family in text_string_to_metric_families(page)}
        seconds = [sample for sample in families["lamarck_request_seconds"] if sample.labels["route"] == PATH]
        buckets = [sample.value for sample in seconds if sample.name.endswith("_bucket")]
        assert (buckets, buckets[-1]) == (sorted(buckets), 3)
        assert 0 < next(sample.value for sample in seconds if sample.name.endswith("_sum")) < 10


def test_the_uvicorn_that_is_installed_is_known_and_any_other_does_as_well(monkeypatch, caplog):
    assert is_known()
    monkeypatch.setattr(application, "is_known", lambda: False)
    with caplog.at_level(logging.INFO, "lamarck.server"), served("s.db") as (_, url), Line(url) as line:
        create(url)
        monkeypatch.setattr(Direct, "__init__", None)  # is not asked
        assert line.say(request()).hear()[0] == 200
    assert any("not known here" in record.message for record in caplog.records)
