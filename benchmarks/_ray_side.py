"""Ray Tune's side of the comparison; runs in Ray's own environment, which has nothing of this project.

    python _ray_side.py '{"size": 8, "steps": 100, "how": "best", "kind": "class", "seconds": 80, "megabytes": 0, "folder": "..."}'

Writes into the folder `results`, a line for each result: seconds since the start of the fit, trial, iteration, and what the trial measured;
and `result`, the seconds of the whole fit.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

INTERVAL = 4
asked: dict[str, Any] = json.loads(sys.argv[1])
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TUNE_DISABLE_STRICT_METRIC_CHECKING": "1", "RAY_AUTH_MODE": "disabled"}

import ray  # noqa: E402 - after the variables that it reads
from ray import tune  # noqa: E402
from ray.tune.schedulers import PopulationBasedTraining  # noqa: E402


def stepped(theta: Any, config: dict[str, float]) -> float:
    """One step on the toy, in place; returns the score."""
    theta += 0.01 * -2.0 * np.array([config["h0"], config["h1"]]) * theta
    return 1.2 - float((theta**2).sum())


def toy(config: dict[str, float]) -> None:
    """The toy as a function, which saves at each ready point and reports each step."""
    theta, done = np.array([0.9, 0.9]), 0
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            theta, done = pickle.loads((Path(folder) / "state").read_bytes())
    while done < asked["steps"]:
        score, done = stepped(theta, config), done + 1
        if done % INTERVAL:
            tune.report({"score": score})
        else:
            import tempfile

            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "state").write_bytes(pickle.dumps((theta, done)))
                tune.report({"score": score}, checkpoint=tune.Checkpoint.from_directory(folder))


class Toy(tune.Trainable):  # type: ignore[misc]
    """The toy as a class, with weights of any size beside the two numbers."""

    def setup(self, config: dict[str, float]) -> None:
        self.theta = np.array([0.9, 0.9])
        self.ended: float | None = None
        self.ballast = np.random.default_rng(0).bytes(asked["megabytes"] * 1_000_000)
        self.loaded = False

    def reset_config(self, new_config: dict[str, float]) -> bool:
        self.theta = np.array([0.9, 0.9])
        return True

    def step(self) -> dict[str, Any]:
        between = None if self.ended is None else time.perf_counter() - self.ended
        score = stepped(self.theta, self.config)
        result = {"score": score, "between": between, "loaded": self.loaded, "done": self.iteration + 1 >= asked["steps"]}
        self.loaded, self.ended = False, time.perf_counter()
        return result

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        (Path(checkpoint_dir) / "state").write_bytes(pickle.dumps((self.theta, self.ballast)))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self.theta, self.ballast = pickle.loads((Path(checkpoint_dir) / "state").read_bytes())
        self.loaded = True


class Notes(tune.Callback):  # type: ignore[misc]
    """Writes down what arrives, at once, so that nothing is lost if the run is killed."""

    def __init__(self, path: Path, began: float) -> None:
        self.file, self.began = os.open(path, os.O_WRONLY | os.O_CREAT), began  # a number: Ray pickles its callbacks

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        line = [time.perf_counter() - self.began, trial.trial_id, result["training_iteration"], result.get("between"), result.get("loaded")]
        os.write(self.file, (json.dumps(line) + "\n").encode())


def main() -> None:
    folder, best, big = Path(asked["folder"]), asked["how"] == "best", asked["megabytes"] > 0
    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False, _temp_dir=str(folder / "s"))
    scheduler = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=1 if big else INTERVAL,
        quantile_fraction=0.5 if big else 0.25,
        hyperparam_mutations={"h0": tune.uniform(0.0, 1.0), "h1": tune.uniform(0.0, 1.0)},
    )
    began = time.perf_counter()
    tuner = tune.Tuner(
        Toy if asked["kind"] == "class" else toy,
        param_space={"h0": tune.uniform(0.0, 1.0), "h1": tune.uniform(0.0, 1.0)},
        tune_config=tune.TuneConfig(
            scheduler=scheduler, metric="score", mode="max", num_samples=asked["size"], reuse_actors=best, time_budget_s=asked["seconds"]
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder / "results-of-ray"), name="toy", callbacks=[Notes(folder / "results", began)], verbose=0
        ),
    )
    tuner.fit()
    (folder / "result").write_text(json.dumps({"fit": time.perf_counter() - began}))
    ray.shutdown()


if __name__ == "__main__":
    main()
