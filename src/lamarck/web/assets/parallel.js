// The newest configuration of each member, as a line across one axis for each hyperparameter and one for the value.

import { byId, element, number, say, setting, shape } from "lamarck/dom";
import { EXTINCT } from "lamarck/derived";

const [HEIGHT, TOP, BOTTOM, SIDE] = [300, 46, 26, 56];
const LETTER = 7.6; // pixels that a letter of a name takes
const GRIP = 16; // pixels beside an axis in which a drag chooses a range on it

export class Parallel {
  #model;
  #store;
  #drawing;
  #paths = [];
  #marks = [];
  #drag = null;

  constructor(place, model, store, frames) {
    [this.#model, this.#store] = [model, store];
    this.#drawing = shape("svg", { role: "img", class: "parallel", height: HEIGHT });
    this.#drawing.addEventListener("pointermove", (event) => this.#moved(event));
    this.#drawing.addEventListener("pointerleave", () => store.hover(null));
    this.#drawing.addEventListener("pointerdown", (event) => this.#pressed(event));
    this.#drawing.addEventListener("pointerup", (event) => this.#released(event));
    place.append(element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Lines across the axes" }, this.#drawing));
    this.redraw = () => this.#draw();
    this.trace = () => this.#focus();
    this.#inputs();
    new ResizeObserver(() => frames.ask(this.redraw)).observe(place);
  }

  /** The axes: each hyperparameter, then the value. */
  #axes() {
    const newest = Array.from(this.#model.newest).filter((row) => row >= 0 && !Number.isNaN(this.#model.value[row]));
    const values = newest.map((row) => this.#model.value[row]);
    const [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
    const ends = low < high ? { low, high } : { low: low - 0.5, high: high + 0.5 };
    return [...this.#model.axes, { name: "value", ...ends, log: false, whole: false, choices: [] }];
  }

  #place(axis, value) {
    const scale = axis.log ? Math.log10 : (x) => x;
    const part = (scale(value) - scale(axis.low)) / (scale(axis.high) - scale(axis.low) || 1);
    return HEIGHT - BOTTOM - Math.min(1, Math.max(0, part)) * (HEIGHT - TOP - BOTTOM);
  }

  #value(axis, y) {
    const part = Math.min(1, Math.max(0, (HEIGHT - BOTTOM - y) / (HEIGHT - TOP - BOTTOM)));
    if (axis.log) return 10 ** (Math.log10(axis.low) + part * (Math.log10(axis.high) - Math.log10(axis.low)));
    return axis.low + part * (axis.high - axis.low);
  }

  #of(row, place) {
    return place < this.#model.axes.length ? this.#model.hparams[place][row] : this.#model.value[row];
  }

  #x(place, count) {
    const width = this.#drawing.clientWidth || this.#drawing.parentElement.clientWidth;
    return SIDE + (place * (width - 2 * SIDE)) / Math.max(1, count - 1);
  }

  #draw() {
    const model = this.#model;
    const axes = this.#axes();
    this.#drawing.style.minWidth = `${2 * SIDE + 92 * (axes.length - 1)}px`;
    const { colour } = model.derived;
    const xs = axes.map((_, place) => this.#x(place, axes.length));
    const room = (place) => (place === 0 || place === axes.length - 1 ? Math.min(2 * SIDE, xs[1] - xs[0]) : xs[1] - xs[0]);
    this.#marks = axes.map((axis, place) => this.#mark(axis, place, xs[place], room(place)));
    this.#paths = Array.from(model.newest, (row, member) => {
      if (row < 0) return null;
      const points = axes.map((axis, place) => [xs[place], this.#place(axis, this.#of(row, place))]);
      const known = points.filter(([, y]) => !Number.isNaN(y));
      const d = known.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)},${y.toFixed(1)}`).join("");
      const family = colour[row] === EXTINCT ? "extinct" : `family-${colour[row]}`;
      return shape("path", { d, class: `line ${family}`, "data-member": member });
    });
    const drawn = this.#paths.filter(Boolean).reverse();
    const title = shape("title", {}, `The newest configuration of ${drawn.length} members`);
    this.#drawing.replaceChildren(title, ...drawn, ...this.#marks);
    this.#drawing.setAttribute("aria-label", `The newest configuration of each member across ${axes.map((axis) => axis.name).join(", ")}. The table of members has the numbers.`);
    this.#focus();
  }

  #mark(axis, place, x, room) {
    const anchor = { "text-anchor": "middle", x };
    const labels = axis.choices.length
      ? axis.choices.map((choice, i) => shape("text", { x: x + 7, y: this.#place(axis, i) + 4, class: "tick" }, choice))
      : [
          shape("text", { ...anchor, y: TOP - 8, class: "tick" }, number(axis.high, 4)),
          shape("text", { ...anchor, y: HEIGHT - BOTTOM + 16, class: "tick" }, number(axis.low, 4)),
        ];
    const ends = this.#store.ranges.get(place);
    const chosen = ends && [Math.max(ends[0], axis.low), Math.min(ends[1], axis.high)].map((value) => this.#place(axis, value));
    const range = chosen ? [shape("rect", { class: "range", x: x - 7, width: 14, y: chosen[1], height: Math.max(2, chosen[0] - chosen[1]) })] : [];
    return shape(
      "g",
      { class: "axis" },
      shape("line", { x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }),
      ...range,
      shape("text", { ...anchor, y: 16, class: "name" }, shortened(axis.name, room), shape("title", {}, axis.name)),
      ...labels,
    );
  }

  /** Shows whose ancestry is followed, and who is outside the chosen ranges. */
  #focus() {
    const model = this.#model;
    const row = this.#store.focus(model);
    const line = new Set(row < 0 ? [] : model.ancestry(row).map((at) => model.member[at]));
    let shown = 0;
    this.#paths.forEach((path, member) => {
      if (!path) return;
      const passes = this.#store.passes(model, model.newest[member]);
      shown += passes;
      path.classList.toggle("filtered", !passes);
      path.classList.toggle("followed", row >= 0 && model.member[row] === member);
      path.classList.toggle("ancestor", line.has(member));
      path.classList.toggle("stepped-back", row >= 0 && !line.has(member));
    });
    say(byId("filtered"), this.#store.ranges.size ? `${shown} of ${model.size} members are within the chosen ranges.` : "");
  }

  // ---- the pointer ------------------------------------------------------------------------------------------------------------------

  #position(event) {
    const box = this.#drawing.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  #axisAt(x) {
    const axes = this.#axes();
    const place = axes.findIndex((_, i) => Math.abs(this.#x(i, axes.length) - x) <= GRIP);
    return place < 0 ? null : { place, axis: axes[place] };
  }

  #pressed(event) {
    const [x, y] = this.#position(event);
    const found = this.#axisAt(x);
    if (!found) return;
    this.#drag = { ...found, from: y };
    this.#drawing.setPointerCapture(event.pointerId);
    event.preventDefault();
  }

  #moved(event) {
    const [x, y] = this.#position(event);
    if (!this.#drag) return this.#store.hover(this.#nearest(x, y));
    const { axis, place, from } = this.#drag;
    if (Math.abs(y - from) < 4) return;
    const ends = [this.#value(axis, from), this.#value(axis, y)].sort((a, b) => a - b);
    this.#store.range(place, ends);
  }

  #released(event) {
    if (!this.#drag) return;
    if (Math.abs(this.#position(event)[1] - this.#drag.from) < 4) this.#store.range(this.#drag.place, null);
    this.#drag = null;
  }

  #nearest(x, y) {
    const axes = this.#axes();
    const xs = axes.map((_, place) => this.#x(place, axes.length));
    const room = (place) => (place === 0 || place === axes.length - 1 ? Math.min(2 * SIDE, xs[1] - xs[0]) : xs[1] - xs[0]);
    const right = Math.min(axes.length - 1, Math.max(1, xs.findIndex((at) => at >= x)));
    const part = (x - xs[right - 1]) / (xs[right] - xs[right - 1] || 1);
    let [row, best] = [null, 14];
    for (const newest of this.#model.newest) {
      if (newest < 0) continue;
      const [a, b] = [right - 1, right].map((place) => this.#place(axes[place], this.#of(newest, place)));
      const distance = Math.abs(a + part * (b - a) - y);
      if (distance < best) [row, best] = [newest, distance];
    }
    return row;
  }

  // ---- the keyboard -----------------------------------------------------------------------------------------------------------------

  #inputs() {
    const form = byId("filter");
    const axes = this.#axes();
    const rows = axes.map((axis, place) => {
      const ends = ["low", "high"].map((end) => this.#input(axis, place, end));
      return element("fieldset", {}, element("legend", {}, axis.name), ...ends);
    });
    const clear = element("button", { type: "button", onclick: () => this.#store.set("ranges", (store) => store.ranges.clear()) }, "Clear all");
    form.replaceChildren(...rows, clear);
    form.addEventListener("submit", (event) => event.preventDefault());
    this.#store.watch((name) => {
      if (name !== "ranges") return;
      for (const input of form.querySelectorAll("input, select")) {
        const ends = this.#store.ranges.get(Number(input.dataset.axis));
        if (input !== document.activeElement) input.value = ends && Number.isFinite(ends[input.dataset.end]) ? number(ends[input.dataset.end], 4) : "";
      }
    });
  }

  #input(axis, place, end) {
    const label = `${end === "low" ? "from" : "to"} `;
    const side = end === "low" ? 0 : 1;
    const hint = axis.choices.length ? `0 to ${axis.choices.length - 1}: ${axis.choices.map((choice, i) => setting(axis, i) && `${i} ${choice}`).join(", ")}` : "";
    const input = element("input", { type: "number", step: "any", "data-axis": place, "data-end": side, title: hint });
    input.addEventListener("input", () => {
      const ends = [...(this.#store.ranges.get(place) ?? [-Infinity, Infinity])];
      ends[side] = input.value === "" ? (side ? Infinity : -Infinity) : Number(input.value);
      this.#store.range(place, ends.some(Number.isFinite) ? ends : null);
    });
    return element("label", {}, label, input);
  }
}

/** As much of a name as there is room for. */
function shortened(name, room) {
  const letters = Math.max(3, Math.floor(room / LETTER));
  return name.length <= letters ? name : `${name.slice(0, letters - 1)}…`;
}
