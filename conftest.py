"""What several test files need."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("lamarck", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lamarck")


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path, monkeypatch, request):
    """Runs each test, doctests included, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
