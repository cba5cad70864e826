"""Runs that are read back from what W&B writes offline, by a reader of its format that is independent of the one that the observer has."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import pytest
import wandb
from google.protobuf.json_format import MessageToDict
from wandb.proto import wandb_internal_pb2

import lamarck as lk
from lamarck.observers.wandb import WandbObserver
from lamarck.observers.wandb_files import history_of, records_of
from lamarck.population import replay
from lamarck.schedule import Schedule
from tracked import improvements, journal, killed_and_resumed, resumed, same, told, values


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """Lets W&B talk to nobody."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    yield
    wandb.teardown()


def tracker(**settings):
    return WandbObserver("digits", **{"mode": "offline", "folder": ".", "patience": 300.0, **settings})


def read(path):
    """Every record of a file, as plain dictionaries: all blocks first cut into parts, then parts joined."""
    data, parts = path.read_bytes(), []
    assert data[:4] == b":W&B"
    for block in range(0, len(data), 32768):
        at, end = max(block, 7), min(block + 32768, len(data))
        while end - at >= 7:
            checksum, length, kind = struct.unpack("<IHB", data[at : at + 7])
            body = data[at + 7 : at + 7 + length]
            assert zlib.crc32(bytes([kind]) + body) == checksum
            parts.append((kind, body))
            at += 7 + length
    joined, records = b"", []
    for kind, body in parts:
        joined += body
        if kind in (1, 4):
            records.append(MessageToDict(wandb_internal_pb2.Record.FromString(joined), preserving_proto_field_name=True))
            joined = b""
    return records


def groups():
    """Populations by group: name of the run -> (rows, config, records) of all its files, in the order of their beginning."""
    found = {}
    for path in sorted(Path("wandb").glob("offline-run-*/run-*.wandb"), key=lambda path: path.parent.name):
        records = read(path)
        begun = [record["run"] for record in records if "run" in record]
        if not begun:  # of a process that was killed before W&B had written anything of this run
            assert not records
            continue
        (run,) = begun
        assert run["run_id"] == path.stem.removeprefix("run-")
        assert run["resume"]  # or a second file of the run would overwrite the first when they are sent
        rows, config, before = found.setdefault(run["run_group"], {}).setdefault(run["display_name"], ([], {}, []))
        for record in records:
            for item in record.get("config", {}).get("update", []) + (record.get("run", {}).get("config", {}).get("update", [])):
                config["/".join(item.get("nested_key", [])) or item["key"]] = json.loads(item["value_json"])
            if "history" in record:
                rows.append({"/".join(item["nested_key"]): json.loads(item["value_json"]) for item in record["history"]["item"]})
        before += records
    return found


def points(rows, name):
    assert [row["_step"] for row in rows] == [*range(len(rows))]  # W&B leaves out what does not go up
    return [(row["step"], float(row[name])) for row in rows if name in row]


def check(events):
    """That the one group there is holds exactly what the journal says."""
    history = lk.History.of(events)
    ((_, runs),) = groups().items()
    assert sorted(runs) == [*(f"member-{member:03d}" for member in range(history.settings.population_size)), "population"]
    for name, (rows, config, _) in runs.items():
        if name == "population":
            continue
        records = history.member(int(name[-3:]))
        assert same(points(rows, "value"), values(history, int(name[-3:])))
        assert points(rows, "hparams/lr") == [(record.step, record.hparams["lr"]) for record in records]
        assert [row["hparams/optimizer"] for row in rows] == [record.hparams["optimizer"] for record in records]
        copied = [(record.step, record.parent[0]) for record in records if record.parent and record.parent[0] != record.member]
        assert points(rows, "copied_from") == copied
        assert records[-1].hparams.items() <= config.items()
    rows, config, records = runs["population"]
    climbs = [(record.step, record.value, record.member) for record in improvements(history)]
    assert [(row["step"], row["best"], row["best_member"]) for row in rows] == climbs
    assert (config["population_size"], config["exploit"]) == (history.settings.population_size, "truncation")
    return history, records


def test_a_population_is_a_group_with_a_run_for_each_member():
    events, observer = journal(size=4, generations=8), tracker(name="first")
    told(observer, events)
    observer.settle()
    history, records = check(events)
    assert history.copies  # or nothing was tested of them
    assert next(iter(groups())).startswith("first ")
    (artifact,) = (record["artifact"] for record in records if "artifact" in record)
    contents = {item["path"]: Path(item["local_path"]).read_text() for item in artifact["manifest"]["contents"]}
    assert Schedule.from_text(contents["schedule.json"]) == history.schedule()
    copies = json.loads(contents["copies.json"])
    assert [(it["member"], tuple(it["donor"])) for it in copies] == [(it.member, it.donor) for it in history.copies]


def test_a_resumed_run_goes_on_and_nothing_is_there_twice():
    events = journal()
    resumed(tracker, events, [5, 20, 25])
    check(events)


def test_what_a_kill_kept_out_is_sent_when_the_run_goes_on():
    events, observer = journal(), tracker()
    told(observer, events[:10])
    observer.settle()
    later = tracker()  # knows nothing of what was told in between
    later.recall(lk.History.of(events[:20]))
    told(later, events[20:], replay(events[:20]))
    later.settle()
    check(events)


def test_a_killed_process_leaves_a_run_that_another_goes_on_with():
    killed_and_resumed(
        "from lamarck.observers.wandb import WandbObserver\nobserver = WandbObserver('digits', mode='offline', folder='.', patience=300.0)"
    )
    history = lk.open_run("run.db")
    together = [rows for runs in groups().values() for name, (rows, _, _) in runs.items() if name == "member-001"]
    # W&B's process loses what it has not written when it is killed with ours: perhaps all, and then the group is another one.
    assert same(points(together[-1], "value"), values(history, 1))


def test_a_new_run_does_not_mix_with_a_former_one_even_if_it_began_in_the_same_way():
    events = journal(size=2, generations=3)
    for _ in range(2):
        observer = tracker()
        told(observer, events)
        observer.settle()
    assert [len(runs["member-000"][0]) for runs in groups().values()] == [3, 3]


def test_runs_of_the_program_itself_are_left_alone():
    own = wandb.init(project="own", mode="offline", dir=".")
    observer = tracker()
    told(observer, journal(size=1, generations=2))
    observer.settle()
    assert wandb.run is own
    own.log({"x": 1})
    own.finish()


# ---- reading W&B's files --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def file():
    observer = tracker()
    told(observer, journal(size=2, generations=200))
    observer.settle()
    (path,) = Path("wandb").glob("offline-run-*/run-*member-000.wandb")
    return path


def test_a_file_is_read_as_w_and_b_wrote_it_and_up_to_where_it_is_torn(file):
    data, whole = file.read_bytes(), read(file)
    assert len(data) > 2 * 32768  # parts across blocks are among them
    assert [MessageToDict(record, preserving_proto_field_name=True) for record in records_of(file)] == whole
    assert [int(row["_step"]) for row in history_of(file)] == [*range(200)]
    for cut in (0, 3, 7, 10, 1000, 32767, 32770, 40_000, len(data) - 1):
        torn = Path("torn.wandb")
        torn.write_bytes(data[:cut])
        rows = [int(row["_step"]) for row in history_of(torn)]
        assert rows == [*range(len(rows))]
    broken = Path("broken.wandb")
    broken.write_bytes(data[:5000] + bytes([data[5000] ^ 1]) + data[5001:])
    assert 0 < len([*history_of(broken)]) < 200
    broken.write_bytes(b"something else")
    assert [*history_of(broken)] == []


# ---- what can go wrong ----------------------------------------------------------------------------------------------------------------------


def test_what_cannot_be_is_refused_at_once(monkeypatch):
    with pytest.raises(lk.SettingsError, match="project: got ''"):
        WandbObserver("")
    with pytest.raises(lk.SettingsError, match="mode: got 'on'"):
        WandbObserver("digits", mode="on")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("NETRC", str(Path("none").absolute()))
    with pytest.raises(lk.SettingsError, match=r"No API key configured.*mode='offline'"):
        WandbObserver("digits", mode="online")
