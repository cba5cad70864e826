"""A server that is killed again and again, clients that die at random, connections that are cut in the middle of a request, requests that come
twice and late: in the end nothing acknowledged is lost, nothing is counted twice, and every decision follows."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from itertools import count, pairwise
from pathlib import Path

import pytest

import lamarck as lk
from lamarck.coordinator import events_of
from lamarck.journal import open_journal
from lamarck.server.plan import Plan
from lamarck.testing.engine import SPACE
from lamarck.types import Assigned, Ended, Failed, Reported
from lamarck.verify import verify

CLIENTS, KILLS = int(os.environ.get("LAMARCK_CHAOS_CLIENTS", "6")), int(os.environ.get("LAMARCK_CHAOS_KILLS", "4"))
MEMBERS, GENERATIONS = 2 * CLIENTS, int(os.environ.get("LAMARCK_CHAOS_GENERATIONS", "20"))

SERVER = """
import asyncio, json, sys
from lamarck.server.app import app
from lamarck.server.plan import Plan
from lamarck.server.serve import listening, serve
from lamarck.server.service import Service
service = Service("chaos.db", lease=1.0)
asyncio.run(service.create(Plan.of(json.loads(sys.argv[2]))))
serve(app(service), listening("127.0.0.1", int(sys.argv[1])), stopping=service.stop)
"""

CLIENT = """
import os, sys, time
import numpy as np
from lamarck.client import Remote, work
from lamarck.types import Report

class Telling:
    def __init__(self, remote): self.__dict__.update(remote=remote)
    def __getattr__(self, name): return getattr(self.remote, name)
    def __call__(self, message):
        answer = self.remote(message)
        if isinstance(message, Report):
            os.write(1, f"{message.member} {message.generation} {message.value!r}\\n".encode())
        return answer

def train(worker):
    x, story = np.array([5.0]), []
    worker.track(x=x, story=story)
    for interval in worker:
        time.sleep(0.02)
        x *= 1 - 0.2 * interval.hparams["h"]
        story.append([interval.member, interval.generation])
        interval.report(-abs(float(x[0])))

work(train, Telling(Remote(sys.argv[1], run="chaos", patience=60)))
"""


class Wire:
    """A proxy that cuts connections in the middle, and says some requests a second time, later, on a connection of its own."""

    def __init__(self, port, seed):
        self.port, self.dice = port, random.Random(seed)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]  # noqa: UP031
        self.calm, self.cut, self.repeated = False, 0, 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.join, args=(client,), daemon=True).start()

    def join(self, client):
        with suppress(OSError), client, socket.create_connection(("127.0.0.1", self.port), timeout=30) as server:
            back = threading.Thread(target=self.pump, args=(server, client, 0.1, False), daemon=True)
            back.start()
            self.pump(client, server, 0.1, True)
            back.join()

    def pump(self, source, target, chance, requests):
        with suppress(OSError):
            while data := source.recv(65536):
                if not self.calm and self.dice.random() < chance:
                    target.sendall(data[: self.dice.randrange(len(data))])
                    self.cut += 1
                    break
                target.sendall(data)
                if requests and not self.calm and b"/exchange" in data[:200] and self.dice.random() < 0.3:
                    self.repeated += 1
                    threading.Timer(self.dice.uniform(0, 1.5), self.again, [data]).start()
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def again(self, data):
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5) as server:
            server.sendall(data)
            server.recv(65536)


@pytest.mark.slow
def test_a_service_under_fire():
    dice = random.Random(7)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    plan = {"name": "chaos", "space": SPACE.to_dict(), "population_size": MEMBERS, "interval": 1, "generations": GENERATIONS}
    plan |= {"seed": 1, "max_failures": 50, "exploit": "truncation:bottom=0.3,top=0.3"}
    Path("server.py").write_text(SERVER)
    Path("client.py").write_text(CLIENT)
    wire = Wire(port, 3)
    number = count()

    def server():
        with Path("server.log").open("a") as log:
            return subprocess.Popen([sys.executable, "server.py", str(port), json.dumps(plan)], stdout=log, stderr=log)

    def client():
        with Path(f"said-{next(number)}.txt").open("w") as out, Path("client.log").open("a") as log:
            return subprocess.Popen([sys.executable, "client.py", wire.url], stdout=out, stderr=log)

    process, clients = server(), [client() for _ in range(CLIENTS)]
    kills = deaths = 0
    deadline = time.monotonic() + 600
    try:
        while kills < KILLS or deaths < KILLS or min(wire.cut, wire.repeated) < KILLS // 2:
            assert time.monotonic() < deadline
            time.sleep(dice.uniform(0.5, 1.5))
            if any(worker.poll() == 0 for worker in clients):
                break  # the run is over before its time
            if dice.random() < 0.5 and kills < KILLS:
                process.kill()
                process.wait()
                kills += 1
                time.sleep(dice.uniform(0, 0.5))
                process = server()
            else:
                victim = dice.randrange(CLIENTS)
                clients[victim].send_signal(signal.SIGKILL)
                clients[victim].wait()
                deaths += 1
                clients[victim] = client()
        wire.calm = True
        codes = [worker.wait(timeout=max(1, deadline - time.monotonic())) for worker in clients]
    finally:
        for it in (process, *clients):
            it.kill()
            it.wait()
        wire.listener.close()
    assert min(kills, deaths) >= KILLS, f"it was over after {kills} kills of the server and {deaths} of clients: give it more generations"
    assert codes == [0] * CLIENTS, [line for line in Path("client.log").read_text().splitlines() if "Error" in line]
    assert min(wire.cut, wire.repeated) >= KILLS // 2, "a weak chaos"

    with open_journal("chaos.db", readonly=True) as journal:
        events = list(events_of(journal, "chaos"))
    reports = [event.report for event in events if isinstance(event, Reported)]
    assert sorted(report.key for report in reports) == [(m, g) for m in range(MEMBERS) for g in range(GENERATIONS)], "twice, or not at all"
    kept = {report.key: report.value for report in reports}
    told = [line.split() for file in Path().glob("said-*.txt") for line in file.read_text().splitlines()]
    assert all(kept[int(member), int(generation)] == float(value) for member, generation, value in told), "an acknowledged report is lost"
    assert len(told) > len(reports) / 2
    assert isinstance(events[-1], Ended)
    assert verify(events) is None, "a decision does not follow from the journal before it"
    assert all(event.failure.kind == "lost" for event in events if isinstance(event, Failed))

    history = lk.open_run("chaos.db", name="chaos")
    for member in range(MEMBERS):
        line = history.lineage(history.member(member)[-1].key)
        assert line[0].parent is None
        assert all(child.parent == parent.key for parent, child in pairwise(line))
    restored = [event.interval for event in events if isinstance(event, Assigned) and event.interval.restore]
    assert all(history[interval.parent].checkpoint == interval.restore for interval in restored)
    assert lk.load("chaos.db", name="chaos")["story"] == [list(record.key) for record in history.lineage()]
    reference = lk.run(calm, SPACE, population_size=MEMBERS, interval=1, generations=GENERATIONS, seed=1, **strategies(plan))
    assert {r.key: (r.value, r.hparams) for r in history.records} == {r.key: (r.value, r.hparams) for r in reference.records}
    print(
        f"{kills} kills of the server, {deaths} of clients, {wire.cut} connections cut, {wire.repeated} requests repeated; "
        f"{len(reports)} reports, {sum(isinstance(event, Failed) for event in events)} leases lost"
    )


def calm(worker):
    import numpy as np

    x = np.array([5.0])
    worker.track(x=x)
    for interval in worker:
        x *= 1 - 0.2 * interval.hparams["h"]
        interval.report(-abs(float(x[0])))


def strategies(plan):
    pbt = Plan.of(plan).pbt
    return {"exploit": pbt.exploit, "explore": pbt.explore, "rescue": pbt.rescue}
