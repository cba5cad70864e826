"""Training functions that go wrong, in a module that worker processes can import."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np


def dies_once(worker):
    x = np.array([1.0])
    worker.track(x=x)
    for interval in worker:
        marker = Path(f"died-{interval.member}-{interval.generation}")
        if interval.generation == 1 and interval.member in (1, 2) and not marker.exists():
            marker.touch()
            if interval.member == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            os._exit(7)
        x *= 0.9
        interval.report(float(x[0]))


def hangs_once(worker):
    x = np.array([1.0])
    worker.track(x=x)
    for interval in worker:
        marker = Path(f"hung-{interval.member}-{interval.generation}")
        if interval.key == (1, 1) and not marker.exists():
            marker.touch()
            time.sleep(600)
        x *= 0.9
        interval.report(float(x[0]))


def dies_before_its_child(worker):
    x = np.array([1.0])
    worker.track(x=x)
    for interval in worker:
        marker = Path("child")
        if interval.key == (1, 1) and not marker.exists():
            child = os.fork()
            if child == 0:
                time.sleep(600)
                os._exit(0)
            marker.write_text(str(child))
            os.kill(os.getpid(), signal.SIGKILL)
        interval.report(float(x[0]))


def kills_the_fork_server(worker):
    x = np.array([1.0])
    worker.track(x=x)
    for interval in worker:
        if interval.key == (1, 1) and not Path("killed").exists():
            Path("killed").touch()
            os.kill(os.getppid(), signal.SIGKILL)
        if interval.key == (2, 2) and not Path("died").exists():
            Path("died").touch()
            os._exit(7)
        time.sleep(0.05)
        interval.report(float(x[0]))


def always_raises(worker):
    worker.track(x=np.zeros(1))
    for _ in worker:
        raise ValueError("as always")


def fails_early(worker):
    raise FileNotFoundError("data.csv")


def returns_early(worker):
    pass


def reports_nothing(worker):
    worker.track(x=np.zeros(1))
    for _ in worker:
        pass


def reports_words(worker):
    worker.track(x=np.zeros(1))
    for interval in worker:
        interval.report("good")


def exits_early(worker):
    os._exit(3)


def tells(worker):
    import torch

    said = {"gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "omp": os.environ["OMP_NUM_THREADS"], "torch": torch.get_num_threads()}
    worker.track(x=np.zeros(1))
    for interval in worker:
        time.sleep(1.0 if interval.generation == 0 else 0.0)  # until every worker has a member
        interval.report(0.0, metrics={"gpu": float(said["gpu"]), "omp": float(said["omp"]), "torch": said["torch"]})


def tells_how_processes_start(worker):
    worker.track(x=np.zeros(1))
    for interval in worker:
        interval.report(float(multiprocessing.get_start_method() == multiprocessing.get_all_start_methods()[0]))


def counts_loads(worker):
    """Counts in an untracked number: it survives only where the process goes on with its own member."""
    count = [0]
    worker.track(x=np.zeros(1))
    for interval in worker:
        time.sleep(0.5 if interval.generation == 0 else 0.0)  # until every worker has a member
        count[0] += 1
        interval.report(float(count[0]))


def breaks_a_pipe(worker):
    x = np.array([1.0])
    worker.track(x=x)
    for interval in worker:
        marker = Path(f"broke-{interval.member}")
        if interval.key == (1, 1) and not marker.exists():
            marker.touch()
            raise BrokenPipeError("the data loader's own pipe")
        interval.report(float(x[0]))


def square(x):
    return x * x


def has_children(worker):
    """As a data loader does."""
    x = np.array([1.0])
    worker.track(x=x)
    for interval in worker:
        with multiprocessing.get_context("fork").Pool(1) as pool:
            interval.report(float(pool.map(square, [3.0])[0]))


def dies_or_hangs_once(worker):
    x = np.array([1.0])
    worker.track(x=x)
    for interval in worker:
        marker = Path(f"met-{interval.member}")
        if interval.generation == 1 and interval.member in (1, 2) and not marker.exists():
            marker.touch()
            if interval.member == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(600)
        x *= 0.9
        interval.report(float(x[0]))


def meets_the_other(worker):
    """Goes on only when two workers have an interval, and tells how it is placed. What is not tracked survives where the process goes on."""
    x, loads = np.array([1.0]), [0]

    def load(state):
        loads[0] += 1
        x[:] = state["x"]

    worker.track(x=(lambda: {"x": x}, load))
    for interval in worker:
        Path(f"here-{os.getpid()}").touch()
        deadline = time.monotonic() + 200
        while len(list(Path().glob("here-*"))) < 2:
            if time.monotonic() > deadline:
                raise TimeoutError("the other does not come")
            time.sleep(0.05)
        x += interval.hparams["h"]
        placed = {"gpu": float(os.environ["CUDA_VISIBLE_DEVICES"]), "threads": float(os.environ["OMP_NUM_THREADS"])}
        told = {"process": float(os.getpid()), "loads": float(loads[0]), "generation": float(interval.generation)}
        interval.report(float(x[0]), metrics=placed | told)
