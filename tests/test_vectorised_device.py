"""The vectorised engine on a pretend device, which refuses and counts what a GPU would refuse and wait for; and on a GPU where there is one.

What the pretend device cannot see, `pretend` says.
"""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

LEARNERS = ["perceptron", "convolutions", "recurrent", "attentive", "masked", "shared", "loaded"]
AGENTS = ["cartpole", "pendulum", "acrobot"]


DEVICES = ["pretend", *(["real"] if torch.cuda.is_available() else [])]
SAMPLES = 21
SAME = {"pretend": 1e-5, "real": 1e-3}
"""How near numbers come to those of a CPU: a GPU sums in other orders."""


@cache
def side(kind, *tasks):
    script = Path(__file__).with_name("device_side.py")
    done = subprocess.run([sys.executable, script, kind, *tasks], check=False, capture_output=True, text=True, cwd=script.parent, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module", params=DEVICES)
def device(request):
    return request.param


@pytest.fixture(scope="module")
def found(device):
    return side(device, *([*LEARNERS, "looped", "measured", *AGENTS, "runs"] if device == "real" else ()))


@pytest.fixture(scope="module")
def pretended():
    return side("pretend")


def test_the_pretend_device_refuses_and_notices_what_a_gpu_does(pretended):
    said = pretended["refused"]
    assert "same device" in said["mixed"]
    assert said["asked"] == said["number"] == ""  # numbers without dimensions may meet tensors of a GPU
    assert said["waits"] == 1
    assert "not permitted when stream is capturing" in said["recorded"]
    assert said["replayed"] == [[1.0, 1.0], [2.0, 2.0]]  # what is recorded happens when it is played, and only then


@pytest.mark.parametrize("name", [*LEARNERS, "looped", "measured", *AGENTS])
def test_everything_becomes_the_same_on_a_device(found, device, name):
    assert found[name]["difference"] < SAME[device]
    assert found[name]["of scores"] < (1e-5 if device == "pretend" else 1e-3 if name in AGENTS else 1.5 / SAMPLES)  # one may be undecided


@pytest.mark.parametrize("name", LEARNERS)
def test_no_step_waits_for_the_device_whoever_and_however_many_train(found, name):
    once, twice, many = (found[name][f"seen {kind}"] for kind in ("in 1", "in 2", "by 8"))
    walks = [line for line in {*once, *twice, *many} if "permuted" in line]  # how often depends on the numbers; each time half of them are left
    for seen in (once, twice, many):
        assert sum(seen.pop(line, 0) for line in walks) <= 12
    if name == "loaded":
        batches = [seen.pop(next(line for line in seen if "loader.py" in line)) for seen in (once, twice, many)]
        assert batches == [8, 16, 8]  # two tensors in each
    assert once == twice == many
    assert sum(once.values()) <= 12
    assert not any(line.startswith(("wait", "copy from")) for line in once)


@pytest.mark.parametrize("name", AGENTS)
def test_no_move_waits_for_the_device(found, name):
    once, twice, many = (found[name][f"seen {kind}"] for kind in ("in 1", "in 2", "by 8"))
    assert once == twice == many
    assert sum(once.values()) <= 2  # seeds and hyperparameters


@pytest.mark.parametrize("name", ["perceptron", "convolutions", "recurrent", "attentive", "masked", "shared", *AGENTS])
def test_blocks_of_steps_are_played_from_a_recording(found, name):
    """Two blocks of steps launch no products of matrices one by one; the stack's place is the same from interval to interval."""
    launched = found[name]["launched"]
    assert not {"bmm", "baddbmm", "mm", "convolution", "addcdiv_"} & launched.keys()


def test_recurrent_layers_are_batched_not_looped_over_in_a_gpus_own_kernels(pretended):
    assert not any("fused" in kernel for kernel in pretended["kernels"]["recurrent"])


def test_a_step_of_a_small_network_launches_few_kernels(pretended):
    assert sum(pretended["kernels"]["small"].values()) <= 74


def test_a_whole_run_on_a_device_is_the_run_on_a_cpu(found, device):
    near, far = found["runs"]["near"], found["runs"]["far"]
    assert near["copies"]
    assert near["copies"] == far["copies"]
    np.testing.assert_allclose(near["values"], far["values"], rtol=0, atol=1e-6 if device == "pretend" else 1.5 / SAMPLES)
    assert far["winner"]


def test_who_trains_at_once_follows_from_the_memory_of_the_device(pretended):
    little, some, plenty = pretended["chunked"].values()
    assert little == 1 < some < plenty == 1000
