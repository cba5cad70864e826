"""The digits demo: a fair comparison, honestly reported, that survives being stopped."""

from __future__ import annotations

import csv
import math
import multiprocessing
import operator
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import sklearn.metrics
import torch
from scipy import stats

import lamarck as lk
from lamarck._spread import spread
from lamarck.demos import digits_plot, digits_task
from lamarck.demos.digits import METHODS, METRICS, DigitsResult, Method, Outcome, digits, progress, render
from lamarck.demos.digits_task import SPACE, Score, evaluate, network, split, train
from lamarck.journal import open_journal
from lamarck.plots import data

PBT, RANDOM = METHODS
SMALL = {"seeds": 2, "population_size": 5, "generations": 4, "interval": 6}
TOTAL = 2 * 2 * 5 * 4


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small demo, in this process."""
    told = []
    result = digits(tmp_path_factory.mktemp("digits") / "new", **SMALL, workers=1, on_progress=lambda done, total: told.append((done, total)))
    return result, told


def reports(result: DigitsResult):
    return [[(r.key, r.value, dict(r.hparams), r.parent) for r in outcome.history.records] for outcome in result.outcomes]


# ---- the data --------------------------------------------------------------------------------------------------------------------------------


def test_the_parts_together_are_the_data_without_overlap():
    pixels, digits_ = sklearn.datasets.load_digits(return_X_y=True)
    parts = [split(part) for part in ("train", "validation", "test")]
    together = torch.cat([torch.cat([x * 16, y[:, None].float()], dim=1) for x, y in parts]).numpy()
    whole = np.column_stack([pixels, digits_])
    assert [len(y) for _, y in parts] == [200, 400, 1197]
    assert np.array_equal(together[np.lexsort(together.T)], whole[np.lexsort(whole.T)])


def test_every_part_has_its_share_of_every_digit():
    shares = np.bincount(sklearn.datasets.load_digits().target) / 1797
    for part in ("train", "validation", "test"):
        count = np.bincount(split(part)[1].numpy())
        assert np.abs(count - shares * count.sum()).max() <= 1.5


def test_scores_are_those_of_scikit_learn():
    torch.manual_seed(0)
    model = network()
    pixels, true = split("validation")
    model.eval()
    with torch.no_grad():
        shares = model(pixels).double().softmax(dim=1).numpy()
    score = evaluate(model, "validation")
    assert score.loss == pytest.approx(sklearn.metrics.log_loss(true.numpy(), shares), rel=1e-5)
    assert score.accuracy == pytest.approx(sklearn.metrics.accuracy_score(true.numpy(), shares.argmax(axis=1)))


def test_training_never_sees_the_test_images(monkeypatch):
    seen = set()
    monkeypatch.setattr(digits_task, "split", lambda part: (seen.add(part), split(part))[1])
    lk.run(train, SPACE, population_size=3, interval=2, generations=2, mode="min")
    assert seen == {"train", "validation"}


def test_training_learns():
    sensible = {"lr": 0.1, "weight_decay": 1e-3, "dropout": 0.2, "label_smoothing": 0.0, "batch_size": 32}
    history = lk.run(train, SPACE, population_size=1, interval=100, generations=1, mode="min", initial=[sensible])
    assert history.best.value < 0.6
    assert math.log(10) == pytest.approx(evaluate(network(), "validation").loss, abs=0.2)


def test_training_takes_one_thread_and_gives_the_others_back(monkeypatch):
    before, seen = torch.get_num_threads(), []
    monkeypatch.setattr(digits_task, "evaluate", lambda model, part: (seen.append(torch.get_num_threads()), Score(loss=1.0, accuracy=0.5))[1])
    lk.run(train, SPACE, population_size=2, interval=1, generations=1, mode="min")
    assert seen == [1, 1]
    assert torch.get_num_threads() == before


# ---- the comparison --------------------------------------------------------------------------------------------------------------------------


def test_both_methods_begin_alike_and_do_the_same_work(small):
    result, _ = small
    for one, two in zip(result.of(PBT), result.of(RANDOM), strict=True):
        assert one.seed == two.seed
        firsts = [[(r.member, r.value, dict(r.hparams)) for r in outcome.history.generation(0)] for outcome in (one, two)]
        assert firsts[0] == firsts[1]
        assert len({value for _, value, _ in firsts[0]}) == 5
        assert len(one.history.records) == len(two.history.records) == 5 * 4


def test_random_search_copies_nobody_and_changes_nothing(small):
    result, _ = small
    assert all(outcome.history.copies for outcome in result.of(PBT))
    for outcome in result.of(RANDOM):
        assert not outcome.history.copies
        for member in range(5):
            assert len({tuple(r.hparams.items()) for r in outcome.history.member(member)}) == 1


def test_a_member_of_random_search_that_diverges_is_not_rescued_by_others():
    def diverging(worker):
        state = np.zeros(1)
        worker.track(state=state)
        for interval in worker:
            interval.report(math.nan if interval.member == 0 and interval.generation < 2 else 1.0)

    history = lk.run(diverging, SPACE, population_size=3, interval=2, generations=4, mode="min", **RANDOM.strategies)
    assert [record.parent for record in history.member(0)] == [None, None, None, (0, 2)]


def test_what_is_handed_over_is_what_validation_selected(small):
    result, _ = small
    for outcome in result.outcomes:
        assert outcome.validation.loss == pytest.approx(min(record.value for record in outcome.history.records), rel=1e-6)
        assert outcome.history.best.value == min(record.value for record in outcome.history.records)
        assert 0 <= outcome.test.accuracy <= 1
        assert outcome.test != outcome.validation


def test_progress_is_told_for_every_interval(small):
    _, told = small
    assert told == [(done, TOTAL) for done in range(TOTAL + 1)]


def test_the_best_so_far_only_falls(small):
    result, _ = small
    history = result.outcomes[0].history
    by_hand = [min(r.value for r in history.records if r.generation <= generation) for generation in range(4)]
    assert progress(history).tolist() == by_hand


# ---- files -----------------------------------------------------------------------------------------------------------------------------------


def test_files_are_there_and_can_be_shown(small):
    result, _ = small
    out = result.files[0].parent
    assert {file.name for file in result.files} == {
        "digits-population.png", "digits-comparison.png", "digits-scores.csv", "digits-schedules.csv",
        "digits-pbt-seed0.db", "digits-random-seed0.db", "digits-pbt-seed1.db", "digits-random-seed1.db",
    }  # fmt: skip
    for picture in result.files[:2]:
        assert picture.read_bytes().startswith(b"\x89PNG")
    for outcome in result.outcomes:
        assert lk.open_run(outcome.journal).best.value == outcome.history.best.value
        assert outcome.journal.parent == out


def test_the_tables_hold_the_scores_and_the_schedules(small):
    result, _ = small
    with (result.files[0].parent / "digits-scores.csv").open(newline="") as file:
        scores = list(csv.DictReader(file))
    assert [(row["method"], int(row["seed"])) for row in scores] == [("pbt", 0), ("random", 0), ("pbt", 1), ("random", 1)]
    assert [float(row["test loss"]) for row in scores] == [outcome.test.loss for outcome in result.outcomes]
    with (result.files[0].parent / "digits-schedules.csv").open(newline="") as file:
        pieces = [row for row in csv.DictReader(file) if (row["method"], row["seed"]) == ("pbt", "1")]
    schedule = result.of(PBT)[1].history.schedule()
    assert [(int(row["start"]), int(row["until"]), float(row["lr"])) for row in pieces] == [
        (p.start, p.until, p.hparams["lr"]) for p in schedule
    ]


def test_a_second_time_it_only_reads(small):
    result, _ = small
    out = result.files[0].parent
    before = reports(result)
    told = []
    again = digits(out, **SMALL, workers=1, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(TOTAL, TOTAL)]
    assert reports(again) == before
    assert [outcome.test for outcome in again.outcomes] == [outcome.test for outcome in result.outcomes]


def test_other_settings_in_the_same_folder_are_refused(small):
    result, _ = small
    with pytest.raises(lk.SettingsError, match=r"digits-pbt-seed0\.db' holds a run with other settings; choose another folder"):
        digits(result.files[0].parent, **{**SMALL, "interval": 7}, workers=1)


def test_processes_and_interruptions_change_nothing(small, tmp_path):
    """Two processes, killed in the middle of a run each, and finished by this one: the same as in one go."""
    result, _ = small

    def stop(done, total):
        if done == 29:
            raise KeyboardInterrupt

    open_journal(tmp_path / "digits-random-seed1.db").close()  # as if killed before the first event
    with pytest.raises(KeyboardInterrupt):
        digits(tmp_path, **SMALL, workers=2, on_progress=stop)
    assert not multiprocessing.active_children()
    told = []
    finished = digits(tmp_path, **SMALL, workers=1, on_progress=lambda done, total: told.append(done))
    assert told == list(range(told[0], TOTAL + 1))
    assert told[0] >= 29
    assert reports(finished) == reports(result)
    assert [outcome.test for outcome in finished.outcomes] == [outcome.test for outcome in result.outcomes]


@pytest.mark.parametrize("workers", [1, 2])
def test_all_jobs_are_done_and_all_that_they_say_is_heard(workers):
    told = []
    spread(operator.call, [operator.methodcaller("__call__", number) for number in (1, 2, 3)], workers, told.append)
    assert sorted(told) == [1, 2, 3]
    assert not multiprocessing.active_children()


def test_a_process_that_fails_is_an_error(capfd):
    with pytest.raises(lk.TrainingError, match="a process ended before its runs did"):
        spread(operator.truediv, [1, 2], 2, lambda done: None)
    assert "TypeError" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("setting", "says"), [({"seeds": 1}, "seeds: got 1"), ({"workers": 0}, "workers: got 0"), ({"interval": 0}, "interval: got 0")]
)
def test_settings_that_cannot_be_write_nothing(setting, says, tmp_path):
    with pytest.raises(lk.SettingsError, match=says):
        digits(tmp_path / "new", **setting)
    assert not (tmp_path / "new").exists()


# ---- the report ------------------------------------------------------------------------------------------------------------------------------


def invented(small, losses: dict[Method, list[float]]) -> DigitsResult:
    """The small demo's histories with test losses that are easy to compute with."""
    made = []
    for outcome in small[0].outcomes:
        score = Score(loss=losses[outcome.method.name][outcome.seed], accuracy=0.5)
        made.append(Outcome(**{**vars(outcome), "test": score}))
    return DigitsResult(outcomes=tuple(made), files=(), seconds=1.0)


def test_differences_are_paired_by_seed(small):
    """0.2 and 0.4 against 0.3 and 0.6: means 0.3 and 0.45, differences -0.1 and -0.2."""
    result = invented(small, {"pbt": [0.2, 0.4], "random": [0.3, 0.6]})
    line = next(line for line in render(result).splitlines() if line.startswith("test loss"))
    assert "0.3000 [" in line
    assert "0.4500 [" in line
    assert "-0.1500 [" in line
    assert result.sample("test loss", PBT).tolist() == [0.2, 0.4]


def test_the_table_shows_every_seed_and_the_schedule(small):
    result, _ = small
    text = render(result)
    lines = text.splitlines()
    assert lines[0] == "5 members x 4 generations x 6 steps, 2 seeds; mean and 95 % confidence interval (Student's t)"
    assert all(any(line.startswith(metric) for line in lines) for metric in METRICS)
    assert f"{result.outcomes[0].test.loss:.3f}" in text
    heads = [line.split()[1:] for line in lines if line.startswith("steps")]
    assert heads == [" ".join(SPACE.names).replace("_", " ").split()]
    assert sum(" to " in line for line in lines) == len(result.of(PBT)[0].history.schedule())
    assert max(map(len, lines)) <= 120


def test_intervals_are_those_of_students_t():
    """The demo's table for five seeds, against SciPy."""
    from lamarck.demos.digits import _interval

    sample = np.array([0.31, 0.33, 0.38, 0.30, 0.33])
    low, high = stats.t.interval(0.95, 4, sample.mean(), stats.sem(sample))
    mean, shown_low, shown_high = (float(number.strip("[],")) for number in _interval(sample).split())
    assert mean == 0.33
    assert (shown_low, shown_high) == pytest.approx((low, high), abs=2e-4)


def test_the_largest_families_get_the_colours(small):
    result, _ = small
    before = data.strands(result.outcomes[0].history)
    after = digits_plot.by_reports(before)
    assert after.living.all()
    founders = [[strands.families[place].founder for place in strands.family] for strands in (before, after)]
    assert founders[0] == founders[1]
    counts = np.bincount(after.family, minlength=len(after.families))
    assert set(after.family[after.winning]) == {0}
    assert list(counts[1:]) == sorted(counts[1:], reverse=True)


def test_the_pictures_say_what_they_show(small, tmp_path):
    result, _ = small
    population = digits_plot.population(result.outcomes[0].history)
    titles = [axes.get_title(loc="left") for axes in population.axes]
    assert titles == ["Validation loss (nats)", *digits_plot.TITLES.values()]
    assert [axes.get_yscale() for axes in population.axes] == ["log", "log", "log", "linear", "linear", "linear"]
    comparison = digits_plot.comparison(result.outcomes)
    assert [axes.get_title(loc="left") for axes in comparison.axes][1:] == ["Test loss (nats)", "Test accuracy (% of 1,197 images)"]
    difference = (result.sample("test loss", PBT) - result.sample("test loss", RANDOM)).mean()
    assert comparison.axes[1].get_xlabel().replace("\N{MINUS SIGN}", "-").startswith(f"paired difference {difference:+.3f}\n")
    assert digits_plot.draw(result.outcomes, Path(tmp_path))[0].exists()
