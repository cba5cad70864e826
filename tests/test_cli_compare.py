"""``lamarck compare``: what is printed, written and refused."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

import lamarck as lk
from lamarck.cli import main
from lamarck.comparison import compare
from lamarck.runs import open_run


def train(worker):
    x = np.array([0.0])
    worker.track(x=x)
    for interval in worker:
        x += interval.hparams["lr"] + 0.1 * interval.rng.normal()
        interval.report(x[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six runs with PBT and six without, a journal each, and one journal with two runs."""
    folder = tmp_path_factory.mktemp("runs")
    space = lk.Space(lr=lk.Float(0.0, 1.0))
    rules = {"population_size": 4, "interval": 5, "generations": 4}
    for seed in range(6):
        lk.run(train, space, journal=folder / f"pbt-{seed}.db", seed=seed, **rules)
        lk.run(train, space, journal=folder / f"random-{seed}.db", seed=seed, exploit=lk.exploit.Never(), **rules)
    for seed in range(2):
        lk.run(train, space, journal=folder / "two.db", seed=seed, name=f"seed{seed}", **rules)
    return folder


@pytest.fixture(autouse=True)
def _there(folder, monkeypatch):
    monkeypatch.chdir(folder)


def test_groups_are_tabled_with_their_intervals(capsys):
    assert main(["compare", "--group", "pbt=pbt-*.db", "--group", "random=random-*.db"]) == 0
    head, titles, pbt, random = capsys.readouterr().out.splitlines()
    assert head == "at 80 steps of all members together; higher is better"
    assert titles.split("  ")[0] == "group"
    found = compare({name: [open_run(f"{name}-{seed}.db") for seed in range(6)] for name in ("pbt", "random")})
    for line, group in zip((pbt, random), found.groups, strict=True):
        words = line.split()
        assert words[:3] == [group.name, "6", f"{group.final.value:.5g}"]
        assert f"{group.final.low:.5g} to {group.final.high:.5g}" in line
    assert f"{found.groups[1].better.value:.2f} (" in random


def test_a_journal_is_a_group_of_all_its_runs_and_few_runs_are_pointed_out(capsys):
    assert main(["compare", "pbt-0.db", "two.db"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[2:4]] == [["pbt-0", "1"], ["two", "2"]]
    assert lines[4] == "fewer than 5 runs in pbt-0, two: the true interval is wider than a bootstrap can know"


def test_json_has_everything_and_no_nan(capsys):
    assert main(["compare", "pbt-0.db", "two.db", "--json"]) == 0
    data = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"JSON knows no {name}"))
    one, two = data["groups"]
    assert (data["mode"], data["budget"], one["name"], one["runs"]) == ("max", 80.0, "pbt-0", 1)
    assert (one["low"], one["final"]["low"], one["better_than_first"]) == (None, None, None)
    assert len(two["low"]) == len(two["curve"]) == len(two["budget"]) == len(two["best"][1])
    assert two["curve"][-1] == pytest.approx(np.mean([two["best"][0][-1], two["best"][1][-1]]))


def test_the_figure_is_written_where_it_is_asked_for(tmp_path, capsys):
    target = tmp_path / "new" / "methods.svg"
    assert main(["compare", "pbt-0.db", "two.db", "-o", str(target)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(target)
    assert target.read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "there is nothing to compare; give at least one run"),
        (["none.db"], "there is no journal 'none.db'; here are 'pbt-0.db'"),
        (["--group", "pbt-*.db"], "got 'pbt-*.db'; it must be NAME=PATTERN"),
        (["--group", "a=none-*.db"], "no file matches 'none-*.db'; quote the pattern"),
        (["two.db", "--group", "two=pbt-*.db"], "got 'two' twice"),
        (["two.db", "-o", "methods.txt"], "got 'methods.txt'; the figure is written as .png, .svg or .pdf"),
    ],
)
def test_what_cannot_be_is_refused(arguments, said, capsys):
    assert main(["compare", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not os.path.exists("methods.txt")
