"""The report in a real browser: that it shows what the run was, to eyes, keyboards and screen readers, and asks nobody for anything."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

import cliffs
import shown
from lamarck.history import History
from lamarck.pbt import PBT
from lamarck.plots import data as figures
from lamarck.space import Float, Space
from lamarck.testing.simulation import simulate
from lamarck.types import Retired, Settings
from lamarck.web import write_report

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "out" / "report"

EVIL = "<script>window.harm = 1</script><img src=x onerror='window.harm = 1'></script>"


@pytest.fixture
def open_report(chromium, tmp_path):
    """Opens the report of a history and returns the page, drawn; afterwards nothing may have gone wrong in it."""
    contexts, errors = [], []

    def opened(history, *, width=1600, scheme="light", **options):
        context = chromium.new_context(viewport={"width": width, "height": 1000}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
        page.on("request", lambda request: None if request.url.startswith(("file:", "data:", "blob:")) else errors.append(request.url))
        path = write_report(history, tmp_path / f"report-{len(contexts)}.html", **options)
        page.goto(path.as_uri())
        page.wait_for_selector("#main[aria-busy=false]")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not errors


@pytest.fixture(scope="module")
def sixteen():
    return History.of(shown.events(16, 20, info={"train": "train.py:train", "versions": {"lamarck": "0.1.0"}, "machine": "a box"}))


@pytest.fixture(scope="module")
def crowd():
    """256 members of 200 generations: written down, not trained, because only its looks matter."""
    return History.of(shown.crowd(256, 200))


def followed(page):
    """What the figures draw strong: the row of each, and the members that are marked in the table."""
    rows = page.eval_on_selector_all("canvas.trace", "all => all.map((canvas) => Number(canvas.dataset.row))")
    marked = page.eval_on_selector_all("#members tr.ancestor, #members tr.followed", "all => all.map((line) => Number(line.dataset.member))")
    lines = page.eval_on_selector_all("#parallel path.ancestor", "all => all.map((path) => Number(path.dataset.member))")
    return set(rows), set(marked), set(lines)


def ancestors(history, member):
    return {record.member for record in history.lineage(history.member(member)[-1].key)}


def copier(history):
    """A member whose newest weights were carried by others before, other than the best."""
    return max((m for m in range(16) if m != history.best.member), key=lambda m: len(ancestors(history, m)))


def ink(page, selector="canvas.trace"):
    """How many pixels of each overlay are drawn on."""
    count = "canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.filter((x, i) => i % 4 === 3 && x > 0).length"
    return page.eval_on_selector_all(selector, f"all => all.map((canvas) => canvas.width && canvas.height ? {count} : 0)")


# ---- following an ancestry -------------------------------------------------------------------------------------------------------------


def test_hovering_a_row_of_the_table_shows_its_ancestry_everywhere(open_report, sixteen):
    page, member = open_report(sixteen), copier(sixteen)
    assert followed(page) == ({-1}, set(), set())
    page.hover(f"#members tr[data-member='{member}'] td.curve")
    page.wait_for_selector("#members tr.followed")
    page.wait_for_timeout(200)
    last = [record.key for record in sixteen.records].index(sixteen.member(member)[-1].key)
    rows, marked, lines = followed(page)
    assert rows == {last}
    assert marked == lines == ancestors(sixteen, member)
    assert min(ink(page)) > 1000, "every figure draws it"
    page.mouse.move(5, 5)
    page.wait_for_timeout(200)
    assert followed(page) == ({-1}, set(), set())


def test_hovering_a_line_of_a_figure_shows_its_ancestry(open_report, sixteen):
    page = open_report(sixteen)
    box = page.locator("#tree .u-over").bounding_box()
    rows = figures.lineage(sixteen).row
    member = copier(sixteen)
    page.mouse.move(box["x"] + 0.985 * box["width"], box["y"] + (rows[member] + 0.6) / 16.2 * box["height"])
    page.wait_for_selector("#members tr.followed")
    page.wait_for_timeout(200)
    assert followed(page)[1] == ancestors(sixteen, member)
    page.mouse.down()
    page.mouse.up()
    page.mouse.move(5, 5)
    page.wait_for_timeout(200)
    assert page.locator("#follow").input_value() == str(member), "a click keeps it"
    assert followed(page)[1] == ancestors(sixteen, member)
    page.keyboard.press("Escape")
    page.wait_for_timeout(200)
    assert followed(page)[1] == set()


def test_the_keyboard_alone_follows_sorts_filters_and_zooms(open_report, sixteen):
    page, member = open_report(sixteen), copier(sixteen)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.outerHTML").startswith('<a class="skip"')
    page.locator("#members button.member[tabindex='0']").focus()
    for _ in range(16):
        if page.evaluate("Number(document.activeElement.dataset.member)") == member:
            break
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_timeout(200)
    assert page.locator(f"#members button[data-member='{member}']").get_attribute("aria-pressed") == "true"
    assert f"Member {member}, generation 19" in page.locator("#followed").inner_text()
    page.locator("#members th button", has_text="member").focus()
    page.keyboard.press("Enter")
    assert page.eval_on_selector_all("#members tbody tr", "all => all.map((line) => Number(line.dataset.member))") == list(range(16))
    page.locator("#filter-details summary").focus()
    page.keyboard.press("Enter")
    page.locator("#filter fieldset").nth(0).locator("input").nth(1).press_sequentially("0.002")
    within = sum(sixteen.member(m)[-1].hparams["lr"] <= 0.002 for m in range(16))
    page.wait_for_timeout(300)
    assert page.locator("#filtered").inner_text() == f"{within} of 16 members are within the chosen ranges."
    assert page.locator("#members tr.filtered").count() == 16 - within
    page.locator("#range-low").fill("2000")
    page.locator("#range-high").fill("6000")
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    assert page.locator("#range-low").input_value() == "2000"


def test_dragging_zooms_all_figures_over_steps_and_a_double_click_shows_everything(open_report, sixteen):
    page = open_report(sixteen)
    box = page.locator("#values .u-over").bounding_box()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 60, steps=4)
    page.mouse.up()
    page.wait_for_timeout(300)
    low, high = (float(page.locator(f"#range-{end}").input_value()) for end in ("low", "high"))
    assert low == pytest.approx(1.015 * 2500, abs=30)  # the axis ends a little behind the last step
    assert high == pytest.approx(1.015 * 5000, abs=30)
    page.mouse.dblclick(box["x"] + 100, box["y"] + 100)
    page.wait_for_timeout(300)
    assert page.locator("#range-low").input_value() == ""


def test_a_word_that_never_breaks_does_not_widen_the_page(open_report):
    *made, ended = shown.events(8, 3)
    page = open_report(History.of([*made, Retired(member=3, reason="x" * 400), ended]), width=375)
    assert "x" * 400 in page.locator("#summary").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") == 375


def test_a_single_report_of_each_member_is_seen_and_none_at_all_is_said(open_report):
    made = shown.events(8, 1)
    page = open_report(History.of(made))
    end = """() => {
      const canvas = document.querySelector("#values canvas[role=img]");
      const over = document.querySelector("#values .u-over");
      const x = Math.round(over.offsetLeft + over.offsetWidth / 1.015) - 5;
      return [...canvas.getContext("2d").getImageData(x, over.offsetTop, 10, over.offsetHeight).data];
    }"""
    pixels = np.array(page.evaluate(end)).reshape(-1, 4)
    colours = {tuple(int(part) // 64 for part in pixel[:3]) for pixel in pixels if pixel[3] > 200}
    assert len(colours) >= 6, "a dot in the colour of each family, not only the best"
    page = open_report(History.of(made[:1]), fetch="lamarck fetch run.db")
    assert page.locator("#followed").inner_text() == "Nobody has reported a finite value yet."
    assert page.locator("#summary code").count() == 0


def test_steps_between_whole_numbers_have_no_label(open_report, sixteen):
    page = open_report(sixteen)
    labels = page.evaluate("async () => (await import('lamarck/dom')).wholes(null, [0, 2.5, 5, 7.5, 12000])")
    assert labels == ["0", "", "5", "", "12,000"]


def test_without_findings_no_place_is_left_empty(open_report, sixteen):
    page = open_report(sixteen)
    page.evaluate("document.getElementById('findings-card').hidden = true")
    values, tree = (page.locator(f"section:has(> #{name})").bounding_box() for name in ("values", "tree"))
    assert values["y"] == tree["y"]
    assert values["x"] < tree["x"]


def test_a_long_name_of_an_axis_is_shortened_and_told_in_full(open_report):
    name = "optimizer.second_moment.decay_of_the_average"
    page = open_report(
        History.of(shown.events(4, 2, space=Space({name: Float(0.0, 1.0)}), step=lambda interval, state: (interval.hparams[name], None)))
    )
    label = page.locator("#parallel text.name").first
    assert label.locator("title").text_content() == name
    box, frame = label.bounding_box(), page.locator("#parallel svg").bounding_box()
    assert box["x"] >= frame["x"]


def test_dragging_along_an_axis_filters(open_report, sixteen):
    page = open_report(sixteen)
    page.locator("#parallel svg").scroll_into_view_if_needed()
    box = page.locator("#parallel svg").bounding_box()
    page.mouse.move(box["x"] + 56, box["y"] + 46)
    page.mouse.down()
    page.mouse.move(box["x"] + 56, box["y"] + 46 + 114, steps=4)
    page.mouse.up()
    page.wait_for_timeout(300)
    within = sum(sixteen.member(m)[-1].hparams["lr"] >= 1e-3 for m in range(16))
    assert page.locator("#filtered").inner_text() == f"{within} of 16 members are within the chosen ranges."


# ---- what is shown -----------------------------------------------------------------------------------------------------------------------


MODEL = """async (batch) => {
  const { Model } = await import("lamarck/model");
  const model = new Model(batch.description);
  model.add(batch.reports);
  model.retire(batch.retired);
  const { living, winning, families, rowOf, window } = model.derived;
  return {
    living: [...living], winning: [...winning], rows: [...rowOf], window, best: model.best,
    jumps: Array.from({ length: model.count }, (_, row) => row).filter((row) => model.jumped(row)),
    families: families.map((family) => [family.founder, family.members]),
  };
}"""


def goes_back(interval, x):
    x = cliffs.gained(np.zeros(2) if x is None else x, interval.hparams["h"], interval.start)
    return float(x[0]), x


RUNS = {
    "two": lambda: shown.events(2, 12),
    "asynchronous": lambda: shown.events(9, 12, speeds=(1.0, 0.3, 2.0), max_lead=None),
    "lower is better": lambda: shown.events(24, 12, mode="min"),
    "thirteen": lambda: shown.events(13, 12, seed=5),
    "goes back": lambda: simulate(PBT(space=cliffs.SPACE, settings=Settings(**cliffs.RULES), exploit=cliffs.BACK), goes_back),
}


@pytest.mark.parametrize("made", RUNS.values(), ids=RUNS)
def test_the_browser_derives_what_the_figures_derive(open_report, made):
    """Families, survivors, order, jumps and window: JavaScript against `lamarck.plots.data`."""
    from lamarck.web.data import Columns, description

    history = History.of(made())
    columns = Columns(history.started)
    for record in history.records:
        columns.put(record)
    given = {"description": description(history.started), "reports": columns.batch(), "retired": sorted(history.retired)}
    got = open_report(history).evaluate(MODEL, json.loads(json.dumps(given)))
    strands, tree = figures.strands(history), figures.lineage(history)
    assert got["living"] == strands.living.astype(int).tolist()
    assert got["winning"] == strands.winning.astype(int).tolist()
    assert got["families"] == [[family.founder[0], family.members] for family in strands.families]
    assert got["rows"] == tree.row.tolist()
    assert got["jumps"] == tree.copies.tolist()
    assert got["window"] == pytest.approx(figures.window(strands.value))
    assert got["best"] == [record.key for record in history.records].index(history.best.key)


def test_members_ancestry_words_and_citations_are_there_as_text(open_report, sixteen):
    page = open_report(sixteen, fetch="lamarck fetch run.db -o best.safetensors")
    assert page.title() == "train.py:train – Lamarck"
    newest = sixteen.member(3)[-1]
    cells = page.locator("#members tr[data-member='3'] td").all_inner_texts()
    assert float(cells[1]) == pytest.approx(newest.value, rel=1e-5)
    assert float(cells[6]) == pytest.approx(newest.hparams["lr"], rel=1e-3)
    assert page.locator("#ancestry tbody tr").count() == len(sixteen.schedule())
    assert f"Member {sixteen.best.member} has the best value" in page.locator("#summary").inner_text()
    assert "a box" in page.locator("#made").inner_text()
    assert "jaderberg2017" in page.locator("#cite").inner_text()
    assert page.locator(".fetch code").inner_text() == "lamarck fetch run.db -o best.safetensors"
    assert all(page.eval_on_selector_all("canvas[role=img]", "all => all.map((canvas) => canvas.getAttribute('aria-label').length > 20)"))


def test_nothing_in_a_run_becomes_markup(open_report):
    space = Space(**{EVIL: Float(0.0, 1.0)})
    history = History.of(
        shown.events(3, 4, space=space, step=lambda interval, _: (interval.hparams[EVIL], None), info={"train": EVIL, EVIL: EVIL})
    )
    page = open_report(history, fetch=EVIL)
    page.wait_for_timeout(200)
    assert page.evaluate("window.harm") is None
    assert page.locator("#title").inner_text() == EVIL
    assert page.locator("#main img, #main script").count() == 0


def test_256_members_of_200_generations_are_drawn_from_less_than_5_megabytes(open_report, crowd, tmp_path):
    page = open_report(crowd)
    assert (tmp_path / "report-1.html").stat().st_size < 5_000_000
    assert page.locator("#members tbody tr").count() == 256
    assert "51,200" in page.locator("#tiles").inner_text()
    assert min(ink(page, "#values canvas[role=img], #tree canvas[role=img], #hparams canvas[role=img]")) > 5000
    page.screenshot(path=picture("256-light-1600"), full_page=True)


def test_a_run_that_has_just_begun_can_be_shown(open_report):
    started = History.of(shown.events(4, 3)[:1])
    page = open_report(started)
    assert "No finite value has been reported yet." in page.locator("#summary").inner_text()
    one = History.of(shown.events(4, 3)[:3])
    assert "1" in open_report(one).locator("#tiles").inner_text()


# ---- everybody ---------------------------------------------------------------------------------------------------------------------------


def picture(name):
    PICTURES.mkdir(parents=True, exist_ok=True)
    return str(PICTURES / f"{name}.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1600])
def test_it_is_fit_for_everybody_at_any_width_light_and_dark(open_report, sixteen, width, scheme):
    page = open_report(sixteen, width=width, scheme=scheme)
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page must not scroll sideways"
    page.screenshot(path=picture(f"16-{scheme}-{width}"), full_page=True)
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    assert [(it["id"], it["impact"], [node["html"] for node in it["nodes"]][:3]) for it in found] == []


def test_the_switch_between_light_and_dark_repaints(open_report, sixteen):
    page = open_report(sixteen)
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.locator("#theme").select_option("dark")
    page.wait_for_timeout(300)
    assert page.evaluate(colour) != light
    shades = page.evaluate("[...document.querySelector('#values canvas').getContext('2d').getImageData(0, 0, 5, 5).data]")
    assert np.array(shades).reshape(-1, 4)[:, 3].max() == 0, "the paper shows through"


def test_the_colours_are_those_of_the_figures():
    from lamarck.plots._style import COLOURS, EXTINCT, OTHER
    from lamarck.web.page import asset

    light = asset("style.css").partition("}")[0].lower()
    for i, colour in enumerate(COLOURS):
        assert f"--family-{i}: {colour.lower()};" in light
    assert f"--other: {OTHER.lower()};" in light
    assert f"--extinct: {EXTINCT.lower()};" in light
