"""A run whose workers keep their checkpoints on an object store themselves: a real server that speaks S3."""

import time

import pytest
from moto.server import ThreadedMotoServer

import lamarck as lk
from http_engine import create, served
from lamarck.checkpoints import open_checkpoints
from lamarck.client import Remote
from lamarck.testing.engine import train

pytestmark = pytest.mark.filterwarnings("ignore")  # the packages' own


@pytest.fixture
def bucket(monkeypatch):
    import boto3

    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="runs")
    yield "s3://runs/all"
    server.stop()


@pytest.mark.slow
def test_weights_go_past_the_server_to_the_object_store(bucket, tmp_path):
    with served("s.db", shared=bucket) as (service, url):
        create(url)
        remote = Remote(url, run="a")
        assert remote.checkpoints.location == f"{bucket}/a"
        remote.leave()
        train(lk.connect(url, run="a"))
        history = lk.open_run("s.db", name="a")
        assert history.ended == "generations"
        live, end = service.run("a").population.live(), time.monotonic() + 60
        while not set(names := open_checkpoints(f"{bucket}/a").names()) <= live and time.monotonic() < end:
            time.sleep(0.05)  # what nobody can name any more is deleted after the last answer
        assert history.best.checkpoint in names
        assert set(names) <= live
        state = open_checkpoints(f"{bucket}/a").get(history.best.checkpoint)
        assert -abs(float(state["x"][0])) == history.best.value
    assert not (tmp_path / "s.checkpoints").exists()
