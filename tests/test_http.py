"""Requests of workers, against servers that break off anywhere: what is not whole was not said."""

import socket
import threading
from contextlib import closing

import pytest

from lamarck._errors import ServiceError
from lamarck._http import Connection

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nLamarck-Lease: 0-0-0-00000000-9f86d081\r\n\r\nhello, world"


class Scripted:
    """A server that gives each connection the next of some bytes, and hangs up."""

    def __init__(self, *answers):
        self.answers, self.heard = list(answers), []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        for answer in self.answers:
            with self.listener.accept()[0] as client:
                self.heard.append(client.recv(65536))
                client.sendall(answer)

    def close(self):
        self.thread.join(10)
        self.listener.close()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_answer_that_breaks_off_anywhere_is_asked_for_again(method):
    whole = ANSWER if method == "GET" else ANSWER.removesuffix(b"hello, world")
    cuts = list(range(0, len(whole), 7))
    for cut in cuts:
        with closing(Scripted(whole[:cut], whole)) as server, closing(Connection(server.url, patience=5)) as connection:
            answer = connection.ask(method, "/v1/x")
        assert (answer.status, answer.headers["Lamarck-Lease"]) == (200, "0-0-0-00000000-9f86d081"), cut
        assert answer.body == (b"hello, world" if method == "GET" else b"")
        assert server.heard[0] == server.heard[1], "the same is said again"


def test_an_answer_of_unknown_length_is_not_believed():
    endless = b"HTTP/1.1 200 OK\r\n\r\nhello"
    with closing(Scripted(endless, ANSWER)) as server, closing(Connection(server.url, patience=5)) as connection:
        assert connection.ask("GET", "/").body == b"hello, world"


def test_retry_after_is_heeded_and_patience_ends():
    busy = b"HTTP/1.1 503 x\r\nRetry-After: 60\r\nContent-Length: 32\r\n\r\n" + b'{"error":"x","message":"coffee"}'
    with (
        closing(Scripted(busy)) as server,
        closing(Connection(server.url, patience=1)) as connection,
        pytest.raises(ServiceError, match="coffee"),
    ):
        connection.ask("GET", "/")


@pytest.mark.parametrize(
    ("body", "says"), [(b"<html>", "<html>"), (b"[]", "\\[\\]"), (b'{"error":"os","message":"m"}', "m"), (b"", "no explanation")]
)
def test_a_refusal_by_somebody_else_is_passed_on(body, says):
    answer = b"HTTP/1.1 418 x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with (
        closing(Scripted(answer)) as server,
        closing(Connection(server.url, patience=1)) as connection,
        pytest.raises(ServiceError, match=says),
    ):
        connection.ask("GET", "/")
