"""The check of training functions: one that is right passes, and each fault is found and named."""

import functools
import importlib
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import lamarck as lk
from lamarck.checking import check

pytestmark = pytest.mark.slow

HERE = str(Path(__file__).parent)


WITH_PYTORCH = """
import pickle, sys
import unfit_torch
from lamarck.checking import check
reports = [check(getattr(unfit_torch, name), unfit_torch.space, interval=10) for name in ("right", "two_faults")]
sys.stdout.buffer.write(pickle.dumps(reports))
"""


@functools.cache
def checked(name, space="space", **settings):
    """The report about a function in the module beside this one, which the check's processes import as well."""
    sys.path.insert(0, HERE)
    try:
        unfit = importlib.import_module("unfit")
        return check(getattr(unfit, name), getattr(unfit, space), interval=10, **settings)
    finally:
        sys.path.remove(HERE)


@pytest.fixture(scope="module")
def with_pytorch():
    """Two reports from one process of their own, whose fork server imports PyTorch once."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([HERE, *sys.path]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", WITH_PYTORCH], capture_output=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr.decode()
    return pickle.loads(done.stdout)


def told(finding):
    return "\n".join([finding.title, *finding.evidence, finding.advice, finding.trace])


@pytest.mark.parametrize("name", ["right", "tracked_generator"])
def test_a_function_that_is_right_is_fit(name):
    report = checked(name)
    assert report.fit
    assert report.findings == ()
    assert str(report) == "fit for population training"
    assert [(experiment.result, experiment.compared > 3) for experiment in report.experiments] == [("identical", True)] * 4
    assert [(effect.name, effect.result) for effect in report.effects] == [("lr", "state")]
    assert report.costs.steps == 10
    assert report.costs.bytes > 24


def test_more_intervals_are_restored_in_the_middle():
    report = checked("untracked_optimizer", intervals=3)
    assert [finding.kind for finding in report.faults] == ["restore", "leak"]


def test_pytorch_done_right_is_fit(with_pytorch):
    right, _ = with_pytorch
    assert right.findings == ()
    assert {experiment.result for experiment in right.experiments} == {"identical"}


NAMED = [
    ("untracked_generator", "restore", "rng in untracked_generator(), a random generator"),
    ("untracked_generator", "restore", "track rng, or draw from interval.rng"),
    ("untracked_generator", "leak", "rng in untracked_generator()"),
    ("untracked_optimizer", "restore", "  weights: up to"),
    ("untracked_optimizer", "restore", "optimizer in untracked_optimizer(), an optimizer (Momentum): state.0.velocity"),
    ("untracked_optimizer", "leak", "track optimizer"),
    ("untracked_position", "restore", "batches in untracked_position(), an iterator, whose position cannot be saved"),
    ("untracked_position", "restore", "make batches anew in each interval"),
    ("untracked_counter", "restore", "step in untracked_counter(), a plain value (int)"),
    ("untracked_counter", "restore", "compute step from interval.start"),
    ("lossy_load", "restore", "saved, but not put back by loading: model/average"),
    ("lossy_load", "restore", "make loading the inverse of saving"),
    ("leaking_list", "leak", "SEEN in module unfit, a container (list)"),
    ("leaking_list", "leak", "track SEEN, or empty it at the beginning of each interval"),
    ("rate_set_once", "hyperparameter", "lr has no effect after a restore"),
    ("rate_set_once", "hyperparameter", "optimizer/param_groups.0.lr is still 0.01: the restored state has overwritten the new value"),
    ("rate_set_once", "hyperparameter", "lk.torch.set_hparams(optimizer, lr=interval.hparams['lr'])"),
    ("rate_set_once", "leak", "set it in every interval"),
    ("unseeded_generator", "repeat", "rng in unseeded_generator(), a random generator"),
    ("order_of_a_set", "repeat", "vocabulary in order_of_a_set(), a container (list)"),
    ("noisy_without_its_optimizer", "restore", "optimizer in noisy_without_its_optimizer(), an optimizer"),
    ("tracks_a_copy", "frozen", "Nothing that is tracked changes in training"),
    ("tracks_nothing", "failed", "nothing is tracked"),
    ("diverges", "value", "The reported value is nan"),
    ("raises", "failed", "raises after its first report: ValueError: no more data"),
    ("raises", "failed", 'raise ValueError("no more data")'),
    ("raises_when_restored", "failed", "KeyError: 'w'"),
    ("raises_when_restored", "failed", "when: restored in a new process"),
    ("raises_above", "failed", "when: restored with lr = 0.06"),
    ("returns_early", "failed", "returned after 1 of 2 intervals"),
    ("exits", "failed", "exit code 3"),
    ("exits", "failed", "about to go"),
]


@pytest.mark.parametrize(("name", "kind", "words"), NAMED)
def test_each_fault_is_named(name, kind, words):
    report = checked(name)
    assert not report.fit
    found = [finding for finding in report.faults if finding.kind == kind]
    assert len(found) == 1, str(report)
    assert words in told(found[0])


def test_several_faults_in_pytorch_are_told_apart(with_pytorch):
    _, report = with_pytorch
    faults = {finding.kind: told(finding) for finding in report.faults}
    assert "model in two_faults(), a module (Sequential): 1.running_mean, 1.running_var, 1.num_batches_tracked" in faults["restore"]
    assert "all that is tracked is the same" in faults["restore"]
    assert "its state_dict holds the buffers, such as batch-norm statistics" in faults["restore"]
    assert "optimizer/param_groups.0.lr is still 0.01" in faults["hyperparameter"]
    assert "lk.torch.set_hparams(optimizer, lr=" in faults["hyperparameter"]


def test_what_is_no_fault_is_a_warning():
    (warning,) = checked("rate_in_the_value_only").findings
    assert (warning.kind, warning.fault) == ("hyperparameter", False)
    assert "lr changes the reported value, but nothing that is trained" in warning.title
    assert checked("rate_in_the_value_only").fit


def test_differences_are_judged_against_those_of_equal_runs():
    report = checked("noisy")
    assert report.fit
    assert [finding.kind for finding in report.findings] == ["repeat"]
    same, *others = report.experiments
    assert same.differences
    assert all(0 < difference.relative < 1e-6 for difference in same.differences)
    assert all(experiment.counted == () for experiment in others)
    assert report.effects[0].result == "state"


def test_with_too_much_noise_an_effect_cannot_be_told():
    # Chance decides how far two equal runs differ, so once in a while an effect stands out all the same: three studies, one must tell.
    studies = (checked.__wrapped__("unseeded_generator") for _ in range(3))
    assert any([effect.result for effect in study.effects] == ["unclear"] for study in studies)


def test_a_state_that_never_loads_fails_wherever_it_is_restored():
    report = checked("never_loads")
    assert {experiment.name: experiment.result for experiment in report.experiments} == {
        "the same again, in a new process": "identical",
        "restored in a new process": "failed",
        "from nothing, after another member": "identical",
        "restored, after another member": "failed",
    }
    assert [finding.title for finding in report.faults] == [
        "The training function raises: RuntimeError: size mismatch",
        "The training function raises after its first report: RuntimeError: size mismatch",
    ]
    assert [effect.result for effect in report.effects] == ["failed"]
    assert report.costs is None


def test_a_hyperparameter_that_is_not_always_there_is_tried_where_it_is():
    report = checked("fails_with_one_kind", space="two_kinds")
    assert {effect.name: effect.result for effect in report.effects} == {"lr": "state", "kind": "failed", "momentum": "failed"}
    assert all("NotImplementedError: plain" in finding.title for finding in report.faults)
    assert [finding.evidence[0].partition("{")[0] for finding in report.faults] == ["when: restored with kind = plain", "when: restored with "]


def test_nothing_is_left_anywhere_and_what_comes_next_is_told(tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    heard = []
    checked.__wrapped__("right", tell=heard.append)
    assert list(temporary.iterdir()) == []
    assert list(tmp_path.iterdir()) == [temporary]
    assert (heard[0], heard[-1]) == ("train without a break", "change lr")


@pytest.mark.parametrize("wrong", [dict(interval=0), dict(interval=1.5), dict(intervals=1), dict(intervals=True)])
def test_settings(wrong):
    with pytest.raises(lk.SettingsError, match=f"{next(iter(wrong))}: got"):
        check(print, lk.Space(lr=[1, 2]), **wrong)


def test_a_function_that_cannot_be_sent_is_explained():
    with pytest.raises(lk.SettingsError, match="top level of a module"):
        check(lambda worker: None, lk.Space(lr=[1, 2]))
