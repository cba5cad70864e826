"""Curves that TensorBoard itself reads back: its accumulator the scalars, its HPARAMS plugin the table at the end."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tensorboard.backend.event_processing import data_provider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

import lamarck as lk
from lamarck.observers.tensorboard import TensorBoardObserver
from lamarck.pbt import PBT
from lamarck.population import apply
from lamarck.space import Categorical, Constant, Float, Int, Space
from lamarck.testing.simulation import simulate
from lamarck.types import Reported, Settings
from tracked import told

SPACE = Space(
    lr=Float(1e-5, 1e-1, log=True),
    layers=Int(1, 4),
    nesterov=Categorical([True, False]),
    optimizer=Categorical(["sgd", "adam"]),
    nothing=Constant(None),
    momentum=Float(0.0, 1.0, when={"optimizer": "sgd"}),
)


def journal(size=3, generations=5, seed=0):
    pbt = PBT(space=SPACE, settings=Settings(population_size=size, interval=10, generations=generations, seed=seed))
    return simulate(pbt, lambda interval, state: (math.nan if interval.seed % 5 == 0 else interval.hparams["lr"], None))


def scalars(folder, tag):
    """What TensorBoard shows of a curve: (step, value) of each point."""
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    if tag not in accumulator.Tags()["scalars"]:
        return []
    return [(event.step, event.value) for event in accumulator.Scalars(tag)]


def sessions(folder):
    """The rows of the HPARAMS tab: group -> (hyperparameters, metric values)."""
    multiplexer = EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    context = backend_context.Context(FakeContext(data_provider.MultiplexerDataProvider(multiplexer, str(folder))))
    request, experiment = RequestContext(), "x"
    metadata = context.hparams_metadata(request, experiment)
    info = context.experiment_from_metadata(request, experiment, True, metadata, None)
    statuses = [api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_RUNNING, api_pb2.STATUS_SUCCESS]
    query = api_pb2.ListSessionGroupsRequest(start_index=0, slice_size=100, allowed_statuses=statuses, include_metrics=True)
    answer = list_session_groups.Handler(request, context, experiment, query).run()
    names = {column.name for column in info.hparam_infos}
    return names, {
        group.name: (
            {name: getattr(value, value.WhichOneof("kind")) for name, value in group.hparams.items() if value.WhichOneof("kind")},
            {metric.name.tag: metric.value for metric in group.metric_values},
        )
        for group in answer.session_groups
    }


class FakeContext:
    """What the plugin asks of the application around it."""

    def __init__(self, provider):
        self.data_provider = provider


def points(history, member, name=None):
    return [
        (record.step, pytest.approx(float(record.value if name is None else record.hparams[name]), rel=1e-6, nan_ok=True))
        for record in history.member(member)
        if name is None or name in record.hparams
    ]


# ---- curves ---------------------------------------------------------------------------------------------------------------------------------


def test_each_member_is_a_run_with_its_values_and_hyperparameters():
    events = journal()
    told(TensorBoardObserver("curves"), events)
    history = lk.History.of(events)
    assert sorted(path.name for path in Path("curves").iterdir() if path.is_dir()) == ["member-000", "member-001", "member-002"]
    for member in range(3):
        folder = f"curves/member-{member:03d}"
        assert scalars(folder, "value") == points(history, member)
        for name in ("lr", "layers", "nesterov", "momentum"):
            assert scalars(folder, f"hparams/{name}") == points(history, member, name)
        assert scalars(folder, "hparams/optimizer") == scalars(folder, "hparams/nothing") == []
    assert any(math.isnan(value) for member in range(3) for _, value in scalars(f"curves/member-{member:03d}", "value"))


def test_metrics_are_curves_too():
    def train(worker):
        worker.track(x=(lambda: 0, lambda state: None))
        for interval in worker:
            interval.report(0.5, metrics={"test/accuracy": 0.25 * interval.generation})

    lk.run(train, SPACE, population_size=1, interval=10, generations=3, observers=[TensorBoardObserver("curves")])
    assert scalars("curves/member-000", "metrics/test/accuracy") == [(10, 0.0), (20, 0.25), (30, 0.5)]


def test_a_curve_grows_while_the_run_goes_on():
    observer, population, seen = TensorBoardObserver("curves"), None, 0
    for event in journal(size=1, generations=3):
        population = apply(population, event)
        observer(event, population)
        seen += isinstance(event, Reported)
        if seen:
            assert len(scalars("curves/member-000", "value")) == seen


@pytest.mark.parametrize("cut", [1, 7, 12, 20])
def test_a_resumed_run_goes_on_with_the_curves(cut):
    events = journal()
    population = told(TensorBoardObserver("curves"), events[:cut])
    told(TensorBoardObserver("curves"), events[cut:], population)
    history = lk.History.of(events)
    for member in range(3):
        assert scalars(f"curves/member-{member:03d}", "value") == points(history, member)


def test_a_new_run_removes_the_curves_of_the_last_one_and_nothing_else():
    Path("curves/member-000").mkdir(parents=True)
    names = ["notes.txt", "member-000/events.out.tfevents.1.host.2.3", "other/events.out.tfevents.1.host.2.3.lamarck"]
    foreign = [Path("curves", name) for name in names]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    told(TensorBoardObserver("curves"), journal(size=5, seed=1))
    events = journal(size=2, seed=2)
    told(TensorBoardObserver("curves"), events)
    for member in range(2):
        assert scalars(f"curves/member-{member:03d}", "value") == points(lk.History.of(events), member)
    assert scalars("curves/member-004", "value") == []
    assert all(path.exists() for path in foreign)


# ---- the table at the end -------------------------------------------------------------------------------------------------------------------


def test_the_hparams_tab_shows_what_each_member_ended_with():
    events = journal()
    told(TensorBoardObserver("curves"), events)
    history = lk.History.of(events)
    names, groups = sessions("curves")
    assert names == {name for member in range(3) for name in history.member(member)[-1].hparams}
    assert sorted(groups) == ["member-000", "member-001", "member-002"]
    for member in range(3):
        last = history.member(member)[-1]
        hparams, metrics = groups[f"member-{member:03d}"]
        assert hparams == {name: "None" if value is None else value for name, value in last.hparams.items()}
        assert metrics == {"value": pytest.approx(last.value, rel=1e-6, nan_ok=True)}


# ---- manners --------------------------------------------------------------------------------------------------------------------------------


def test_neither_threads_nor_open_files_are_left():
    before = set(threading.enumerate())
    observer = TensorBoardObserver("curves")
    told(observer, journal(size=50, generations=2))
    assert set(threading.enumerate()) == before
    if (descriptors := Path("/proc/self/fd")).exists():
        assert not [link for link in descriptors.iterdir() if "tfevents" in str(link.resolve())]


def test_pytorch_is_not_loaded_for_it():
    code = "import sys; from lamarck.observers.tensorboard import TensorBoardObserver; TensorBoardObserver('x'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "False\n"


def test_what_comes_after_a_torn_record_is_still_shown(monkeypatch):
    events = journal(size=1, generations=4)
    observer, population = TensorBoardObserver("curves"), None
    for event in events:
        population = apply(population, event)
        if isinstance(event, Reported) and event.report.generation == 1:
            whole = observer._writer

            class Torn(whole):
                def write(self, data):
                    self._writer.write(data[: len(data) // 2])
                    raise OSError(28, "No space left on device")

            with monkeypatch.context() as patched:
                patched.setattr(observer, "_writer", Torn)
                with pytest.raises(OSError, match="No space left"):
                    observer(event, population)
        else:
            observer(event, population)
    first, _, *rest = points(lk.History.of(events), 0)
    assert scalars("curves/member-000", "value") == [first, *rest]


def test_a_file_is_no_folder():
    Path("file").write_text("")
    with pytest.raises(lk.SettingsError, match="got 'file', which is a file"):
        TensorBoardObserver("file")


def test_without_tensorboard_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    for name in [name for name in sys.modules if name.startswith("tensorboard.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(lk.MissingExtra, match=r"pip install 'lamarck\[tensorboard\]'"):
        TensorBoardObserver("curves")


def test_an_asynchronous_run_keeps_the_steps_that_were_reported():
    settings = Settings(population_size=4, interval=10, generations=6, max_lead=None)
    events = simulate(PBT(space=SPACE, settings=settings), lambda interval, state: (interval.hparams["lr"], None), speeds=(1.0, 0.3))
    told(TensorBoardObserver("curves"), events)
    for member in range(4):
        assert scalars(f"curves/member-{member:03d}", "value") == points(lk.History.of(events), member)
