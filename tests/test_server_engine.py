"""Workers over HTTP keep the same Laws as the engines in the house."""

import pytest

from http_engine import OverHttp
from lamarck.testing.engine import ENGINE_LAWS


@pytest.mark.parametrize("law", ENGINE_LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("direct", [True, False], ids=["shared folder", "through the server"])
@pytest.mark.parametrize("workers", [1, 3])
def test_law(law, workers, direct, tmp_path):
    law(OverHttp(workers, direct=direct), tmp_path)


@pytest.mark.slow
def test_decisions_of_processes_equal_the_inline_engines(tmp_path):
    ENGINE_LAWS[0](OverHttp(2, direct=False, processes=True), tmp_path)
