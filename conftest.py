"""What several test files need."""

from __future__ import annotations

import os
import shutil
import sys

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("KERAS_BACKEND", "torch")  # its own default is one that nothing else here needs

settings.register_profile("lamarck", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lamarck")


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path, monkeypatch):
    """Runs each test, doctests included, in a folder of its own.

    User code that it imports from there is gone when the next test has other code under the same name.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


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
