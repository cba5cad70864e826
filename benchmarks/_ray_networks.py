"""Ray Tune's side of the comparison of populations of networks; runs in Ray's own environment, which has nothing of this project.

    python _ray_networks.py '{"network": "small", "size": 16, "steps": 100, "seconds": 60, "folder": "..."}'

Its best setting: the class interface with actors reused, a fused optimizer, one thread for each actor, one for each core. Writes into the
folder `results`, a line for each interval: seconds since the start of the fit, and the trial.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

asked: dict[str, Any] = json.loads(sys.argv[1])
os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "RAY_AUTH_MODE": "disabled",
    "OMP_NUM_THREADS": "1",
}

import ray  # noqa: E402 - after the variables that it reads
import torch  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.schedulers import PopulationBasedTraining  # noqa: E402
from torch.nn import functional  # noqa: E402

from _networks import BATCH, NETWORKS, digits  # noqa: E402


class Digits(tune.Trainable):  # type: ignore[misc]
    """A member: each step of Ray's is an interval."""

    def setup(self, config: dict[str, float]) -> None:
        torch.set_num_threads(1)
        self.x, self.y = digits()
        self.model = NETWORKS[asked["network"]].build()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=config["lr"], weight_decay=config["weight_decay"], fused=True)

    def reset_config(self, new_config: dict[str, float]) -> bool:
        self.setup(new_config)
        return True

    def step(self) -> dict[str, float]:
        for _ in range(asked["steps"]):
            chosen = torch.randint(len(self.x), (BATCH,))
            self.optimizer.zero_grad()
            functional.cross_entropy(self.model(self.x[chosen]), self.y[chosen]).backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
        with torch.no_grad():
            return {"loss": functional.cross_entropy(self.model(self.x), self.y).item()}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        torch.save((self.model.state_dict(), self.optimizer.state_dict()), Path(checkpoint_dir) / "state")

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        model, optimizer = torch.load(Path(checkpoint_dir) / "state")
        self.model.load_state_dict(model)
        self.optimizer.load_state_dict(optimizer)
        for group in self.optimizer.param_groups:
            group["lr"], group["weight_decay"] = self.config["lr"], self.config["weight_decay"]


class Notes(tune.Callback):  # type: ignore[misc]
    """Writes down what arrives, at once."""

    def __init__(self, path: Path, began: float) -> None:
        self.file, self.began = os.open(path, os.O_WRONLY | os.O_CREAT), began  # a number: Ray pickles its callbacks

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        os.write(self.file, (json.dumps([time.perf_counter() - self.began, trial.trial_id]) + "\n").encode())


def main() -> None:
    folder = Path(asked["folder"])
    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False, _temp_dir=str(folder / "s"))
    space = {"lr": tune.loguniform(1e-4, 1e-2), "weight_decay": tune.loguniform(1e-4, 1e-2)}
    began = time.perf_counter()
    tuner = tune.Tuner(
        Digits,
        param_space=space,
        tune_config=tune.TuneConfig(
            scheduler=PopulationBasedTraining(time_attr="training_iteration", perturbation_interval=1, hyperparam_mutations=dict(space)),
            metric="loss",
            mode="min",
            num_samples=asked["size"],
            reuse_actors=True,
            time_budget_s=asked["seconds"],
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder / "results-of-ray"),
            name="digits",
            stop={"training_iteration": 10_000},
            callbacks=[Notes(folder / "results", began)],
            verbose=0,
        ),
    )
    tuner.fit()
    ray.shutdown()


if __name__ == "__main__":
    main()
