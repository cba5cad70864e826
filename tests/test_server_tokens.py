"""Tokens on every route, guesses, browsers, and a server without tokens."""

import asyncio
import http.client
import re
from datetime import date
from pathlib import Path

import pytest

from http_engine import PLAN, ask, served
from lamarck._errors import SettingsError
from lamarck.server.guard import Patience
from lamarck.server.openapi import document
from lamarck.server.plan import Plan
from lamarck.server.tokens import Tokens, add_token

ROUTES = [
    ("GET", "/v1/runs", 200),
    ("GET", "/v1/runs/a", 200),
    ("GET", "/v1/runs/a/state", 200),
    ("GET", "/v1/runs/a/events", 200),
    ("GET", "/v1/runs/a/checkpoints", 200),
    ("GET", "/v1/runs/a/checkpoints/0000-00000-0123456789abcdef", 404),
    ("GET", "/metrics", 200),
    ("GET", "/openapi.json", 200),
    ("GET", "/nowhere", 404),
    ("GET", "/", 200),
    ("GET", "/assets/nothing.js", 404),
    ("GET", "/v1/runs/none/stream", 404),
    ("POST", "/v1/runs", 422),
    ("POST", "/v1/runs/a/exchange?worker=w&claim=false", 204),
    ("POST", "/v1/runs/a/heartbeat?worker=w&lease=x", 409),
    ("POST", "/v1/runs/a/release?worker=w&lease=x", 204),
    ("PUT", "/v1/runs/a/checkpoints/0000-00000-0123456789abcdef?size=0", 422),
    ("DELETE", "/v1/runs/a/checkpoints/0000-00000-0123456789abcdef", 404),
]


@pytest.mark.parametrize("who", ["nobody", "a stranger", "one of yesterday", "viewer", "worker"])
def test_every_route_with_every_token(who, monkeypatch):
    file = Path("tokens")
    tokens = {
        "nobody": "",
        "a stranger": "lmk-worker-" + "x" * 43,
        "one of yesterday": add_token(file, "worker", until=date(2020, 1, 1)),
        "viewer": add_token(file, "viewer", label="alice"),
        "worker": add_token(file, "worker", until=date(9999, 1, 1)),
    }
    assert not any(token and token in file.read_text() for token in tokens.values())
    monkeypatch.setattr("lamarck.server.guard.Patience.wait", lambda self, address: 0)
    with served("s.db", tokens=Tokens(file)) as (service, url):
        assert ask(url, "GET", "/healthz", token=tokens[who]).status == 200
        asyncio.run(service.create(Plan.of(PLAN)))
        length = len(service.events("a"))
        for method, path, status in ROUTES:
            expected = {"worker": status, "viewer": status if method == "GET" else 403}.get(who, 401)
            assert ask(url, method, path, token=tokens[who]).status == expected, (method, path)
        assert len(service.events("a")) == length


def test_tokens_are_taken_back_by_deleting_their_lines():
    file = Path("tokens")
    token, other = add_token(file, "worker"), add_token(file, "viewer")
    tokens = Tokens(file)
    assert (tokens.role(token), tokens.role(other), tokens.role("")) == ("worker", "viewer", None)
    kept = [line for line in file.read_text().splitlines() if line.startswith("viewer")]
    file.write_text("# a comment\n\n" + "\n".join(kept) + "\n")
    assert (tokens.role(token), tokens.role(other)) == (None, "viewer")
    file.write_text("nonsense\n")
    assert tokens.role(other) == "viewer", "a file that is being edited takes nothing back"
    for text in ("nonsense", "worker  2027-13-01  " + "0" * 64, "admin  never  " + "0" * 64):
        file.write_text(text + "\n")
        with pytest.raises(SettingsError, match="line 1"):
            Tokens(file)
    with pytest.raises(SettingsError, match="lamarck token"):
        Tokens(Path("none"))
    with pytest.raises(SettingsError, match="label"):
        add_token(Path("new"), "worker", label="a\nworker")


def test_the_last_day_of_a_token_counts():
    file = Path("tokens")
    token = add_token(file, "worker", until=date(2030, 5, 1))
    assert Tokens(file, today=lambda: date(2030, 5, 1)).role(token) == "worker"
    assert Tokens(file, today=lambda: date(2030, 5, 2)).role(token) is None


def test_who_guesses_is_not_answered_for_a_while_and_shuts_nobody_out():
    file = Path("tokens")
    token = add_token(file, "worker")
    with served("s.db", tokens=Tokens(file)) as (_, url):
        connection = http.client.HTTPConnection(url.removeprefix("http://"))
        statuses = []
        for guess in [*(f"guess{i}" for i in range(12)), token, "guess"]:
            connection.request("GET", "/v1/runs", headers={"Authorization": f"Bearer {guess}"})
            answer = connection.getresponse()
            statuses.append(answer.status)
            body, wait = answer.read(), answer.headers.get("Retry-After")
        connection.close()
    assert statuses == [401] * 10 + [429] * 2 + [200, 429]
    assert 1 <= int(wait) <= 6
    assert token.encode() not in body


def test_patience_comes_back_with_time():
    now = [0.0]
    patience = Patience(clock=lambda: now[0])
    for _ in range(10):
        patience.failed("a")
    assert patience.wait("a") == 6
    now[0] = 5.9
    assert patience.wait("a") == 1
    now[0] = 6.0
    assert patience.wait("a") == 0
    for number in range(20_000):
        patience.failed(str(number))
    assert len(patience._left) == 10_000


def test_a_browser_keeps_the_token_in_a_cookie_that_can_only_look():
    file = Path("tokens")
    worker, viewer = add_token(file, "worker"), add_token(file, "viewer")
    with served("s.db", tokens=Tokens(file)) as (_, url):
        connection = http.client.HTTPConnection(url.removeprefix("http://"))

        def got(method, path, **headers):
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            return answer

        first = got("GET", f"/?token={viewer}&run=a")
        assert (first.status, first.headers["Location"]) == (303, "/?run=a")
        cookie = first.headers["Set-Cookie"]
        assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", viewer))
        assert got("GET", "/v1/runs", Cookie=f"lamarck-token={viewer}").status == 200
        assert got("GET", f"/v1/runs?token={viewer}").status == 401, "in an address it would be written down everywhere"
        assert got("POST", "/v1/runs", Cookie=f"lamarck-token={worker}").status == 401, "another page could make a browser do this"
        connection.close()


def test_without_tokens_only_this_machine_is_answered():
    with served("s.db") as (_, url):
        host = url.removeprefix("http://")
        connection = http.client.HTTPConnection(host)

        def status(**headers):
            connection.request("POST", "/v1/runs", b"{}", headers={name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            answer.read()
            return answer.status

        assert status() == 422
        assert status(Origin=f"http://{host}") == 422
        assert status(Origin="http://evil.example") == 403
        assert status(Host="evil.example:8765") == 403
        assert status(Host="[::1]:8765") == 422
        assert status(Host="[") == 403
        connection.close()


def test_every_route_was_tried():
    tried = {(method, re.sub("/v1/runs/(a|none)", "/v1/runs/{run}", path.partition("?")[0])) for method, path, _ in ROUTES}
    tried = {(method, re.sub("checkpoints/.*", "checkpoints/{name}", path)) for method, path in tried}
    named = {(method.upper(), path) for path, methods in document()["paths"].items() for method in methods}
    assert named - tried == {("GET", "/healthz")}
    assert tried - named == {("GET", "/nowhere"), ("GET", "/"), ("GET", "/assets/nothing.js"), ("GET", "/v1/runs/{run}/stream")}
