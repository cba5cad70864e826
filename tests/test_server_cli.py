"""The service from the command line: real processes, TLS, tokens, signals, and mistakes."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import lamarck as lk
from lamarck._errors import NotAllowed, ServiceError
from lamarck.cli import main
from lamarck.testing.engine import SPACE, train

PLAN = """
population_size = 2
interval = 4
steps = 8
exploit = "truncation:bottom=0.5,top=0.5"

[space]
h = { type = "float", low = 0.01, high = 1.0, log = true }
"""


class Served:
    """`lamarck serve` in a process of its own."""

    def __init__(self, *options, journal="service.db", environment=None):
        command = [sys.executable, "-m", "lamarck", "serve", str(journal), "--port", "0", *options]
        environment = {key: value for key, value in os.environ.items() if key != "LAMARCK_TOKEN"} | (environment or {})
        self.said = Path(f"said-{time.monotonic_ns()}.txt")
        with self.said.open("w") as said:
            self.process = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
        while "runs:" not in self.said.read_text() and "page:" not in self.said.read_text():
            assert self.process.poll() is None, self.said.read_text()
            time.sleep(0.05)
        self.url = (
            next(line for line in self.said.read_text().splitlines() if line.startswith("page:")).split()[1].removesuffix("/?token=TOKEN")
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end(signal.SIGKILL)

    def end(self, number):
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(timeout=20)
        return self.process.returncode, self.said.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_server_is_stopped_in_order_and_goes_on_on_the_same_journal(number, capsys):
    Path("cifar.toml").write_text(PLAN)
    with Served("--run", "cifar.toml") as server:
        Path("second.toml").write_text('name = "other"\n' + PLAN)
        assert main(["create", server.url, "second.toml"]) == 0
        assert main(["create", server.url, "second.toml"]) == 0
        assert "has begun" in (out := capsys.readouterr().out)
        assert "is there already" in out
        assert urllib.request.urlopen(server.url).status == 200
        train(lk.connect(server.url, run="cifar"))
        code, err = server.end(number)
    assert code == 0, err
    assert f'lamarck.connect("{server.url}", run="cifar")' in err
    assert "Go on with: lamarck serve service.db" in err
    with Served() as server:
        listed = json.loads(urllib.request.urlopen(f"{server.url}/v1/runs").read())["runs"]
        assert [(run["name"], run["ended"]) for run in listed] == [("cifar", "generations"), ("other", None)]
    assert lk.open_run("service.db", name="cifar").ended == "generations"
    assert main(["verify", "service.db", "--name", "cifar"]) == 0


@pytest.mark.slow
def test_a_worker_waits_in_a_request_and_the_server_can_be_stopped_all_the_same():
    Path("cifar.toml").write_text(PLAN)
    code = (
        "import sys, threading, time\nfrom lamarck.client import Remote\n"
        "def wait():\n"
        "    remote = Remote(sys.argv[1], run='cifar', patience=1)\n"
        "    print('joined', flush=True)\n"
        "    remote(None)\n"
        "for _ in range(3):\n"  # two members, so one of the three gets nothing
        "    threading.Thread(target=wait, daemon=True).start()\n"
        "time.sleep(60)\n"
    )
    with Served("--run", "cifar.toml") as server:
        waiting = subprocess.Popen([sys.executable, "-c", code, server.url], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert [waiting.stdout.readline() for _ in range(3)] == [b"joined\n"] * 3
        while json.loads(urllib.request.urlopen(f"{server.url}/v1/runs").read())["runs"][0]["training"] < 2:
            time.sleep(0.05)
        time.sleep(0.3)
        code, err = server.end(signal.SIGTERM)
        waiting.kill()
        waiting.communicate()
    assert code == 0
    assert "timeout graceful shutdown exceeded" not in err


def certificate():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    Path("cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    kind, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    Path("key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, none))


@pytest.mark.slow
def test_tls_and_tokens_and_no_secret_in_the_log(capsys):
    certificate()
    assert main(["token", "tokens.txt", "--role", "worker", "--days", "1", "--label", "cluster"]) == 0
    token = capsys.readouterr().out.strip()
    assert main(["token", "tokens.txt", "--role", "viewer"]) == 0
    viewer = capsys.readouterr().out.strip()
    Path("cifar.toml").write_text(PLAN)
    options = [
        "--run",
        "cifar.toml",
        "--host",
        "0.0.0.0",
        "--tokens",
        "tokens.txt",
        "--certificate",
        "cert.pem",
        "--key",
        "key.pem",
        "--log",
        "json",
        "--verbose",
    ]
    with Served(*options) as server:
        url = server.url.replace("0.0.0.0", "127.0.0.1")
        assert url.startswith("https://")
        with pytest.raises(ServiceError, match="certificate is not trusted"):
            lk.connect(url, run="cifar", token=token, patience=2)
        with pytest.raises(NotAllowed, match="a token is needed"):
            lk.connect(url, run="cifar", token="", ca="cert.pem")
        with pytest.raises(NotAllowed, match="for looking"):
            train(lk.connect(url, run="cifar", token=viewer, ca="cert.pem"))
        train(lk.connect(url, run="cifar", token=token, ca="cert.pem"))
        code, err = server.end(signal.SIGTERM)
    assert code == 0, err
    assert token not in err
    assert viewer not in err
    lines = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    assert sum("value" in line["message"] for line in lines) == 4
    assert {"at", "level", "logger", "message"} <= lines[0].keys()


@pytest.mark.slow
def test_readonly_shows_a_run_and_lets_nobody_join():
    lk.run(train, SPACE, population_size=2, interval=2, generations=2, journal="train.db")
    before = Path("train.db").read_bytes()
    with Served("--readonly", journal="train.db") as server:
        assert urllib.request.urlopen(server.url).status == 200
        with pytest.raises(ServiceError):
            lk.connect(server.url, patience=1)
        assert server.end(signal.SIGTERM)[0] == 0
    assert Path("train.db").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["serve", "s.db", "--host", "0.0.0.0"], "everybody needs a token"),
        (["serve", "s.db", "--host", "::"], "everybody needs a token"),
        (["serve", "s.db", "--host", "example.com"], "everybody needs a token"),
        (["serve", "s.db", "--tokens", "none.txt"], "lamarck token"),
        (["serve", "s.db", "--certificate", "cert.pem"], "--certificate and --key"),
        (["serve", "s.db", "--certificate", "cert.pem", "--key", "key.pem"], "no file 'cert.pem'"),
        (["serve", "s.db", "--run", "none.toml"], "no file 'none.toml'"),
        (["serve", "s.db", "--run", "odd.toml"], "odd.toml: interval is missing"),
        (["serve", "s.db", "--run", "lost.toml"], "no file 'space.csv' beside it"),
        (["serve", "s.db", "--run", "broken.toml"], "broken.toml is not the description of a run"),
        (["serve", "s.db", "--max-checkpoint", "many"], "500M or 16G"),
        (["serve", "s.db", "--lease", "0"], "lease: got 0.0"),
        (["serve", "s.db", "--readonly"], "no journal of that name"),
        (["serve", "s.db", "--readonly", "--run", "good.toml"], "leave one of them out"),
        (["serve", "no/such/s.db"], "there is no folder"),
        (["token", "tokens.txt", "--role", "worker", "--days", "0"], "--days: got 0"),
        (["create", "http://127.0.0.1:1", "none.toml"], "no file 'none.toml'"),
        (["create", "nowhere", "good.toml"], "url: got 'nowhere'"),
    ],
)
def test_mistakes_are_explained(arguments, says, capsys):
    Path("odd.toml").write_text("population_size = 2\n[space]\n")
    Path("lost.toml").write_text('space = "space.csv"\n')
    Path("broken.toml").write_text("=")
    Path("good.toml").write_text(PLAN)
    arguments = [*arguments, "--port", "0"] if arguments[0] == "serve" else arguments
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert says in err
    assert "Traceback" not in err


def test_a_space_may_stand_in_a_file_of_its_own():
    from lamarck.cli.plans import read_plan

    Path("space.toml").write_text('[h]\ntype = "float"\nlow = 0.01\nhigh = 1.0\nlog = true\n')
    Path("cifar.toml").write_text('space = "space.toml"\npopulation_size = 2\ninterval = 4\ngenerations = 2\n')
    plan = read_plan(Path("cifar.toml"))
    assert (plan.name, plan.pbt.space) == ("cifar", SPACE)


@pytest.mark.parametrize("port", ["99999", "-1"])
def test_a_port_that_cannot_be_is_explained(port, capsys):
    assert main(["serve", "s.db", "--port", port]) == 2
    assert "it must be from 0, for any that is free, to 65535" in capsys.readouterr().err


def test_a_port_that_is_taken_is_explained(capsys):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "s.db", "--port", str(taken.getsockname()[1])]) == 2
    assert "give another --port" in capsys.readouterr().err
