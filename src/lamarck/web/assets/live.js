// The live page: the same views, told by the server what happens.

import { App, theme } from "lamarck/app";
import { byId, element, say } from "lamarck/dom";

const { runs, run } = JSON.parse(byId("config").textContent);
let app = null;

theme(() => app?.repaint());

function connection(state, text) {
  byId("progress").hidden = false;
  byId("connection").dataset.state = state;
  say(byId("connection"), text);
}

/** Draws what has come, but so seldom that drawing takes a small part of the time. */
class Redraws {
  #waiting = false;
  #pause = 200;

  ask() {
    if (this.#waiting) return;
    this.#waiting = true;
    setTimeout(() => {
      this.#waiting = false;
      const begun = performance.now();
      app.refresh(() => (this.#pause = Math.max(200, 4 * (performance.now() - begun))));
    }, this.#pause);
  }
}

const redraws = new Redraws();

function follow() {
  const events = new EventSource(`v1/runs/${encodeURIComponent(run)}/stream`);
  let ended = null;
  const on = (name, act) => events.addEventListener(name, (event) => act(JSON.parse(event.data)));
  on("run", (description) => (app = new App(description)));
  on("rows", (batch) => app.add(batch));
  on("words", (told) => app.words(told));
  on("state", (state) => {
    ended = state.ended;
    app.state(state);
    connection(ended ? "over" : "live", ended ? "this run is over" : "live");
    redraws.ask();
  });
  events.addEventListener("error", () => {
    connection("lost", "connection lost, trying again");
    if (events.readyState === EventSource.CLOSED) setTimeout(follow, 2000); // the server was there and said no: it may be starting
  });
}

if (run === null) {
  byId("notice").hidden = false;
  say(byId("notice"), "No run has begun yet. This page looks again every few seconds.");
  setTimeout(() => location.reload(), 3000);
} else {
  const select = byId("run");
  byId("runs").hidden = runs.length < 2;
  select.replaceChildren(...runs.map((name) => element("option", { value: name, selected: name === run }, name)));
  select.addEventListener("change", () => {
    const address = new URL(location.href);
    address.searchParams.set("run", select.value);
    location.assign(address);
  });
  connection("lost", "connecting");
  follow();
}
