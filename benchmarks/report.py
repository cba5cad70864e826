"""How fast the report and the live page are in a real browser.

The report of 256 members and 200 generations: how large the file is, how long it takes to make, and from opening it to the last figure
drawn; beside an empty page, and a page that only unpacks and parses the same data. The live page with 256 members of 10,000 reports each: how
long it takes to draw all of it, and how evenly frames come while the pointer moves over the figures and while generations of reports come in;
beside the frames of an empty page.

    python benchmarks/report.py [rounds]
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from _common import machine, median, save, table
from lamarck.history import History
from lamarck.web import write_report

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
crowd = importlib.import_module("shown").crowd

EMPTY = "<!doctype html><title>empty</title><p>nothing"

PARSED = """<!doctype html><title>data alone</title><script type="text/plain" id="data">{data}</script><script type="module">
const bytes = Uint8Array.from(atob(document.getElementById("data").textContent), (letter) => letter.charCodeAt(0));
const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
await new Response(stream).json();
document.body.append("parsed");
</script><main id="main" aria-busy="false" hidden></main>"""

FILL = """async ([size, generations]) => {
  const { App } = await import("lamarck/app");
  const axes = [
    { name: "lr", low: 1e-5, high: 0.1, log: true, whole: false, choices: [] },
    { name: "dropout", low: 0, high: 0.7, log: false, whole: false, choices: [] },
  ];
  const app = new App({ title: "many reports", size, interval: 10, generations: generations + 100, mode: "max", axes });
  const skill = Array.from({ length: size }, () => 0.1 * Math.random());
  const lr = Array.from({ length: size }, () => 10 ** (-5 + 4 * Math.random()));
  const drop = Array.from({ length: size }, () => 0.7 * Math.random());
  let generation = 0;
  const batch = (donors) => {
    const made = { start: app.model.count, member: [], generation: [], step: [], value: [], back: [], hparams: [[], []] };
    for (let member = 0; member < size; member++) {
      const donor = donors.get(member) ?? member;
      made.member.push(member);
      made.generation.push(generation);
      made.step.push(10 * (generation + 1));
      skill[member] = skill[donor] + 0.0004 * (1 - skill[donor]) * Math.random();
      made.value.push(skill[member] + 0.01 * Math.random());
      made.back.push(generation ? size + member - donor : 0);
      [lr[member], drop[member]] = [lr[donor], donor === member ? drop[member] : 0.7 * Math.random()];
      made.hparams[0].push(lr[member]);
      made.hparams[1].push(drop[member]);
    }
    generation++;
    return made;
  };
  const next = () => {
    const donors = new Map();
    const any = () => Math.floor(Math.random() * size);
    if (generation % 50 === 49) for (let i = 0; i < size / 5; i++) donors.set(any(), any());
    app.add(batch(donors));
  };
  const begun = performance.now();
  while (generation < generations) next();
  const added = performance.now();
  window.more = () => new Promise((done) => (next(), app.refresh(done)));
  await new Promise((done) => app.refresh(done));
  return { add: (added - begun) / 1000, draw: (performance.now() - added) / 1000, reports: app.model.count };
}"""

FRAMES = """(seconds) => new Promise((done) => {
  const times = [];
  const tick = (now) => (times.push(now), now - times[0] < 1000 * seconds ? requestAnimationFrame(tick) : done(times));
  requestAnimationFrame(tick);
})"""

FRAMES_WHILE_REPORTS_COME = """async (seconds) => {
  const times = [];
  let going = true;
  const tick = (now) => (times.push(now), going && requestAnimationFrame(tick));
  requestAnimationFrame(tick);
  const begun = performance.now();
  let rounds = 0;
  while (performance.now() - begun < 1000 * seconds) {
    const started = performance.now();
    await more();
    rounds++;
    await new Promise((next) => setTimeout(next, Math.max(200, 4 * (performance.now() - started))));
  }
  going = false;
  return { times, rounds };
}"""


def browser_path() -> str:
    """Returns the Chromium of this machine."""
    found = os.environ.get("LAMARCK_BROWSER") or shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        raise SystemExit("there is no Chromium here: apt-get install chromium")
    return found


def loading(browser: Browser, file: Path, rounds: int) -> list[float]:
    """Seconds from the beginning of the navigation until everything is drawn, in a new context each."""
    seconds = []
    for _ in range(rounds):
        context = browser.new_context(viewport={"width": 1600, "height": 1000})
        page = context.new_page()
        page.goto(file.as_uri())
        page.wait_for_selector("#main[aria-busy=false]", state="attached")
        seconds.append(page.evaluate("performance.now()") / 1000)
        context.close()
    return seconds


def gaps(times: list[float]) -> dict[str, float]:
    """Milliseconds between frames."""
    between = np.diff(times)
    return {
        "frames": len(between),
        "median": float(np.median(between)),
        "p99": float(np.quantile(between, 0.99)),
        "longest": float(between.max()),
    }


def hovering(page: Page, seconds: float) -> dict[str, float]:
    """Frames while the pointer moves over the figure of values."""
    box = page.locator("#values .u-over").bounding_box()
    assert box is not None
    page.evaluate("(seconds) => { window.measured = (" + FRAMES + ")(seconds); }", seconds)
    begun, i = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        page.mouse.move(box["x"] + box["width"] * (i % 97) / 97, box["y"] + box["height"] * (0.2 + 0.6 * (i % 31) / 31))
        i += 1
    return gaps(page.evaluate("measured"))


def main(rounds: int) -> None:
    facts = machine(["numpy", "playwright"])
    history = History.of(crowd(256, 200))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox", "--disable-gpu"])
        facts = {**facts, "browser": f"Chromium {browser.version}, headless, without GPU"}
        begun = time.perf_counter()
        report = write_report(history, Path(folder) / "report.html")
        made = time.perf_counter() - begun
        packed = report.read_text().partition('id="data">')[2].partition("<")[0]
        parsed, empty = Path(folder) / "parsed.html", Path(folder) / "empty.html"
        parsed.write_text(PARSED.replace("{data}", packed))
        empty.write_text(EMPTY + '<main id="main" aria-busy="false" hidden></main>')
        loads = {"the report": loading(browser, report, rounds), "the data alone, parsed": loading(browser, parsed, rounds)}
        loads["an empty page"] = loading(browser, empty, rounds)
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.goto(empty.as_uri())
        frames = {"an empty page": gaps(page.evaluate(FRAMES, 3))}
        page.goto(report.as_uri())
        page.wait_for_selector("#main[aria-busy=false]")
        filled: dict[str, Any] = page.evaluate(FILL, [256, 10_000])
        frames["the pointer moves over the figures"] = hovering(page, 5)
        coming = page.evaluate(FRAMES_WHILE_REPORTS_COME, 10)
        frames[f"reports come in, drawn {coming['rounds']} times"] = gaps(coming["times"])
        size = report.stat().st_size
        browser.close()
    text = f"The report of 256 members and 200 generations has {size / 1e6:.2f} MB and is made in {made:.1f} s (target: less than 5 MB).\n\n"
    rows = [[name, f"{median(seconds):.2f}", f"{min(seconds):.2f}", f"{max(seconds):.2f}"] for name, seconds in loads.items()]
    text += table(["seconds until drawn (target: less than 2)", "median", "least", "most"], rows)
    text += (
        f"\n\nThe live page with 256 members of 10,000 reports each, {filled['reports']:,} in all: taken in within {filled['add']:.1f} s, "
        f"and drawn within {filled['draw']:.1f} s.\n\n"
    )
    keys = ("frames", "median", "p99", "longest")
    text += table(["milliseconds between frames, while", *keys], [[name, *(f"{gap[key]:.0f}" for key in keys)] for name, gap in frames.items()])
    save(
        "report",
        "The report and the live page in a browser",
        text,
        {"bytes": size, "made": made, "loads": loads, "live": filled, "frames": frames},
        facts,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
