"""What several test files need."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from functools import partial
from importlib.util import find_spec

import pytest
from hypothesis import HealthCheck, settings

# For a process of their own: they change what PyTorch takes for a device.
collect_ignore = [f"tests/{name}.py" for name in ("pretend", "real", "library_line", "device_side")]
if find_spec("triton") is None:  # which PyTorch's builds for GPUs bring along
    collect_ignore.append("src/lamarck/engines/vectorised/torch/_order_gpu.py")
os.environ.setdefault("KERAS_BACKEND", "torch")  # its own default is one that nothing else here needs
os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", WANDB_ERROR_REPORTING="false")  # both tell their makers of what is done with them

for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):  # whoever starts the tests by nohup, or beside a shell, has some of them ignored
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

settings.register_profile("lamarck", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lamarck")


def pytest_configure(config):
    """Lets all processes of a session share what JAX has compiled, in a folder that only this session sees, and W&B keep its own there.

    With a largest size, which nothing here comes near, each file is written and read under a lock.
    """
    if hasattr(config, "workerinput"):
        return  # a process of pytest-xdist: the first one has set it
    folder = tempfile.mkdtemp(prefix="lamarck-compiled-")
    config.add_cleanup(partial(shutil.rmtree, folder, ignore_errors=True))
    least = dict.fromkeys(("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"), "0")
    os.environ.update({"JAX_COMPILATION_CACHE_DIR": folder, "JAX_COMPILATION_CACHE_MAX_SIZE": str(2**30)} | least)
    os.environ.update({f"WANDB_{kind}_DIR": folder for kind in ("CACHE", "CONFIG", "DATA")})  # by default in the user's home


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path, monkeypatch):
    """Runs each test, doctests included, in a folder of its own.

    User code that it imports from there is gone when the next test has other code under the same name.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def _by_itself(request):
    """Lets a docstring's example see what its module defines, but not what that imports, which a reader does not have."""
    if isinstance(request.node, pytest.DoctestItem) and (test := request.node.dtest) is not None:
        own = test.globs.get("__name__")
        offered = test.globs.get("__all__", ())
        test.globs = {
            name: value
            for name, value in test.globs.items()
            if name in offered or getattr(value, "__module__", None) == own or name[:2] == "__"
        }


@pytest.fixture
def six_gpus(tmp_path, monkeypatch):
    """Lets this machine show six GPUs."""
    from lamarck.engines import gpus

    for number in range(6):
        (tmp_path / f"nvidia{number}").touch()
    monkeypatch.setattr(gpus, "_DEVICES", tmp_path)
    return tmp_path


def browser() -> str | None:
    """The Chromium that the tests marked `browser` drive: LAMARCK_BROWSER, or the system's."""
    named = os.environ.get("LAMARCK_BROWSER")
    return named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


_left_out = pytest.StashKey[int]()


def pytest_collection_modifyitems(config, items):
    """Leaves out what needs a browser where there is none; `pytest_terminal_summary` says so."""
    if browser() is None:
        driven = [item for item in items if item.get_closest_marker("browser")]
        config.stash[_left_out] = len(driven)
        config.hook.pytest_deselected(items=driven)
        items[:] = [item for item in items if item not in driven]


def pytest_terminal_summary(terminalreporter, config):
    """Says loudly what was not tested, and what to do about it."""
    if browser() is None and config.stash.get(_left_out, 1):
        terminalreporter.section("NOT TESTED: the report and the live page in a browser", red=True)
        terminalreporter.line("There is no Chromium here. Debian, Ubuntu: apt-get install chromium; elsewhere a package of that name,")
        terminalreporter.line("or name one: LAMARCK_BROWSER=/path/to/chromium scripts/test")


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium, the system's own, which talks to nobody but the tests.

    One for each file: as long as Playwright is there, its event loop counts as running in this thread, and other tests cannot run their own.
    """
    from playwright.sync_api import sync_playwright

    silent = ("gpu", "quic", "background-networking", "component-update", "sync")
    flags = ["--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in silent)]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser(), args=flags)
        yield started
        started.close()
