"""The live page in a real browser: it shows a run while it goes on, and finds back to it."""

from __future__ import annotations

import json
import threading
import time
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

import lamarck as lk
import shown
from http_engine import ask, create
from lamarck import codec
from lamarck.journal import open_journal
from lamarck.server.app import app
from lamarck.server.serve import background
from lamarck.server.service import Service
from lamarck.server.tokens import Tokens, add_token
from lamarck.space import Float, Space
from lamarck.testing.engine import train
from lamarck.types import Assigned, Interval, Report, Reported, Retired, Started
from lamarck.web.dashboard import dashboard, viewer
from lamarck.web.live import page_routes
from lamarck.web.readonly import JournalSource
from test_web_report import PICTURES, picture


@pytest.fixture
def book():
    """An open journal, run.db."""
    with open_journal("run.db") as journal:
        yield journal


def write(journal, events, run="main"):
    after = sum(1 for _ in journal.read(run)) if run in journal.runs() else 0
    journal.append(run, after, [codec.encode(event) for event in events])


@pytest.fixture
def open_page(chromium):
    """Opens a page at an address, and says afterwards whether anything went wrong in it."""
    contexts, errors = [], []

    def opened(url, *, width=1600, scheme="light", quiet=True):
        context = chromium.new_context(viewport={"width": width, "height": 1000}, color_scheme=scheme)
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if quiet and message.type in ("error", "warning") else None)
        page.on("request", lambda request: None if request.url.startswith((url, "data:")) else errors.append(request.url))
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not errors


def drawn(page, reports):
    """Waits until the page has drawn so many reports."""
    page.locator("#tiles .tile", has_text="reports").locator(".figure", has_text=f"{reports:,}").wait_for()
    page.wait_for_selector("#main[aria-busy=false]")
    page.wait_for_timeout(150)


def stream(url, run="main", last=None):
    """Reads a stream until the first words have come: (event, id, data) each."""
    request = Request(f"{url}/v1/runs/{run}/stream", headers={} if last is None else {"Last-Event-ID": last})
    messages = []
    with urlopen(request, timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        message = {}
        for line in answer:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                message[name] = value
                continue
            if "data" in message:
                messages.append((message["event"], message.get("id"), json.loads(message["data"])))
                if message["event"] == "words":
                    return messages
            message = {}
    raise AssertionError("the stream ended")


# ---- the stream --------------------------------------------------------------------------------------------------------------------------


def test_the_stream_tells_all_reports_and_after_a_break_only_the_new_ones(book):
    events = shown.events(4, 6)
    write(book, events[:20])
    with dashboard("run.db") as url:
        first = stream(url)
        assert [event for event, _, _ in first] == ["run", "rows", "state", "words"]
        seen = len(first[1][2]["member"])
        write(book, events[20:])
        time.sleep(1.2)
        second = stream(url, last=first[1][1])
        assert [event for event, _, _ in second] == ["rows", "state", "words"]
        assert second[0][2]["start"] == seen
        assert seen + len(second[0][2]["member"]) == 24
        assert second[1][2]["ended"] == "all generations done"
        assert stream(url, last=second[0][1])[0][0] == "state", "nothing new: nothing is told twice"


@pytest.mark.parametrize("last", ["", "nonsense", "0123456789abcdef.3", "{identity}.9999", "{identity}.-1", "{identity}.x", "{identity}.²"])
def test_whoever_comes_back_with_something_unknown_begins_anew(book, last):
    write(book, shown.events(3, 3))
    with dashboard("run.db") as url:
        identity = stream(url)[1][1].partition(".")[0]
        assert next(event for event, _, _ in stream(url, last=last.format(identity=identity))) == "run"


def test_long_runs_come_in_batches(book):
    write(book, shown.crowd(64, 100))
    with dashboard("run.db") as url:
        batches = [(key, data) for event, key, data in stream(url) if event == "rows"]
    assert [data["start"] for _, data in batches] == [0, 4096]
    assert [int(key.partition(".")[2]) for key, _ in batches] == [4096, 6400]


def test_a_run_that_is_not_there_is_a_404_and_may_come_later(book):
    with dashboard("run.db") as url:
        with pytest.raises(HTTPError, match="404") as error:
            urlopen(f"{url}/v1/runs/none/stream", timeout=60)
        assert b"there is no run 'none'" in error.value.read()
        write(book, shown.events(2, 2), "none")
        assert stream(url, "none")[0][0] == "run"


@pytest.mark.parametrize("name", ["../page.py", "%2e%2e/page.py", "index.html", "report.js", "vendor/", "x", "..%2f..%2fpyproject.toml"])
def test_only_the_files_of_the_page_are_served(book, name):
    with dashboard("run.db") as url, pytest.raises(HTTPError, match="404"):
        urlopen(f"{url}/assets/{name}", timeout=60)


def test_the_page_may_load_nothing_from_elsewhere(book):
    with dashboard("run.db") as url, urlopen(url, timeout=60) as answer:
        policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_a_dashboard_listens_at_this_machine_alone_and_ends_with_its_block(book):
    write(book, shown.events(2, 2))
    with dashboard("run.db") as url:
        assert url.startswith("http://127.0.0.1:")
        stream(url)
    with pytest.raises(OSError, match="refused"):
        urlopen(url, timeout=5)
    assert not [thread for thread in threading.enumerate() if thread.name == "lamarck-serve"]


def test_nobody_else_s_page_and_no_other_name_reaches_the_dashboard(book):
    """A page elsewhere could otherwise read a run through somebody's browser."""
    write(book, shown.events(2, 2))
    with dashboard("run.db") as url:
        for path in ("", "/v1/runs/main/stream", "/assets/app.js"):
            for header in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
                with pytest.raises(HTTPError, match="403"):
                    urlopen(Request(f"{url}{path}", headers=header), timeout=60)


def test_viewers_show_their_token_where_there_are_tokens(book, tmp_path):
    write(book, shown.events(2, 2))
    token = add_token(tmp_path / "tokens", "viewer")
    source = JournalSource("run.db")
    with background(viewer(source, tokens=Tokens(tmp_path / "tokens")), stopping=source.stop) as url:
        with pytest.raises(HTTPError, match="401"):
            urlopen(f"{url}/v1/runs/main/stream", timeout=60)
        with urlopen(Request(url, headers={"Authorization": f"Bearer {token}"}), timeout=60) as answer:
            assert answer.status == 200
    source.close()


def test_a_source_follows_a_file_that_is_made_later(tmp_path):
    source = JournalSource(tmp_path / "later.db")
    with pytest.raises(lk.RunMissing, match="none yet"):
        source.members("main")
    with open_journal(tmp_path / "later.db") as journal:
        write(journal, shown.events(3, 2)[:4])
        states = [state.state for state in source.members("main")]
        assert states == ["waiting", "waiting", "training"] or sorted(states)[:1] == ["training"]
        write(journal, shown.events(3, 2)[4:])
        assert [state.state for state in source.members("main")] == ["done"] * 3
    source.close()


# ---- the page ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_lines_appear_and_the_page_follows_without_being_loaded_again(book, open_page):
    events = shown.events(8, 10)
    cut = next(i for i, event in enumerate(events) if isinstance(event, Reported) and event.report.generation == 4)
    write(book, events[:cut])
    with dashboard("run.db") as url:
        page = open_page(url)
        drawn(page, sum(isinstance(event, Reported) for event in events[:cut]))
        page.evaluate("window.mark = 1")
        assert page.locator("#connection").inner_text() == "live"
        before = page.evaluate("document.querySelector('#values canvas').toDataURL()")
        write(book, events[cut : cut + 40])
        drawn(page, sum(isinstance(event, Reported) for event in events[: cut + 40]))
        assert page.evaluate("document.querySelector('#values canvas').toDataURL()") != before
        assert "training" in page.locator("#members").inner_text()
        assert "left" in page.locator("#standing").inner_text()
        write(book, events[cut + 40 :])
        drawn(page, 80)
        page.locator("#connection", has_text="this run is over").wait_for()
        assert page.locator("#members td.state").all_inner_texts() == ["done"] * 8
        assert page.evaluate("window.mark") == 1
        assert page.locator(".fetch code").inner_text() == "lamarck fetch run.db -o best.safetensors"


def two(copied):
    """Member 0 reports 1, member 1 reports 0; then member 1 goes on from itself, or copies member 0."""
    space = Space(h=Float(0.0, 1.0))
    settings = lk.Settings(population_size=2, interval=7, generations=9)
    strategies = lk.PBT(space=space, settings=settings).init()[0].strategies
    events = [Started(settings=settings, space=space.to_dict(), strategies=strategies, initial=({"h": 0.2}, {"h": 0.8}))]
    rows = [(0, 0, None, 1.0), (1, 0, None, 0.0), (0, 1, (0, 0), 1.0), (1, 1, (0, 0) if copied else (1, 0), 1.0 if copied else 0.0)]
    for member, generation, parent, value in rows:
        start = 7 * generation
        interval = Interval(
            member=member, generation=generation, hparams={"h": 0.2}, start=start, until=start + 7, restore=None, parent=parent, seed=0
        )
        events.append(Assigned(interval=interval))
        events.append(Reported(report=Report(member=member, generation=generation, step=start + 7, value=value, checkpoint="c")))
    return events


@pytest.mark.browser
@pytest.mark.parametrize("copied", [True, False])
def test_a_jump_is_drawn_when_a_member_copies(book, open_page, copied):
    """Where member 1 stood at 0 and goes on from 1, a dashed line leads upwards; where it goes on from itself, there is none."""
    events = two(copied)
    write(book, events[:-2])
    with dashboard("run.db") as url:
        page = open_page(url)
        drawn(page, 3)
        write(book, events[-2:])
        drawn(page, 4)
        column = page.evaluate(
            """() => {
              const canvas = document.querySelector("#values canvas[role=img]");
              const over = document.querySelector("#values .u-over");
              const [left, width, top, height] = [over.offsetLeft, over.offsetWidth, over.offsetTop, over.offsetHeight];
              const x = Math.round(left + (7 / (14 * 1.015)) * width) - 1; // the axis ends a little behind the last step
              const y = (value) => top + height * (1 - (value + 0.04) / 1.08);
              const data = canvas.getContext("2d").getImageData(x, Math.round(y(0.85)), 3, Math.round(y(0.15) - y(0.85))).data;
              return [...data];
            }"""
        )
    pixels = np.array(column).reshape(-1, 3, 4)
    coloured = (pixels[:, :, 2].astype(int) - pixels[:, :, 0] > 25) & (pixels[:, :, 3] > 60)
    share = coloured.any(axis=1).mean()
    assert (share > 0.2) if copied else (share == 0)


@pytest.mark.browser
def test_the_page_finds_back_after_the_server_was_away(book, open_page):
    events = shown.events(6, 8)
    write(book, events[:30])
    with dashboard("run.db") as url:
        page = open_page(url, quiet=False)
        drawn(page, sum(isinstance(event, Reported) for event in events[:30]))
        page.evaluate("window.mark = document.querySelector('#members tr[data-member=\"0\"]')")
    page.locator("#connection", has_text="trying again").wait_for()
    write(book, events[30:])
    with dashboard("run.db", port=int(url.rpartition(":")[2])):
        drawn(page, 48)
        assert page.evaluate("window.mark.isConnected"), "it went on where it was instead of beginning anew"


@pytest.mark.browser
def test_a_page_without_a_run_waits_for_one(open_page):
    with dashboard("run.db") as url:
        page = open_page(url)
        page.locator("#notice", has_text="No run has begun yet").wait_for()
        with open_journal("run.db") as journal:
            write(journal, shown.events(2, 3))
        drawn(page, 6)


@pytest.mark.browser
def test_one_of_several_runs_can_be_chosen(book, open_page):
    write(book, shown.events(2, 3), "first")
    write(book, shown.events(3, 4), "other one")
    with dashboard("run.db") as url:
        page = open_page(url)
        drawn(page, 6)
        page.locator("#run").select_option("other one")
        drawn(page, 12)
        assert page.locator(".fetch code").inner_text() == "lamarck fetch run.db --name 'other one' -o best.safetensors"


@pytest.mark.browser
def test_what_a_journal_says_is_text(book, open_page):
    evil = "<img src=x onerror='window.harm = 1'></script><script>window.harm = 1</script>"
    events = shown.events(
        3, 4, space=Space(**{evil: Float(0.0, 1.0)}), step=lambda interval, _: (interval.hparams[evil], None), info={"train": evil}
    )
    write(book, [*events[:12], Retired(member=1, reason=evil)], evil.partition("</")[0])
    with dashboard("run.db") as url:
        page = open_page(url)
        page.wait_for_selector("#main[aria-busy=false]")
        page.locator("#summary", has_text="failed for good").wait_for()
        assert page.evaluate("window.harm") is None
        assert page.locator("main img, main script").count() == 0
        assert page.locator("#members td.state").all_inner_texts().count("retired") == 1


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (1600, "light")])
def test_the_live_page_is_fit_for_everybody(book, open_page, width, scheme):
    write(book, shown.events(12, 30, info={"train": "train.py:train"})[:500])
    with dashboard("run.db") as url:
        page = open_page(url, width=width, scheme=scheme)
        page.wait_for_selector("#main[aria-busy=false]")
        page.locator("#summary li").first.wait_for()
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=picture(f"live-{scheme}-{width}"), full_page=True)
        found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        assert [(it["id"], it["impact"]) for it in found] == []


@pytest.mark.browser
def test_a_run_of_this_process_is_followed_to_its_end(open_page):
    """The whole way: a population that trains, its journal, the server, the page."""

    def train(worker):
        x = np.ones(1)
        worker.track(x=x)
        for interval in worker:
            x *= 1 - interval.hparams["rate"]
            time.sleep(0.01)
            interval.report(float(x[0]))

    with dashboard("run.db") as url:
        page = open_page(url)
        page.locator("#notice", has_text="No run has begun yet").wait_for()
        lk.run(train, lk.Space(rate=lk.Float(0.01, 0.5)), population_size=4, interval=5, generations=12, mode="min", journal="run.db")
        drawn(page, 48)
        page.locator("#connection", has_text="this run is over").wait_for()
        assert "Lower is better" in page.locator("#summary").inner_text()


@pytest.mark.browser
def test_the_page_of_a_service_says_who_trains_and_who_is_lost(open_page):
    """One worker trains and goes; another takes an interval and is never heard of again."""
    service = Service("s.db", lease=1.5)
    with background(app(service, routes=page_routes(service)), stopping=service.stop) as url:
        assert create(url).status == 201
        page = open_page(url)
        ask(url, "POST", "/v1/runs/a/exchange?worker=silent")
        states = page.locator("#members td.state")
        page.locator("#members td.state", has_text="training").wait_for()
        page.locator("#members td.state", has_text="lost").wait_for()
        train(lk.connect(url, run="a"))
        drawn(page, 9)
        assert states.all_inner_texts() == ["done"] * 3
        assert page.title() == "a – Lamarck"
    service.close()
