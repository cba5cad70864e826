"""The service under fire, and under random questions: the tests of that kind at full strength, and what they count.

python benchmarks/service_fire.py [--quick]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from _common import machine, save

TESTS = Path(__file__).parents[1] / "tests"
FULL = {
    "LAMARCK_CHAOS_CLIENTS": "16",
    "LAMARCK_CHAOS_KILLS": "20",
    "LAMARCK_CHAOS_GENERATIONS": "80",
    "LAMARCK_FUZZ_EXAMPLES": "1000",
}


def counted(test: str, words: str, environment: dict[str, str]) -> str:
    """Runs a test and returns the line in which it says what it has done."""
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", str(TESTS / test)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout[-4000:])
    return next(line for line in done.stdout.splitlines() if words in line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="as strong as in the test suite; writes nothing")
    quick = parser.parse_args().quick
    facts = machine(("lamarck", "starlette", "uvicorn", "schemathesis", "hypothesis"))
    fire = counted("test_server_chaos.py", "kills of the server", {} if quick else FULL)
    questions = counted("test_server_fuzz.py", "requests;", {} if quick else FULL)
    text = (
        f"Under fire: {fire}.\n\n"
        "In the end every report is in the journal once, with the value that was acknowledged; every lineage is whole; every decision follows\n"
        "from what was known before it; and values and hyperparameters are those of the same run in one process.\n\n"
        f"Random questions made from the OpenAPI document, right ones and wrong ones: {questions}.\n\n"
        "No answer was a fault of the server, each was one that the document names, and no refused one changed anything."
    )
    if quick:
        print(text)
        return
    save("service-fire", "The service under fire", text, {"fire": fire, "questions": questions}, facts)


if __name__ == "__main__":
    main()
