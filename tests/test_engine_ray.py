"""A Ray cluster: the Laws, and every way in which an actor can go wrong. One cluster serves all tests of this file."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import lamarck as lk
from lamarck import codec
from lamarck._errors import CheckpointMissing, PopulationLost, SettingsError, TrainingError
from lamarck.checkpoints import FolderCheckpoints, MemoryCheckpoints
from lamarck.checkpoints.format import Packed
from lamarck.coordinator import events_of
from lamarck.engines import _pool
from lamarck.engines._talk import MESSAGE
from lamarck.engines.ray import pool
from lamarck.engines.ray.actor import FETCH, FILE, MISSING, Assignment, Posted, kernel
from lamarck.journal import open_journal
from lamarck.testing.checkpoints import same, states
from lamarck.testing.engine import ENGINE_LAWS, SPACE, train
from lamarck.types import Failure, Report
from trainers import always_raises, dies_or_hangs_once, exits_early, fails_early, meets_the_other

pytestmark = pytest.mark.slow

SETTINGS = {"population_size": 4, "interval": 3, "generations": 5, "seed": 2}
TESTS = str(Path(__file__).parent)


@pytest.fixture(scope="module")
def cluster():
    """The address of a cluster of this machine alone, to which this process has connected."""
    import ray

    folder = tempfile.mkdtemp(prefix="r-", dir="/tmp")  # a socket's path must be short
    with pytest.MonkeyPatch.context() as changed:
        path = os.pathsep.join([TESTS, str(Path(lk.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
        for name, value in {"PYTHONPATH": path, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}.items():
            changed.setenv(name, value)
        for name in ("OMP_NUM_THREADS", "RAY_ADDRESS", "CUDA_VISIBLE_DEVICES"):
            changed.delenv(name, raising=False)
        before = signal.getsignal(signal.SIGTERM)
        process, address = started(folder)
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
            yield address
        finally:
            ray.shutdown()
            signal.signal(signal.SIGTERM, before)
            process.communicate(timeout=60)
            shutil.rmtree(folder, ignore_errors=True)


def started(folder):
    """Starts a cluster. Ray gives up after half a minute, which on a machine with more to do than it can is too soon."""
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, str(Path(TESTS) / "ray_cluster.py"), folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if address := process.stdout.readline().strip():
            return process, address
        _, err = process.communicate()
    raise AssertionError(err)


def facts(history):
    return {record.key: (record.value, record.hparams, record.parent) for record in history.records}


@pytest.mark.parametrize(
    ("law", "settings"),
    list(zip(ENGINE_LAWS, [(2, True), (2, False), (1, True), (1, False), (1, True), (1, False)], strict=True)),
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_law(law, settings, tmp_path, cluster):
    workers, through_driver = settings
    law(lk.Ray(workers=workers, through_driver=through_driver), tmp_path)


def test_code_that_no_module_holds_travels_along_and_a_run_in_memory_is_given_back(cluster, monkeypatch):
    folders, make, offset = [], tempfile.mkdtemp, 3.0
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **given: folders.append(make(**given)) or folders[-1])

    def local(worker):
        x = np.array([5.0])
        worker.track(x=x)
        for interval in worker:
            x *= 1 - 0.1 * interval.hparams["h"]
            interval.report(-float(x[0]) - offset)

    store = MemoryCheckpoints()
    history = lk.run(local, SPACE, engine=lk.Ray(workers=1), checkpoints=store, **SETTINGS)
    assert facts(history) == facts(lk.run(local, SPACE, **SETTINGS))
    assert -float(store.get(history.best.checkpoint)["x"][0]) - offset == history.best.value
    assert [Path(folder).exists() for folder in folders] == [False]


def test_nobody_restarts_and_each_has_its_share_of_the_cluster(cluster):
    seen = []

    def watch(event, population):
        if type(event).__name__ == "Reported":
            seen.append(event.report.metrics)

    half = lk.exploit.Truncation(bottom=0.5, top=0.5)
    pair = SETTINGS | {"population_size": 2}
    history = lk.run(meets_the_other, SPACE, engine=lk.Ray(gpus_per_worker=1), observers=[watch], exploit=half, **pair)
    assert len(history.copies) == 4
    assert len({metrics["process"] for metrics in seen}) == 2
    assert {metrics["gpu"] for metrics in seen} == {0.0, 1.0}
    assert {metrics["threads"] for metrics in seen} == {1.0}
    assert sum(metrics["loads"] for metrics in seen if metrics["generation"] == 4) == 2 + 4, "at the beginning, and only at copies"


def test_workers_that_die_or_hang_are_replaced_and_their_intervals_repeated(cluster):
    engine = lk.Ray(workers=1, time_limit=8.0, through_driver=True)
    history = lk.run(dies_or_hangs_once, SPACE, engine=engine, journal="d.db", **SETTINGS)
    assert history.ended == "generations"
    assert len(history.records) == 20
    said = {(failure.member, failure.generation, failure.kind): failure.message for failure in history.failures}
    assert said[1, 1, "lost"].startswith("the worker died: ")
    assert said[2, 1, "timeout"] == "no report within 8 s"


def test_workers_for_whom_there_is_no_room_hinder_nobody(cluster, monkeypatch, caplog):
    monkeypatch.setattr(pool, "_SOON", 0.0)
    history = lk.run(train, SPACE, engine=lk.Ray(workers=2, cpus_per_worker=2), **SETTINGS)
    assert facts(history) == facts(lk.run(train, SPACE, **SETTINGS))
    said = [record.getMessage() for record in caplog.records if "have not begun" in record.getMessage()]
    assert len(said) == 1
    assert "of 2 workers" in said[0]
    assert "Each asks for CPU 2; the cluster has CPU 2, of which are free: CPU" in said[0]


def test_the_first_traceback_is_shown_and_the_population_is_lost(cluster, caplog):
    with pytest.raises(PopulationLost):
        lk.run(always_raises, SPACE, engine=lk.Ray(workers=1), max_failures=0, **SETTINGS)
    shown = [record.getMessage() for record in caplog.records if "Traceback" in record.getMessage()]
    assert len(shown) == 1
    assert 'raise ValueError("as always")' in shown[0]


def test_a_fault_of_the_function_is_told_as_in_one_process(cluster):
    with pytest.raises(TrainingError) as inline:
        lk.run(fails_early, SPACE, **SETTINGS)
    with pytest.raises(TrainingError) as actor:
        lk.run(fails_early, SPACE, engine=lk.Ray(workers=1), **SETTINGS)
    said, *below = str(actor.value).splitlines()
    assert said == str(inline.value)
    assert any('raise FileNotFoundError("data.csv")' in line for line in below)
    package = str(Path(lk.__file__).parent)  # of which the traceback of the user's own code shows nothing
    assert all(package not in line for line in below)


def test_a_function_that_ends_its_process_at_once_ends_the_run(cluster, monkeypatch):
    monkeypatch.setattr(_pool, "_STARTS", 2)
    with pytest.raises(TrainingError, match="a worker died 2 times before its first interval"):
        lk.run(exits_early, SPACE, engine=lk.Ray(workers=1), **SETTINGS)


def test_a_function_that_cannot_be_loaded_is_explained(cluster, monkeypatch):
    here_alone = ModuleType("here_alone")  # of which the cluster has no file
    exec("def train(worker): pass", vars(here_alone))
    monkeypatch.setitem(sys.modules, "here_alone", here_alone)
    with pytest.raises(TrainingError, match="cannot be loaded in a worker process: ModuleNotFoundError.*install on all nodes what it needs"):
        lk.run(here_alone.train, SPACE, engine=lk.Ray(workers=1), **SETTINGS)


def test_a_checkpoint_that_is_gone_is_noticed(cluster):
    def loses(event, population):
        if type(event).__name__ == "Reported" and (event.report.member, event.report.generation) == (0, 0):
            FolderCheckpoints("g.checkpoints/main").file(event.report.checkpoint).unlink()

    engine = lk.Ray(workers=1, through_driver=True)
    history = lk.run(train, SPACE, engine=engine, journal="g.db", observers=[loses], **(SETTINGS | {"population_size": 2}))
    with open_journal("g.db", readonly=True) as journal:
        damaged = [event for event in events_of(journal, "main") if type(event).__name__ == "Damaged"]
    assert [event.checkpoint for event in damaged] == [history[0, 0].checkpoint]
    assert len(history.records) == 10


def posted(store):
    """Weights that go through a driver which is here."""

    def ask(data):
        assert data[:1] == FETCH
        try:
            return FILE, np.fromfile(store.file(data[1:].decode()), dtype=np.uint8)
        except CheckpointMissing as error:
            return MISSING + str(error).encode(), None

    return Posted(ask)


def test_weights_through_the_driver_come_back_as_they_were(tmp_path):
    store = FolderCheckpoints(tmp_path)
    weights = posted(store)
    for member, (what, state) in enumerate(states().items()):
        name = weights.put(member, 7, state)
        parts = weights.handed_over()
        assert weights.handed_over() == ()
        assert store.keep(Packed(name.rpartition("-")[0], [part.data for part in parts])) == name
        assert same(weights.get(name), state), what
        assert same(store.get(name), state), what
    row = store.put(0, 0, {"x": np.arange(6).reshape(3, 2)}) + "#1"
    assert same(weights.get(row), {"x": np.array([2, 3])})
    first = weights.get(row)["x"]
    first += 1
    assert same(weights.get(row), {"x": np.array([2, 3])})
    for name in ("0000-00000-0123456789abcdef", "../x", ""):
        with pytest.raises(CheckpointMissing):
            weights.get(name)


def test_weights_that_change_on_their_way_are_not_reported(tmp_path):
    store = FolderCheckpoints(tmp_path)
    weights = posted(store)
    array = np.zeros(1000)
    report = Report(member=1, generation=0, step=3, value=0.5, checkpoint=weights.put(1, 0, {"x": array}))
    said = MESSAGE + codec.encode(report)
    sent = weights.handed_over()
    assert pool._kept(store, said, [part.copy() for part in sent]) == said
    assert same(store.get(report.checkpoint), {"x": array})
    array += 1
    heard = codec.decode(pool._kept(store, said, sent)[1:])
    assert isinstance(heard, Failure)
    assert (heard.member, heard.generation, heard.kind) == (1, 0, "lost")
    assert "changed while they were sent" in heard.message


def test_a_worker_keeps_weights_by_itself_only_where_it_sees_the_drivers_folder(tmp_path):
    store = FolderCheckpoints(tmp_path / "here")
    told = {"durable_every": 3, "folder": str(tmp_path), "path": (), "seed": 0}
    with store.marked() as mark:
        assert store.names() == store.sweep([]) == []
        assert mark.exists(), "a sweep leaves it"
        seen = Assignment(location=store.location, mark=str(mark), kernel=kernel(), **told).weights(lambda data: (data, None))
        assert (seen.location, seen.every, seen.overlap) == (store.location, 3, True)
        far = Assignment(location=store.location, mark=str(mark), kernel="another machine", **told).weights(lambda data: (data, None))
        assert (far.every, far.overlap) == (3, False)
    unseen = Assignment(location=store.location, mark=str(mark), kernel=kernel(), **told).weights(lambda data: (data, None))
    assert isinstance(unseen, Posted)
    url = Assignment(location="memory://weights", mark=None, kernel="", **told).weights(lambda data: (data, None))
    assert url.location == "memory://weights"


def test_a_mark_that_a_killed_driver_has_left_is_swept(tmp_path):
    code = f"import os\nfrom lamarck.checkpoints import FolderCheckpoints\nwith FolderCheckpoints({str(tmp_path)!r}).marked(): os._exit(0)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(list(tmp_path.iterdir())) == 1
    FolderCheckpoints(tmp_path).sweep([])
    assert list(tmp_path.iterdir()) == []


class NoRay:
    """A cluster of one machine, as Ray tells of it."""

    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": 2.0, "node:10.0.0.1": 1.0}}]

    def cluster_resources(self):
        return self.nodes()[0]["Resources"]


def test_a_worker_that_would_never_fit_is_refused_where_nothing_can_grow():
    with pytest.raises(SettingsError, match="each worker asks for CPU 1, GPU 1, and this machine has CPU 2, GPU 0: ask for less, or connect"):
        lk.Ray(gpus_per_worker=1)._size(NoRay(), 8, alone=True)
    assert lk.Ray(gpus_per_worker=1)._size(NoRay(), 8, alone=False) == 1
    assert lk.Ray(cpus_per_worker=0.5)._size(NoRay(), 8, alone=True) == 4
    assert lk.Ray(cpus_per_worker=0)._size(NoRay(), 8, alone=True) == 8
    assert lk.Ray(workers=3)._size(NoRay(), 8, alone=True) == 3
    assert lk.Ray(workers=16)._size(NoRay(), 8, alone=False) == 8


def test_a_function_that_cannot_be_sent_is_explained():
    lock = threading.Lock()
    with pytest.raises(SettingsError, match="must not hold what cannot leave this process"):
        lk.run(lambda worker: lock, SPACE, engine=lk.Ray(workers=1), **SETTINGS)


@pytest.mark.parametrize(
    "wrong",
    [
        dict(workers=0),
        dict(workers=True),
        dict(cpus_per_worker=-1),
        dict(gpus_per_worker=1.5),
        dict(gpus_per_worker="1"),
        dict(cpus_per_worker=float("nan")),
        dict(time_limit=0),
        dict(options={"max_restarts": 1}),
    ],
)
def test_settings(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        lk.Ray(**wrong)


SCRIPT = """
import sys, time
import lamarck as lk
from lamarck.testing.engine import SPACE
import numpy as np

def train(worker):
    x = np.array([5.0])
    worker.track(x=x)
    for interval in worker:
        time.sleep(0.1)
        x *= 0.9
        interval.report(float(x[0]))

seen = lambda event, population: print(type(event).__name__, flush=True)

if __name__ == "__main__":
    lk.run(train, SPACE, population_size=4, interval=3, generations=10, engine=lk.Ray(workers=1), journal="run.db", observers=[seen])
"""


@pytest.fixture
def short():
    """A folder with a short path, as Ray's sockets need."""
    folder = tempfile.mkdtemp(prefix="r-", dir="/tmp")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def begin():
    """Starts the script, anew where Ray has given up to start a cluster; in the end it is gone, whatever became of the test."""
    begun = []

    def start(environment):
        Path("script.py").write_text(SCRIPT)
        for _ in range(3):
            process = subprocess.Popen(
                [sys.executable, "script.py"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
                env=environment,
            )
            begun.append(process)
            for line in process.stdout:
                if line == "Reported\n":
                    return process
            _, err = process.communicate()
            Path("run.db").unlink(missing_ok=True)
            shutil.rmtree("run.checkpoints", ignore_errors=True)
        raise AssertionError(err)

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def session(leader):
    """The processes that a session's leader has started, Ray's own and its workers among them."""
    listed = subprocess.run(["ps", "-eo", "pid,sid,stat"], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()[1:]]
    return {int(pid) for pid, sid, state in rows if int(sid) == leader and not state.startswith("Z")} - {leader}


def gone(leader):
    deadline = time.monotonic() + 60
    while session(leader) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not session(leader)


def test_ctrl_c_lets_intervals_finish_and_takes_the_cluster_along_that_it_has_started(begin, short):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    process = begin({**environment, "RAY_TMPDIR": short})
    assert session(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert "in progress" in err
    assert "go on with: lamarck.resume(train, 'run.db')" in err
    assert gone(process.pid)
    with open_journal("run.db", readonly=True) as journal:
        kept = [type(event).__name__ for event in events_of(journal, "main")]
    printed = ["Started", "Assigned", "Reported", *out.split()]
    assert kept.count("Reported") == printed.count("Reported") >= 2
    assert "Failed" not in kept


def test_the_death_of_the_driver_takes_its_actors_along_and_loses_nothing(cluster, begin):
    import ray

    process = begin({**os.environ, "RAY_ADDRESS": cluster})
    process.kill()
    process.communicate()
    with open_journal("run.db", readonly=True) as journal:
        kept = list(events_of(journal, "main"))
    deadline = time.monotonic() + 60
    while ray.available_resources().get("CPU") != 2.0 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ray.available_resources()["CPU"] == 2.0, "its actors are gone"
    sys.path.insert(0, os.getcwd())
    import script

    history = lk.resume(script.train, "run.db", engine=lk.Ray(workers=1, through_driver=True))
    assert history.ended == "generations"
    assert len(history.records) == 40
    with open_journal("run.db", readonly=True) as journal:
        assert list(events_of(journal, "main"))[: len(kept)] == kept
