"""Processes of the vectorised engine: what they can be given, what they share, how they die, and that none is left."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest

import lamarck as lk
from lamarck.engines.vectorised.hosts import hosted
from lamarck.engines.vectorised.parcel import Parcel, Unsendable
from lamarck.testing.engine import SPACE
from lamarck.testing.stacks import StackedNumbers

# ---- deaths ----------------------------------------------------------------------------------------------------------------------------------

VERBS = ("init", "fit", "evaluate", "gather", "scatter", "save", "load")


class Mortal(lk.VectorTask):
    """Kills its process the so manieth time that it is asked to do something, in one process alone."""

    def __init__(self, folder, verb, number, times=1):
        self.folder, self.verb, self.number, self.times, self.calls = Path(folder), verb, number, times, 0
        self.numbers = StackedNumbers()

    def _pass(self, verb):
        if verb == self.verb:
            self.calls += 1
            if self.calls >= self.number:
                for time in range(self.times):
                    try:
                        (self.folder / f"died-{time}").touch(exist_ok=False)
                    except FileExistsError:
                        continue
                    os.kill(os.getpid(), signal.SIGKILL)

    def init(self, seeds):
        self._pass("init")
        return self.numbers.init(seeds)

    def fit(self, state, intervals):
        self._pass("fit")
        return self.numbers.fit(state, intervals)

    def evaluate(self, state, intervals):
        self._pass("evaluate")
        return self.numbers.evaluate(state, intervals)

    def gather(self, state, rows):
        self._pass("gather")
        return self.numbers.gather(state, rows)

    def scatter(self, state, rows, part):
        self._pass("scatter")
        return self.numbers.scatter(state, rows, part)

    def save(self, state):
        self._pass("save")
        return self.numbers.save(state)

    def load(self, saved):
        self._pass("load")
        return self.numbers.load(saved)


def settings(**more):
    return {"population_size": 6, "interval": 3, "generations": 7, "seed": 3, "exploit": lk.exploit.Truncation(bottom=0.4, top=0.4)} | more


def outcome(history):
    return {record.key: (record.value, record.hparams, record.parent) for record in history.records}


@pytest.fixture(scope="module")
def unbroken():
    return outcome(lk.run(StackedNumbers(), SPACE, engine=lk.Vectorised(), **settings()))


@pytest.mark.parametrize(
    ("verb", "number", "every"),
    [(verb, 2, every) for verb in VERBS if verb != "init" for every in (1, 3)] + [("init", 1, 1), ("save", 1, 100), ("fit", 5, 100)],
)
def test_a_process_that_dies_is_replaced_and_nothing_changes(verb, number, every, tmp_path, unbroken):
    task = Mortal(tmp_path, verb, number)
    engine = lk.Vectorised(processes=2, members_per_chunk=2, checkpoint_every=every)
    history = lk.run(task, SPACE, journal=tmp_path / "run.db", engine=engine, **settings())
    assert history.ended == "generations"
    assert {failure.kind for failure in history.failures} <= {"lost"}
    assert outcome(history) == unbroken
    for member in range(6):  # what the journal names is there, and is what was judged
        last = history.member(member)[-1]
        x, _ = StackedNumbers.written(lk.load(tmp_path / "run.db", last.checkpoint))
        assert -abs(x) == last.value
    assert (tmp_path / "died-0").exists()
    assert history.failures or every > 1


class Fathers(Mortal):
    """Has a child of its own that holds everything open that it has."""

    def fit(self, state, intervals):
        if not (self.folder / "died-0").exists() and not os.fork():
            (self.folder / f"worker-{os.getpid()}").touch()
            time.sleep(600)
            os._exit(0)
        return super().fit(state, intervals)


def test_the_death_of_a_process_with_children_is_seen_at_once(tmp_path, unbroken):
    history = lk.run(Fathers(tmp_path, "fit", 2), SPACE, engine=lk.Vectorised(processes=2), **settings())
    assert outcome(history) == unbroken
    assert {failure.kind for failure in history.failures} == {"lost"}
    assert list(tmp_path.glob("worker-*"))
    assert gone(tmp_path, 2)


@pytest.mark.parametrize("every", [1, 3])
def test_a_process_that_dies_without_a_journal(every, tmp_path, unbroken):
    engine = lk.Vectorised(processes=2, checkpoint_every=every)
    assert outcome(lk.run(Mortal(tmp_path, "fit", 3), SPACE, engine=engine, **settings())) == unbroken
    assert (tmp_path / "died-0").exists()


@pytest.mark.parametrize("verb", ["init", "evaluate", "save"])
def test_a_process_that_always_dies_ends_the_run_with_the_reason(verb, tmp_path):
    with pytest.raises(lk.PopulationLost, match="the last time: a process with a part of the population died: killed by SIGKILL"):
        lk.run(Mortal(tmp_path, verb, 1, times=10**6), SPACE, engine=lk.Vectorised(processes=2), **settings(max_failures=0))


def test_a_resumed_stack_takes_its_rows_from_several_files(tmp_path, unbroken):
    def stopping(event, population):
        if population.generations.min() >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lk.run(
            StackedNumbers(), SPACE, journal=tmp_path / "run.db", engine=lk.Vectorised(members_per_chunk=1), observers=[stopping], **settings()
        )
    assert outcome(lk.resume(StackedNumbers(), tmp_path / "run.db", engine=lk.Vectorised(processes=2))) == unbroken


def test_what_a_pipe_could_not_hold_goes_beside_it():
    many = settings(population_size=2010, generations=2, exploit=lk.exploit.Truncation())
    history = lk.run(StackedNumbers(), SPACE, engine=lk.Vectorised(processes=2), **many)
    assert sorted(record.key for record in history.records) == [(m, g) for m in range(2010) for g in range(2)]


# ---- what is left of them --------------------------------------------------------------------------------------------------------------------

LOADING = """
import os, sys, time
from pathlib import Path
import torch
from torch.utils.data import DataLoader, Dataset
import lamarck as lk

class Numbers(Dataset):
    def __len__(self):
        return 400
    def __getitem__(self, i):
        Path(f"worker-{os.getpid()}").touch()
        if Path("slow").exists():
            time.sleep(0.2)
        return torch.tensor([float(i)]), torch.tensor([2.0 * i])

def model():
    return torch.nn.Linear(1, 1)

def loss(model, batch, hparams):
    return torch.nn.functional.mse_loss(model(batch[0] / 400), batch[1] / 400)

if __name__ == "__main__":
    x = torch.ones(1, 1)
    loader = DataLoader(Numbers(), batch_size=8, shuffle=True, num_workers=2)
    task = lk.Supervised(model, loss, train=loader, test=(x, x), how="batched")
    space = lk.Space(lr=lk.Float(1e-3, 1e-1, log=True))
    history = lk.run(task, space, population_size=4, interval=5, generations=2, mode="min", engine=lk.Vectorised(processes=2))
    print(len(history.records))
"""


def living(folder):
    pids = [int(file.name.partition("-")[2]) for file in folder.glob("worker-*")]
    return [pid for pid in pids if Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")]


def gone(folder, seconds=60):
    until = time.monotonic() + seconds
    while living(folder) and time.monotonic() < until:
        time.sleep(0.05)
    return not living(folder)


@pytest.mark.slow
def test_a_loader_with_workers_of_its_own_works_and_leaves_none(tmp_path):
    (tmp_path / "script.py").write_text(LOADING, encoding="utf-8")
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "8\n"), done.stderr
    assert len(list(tmp_path.glob("worker-*"))) >= 4
    assert gone(tmp_path, 2)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGHUP])
def test_who_ends_the_engine_ends_its_processes_and_theirs(how, tmp_path):
    (tmp_path / "script.py").write_text(LOADING, encoding="utf-8")
    (tmp_path / "slow").touch()
    with subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as engine:
        until = time.monotonic() + 240
        while len(living(tmp_path)) < 4 and time.monotonic() < until:
            time.sleep(0.05)
        assert len(living(tmp_path)) >= 4
        engine.send_signal(how)
        assert engine.wait(20) != 0
    assert gone(tmp_path)


# ---- what they can be given ------------------------------------------------------------------------------------------------------------------

TASK = """
import os
from pathlib import Path
import lamarck as lk
from lamarck.testing.engine import SPACE
from lamarck.testing.stacks import StackedNumbers

class Task(StackedNumbers):
    def fit(self, state, intervals):
        Path(f"trained-{os.getpid()}").touch()
        return super().fit(state, intervals)
    def processes(self, members):
        return 2
"""

RUN = """
history = lk.run(Task(), SPACE, population_size=4, interval=2, generations=2, engine=lk.Vectorised(PROCESSES))
print(history.ended)
"""


def plain_task():
    """A task that is no final class."""
    source = Path(sys.modules[StackedNumbers.__module__].__file__).read_text(encoding="utf-8")
    return source.replace("@final\n", "").replace("frozen=True, slots=True", "frozen=True")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "numbers_task.py").write_text(plain_task(), encoding="utf-8")
    return tmp_path


def script(guard, processes="", moved=False):
    task = TASK.replace("lamarck.testing.stacks", "numbers_task")
    run = RUN.replace("PROCESSES", processes)
    if guard == "none":
        return task + run
    below = task + run if moved else run
    return ("" if moved else task) + '\nif __name__ == "__main__":\n' + "".join(f"    {line}\n" for line in below.splitlines())


def started(folder, arguments, given=None):
    done = subprocess.run([sys.executable, *arguments], input=given, cwd=folder, capture_output=True, text=True, check=False)
    return done, len(list(folder.glob("trained-*")))


def test_a_guarded_script_has_its_processes(folder):
    (folder / "script.py").write_text(script("guard"), encoding="utf-8")
    done, trained = started(folder, ["script.py"])
    assert (done.returncode, done.stdout, done.stderr, trained) == (0, "generations\n", "", 2)


@pytest.mark.parametrize(
    ("source", "arguments", "reason"),
    [
        (script("none"), ["script.py"], "put this under `if __name__ == '__main__':`"),
        (script("guard", moved=True), ["script.py"], "Task stands below `if __name__ == '__main__':`"),
        (script("none"), ["-"], "in no file that another process could run"),
        (script("guard"), ["-"], "in no file that another process could run"),
        (script("none"), ["-c", script("none")], "Task cannot be found from there"),
        (script("none"), ["-m", "script"], "put this under `if __name__ == '__main__':`"),
    ],
    ids=["unguarded", "below", "pipe", "guarded pipe", "command", "module"],
)
def test_what_no_other_process_could_load_is_trained_in_this_one(source, arguments, reason, folder):
    (folder / "script.py").write_text(source, encoding="utf-8")
    done, trained = started(folder, arguments, source if arguments == ["-"] else None)
    assert (done.returncode, done.stdout, trained) == (0, "generations\n", 1), done.stderr
    assert done.stderr.count("\n") == 1
    assert "training in this process, not in 2" in done.stderr
    assert reason in done.stderr


def test_who_insists_on_processes_is_told_at_once(folder):
    (folder / "script.py").write_text(script("none", "processes=2"), encoding="utf-8")
    done, trained = started(folder, ["script.py"])
    assert (done.returncode, trained) == (1, 0)
    assert done.stderr.count("SettingsError: processes: got 2") == 1
    assert "put this under `if __name__ == '__main__':`, or take processes=1" in done.stderr


def test_a_prompt_sends_what_it_has_imported(folder):
    (folder / "mine.py").write_text(TASK.replace("lamarck.testing.stacks", "numbers_task"), encoding="utf-8")
    done, trained = started(folder, ["-c", "from mine import *\nfrom mine import lk\n" + RUN.replace("PROCESSES", "")])
    assert (done.returncode, done.stdout, done.stderr, trained) == (0, "generations\n", "", 2)


@pytest.mark.slow
def test_a_notebook_trains_in_its_own_process(folder):
    cell = nbformat.v4.new_code_cell(script("none"))
    book = nbformat.v4.new_notebook(cells=[cell])
    nbclient.NotebookClient(book, timeout=100, resources={"metadata": {"path": str(folder)}}).execute()
    printed = {output.name: output.text for output in book.cells[0].outputs if output.output_type == "stream"}
    assert printed["stdout"] == "generations\n"
    assert "Task cannot be found from there: put what the task is made of into a module" in printed["stderr"]
    assert len(list(folder.glob("trained-*"))) == 1


def test_what_cannot_be_pickled_is_said(caplog):
    class Local(Mortal):
        def processes(self, members):
            return 2

    with caplog.at_level(logging.WARNING, "lamarck"):
        lk.run(Local("", "", 1), SPACE, engine=lk.Vectorised(), **settings())
    (line,) = [record.getMessage() for record in caplog.records]
    assert "cannot be pickled" in line
    assert "top level of a module" in line


def test_a_process_that_cannot_even_begin_ends_the_run_with_a_hint(folder):
    source = script("guard") + '\nif __name__ == "__mp_main__":\n    raise OSError("no such thing here")\n'
    (folder / "script.py").write_text(source, encoding="utf-8")
    done, trained = started(folder, ["script.py"])
    assert (done.returncode, trained) == (1, 0)
    assert done.stderr.count("OSError: no such thing here") <= 2  # once for each process
    assert "TrainingError: a process ended before it could train (exit code 1)" in done.stderr
    assert "processes=1" in done.stderr


class Unloadable(Mortal):
    def __setstate__(self, state):
        raise FileNotFoundError("the data are not here")


def test_what_cannot_be_loaded_is_said(tmp_path):
    with pytest.raises(lk.TrainingError, match=r"cannot be loaded in another process: FileNotFoundError: the data.*processes=1"):
        lk.run(Unloadable(tmp_path, "", 1), SPACE, engine=lk.Vectorised(processes=2), **settings())


# ---- data ------------------------------------------------------------------------------------------------------------------------------------


class Holds:
    def __init__(self, *data):
        self.data = data


def test_tensors_and_arrays_arrive_as_they_were_and_views_stay_views():
    import torch

    base = torch.arange(12.0).reshape(3, 4)
    given = [base, base[1:], base.T, base[:, ::2], torch.zeros(1).expand(3), torch.empty(0, 2), torch.tensor(True)]
    given += [torch.arange(3).to(torch.bfloat16), torch.tensor([1 + 2j]).conj(), torch.ones(2, requires_grad=True), torch.nn.Parameter(base)]
    given += [np.arange(6).reshape(2, 3)[:, 1:], np.array(["a"], dtype=object), np.asfortranarray(np.ones((2, 3)))]
    got = Parcel.of(Holds(*given)).open().data
    for one, other in zip(given, got, strict=True):
        assert type(one) is type(other)
        assert one.dtype == other.dtype
        if isinstance(one, torch.Tensor):
            assert torch.equal(one, other)
            assert one.requires_grad == other.requires_grad
        else:
            np.testing.assert_array_equal(one, other)
    got[1][0, 0] = -1
    assert got[0][1, 0] == -1
    assert base[1, 0] == -1  # in this process the data are the same


class Reads(Mortal):
    """Reports what it holds: how much of it, how much memory of its own that takes, and that it can write into it unseen."""

    def __init__(self, data, *more):
        super().__init__(*more)
        self.data = data

    def evaluate(self, state, intervals):
        total = float(self.data.sum())
        own = sum(int(line.split()[1]) for line in Path("/proc/self/smaps_rollup").read_text().splitlines() if line.startswith("Private_Dirty"))
        self.data[0] += 1
        return lk.Scores(values=state["x"], metrics={"sum": [total] * len(intervals), "own": [own / 1000] * len(intervals)})


@pytest.mark.parametrize("kind", ["tensor", "array"])
def test_data_are_in_memory_once_for_all_processes(kind, tmp_path):
    import torch

    megabytes = 500  # well above what Python and PyTorch take for themselves
    data = torch.ones(megabytes << 17, dtype=torch.float64) if kind == "tensor" else np.ones(megabytes << 17)
    history = lk.run(Reads(data, tmp_path, "", 1), SPACE, engine=lk.Vectorised(processes=2), **settings(generations=2))
    for record in history.records:
        assert record.metrics["sum"] == (megabytes << 17) + record.generation  # what a process writes it sees, and nobody else does
        assert record.metrics["own"] < megabytes
    assert float(data.sum()) == megabytes << 17


def test_a_process_that_starts_again_has_the_data_as_they_were(tmp_path):
    data = np.ones(1000)
    history = lk.run(Reads(data, tmp_path, "fit", 2), SPACE, engine=lk.Vectorised(processes=1, members_per_chunk=6), **settings(generations=1))
    assert {record.metrics["sum"] for record in history.records} == {1000}
    with hosted(Reads(data, tmp_path, "", 1), 4, 1, 2) as hosts:
        assert len(hosts) == 2


def test_unsendable_is_no_accident():
    with pytest.raises(Unsendable, match="cannot be pickled"):
        Parcel.of(lambda: None)
