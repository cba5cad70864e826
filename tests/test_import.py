"""`import lamarck` and a run in memory need NumPy and nothing else."""

from __future__ import annotations

import subprocess
import sys
import textwrap

REFUSE_THIRD_PARTY = """
import importlib.abc, sys

ALLOWED = {"lamarck", "numpy"} | set(sys.stdlib_module_names)

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in ALLOWED:
            raise ModuleNotFoundError(f"refused: {name}", name=name)
        return None

already = {name.partition(".")[0] for name in sys.modules} - ALLOWED
sys.meta_path.insert(0, Refuse())
"""

A_RUN = """
import numpy as np
import lamarck as lk

def train(worker):
    x = np.ones(2)
    worker.track(x=x)
    for interval in worker:
        for _ in interval.steps:
            x -= interval.hparams["lr"] * 2 * x
        interval.report(float(x @ x))

space = lk.Space(lr=lk.Float(1e-4, 0.5, log=True), n=lk.Int(1, 9), kind=lk.Categorical(["a", "b"]), fixed=lk.Constant(3))
history = lk.run(train, space, population_size=4, interval=5, steps=20, mode="min", seed=1)
assert history.ended == "generations", history.ended
assert len(history.records) == 16
print(history)
"""

ONLY_NUMPY = """
with_file = {name for name, module in sys.modules.items() if getattr(module, "__file__", None)}
third = {name.partition(".")[0] for name in with_file} - ALLOWED - already
assert not third, f"imported beyond NumPy: {sorted(third)}"
"""


def python(*parts: str) -> subprocess.CompletedProcess[str]:
    code = "\n".join(textwrap.dedent(part) for part in parts)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)


def test_the_hook_refuses_what_is_installed() -> None:
    done = python(REFUSE_THIRD_PARTY, "import hypothesis")
    assert done.returncode == 1
    assert "ModuleNotFoundError: refused: hypothesis" in done.stderr


def test_import_and_a_run_in_memory_need_numpy_alone() -> None:
    done = python(REFUSE_THIRD_PARTY, A_RUN, ONLY_NUMPY)
    assert done.returncode == 0, done.stderr
    assert "16 of 16 intervals" in done.stdout


def test_everything_but_what_is_for_pytorch_can_be_imported_at_once() -> None:
    told = """
    torch = "mine"
    from lamarck import *
    from lamarck import __all__
    assert len(__all__) > 50 and all(name in globals() for name in __all__)
    print(torch, len(Space(lr=Float(0.1, 1))), sep="; ")
    """
    done = python(REFUSE_THIRD_PARTY, told, ONLY_NUMPY)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "mine; 1\n"


def test_import_loads_nothing_that_trains_or_draws() -> None:
    """With everything installed, too: importing PyTorch takes seconds, which nobody should pay who does not train with it."""
    heavy = ["torch", "matplotlib", "sklearn", "scipy", "pandas", "polars", "fsspec", "safetensors", "blake3", "rich", "cyclopts"]
    done = python("import sys, lamarck", f"print([name for name in {heavy} if name in sys.modules])")
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_what_needs_an_extra_says_which_line_installs_it() -> None:
    done = python(REFUSE_THIRD_PARTY, A_RUN, "from lamarck.plots import figures", "figures.values(history)")
    assert done.returncode == 1
    assert "pip install 'lamarck[plot]'" in done.stderr, done.stderr
    assert "lamarck._errors.MissingExtra" in done.stderr


def test_what_serves_says_which_line_installs_it() -> None:
    for module in ("lamarck.server.app", "lamarck.server.serve", "lamarck.web.dashboard"):
        done = python(REFUSE_THIRD_PARTY, f"import {module}")
        assert done.stderr.endswith("pip install 'lamarck[serve]'\n"), done.stderr


def test_a_journal_without_what_keeps_weights_is_refused_before_the_run_is_begun() -> None:
    """Not after the first interval: that would leave a run behind which has to be resumed or deleted."""
    place = """
    import atexit, os, tempfile
    folder = tempfile.mkdtemp()
    atexit.register(lambda: print(os.listdir(folder)))
    """
    run = A_RUN.replace("seed=1", "seed=1, journal=os.path.join(folder, 'a.db')")
    done = python(REFUSE_THIRD_PARTY, place, run)
    assert done.stdout == "[]\n"
    assert done.stderr.endswith("which is not installed: pip install 'lamarck[durable]'\n"), done.stderr


A_SCRIPT = """
import numpy as np
import lamarck as lk

worker = lk.worker(lk.Space(lr=lk.Float(1e-3, 1.0)), interval=2, steps=6)
x = np.ones(2)
worker.track(x=x)
for interval in worker:
    x *= 1 - interval.hparams["lr"]
    interval.report(-float(x @ x))
assert worker.over
"""


def test_a_script_that_is_alone_needs_numpy_alone() -> None:
    done = python(REFUSE_THIRD_PARTY, A_SCRIPT, ONLY_NUMPY)
    assert done.returncode == 0, done.stderr


def test_scripts_as_workers_say_what_serves_them() -> None:
    done = python(REFUSE_THIRD_PARTY, "from lamarck.scripts import Scripts", "Scripts(command=['python', 'train.py'])")
    assert done.returncode == 1
    assert done.stderr.endswith("A script as a worker needs the package 'starlette', which is not installed: pip install 'lamarck[serve]'\n")
