"""The examples of scripts: alone, under one command, as a SLURM array job that is preempted and requeued, and as a Kubernetes Job."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import yaml

import lamarck as lk
from http_engine import served
from lamarck.cli import main
from lamarck.cli.app import _app
from lamarck.server.plan import Plan
from lamarck.server.tokens import Tokens, add_token
from lamarck.space import Space
from lamarck.testing.engine import SPACE

EXAMPLES = Path(__file__).parents[1] / "examples"
SLURM, KUBERNETES, SCRIPTS = EXAMPLES / "slurm", EXAMPLES / "kubernetes", EXAMPLES / "scripts"


def environment(**names):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LAMARCK_", "SLURM_"))}
    return {**clean, **names}


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


# ---- one script in three places ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_anywhere_runs_alone_and_under_one_command():
    script = SCRIPTS / "anywhere.py"
    done = subprocess.run([sys.executable, str(script)], env=environment(LAMARCK_JOURNAL="one.db"), capture_output=True, text=True, check=True)
    history = lk.open_run("one.db")
    assert [record.hparams for record in history.records] == [{"lr": 0.1, "weight_decay": 1e-4}] * 20
    assert done.stdout.count("\n") == 20
    assert history.best.value < 0.5
    space = ["--space", str(SCRIPTS / "space.csv"), "--mode", "min", "--workers", "2"]
    assert main(["run", str(script), *space, "-n", "3", "--interval", "5", "--generations", "2"]) == 0
    assert len(lk.open_run("anywhere.db").records) == 6


def parsed(words):
    """What the command line makes of words: arguments and options; raises if it does not know one."""
    _, bound, _ = _app(words[0]).parse_args(words, exit_on_error=False, print_error=False)
    return bound


@pytest.mark.parametrize("name", ["anywhere.py", "own_loop.py"])
def test_the_commands_in_the_docstrings_name_what_there_is(name):
    text = (SCRIPTS / name).read_text().split('"""')[1]
    (line,) = (line.strip() for line in text.splitlines() if line.strip().startswith("lamarck run"))
    words = shlex.split(line, comments=True)[1:]
    bound = parsed(words)
    assert (EXAMPLES.parent / bound.args[0]).is_file()
    assert (EXAMPLES.parent / bound.kwargs["space"]).is_file()


def test_the_plan_of_the_examples_is_a_run():
    asked = tomllib.loads((SCRIPTS / "digits.toml").read_text())
    asked["space"] = Space.from_text((SCRIPTS / asked["space"]).read_text(), "csv").to_dict()
    plan = Plan.of(asked)
    assert plan.name == "digits"
    assert plan.pbt.settings.generations == 20


# ---- SLURM -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("job", sorted(SLURM.glob("*.sbatch")), ids=lambda path: path.name)
def test_job_scripts_are_sound(job):
    checker = shutil.which("shellcheck") or str(Path(sys.executable).with_name("shellcheck"))
    done = subprocess.run([checker, str(job)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    text = job.read_text()
    directives = [line for line in text.splitlines() if line.startswith("#SBATCH")]
    assert {"#SBATCH --requeue", "#SBATCH --open-mode=append"} <= set(directives)
    commands = [number for number, line in enumerate(text.splitlines()) if line and not line.startswith("#")]
    assert all(text.splitlines().index(line) < commands[0] for line in directives), "SLURM reads directives up to the first command only"


@pytest.fixture
def cluster(tmp_path):
    """A cluster of one machine: `srun` runs what it is given, `scontrol` writes down what it is told."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {
        # As srun does, it passes signals on to its task, and ends with its status.
        "srun": "while [[ $1 == --* ]]; do shift; done\n\"$@\" &\ntask=$!\ntrap 'kill -TERM $task' TERM\nwait $task\nwait $task\n",
        "scontrol": 'echo "$@" >> scontrol.log\n',
        "python": f'exec {shlex.quote(sys.executable)} "$@"\n',
        "lamarck": 'if [[ $1 == token ]]; then echo made-token; touch "$2"; else printf "%s\\n" "$@" > served; fi\n',
    }.items():
        (programs / name).write_text(f"#!/usr/bin/env bash\n{text}")
        (programs / name).chmod(0o755)
    return environment(PATH=f"{programs}:{os.environ['PATH']}", LAMARCK_HOME=str(tmp_path / "home"), SLURM_JOB_ID="4242")


def test_the_servers_job_says_where_it_is_and_lets_workers_in(cluster, tmp_path):
    for _ in range(2):  # requeued, it keeps the token
        subprocess.run(["bash", str(SLURM / "serve.sbatch"), "digits.toml"], env=cluster, check=True)
    home = tmp_path / "home"
    host = subprocess.run(["hostname", "-f"], capture_output=True, text=True, check=True).stdout.strip()
    assert (home / "url").read_text() == f"http://{host}:8765\n"
    assert (home / "token").read_text() == "made-token\n"
    assert (home / "token").stat().st_mode & 0o077 == 0
    told = Path("served").read_text().splitlines()
    bound = parsed(told)
    assert bound.args == (home / "runs.db",)
    assert bound.kwargs["run"] == (Path("digits.toml"),)
    assert (bound.kwargs["tokens"], bound.kwargs["checkpoints"]) == (home / "tokens.txt", str(home / "checkpoints"))


def test_jobs_say_what_they_are_not_told(cluster):
    for job, arguments in (("serve.sbatch", []), ("workers.sbatch", []), ("workers.sbatch", ["digits"])):
        done = subprocess.run(["bash", str(SLURM / job), *arguments], env=cluster, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "say which" in done.stderr


TRAIN = """
import os, sys, time
import numpy as np
import lamarck as lk

assert sys.argv[1:] == ["--depth", "18"]
x = np.array([1.0])
worker = lk.worker()
worker.track(x=x)
for interval in worker:
    open(f"begun-{os.getpid()}-{interval.member}-{interval.generation}", "w").close()
    time.sleep(60 if os.path.exists("slow") else 0.0)
    x *= 0.9
    interval.report(float(x[0]))
"""


def test_an_array_job_survives_preemption_and_requeue(cluster, tmp_path):
    """The lease is an hour: only the word of a task that is asked to end can free its member in time."""
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "train.py").write_text(TRAIN)
    (home / "token").write_text(add_token(home / "tokens.txt", "worker") + "\n")
    rules = {"population_size": 3, "interval": 1, "generations": 5, "mode": "min"}
    task = ["bash", str(SLURM / "workers.sbatch"), "digits", "train.py", "--depth", "18"]
    with served(home / "runs.db", tokens=Tokens(home / "tokens.txt"), lease=3600.0) as (service, url):
        asyncio.run(service.create(Plan.of({"name": "digits", "space": SPACE.to_dict(), **rules})))
        (home / "url").write_text(f"{url}\n")
        Path("slow").touch()
        preempted = subprocess.Popen(task, env=cluster, stdout=subprocess.PIPE, text=True)
        wait_for(lambda: list(tmp_path.glob("begun-*")))
        preempted.send_signal(signal.SIGTERM)
        out, _ = preempted.communicate(timeout=30)
        assert preempted.returncode == 0
        assert "asked to end; queueing again" in out
        assert Path("scontrol.log").read_text() == "requeue 4242\n"
        Path("slow").unlink()
        tasks = [subprocess.Popen(task, env=cluster, stdout=subprocess.PIPE, text=True) for _ in range(2)]  # requeued, and another one
        assert [process.communicate(timeout=60)[0] for process in tasks] == ["the run is over\n"] * 2
        assert [process.returncode for process in tasks] == [0, 0]
    history = lk.open_run(home / "runs.db", name="digits")
    assert (history.ended, history.failures, len(history.records)) == ("generations", (), 15)


def test_a_task_that_fails_ends_with_its_status_and_is_not_queued_again(cluster, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    for name in ("url", "token"):
        (home / name).write_text("x\n")
    (tmp_path / "train.py").write_text("raise SystemExit(3)")
    done = subprocess.run(["bash", str(SLURM / "workers.sbatch"), "digits", "train.py"], env=cluster, check=False)
    assert done.returncode == 3
    assert not Path("scontrol.log").exists()


# ---- Kubernetes --------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def manifest():
    parts = list(yaml.safe_load_all((KUBERNETES / "lamarck.yaml").read_text()))
    return {part["kind"]: part for part in parts if part}


def test_the_manifest_has_a_server_and_a_job_of_workers(manifest):
    assert {kind: part["apiVersion"] for kind, part in manifest.items()} == {
        "PersistentVolumeClaim": "v1",
        "Deployment": "apps/v1",
        "Service": "v1",
        "Job": "batch/v1",
    }


def test_what_the_parts_say_of_each_other_agrees(manifest):
    deployment, service, job = manifest["Deployment"]["spec"], manifest["Service"], manifest["Job"]["spec"]
    server, worker = deployment["template"]["spec"]["containers"][0], job["template"]["spec"]["containers"][0]
    assert service["spec"]["selector"] == deployment["selector"]["matchLabels"] == deployment["template"]["metadata"]["labels"]
    assert job["template"]["metadata"]["labels"] != service["spec"]["selector"]
    names = {variable["name"]: variable for variable in worker["env"]}
    port = server["ports"][0]
    assert names["LAMARCK_URL"]["value"] == f"http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert service["spec"]["ports"][0]["targetPort"] == port["name"] == server["readinessProbe"]["httpGet"]["port"]
    bound = parsed([*server["command"][1:], *server["args"]])
    assert server["command"][0] == "lamarck"
    assert bound.kwargs["port"] == port["containerPort"]
    volumes = {volume["name"]: volume for volume in deployment["template"]["spec"]["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in server["volumeMounts"]}
    assert volumes.keys() == mounts.keys()
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == manifest["PersistentVolumeClaim"]["metadata"]["name"]
    assert bound.args[0].parent == Path(mounts["data"])
    assert bound.kwargs["tokens"] == Path(mounts["tokens"]) / volumes["tokens"]["secret"]["items"][0]["path"]
    assert bound.kwargs["run"] == (Path(mounts["runs"]) / "digits.toml",)
    assert names["LAMARCK_RUN"]["value"] == tomllib.loads((SCRIPTS / "digits.toml").read_text())["name"]
    assert names["LAMARCK_TOKEN"]["valueFrom"]["secretKeyRef"]["name"] == volumes["tokens"]["secret"]["secretName"]
    # the commands at the top make what the parts ask for
    made = (KUBERNETES / "lamarck.yaml").read_text()
    assert "kubectl create secret generic lamarck --from-file=token --from-file=tokens.txt" in made
    assert "--from-file=examples/scripts/digits.toml --from-file=examples/scripts/space.csv" in made


def test_there_is_one_writer_and_workers_that_may_be_taken_away(manifest):
    assert manifest["Deployment"]["spec"]["replicas"] == 1
    assert manifest["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}
    job = manifest["Job"]["spec"]
    assert "completions" not in job
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # what a podFailurePolicy asks for
    assert job["podFailurePolicy"]["rules"][0] == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
    assert pod["terminationGracePeriodSeconds"] >= 30
    for spec in (pod, manifest["Deployment"]["spec"]["template"]["spec"]):
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert all("memory" in container["resources"]["limits"] for container in spec["containers"])
