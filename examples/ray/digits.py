"""The population of digits_cnn.py on a Ray cluster: where it runs is all that differs.

    python examples/ray/digits.py                                   # this machine as a cluster of one
    RAY_ADDRESS=auto python examples/ray/digits.py                  # on a machine of a cluster that is running
    RAY_ADDRESS=http://HEAD:8265 ray job submit --working-dir examples \
        --runtime-env-json '{"pip": ["lamarck[ray,torch]", "scikit-learn"]}' -- python ray/digits.py --journal /shared/digits.db

Started again with the same journal, after whatever end, it goes on where it was. Needs lamarck[ray,torch] and scikit-learn on every node.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import lamarck as lk
from lamarck.observers.progress import PlainProgress

sys.path.insert(0, str(Path(__file__).parents[1]))

import digits_cnn

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--journal", default="digits.db", help="where the run is written; on a cluster a disk that outlives the job")
    parser.add_argument("--population-size", type=int, default=16)
    parser.add_argument("--generations", type=int, default=15)
    parser.add_argument("--gpus-per-worker", type=float, default=0.0, help="0.25 lets four members share a GPU")
    given = parser.parse_args()
    history = lk.run(
        digits_cnn.train,
        digits_cnn.space,
        population_size=given.population_size,
        interval=40,
        generations=given.generations,
        mode="min",
        engine=lk.Ray(gpus_per_worker=given.gpus_per_worker),
        journal=given.journal,
        resume=True,
        observers=[PlainProgress()],
    )
    print(history)
