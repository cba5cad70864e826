"""Verb by verb: save, should_exploit, exploit, explore. What the files hold must be what the journal says."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import lamarck as lk
from http_engine import create, served
from lamarck.checkpoints import open_checkpoints
from lamarck.coordinator import events_of
from lamarck.journal import open_journal
from lamarck.runs import checkpoints_of
from lamarck.scripts import Client
from lamarck.server.plan import Plan
from lamarck.verify import verify

EXAMPLES = Path(__file__).parents[1] / "examples"
SPACE = lk.Space(lr=lk.Float(0.1, 1.0), wd=lk.Float(1e-6, 1e-2, log=True))


def story(client, stop=None):
    """Trains a file that holds its own story: the hyperparameters of each interval, in order."""
    mine = f"mine-{threading.get_ident()}-{os.getpid()}.json"
    Path(mine).write_text("[]")
    client.start_from(mine)
    told = []
    while not client.over and (stop is None or len(told) < stop):
        if client.should_exploit():
            client.exploit()
            client.explore()
            told = json.loads(Path(client.parameters_path()).read_text())
        told.append(client.hyperparameters())
        Path(mine).write_text(json.dumps(told))
        client.save(mine, sum(h["lr"] for h in told))
        Path(mine).write_text("nobody must ever see this")
    return told


def check_stories(journal, name="main"):
    """Every file in the store tells the lineage that the journal tells."""
    history = lk.open_run(journal, name=name)
    assert history.ended == "generations"
    store = open_checkpoints(checkpoints_of(journal, name))
    seen = 0
    for record in history.records:
        if record.checkpoint in store.names():
            told = json.loads(store.get(record.checkpoint)["file"])
            assert told == [dict(ancestor.hparams) for ancestor in history.lineage(record.key)]
            assert record.value == pytest.approx(sum(h["lr"] for h in told))
            seen += 1
    assert seen >= history.settings.population_size
    assert history.copies
    with open_journal(journal) as book:
        assert verify(events_of(book, name)) is None
    return history


def test_alone_every_member_is_trained_from_the_weights_that_the_journal_names():
    story(Client(space=SPACE, generations=8, population_size=6, seed=2, journal="alone.db"))
    check_stories("alone.db")


def test_alone_a_script_that_is_stopped_goes_on_with_other_peoples_files():
    client = Client(space=SPACE, generations=8, population_size=6, seed=2, journal="alone.db")
    for _ in range(5):
        story(client, stop=4)
        client = Client(space=SPACE, generations=8, population_size=6, seed=2, journal="alone.db")
    story(client)
    history = check_stories("alone.db")
    story(Client(space=SPACE, generations=8, population_size=6, seed=2, journal="whole.db"))
    assert [(r.key, r.value) for r in history.records] == [(r.key, r.value) for r in lk.open_run("whole.db").records]


@pytest.mark.parametrize("max_lead", [0, None])
def test_scripts_that_join_a_server_share_no_disk(max_lead, tmp_path):
    rules = {"population_size": 6, "interval": 1, "generations": 8, "max_lead": max_lead}
    errors = []

    def joined(url):
        try:
            story(Client(url, "mine", space=SPACE))
        except BaseException as error:
            errors.append(error)

    with served("served.db") as (service, url):
        asyncio.run(service.create(Plan.of({"name": "mine", "space": SPACE.to_dict(), **rules})))
        scripts = [threading.Thread(target=joined, args=(url,)) for _ in range(3)]
        for script in scripts:
            script.start()
        for script in scripts:
            script.join()
    assert not errors
    check_stories("served.db", "mine")


def test_the_example_runs_alone_and_joined(tmp_path):
    command = [sys.executable, str(EXAMPLES / "scripts" / "own_loop.py")]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LAMARCK_")}
    done = subprocess.run(command, env={**clean, "LAMARCK_JOURNAL": "alone.db"}, capture_output=True, text=True, check=True)
    assert done.stdout == "the run is over\n"
    assert lk.open_run("alone.db").best.value > 0.7
    space = {
        "lr": {"type": "float", "low": 1e-3, "high": 10.0, "log": True},
        "weight_decay": {"type": "float", "low": 1e-6, "high": 0.1, "log": True},
    }
    rules = {"population_size": 5, "interval": 1, "generations": 6, "max_lead": None}
    with served("served.db") as (service, url):
        asyncio.run(service.create(Plan.of({"name": "digits", "space": space, **rules})))
        scripts = [subprocess.Popen([*command, url, "digits"], env=clean) for _ in range(2)]
        try:
            assert [script.wait(120) for script in scripts] == [0, 0]
        finally:
            for script in scripts:
                script.kill()  # if it was too slow; otherwise it has ended
    history = lk.open_run("served.db", name="digits")
    assert len(history.records) == 30
    assert history.best.value > 0.8


# ---- one verb after the other ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def client():
    Path("fresh.npz").write_bytes(b"fresh")
    made = Client(space=SPACE, generations=4, population_size=2, exploit=lk.exploit.Truncation(top=0.5, bottom=0.5), journal="run.db")
    made.start_from("fresh.npz")
    return made


def saved(client, text, value):
    Path("mine.npz").write_text(text)
    client.save("mine.npz", value)


def test_the_verbs_in_their_order(client):
    assert client.parameters_path() is None
    assert not client.should_exploit()  # member 0, fresh as the script itself
    first = client.hyperparameters()
    saved(client, "zero", 1.0)
    assert client.parameters_path() == "mine.npz"
    assert client.should_exploit()  # member 1 is to start fresh
    client.exploit()
    assert not client.should_exploit()
    assert Path(client.parameters_path()).read_bytes() == b"fresh"
    assert Path(client.parameters_path()).suffix == ".npz"
    assert client.hyperparameters() != first
    saved(client, "one", 0.5)
    assert client.should_exploit()  # it goes on with member 1, which takes over what member 0 had
    client.exploit()
    client.explore()
    assert Path(client.parameters_path()).read_text() == "zero"
    assert client.hyperparameters() != first
    saved(client, "one, from zero", 2.0)
    assert client.should_exploit()  # member 0, whose own weights this script does not hold any more
    client.exploit()
    assert Path(client.parameters_path()).read_text() == "zero"
    assert client.hyperparameters() == first
    assert lk.open_run("run.db").copies[0].donor == (0, 0)


def test_what_exploit_fetched_is_kept_until_the_next_and_no_longer(client):
    folder = set()
    for value in range(8):
        client.exploit()
        folder.add(Path(client.parameters_path() or "x").parent)
        saved(client, str(value), value)
    assert client.over
    (fetched,) = folder - {Path()}
    assert len([path for path in fetched.iterdir() if not path.name.startswith("fresh")]) == 1
    del client


def test_weights_that_were_not_loaded_are_not_counted(client):
    saved(client, "zero", 1.0)
    with pytest.raises(lk.TrainingError, match=r"member 1 was to go on from other weights than this script has trained: before training, ask"):
        saved(client, "zero again", 9.0)
    assert len(lk.open_run("run.db").records) == 1


def test_without_fresh_weights_a_script_trains_one_member():
    client = Client(space=SPACE, generations=4, population_size=2)
    saved(client, "zero", 1.0)
    with pytest.raises(lk.TrainingError, match=r"member 1 is to start from fresh weights, and this script has trained others"):
        client.should_exploit()


def test_hyperparameters_are_what_was_assigned(client):
    hparams = client.hyperparameters()
    client.set_hyperparameter("lr", hparams["lr"])
    with pytest.raises(lk.SettingsError, match=r"lr: got 0.5, and .* is assigned. The run decides what a member trains with"):
        client.set_hyperparameter("lr", 0.5)
    with pytest.raises(lk.SettingsError, match="speed: got a hyperparameter that this run does not tune; it tunes lr, wd"):
        client.set_hyperparameter("speed", 1)
    hparams["lr"] = 7.0
    assert client.hyperparameters()["lr"] != 7.0


def test_values_that_are_no_numbers_and_files_that_are_not_there_change_nothing(client):
    with pytest.raises(lk.SettingsError, match="path: 'nowhere.npz' cannot be read: No such file"):
        client.save("nowhere.npz", 1.0)
    with pytest.raises(lk.ReportError, match="value: got 'good'"):
        saved(client, "zero", "good")
    assert not lk.open_run("run.db").records
    saved(client, "zero", float("nan"))
    assert np.isnan(lk.open_run("run.db").records[0].value)


def test_after_the_end_nothing_counts_and_nothing_breaks(client, caplog):
    for value in range(8):
        client.exploit()
        saved(client, str(value), value)
    assert client.over
    assert not client.should_exploit()
    saved(client, "late", 99.0)
    assert "what is saved now does not count" in caplog.text
    assert len(lk.open_run("run.db").records) == 8


def test_a_damaged_file_is_not_loaded(client):
    saved(client, "zero", 1.0)
    client.exploit()
    saved(client, "one", 0.5)
    for file in checkpoints_of("run.db").rglob("*"):
        if file.is_file() and "00000-00000" in file.name.replace("0000-00000", "00000-00000"):
            os.truncate(file, file.stat().st_size // 2)
    client.exploit()
    history = lk.open_run("run.db")
    assert history.damaged
    told = Path(client.parameters_path()).read_bytes()
    assert told in (b"one", b"fresh")


def test_a_space_that_the_run_does_not_have_is_refused():
    with served("served.db") as (service, url):
        rules = {"population_size": 1, "interval": 1, "generations": 3}
        asyncio.run(service.create(Plan.of({"name": "main", "space": SPACE.to_dict(), **rules})))
        with pytest.raises(lk.SettingsError, match="which this script's space does not allow; it has speed"):
            Client(url, space=lk.Space(speed=lk.Float(0.0, 1.0)))


def test_a_folder_of_ones_own_is_used():
    Path("fresh").write_text("fresh")
    client = Client(space=SPACE, generations=2, population_size=2, folder="others")
    client.start_from("fresh")
    saved(client, "zero", 1.0)
    client.exploit()
    assert Path(client.parameters_path()).parent == Path("others")


# ---- in a process that lives on --------------------------------------------------------------------------------------------------------------


def joined_once(url):
    """A service's only member, held by a client whose cell has failed."""
    client = Client(url, "a")
    assert client.hyperparameters()
    return client


def replaced(url):
    old = joined_once(url)
    return old, Client(url, "a")


def left(url):
    old = joined_once(url)
    old.leave()
    assert old.over
    old.leave()
    return old, in_another_thread(lambda: Client(url, "a"))


def at_the_end_of_a_block(url):
    with joined_once(url) as old:
        pass
    return old, in_another_thread(lambda: Client(url, "a"))


def forgotten(url):
    joined_once(url)
    gc.collect()
    return None, in_another_thread(lambda: Client(url, "a"))


def refused(url):
    with pytest.raises(lk.SettingsError, match="does not allow"):
        Client(url, "a", space=lk.Space(other=lk.Float(0.0, 1.0)))
    gc.collect()
    return None, in_another_thread(lambda: Client(url, "a"))


def in_another_thread(make):
    made = []
    thread = threading.Thread(target=lambda: made.append(make()))
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "the interval was not given back"
    return made[0]


@pytest.mark.parametrize("way", [replaced, left, at_the_end_of_a_block, forgotten, refused])
def test_a_client_that_trains_no_more_gives_its_interval_back_at_once(way):
    """The lease is an hour: only a word can have freed the only member."""
    with served("s.db", lease=3600.0) as (service, url):
        create(url, population_size=1)
        old, new = way(url)
        assert not new.over
        assert service.run("a").leases == 1
        assert service.run("a").population.members[0].failures == 0
        new.leave()
        del old


def test_an_error_that_ends_a_block_over_a_client_is_told():
    with served("s.db", lease=3600.0) as (service, url):
        create(url, population_size=1)
        with pytest.raises(ZeroDivisionError), Client(url, "a"):
            _ = 1 / 0
        assert [failure.message for failure in lk.open_run("s.db", name="a").failures] == ["ZeroDivisionError: division by zero"]
        assert service.run("a").leases == 0
