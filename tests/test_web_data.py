"""A run as plain data and in words, without a browser."""

from __future__ import annotations

import json
import math

import pytest

import shown
from lamarck.exploit import STRATEGIES as EXPLOITS
from lamarck.explore import STRATEGIES as EXPLORES
from lamarck.history import History
from lamarck.pbt import PBT
from lamarck.population import replay
from lamarck.space import Categorical, Float, Int, Space
from lamarck.types import Assigned, Ended, Failed, Failure, Interval, Report, Reported, Retired, Settings, Started
from lamarck.web.citations import METHOD, PAPERS, SOURCES, bibtex
from lamarck.web.data import Columns, axes, description, final_states, member_states
from lamarck.web.page import plain_json
from lamarck.web.summary import made, summary

SPACE = Space(lr=Float(1e-4, 1.0, log=True), n=Int(1, 8), opt=Categorical(["sgd", None, True]), m=Float(0.0, 1.0, when={"opt": "sgd"}), fixed=3)


def events_of(rows, *, size=2, mode="max", info=None, generations=3):
    """Rows of (member, generation, parent, value, hparams); every interval has 10 steps."""
    settings = Settings(population_size=size, interval=10, generations=generations, mode=mode)
    first = {"lr": 0.1, "n": 2, "opt": "sgd", "m": 0.5, "fixed": 3}
    strategies = PBT(space=SPACE, settings=settings).init()[0].strategies
    events = [Started(settings=settings, space=SPACE.to_dict(), strategies=strategies, initial=(first,) * size, info=info or {})]
    steps = {None: 0}
    for member, generation, parent, value, hparams in rows:
        steps[member, generation] = until = steps[parent] + 10
        interval = Interval(
            member=member, generation=generation, hparams=first | hparams, start=until - 10, until=until, restore=None, parent=parent, seed=0
        )
        events.append(Assigned(interval=interval))
        events.append(Reported(report=Report(member=member, generation=generation, step=until, value=value, checkpoint="c")))
    return events


COPIED = [
    (0, 0, None, 0.25, {}),
    (1, 0, None, 0.5, {"lr": 0.01}),
    (0, 1, (1, 0), 1 / 3, {"lr": 0.008, "opt": None}),
    (1, 1, (1, 0), math.nan, {"lr": 0.01, "n": 4}),
]


def columns_of(history):
    columns = Columns(history.started)
    for record in history.records:
        columns.put(record)
    return columns


def test_reports_become_columns():
    columns = columns_of(History.of(events_of(COPIED)))
    assert columns.batch() == {
        "start": 0,
        "member": [0, 1, 0, 1],
        "generation": [0, 0, 1, 1],
        "step": [10, 10, 20, 20],
        "value": [0.25, 0.5, 1 / 3, None],
        "back": [0, 0, 1, 2],
        "hparams": [[0.1, 0.01, 0.008, 0.01], [2, 2, 2, 4], [0, 0, 1, 0], [0.5, 0.5, 0.5, 0.5]],
    }
    assert (len(columns), columns.copies) == (4, 1)


def test_batches_put_together_are_the_whole():
    history = History.of(shown.events(5, 6))
    columns = columns_of(history)
    whole, parts = columns.batch(), [columns.batch(start, start + 7) for start in range(0, len(columns), 7)]
    for name in ("member", "generation", "step", "value", "back"):
        assert [item for part in parts for item in part[name]] == whole[name]
    assert [part["start"] for part in parts] == list(range(0, 30, 7))


def test_numbers_survive_json_to_the_last_digit():
    columns = columns_of(History.of(shown.events(4, 5)))
    assert json.loads(plain_json(columns.batch())) == columns.batch()


def test_an_inactive_hyperparameter_is_none():
    rows = [(0, 0, None, 0.1, {})]
    events = events_of(rows)
    interval = events[1].interval
    without = {name: value for name, value in interval.hparams.items() if name != "m"}
    events[1] = Assigned(interval=Interval(**{**{f: getattr(interval, f) for f in interval.__slots__}, "hparams": without}))
    assert columns_of(History.of(events)).batch()["hparams"][3] == [None]


def test_axes_leave_out_constants_and_name_choices():
    found = {axis["name"]: axis for axis in axes(SPACE)}
    assert list(found) == ["lr", "n", "opt", "m"]
    assert (found["lr"]["log"], found["lr"]["low"], found["lr"]["high"]) == (True, 1e-4, 1.0)
    assert found["n"]["whole"]
    assert found["opt"]["choices"] == ["sgd", "None", "True"]
    assert (found["opt"]["low"], found["opt"]["high"]) == (-0.5, 2.5)


def test_description_is_plain_json():
    described = description(events_of([])[0])
    assert json.loads(plain_json(described)) == described
    assert described["title"] == "a run"


def test_states_tell_who_trains_waits_is_done_or_gone():
    events = events_of(COPIED, size=3)
    interval = Interval(member=0, generation=2, hparams={}, start=20, until=30, restore=None, parent=(0, 1), seed=0)
    events += [Assigned(interval=interval), Retired(member=2, reason="failed for good")]
    assert member_states(replay(events)) == ["training", "waiting", "retired"]
    assert final_states(History.of(events)) == ["waiting", "waiting", "retired"]
    events += [Reported(report=Report(member=0, generation=2, step=30, value=1.0)), Ended(reason="target")]
    assert member_states(replay(events)) == final_states(History.of(events)) == ["done", "done", "retired"]


# ---- words ---------------------------------------------------------------------------------------------------------------------------------


def test_the_summary_says_what_won_and_what_that_was_worth():
    history = History.of([*events_of(COPIED), Failed(failure=Failure(member=0, generation=2, kind="lost")), Ended(reason="generations")])
    told = summary(history)
    assert told["headline"] == "Member 1 has the best value, 0.5, in generation 0 at step 10. Higher is better."
    text = " ".join(told["points"])
    assert "Its value in the first generation was 0.5; the best there was 0.5, the median 0.375." in text
    assert "Weights were copied 1 time. The members now descend from 1 of 2 beginnings." in text
    assert "1 interval failed" in text
    assert "All generations are done." in text
    assert told["schedule"] == {"names": ["lr", "n", "opt", "m"], "pieces": [[0, 10, "0.01", "2", "sgd", "0.5"]]}


def test_the_summary_of_a_run_where_lower_is_better_measures_gains_downwards():
    rows = [(0, 0, None, 4.0, {}), (1, 0, None, 2.0, {}), (0, 1, (1, 0), 1.0, {"lr": 0.2}), (1, 1, (1, 0), 2.0, {})]
    told = summary(History.of(events_of(rows, mode="min")))
    text = " ".join([told["headline"], *told["points"]])
    assert "Member 0 has the best value, 1," in text
    assert "It is 1 (50.0%) better than the best of the first generation." in text
    assert "The median of the members' newest values is 1.5; the best is 0.5 (33.3%) better." in text
    assert "lr went from 0.1 to 0.2, in 1 change." in text
    assert "opt was sgd all along." in text
    assert "trained by 2 members and changed hands 1 time" in text


@pytest.mark.parametrize("values", [(), (math.nan,), (math.inf, -math.inf)])
def test_a_run_without_a_finite_value_has_a_summary_too(values):
    told = summary(History.of(events_of([(i, 0, None, value, {}) for i, value in enumerate(values)])))
    assert told["headline"] == "No finite value has been reported yet."
    assert told["points"][-1] == "The run has not ended."
    plain_json(told)


def test_how_it_was_made_holds_what_the_journal_knows():
    info = {
        "train": "a:b",
        "versions": {"python": "3.13"},
        "machine": "a box",
        "command": "lamarck run",
        "note": "again",
        "workers": {"n": 2},
    }
    rows = dict(made(History.of(shown.events(4, 3, info=info))))
    assert rows["training function"] == "a:b"
    assert rows["versions"] == "python 3.13"
    assert (rows["machine"], rows["command"], rows["note"]) == ("a box", "lamarck run", "again")
    assert rows["exploit"] == "truncation(bottom=0.2, top=0.2)"
    assert rows["population"] == "4 members, synchronous"
    assert "workers" not in rows


# ---- citations -----------------------------------------------------------------------------------------------------------------------------


def test_citations_name_strategies_and_papers_that_exist():
    assert set(SOURCES) <= {*EXPLOITS, *EXPLORES}
    assert {METHOD, *(key for keys in SOURCES.values() for key in keys)} == set(PAPERS)


@pytest.mark.parametrize("key", sorted(PAPERS))
def test_entries_are_bibtex(key):
    entry = PAPERS[key]
    assert entry.startswith(("@article{" + key, "@inproceedings{" + key))
    assert entry.count("{") == entry.count("}")
    for field in ("title", "author", "year"):
        assert f"  {field}" in entry


def test_a_run_cites_what_it_used_however_deep():
    strategies = {"exploit": {"name": "first_of", "inner": [{"name": "welch"}, {"name": "margin", "inner": {"name": "best"}}]}}
    assert [line for line in bibtex(strategies).splitlines() if line.startswith("@")] == [
        "@article{jaderberg2017,",
        "@article{welch1947,",
        "@inproceedings{petrenko2023,",
    ]
