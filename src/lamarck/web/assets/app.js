// All views of one run, kept up to date: one redraw of each view a frame, and only of what has changed.

import { Chart } from "lamarck/chart";
import { byId, counted, element, Frames, say } from "lamarck/dom";
import { Hyperparameter, Values } from "lamarck/lines";
import { Members, ancestry } from "lamarck/members";
import { Model } from "lamarck/model";
import { Parallel } from "lamarck/parallel";
import { Store } from "lamarck/store";
import { Tree } from "lamarck/tree";
import { findings, key, standing, tiles, words } from "lamarck/words";

export class App {
  #frames = new Frames();
  #store = new Store();
  #views = [];
  #charts = [];

  constructor(description) {
    const model = (this.model = new Model(description));
    this.store = this.#store;
    document.title = `${model.title} – Lamarck`;
    say(byId("title"), model.title);
    say(byId("subtitle"), `population of ${counted(model.size, "member")}, ${counted(model.generations, "generation")} of ${counted(model.interval, "step")}, ${model.mode === "max" ? "higher" : "lower"} is better`);
    for (const place of ["values", "tree", "hparams", "parallel", "members"]) byId(place).replaceChildren();
    byId("main").hidden = false;
    byId("main").setAttribute("aria-busy", "true");
    byId("main").classList.toggle("crowd", model.size > 64);
    this.#follow();
  }

  add(batch) {
    this.model.add(batch);
  }

  /** Draws everything anew; the first time it makes the views, which need to know the reports' ends. */
  refresh(drawn = () => {}) {
    if (!this.#views.length) this.#make();
    for (const task of this.#tasks) this.#frames.ask(task);
    for (const view of this.#views) this.#frames.ask(view.redraw);
    this.#after = drawn;
    this.#frames.ask(this.#drawn);
  }

  #after = () => {};
  #drawn = () => {
    byId("main").setAttribute("aria-busy", "false");
    this.#after();
  };
  #tasks = [() => tiles(this.model), () => key(this.model), () => ancestry(this.model, this.#store)];

  #make() {
    const [model, store, frames] = [this.model, this.#store, this.#frames];
    this.members = new Members(byId("members"), model, store);
    const chart = (place, painter) => new Chart(byId(place), model, store, frames, painter);
    const values = chart("values", new Values(model, store));
    const hparams = model.axes.map((_, place) => chart("hparams", new Hyperparameter(model, store, place)));
    this.#charts = [values, ...hparams];
    this.#views = [values, chart("tree", new Tree(model, store)), ...hparams, new Parallel(byId("parallel"), model, store, frames), this.members];
    store.watch((name) => this.#changed(name));
    this.#range();
  }

  #changed(name) {
    if (name === "steps") for (const chart of this.#charts) this.#frames.ask(chart.redraw);
    if (name === "ranges") for (const view of this.#views) this.#frames.ask(view.redraw);
    if (name === "focus") {
      for (const view of this.#views) this.#frames.ask(view.trace);
      this.#frames.ask(this.#tasks[2]);
      byId("follow").value = this.#store.pinned ?? "";
    }
    if (name === "steps") [byId("range-low").value, byId("range-high").value] = this.#store.steps?.map(Math.round) ?? ["", ""];
  }

  #follow() {
    const select = byId("follow");
    const members = Array.from({ length: this.model.size }, (_, member) => element("option", { value: member }, `member ${member}`));
    select.replaceChildren(element("option", { value: "" }, "the best"), ...members);
    select.onchange = () => this.#store.pin(select.value === "" ? null : Number(select.value));
    document.onkeydown = (event) => {
      if (event.key === "Escape") this.#store.pin(null);
    };
  }

  #range() {
    const form = byId("range");
    form.onsubmit = (event) => {
      event.preventDefault();
      const last = Math.max(...this.model.newest.map((row) => (row < 0 ? 0 : this.model.step[row])));
      const [low, high] = [Number(byId("range-low").value || 0), Number(byId("range-high").value || last)];
      if (high > low) this.#store.zoom([low, high]);
    };
    form.onreset = () => this.#store.zoom(null);
  }

  words(told) {
    words(told);
  }

  /** What a server tells beside the reports. */
  state(state) {
    this.model.retire(state.retired);
    standing(state);
    findings(state.findings);
    if (!this.#views.length) this.#make();
    this.members.states(state.members);
  }

  /** For colours that have changed. */
  repaint() {
    for (const view of this.#views) this.#frames.ask(view.redraw);
  }
}

/** Lets the reader choose between light and dark, and remembers it where that is allowed. */
export function theme(changed) {
  const select = byId("theme");
  const apply = (name) => {
    document.documentElement.dataset.theme = name;
    changed();
  };
  try {
    select.value = localStorage.getItem("lamarck-theme") ?? "auto";
  } catch {
    select.value = "auto";
  }
  select.onchange = () => {
    try {
      localStorage.setItem("lamarck-theme", select.value);
    } catch {
      // a file that may not keep anything: the choice holds until it is closed
    }
    apply(select.value);
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  document.documentElement.dataset.theme = select.value;
}
