"""The display of a run that is going on."""

from __future__ import annotations

import io
import math
import sys

import pytest
from rich.console import Console

from lamarck._errors import MissingExtra
from lamarck.observers.progress import LiveProgress, PlainProgress, Standing, clock_text, progress
from lamarck.population import apply
from lamarck.types import Assigned, Failed, Failure, Interval, Report, Reported, Retired, Settings, Started


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Told:
    """A run of two members that is told to an observer, event by event."""

    def __init__(self, observer, *, generations=10, mode="max", past=()):
        self.observer, self.population = observer, None
        self.quiet = True
        settings = Settings(population_size=2, interval=5, generations=generations, mode=mode)
        self.tell(Started(settings=settings, space={}, strategies={}, initial=({"lr": 0.1},) * 2))
        for interval in past:
            self.interval(*interval)
        self.quiet = False

    def tell(self, event):
        self.population = apply(self.population, event)
        if not self.quiet:
            self.observer(event, self.population)

    def interval(self, member, generation, value, parent=None):
        self.assign(member, generation, parent)
        report = Report(member=member, generation=generation, step=5 * generation + 5, value=value, checkpoint=f"{member}-{generation}")
        self.tell(Reported(report=report))

    def assign(self, member, generation, parent=None):
        if parent is None and generation:
            parent = (member, generation - 1)
        interval = Interval(
            member=member,
            generation=generation,
            hparams={"lr": 0.1},
            start=5 * generation,
            until=5 * generation + 5,
            restore=None,
            parent=parent,
            seed=0,
        )
        self.tell(Assigned(interval=interval))


def plain(**settings):
    clock, stream = Clock(), io.StringIO()
    return PlainProgress(stream, clock=clock, **settings), clock, stream


def test_the_first_line_comes_soon_and_the_others_with_each_twentieth():
    shown, clock, stream = plain()
    run = Told(shown, generations=100)  # of two members: 200 intervals, a twentieth is 10
    for generation in range(30):
        clock.now += 11.0
        run.interval(0, generation, 0.5)
    done = [int(line.split()[0]) for line in stream.getvalue().splitlines()]
    assert done == [1, 11, 21]


def test_what_a_terminal_writes_for_ctrl_c_breaks_no_line():
    shown, _, _ = live(60)
    Told(shown).interval(0, 0, 0.123456789)
    assert max(len(line.rstrip()) for line in screen(shown, 60).splitlines()) <= 58


def test_the_bar_gives_way_to_the_words():
    shown, clock, _ = live(60)
    run = Told(shown)
    clock.now += 5.0
    run.interval(0, 0, 0.5)
    assert screen(shown, 60).splitlines()[0].rstrip().endswith("1/20 intervals  0:00:05 elapsed  0:01:35 left")


def test_nothing_is_known_before_the_first_event():
    shown, _, _ = plain()
    assert shown.standing is None


def test_standing_counts_what_was_told():
    shown, clock, _ = plain()
    run = Told(shown)
    run.interval(0, 0, 0.5)
    run.interval(1, 0, 0.2)
    run.interval(1, 1, 0.7, parent=(0, 0))
    run.assign(0, 1)
    run.tell(Failed(failure=Failure(member=0, generation=1, kind="error")))
    clock.now += 6.0
    assert shown.standing == Standing(
        done=3, total=20, generation=2, generations=10, best=(0.7, 1, 1), copies=1, failures=1, elapsed=6.0, left=17 * 2.0
    )


def test_lower_can_be_better():
    shown, _, _ = plain()
    run = Told(shown, mode="min")
    run.interval(0, 0, 0.5)
    run.interval(1, 0, 0.2)
    assert shown.standing.best == (0.2, 1, 0)


def test_a_value_that_is_not_finite_is_no_best():
    shown, _, _ = plain()
    Told(shown).interval(0, 0, math.nan)
    assert shown.standing.best is None
    assert "no value yet" in str(shown.standing)


def test_a_resumed_run_has_a_past_that_took_no_time_here():
    shown, clock, _ = plain(copies=3, failures=1)
    run = Told(shown, past=[(0, 0, 0.5), (1, 0, 0.4), (0, 1, 0.6)])
    run.assign(1, 1)
    assert shown.standing.left is None  # nothing was trained in this process yet
    clock.now += 4.0
    run.tell(Reported(report=Report(member=1, generation=1, step=10, value=0.9, checkpoint="1-1")))
    standing = shown.standing
    assert (standing.done, standing.copies, standing.failures) == (4, 3, 1)
    assert standing.left == 16 * 4.0


def test_a_resumed_run_may_begin_with_a_report():
    shown, clock, _ = plain()
    run = Told(shown, past=[(0, 0, 0.5)])
    run.quiet = True
    run.assign(1, 0)
    run.quiet = False
    clock.now += 2.0
    run.tell(Reported(report=Report(member=1, generation=0, step=5, value=0.9, checkpoint="1-0")))
    assert shown.standing.left == 18 * 2.0


def test_a_retired_member_leaves_nothing_to_do():
    shown, clock, _ = plain()
    run = Told(shown, generations=3)
    run.interval(0, 0, 0.5)
    run.interval(1, 0, 0.5)
    clock.now += 8.0
    run.tell(Retired(member=1, reason="failed for good"))
    standing = shown.standing
    assert (standing.done, standing.total, standing.generation, standing.left) == (2, 6, 2, 2 * 4.0)
    run.tell(Retired(member=0, reason="failed for good"))
    standing = shown.standing
    assert (standing.done, standing.generation, standing.left) == (2, 3, 0.0)


def test_a_member_that_retires_before_its_first_report_has_done_nothing():
    shown, _, _ = plain()
    run = Told(shown, generations=3)
    run.tell(Retired(member=1, reason="failed for good"))
    assert (shown.standing.done, shown.standing.left) == (0, None)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00:00"), (59.9, "0:00:59"), (61, "0:01:01"), (3600 * 27 + 5, "27:00:05")])
def test_times(seconds, text):
    assert clock_text(seconds) == text


# ---- plain lines -------------------------------------------------------------------------------------------------------------------------


def test_plain_lines_come_at_twentieths_and_not_too_often():
    shown, clock, stream = plain(every=10.0)
    run = Told(shown, generations=20)  # 40 intervals: a twentieth is two
    with shown:
        for generation in range(20):
            for member in range(2):
                clock.now += 1.0
                run.interval(member, generation, 0.1)
    lines = stream.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == ["10 of 40 intervals", "20 of 40 intervals", "30 of 40 intervals", "40 of 40 intervals"]


def test_plain_lines_of_long_intervals_are_at_most_twenty():
    shown, clock, stream = plain(every=10.0)
    run = Told(shown, generations=50)
    for generation in range(50):
        for member in range(2):
            clock.now += 60.0
            run.interval(member, generation, 0.1)
    assert len(stream.getvalue().splitlines()) == 20


def test_a_short_run_says_nothing():
    shown, clock, stream = plain()
    run = Told(shown)
    with shown:
        for generation in range(10):
            clock.now += 0.4
            run.interval(0, generation, 0.1)
    assert stream.getvalue() == ""


def test_a_plain_line_says_everything():
    shown, clock, stream = plain(every=0.0)
    run = Told(shown, generations=2)
    clock.now += 75.0
    run.interval(0, 0, 0.25)
    assert stream.getvalue() == (
        "1 of 4 intervals, generation 1 of 2, best 0.25 (member 0, generation 0), 0 copies, 0 failures, 0:03:45 left\n"
    )


def test_where_there_is_no_terminal_lines_go_to_standard_error(capsys):
    shown = progress()
    assert isinstance(shown, PlainProgress)
    shown._every = 0.0
    with shown:
        Told(shown, generations=1).interval(0, 0, 0.5)
    assert capsys.readouterr().err.startswith("1 of 2 intervals")


# ---- the live display ----------------------------------------------------------------------------------------------------------------------


def live(width=100, **settings):
    clock = Clock()
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=20)
    return LiveProgress(console, clock=clock, **settings), clock, console


def screen(shown, width=100):
    console = Console(file=io.StringIO(), width=width)
    console.print(shown.render())
    return console.file.getvalue()


@pytest.mark.parametrize(("terminal", "kind"), [("xterm-256color", LiveProgress), ("dumb", PlainProgress)])
def test_on_a_terminal_that_can_do_it_the_display_is_live(monkeypatch, terminal, kind):
    monkeypatch.setenv("TERM", terminal)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert type(progress(copies=2)) is kind


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_live_display_shows_best_generation_copies_failures_intervals_and_time():
    shown, clock, _ = live()
    run = Told(shown)
    run.interval(0, 0, 0.5)
    run.interval(1, 0, 0.75)
    run.interval(0, 1, 0.7, parent=(1, 0))
    run.tell(Failed(failure=Failure(member=0, generation=2, kind="error")))
    clock.now += 30.0
    first, second = screen(shown).splitlines()
    assert first.split(maxsplit=1)[1].split() == ["3/20", "intervals", "0:00:30", "elapsed", "0:02:50", "left"]
    assert second.rstrip() == "best 0.75 (member 1, generation 0)  generation 2 of 10  1 copy  1 failure"


def test_the_live_display_before_anything_has_happened():
    shown, _, _ = live()
    assert screen(shown) == "starting\n"


def test_at_the_end_no_time_is_left_to_show():
    shown, clock, _ = live()
    run = Told(shown, generations=1)
    clock.now += 1.0
    run.interval(0, 0, 0.5)
    run.interval(1, 0, 0.75)
    text = screen(shown)
    assert "2/2 intervals" in text
    assert "left" not in text


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_the_live_display_is_two_lines_at_any_width(width):
    shown, clock, _ = live(width)
    run = Told(shown)
    clock.now += 5.0
    run.interval(0, 0, 0.123456789)
    lines = screen(shown, width).splitlines()
    assert len(lines) == 2
    assert all(len(line) <= width for line in lines)


def test_what_is_printed_meanwhile_stands_above_and_the_display_stops_with_an_error(capsys):
    shown, _, console = live()
    run = Told(shown)

    def broken():
        with shown:
            run.interval(0, 0, 0.5)
            console.print("a line of the training function")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        broken()
    written = console.file.getvalue()
    assert "a line of the training function" in written
    assert written.endswith("\x1b[?25h")  # the cursor is back, and nothing comes after it
    assert not shown._live.is_started


def test_after_ctrl_c_the_display_makes_room():
    shown, _, console = live()
    run = Told(shown)

    def interrupted():
        with shown:
            run.interval(0, 0, 0.5)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert console.file.getvalue().rpartition("intervals")[2].count("\x1b[2K") >= 2  # both lines are erased


def test_output_that_goes_to_a_file_is_left_alone(capsys):
    shown, _, console = live()
    with shown:
        print("a result")
    assert capsys.readouterr().out == "a result\n"
    assert "a result" not in console.file.getvalue()


def test_without_rich_the_line_that_installs_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with pytest.raises(MissingExtra, match=r"pip install 'lamarck\[cli\]'"):
        progress()
