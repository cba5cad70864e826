// The members as a table, and the ancestry of one of them: what the figures show, as numbers.

import { byId, counted, element, number, say, setting, shape, whole } from "lamarck/dom";
import { EXTINCT } from "lamarck/derived";

const BARS = 40; // points of a small curve

/** The table of members, which can be sorted; its buttons follow a member. */
export class Members {
  #model;
  #store;
  #rows;
  #body;
  #columns;
  #sorted = { place: 2, down: true };
  #states = [];

  constructor(place, model, store) {
    [this.#model, this.#store] = [model, store];
    this.#columns = this.#define();
    const heads = this.#columns.map((column, i) => {
      const sort = element("button", { type: "button", onclick: () => this.#sort(i) }, column.title);
      return element("th", { scope: "col", class: column.kind }, column.key ? sort : column.title);
    });
    this.heads = heads;
    this.#body = element("tbody");
    const caption = element("caption", { class: "unseen" }, "All members; the buttons in the head sort, those of the members follow their ancestry");
    place.replaceChildren(element("table", {}, caption, element("thead", {}, element("tr", {}, ...heads)), this.#body));
    this.#rows = Array.from({ length: model.size }, (_, member) => this.#row(member));
    this.#body.addEventListener("keydown", (event) => this.#key(event));
    this.#body.addEventListener("pointerover", (event) => this.#over(event.target));
    this.#body.addEventListener("pointerleave", () => store.hover(null));
    this.#body.addEventListener("focusin", (event) => this.#over(event.target));
    this.#body.addEventListener("focusout", () => store.hover(null));
    this.redraw = () => this.#draw();
    this.trace = () => this.#focus();
  }

  /** States by member, as the server tells them; without, what the reports tell. */
  states(states) {
    this.#states = states;
  }

  #define() {
    const model = this.#model;
    const value = (row) => (row < 0 || Number.isNaN(model.value[row]) ? -Infinity : model.fitness(model.value[row]));
    const last = (member) => model.newest[member];
    return [
      { title: "member", kind: "who", key: (member) => -member },
      { title: "state", kind: "state", key: (member) => this.#states[member] ?? "", text: (member) => this.#states[member] ?? "" },
      { title: "value", kind: "number", key: (member) => value(last(member)), text: (_, row) => (row < 0 ? "" : Number.isNaN(model.value[row]) ? "not finite" : number(model.value[row], 6)) },
      { title: "over time", kind: "curve" },
      { title: "generation", kind: "number", key: (member) => (last(member) < 0 ? -1 : model.generation[last(member)]), text: (_, row) => (row < 0 ? "" : whole(model.generation[row])) },
      { title: "from", kind: "text", text: (member, row) => this.#origin(member, row) },
      { title: "founder", kind: "number", key: (member) => (last(member) < 0 ? -1 : -model.member[model.root[last(member)]]), text: (_, row) => (row < 0 ? "" : model.member[model.root[row]]) },
      ...model.axes.map((axis, place) => ({
        title: axis.name,
        kind: axis.choices.length ? "text" : "number",
        key: (member) => (last(member) < 0 ? -Infinity : model.hparams[place][last(member)]),
        text: (_, row) => (row < 0 ? "" : setting(axis, model.hparams[place][row])),
      })),
    ];
  }

  #origin(member, row) {
    if (row < 0) return "";
    const parent = this.#model.parent[row];
    if (parent < 0) return "start";
    return this.#model.member[parent] === member ? "itself" : `member ${this.#model.member[parent]}`;
  }

  #row(member) {
    const swatch = element("span", { class: "swatch", "aria-hidden": "true" });
    const button = element("button", { type: "button", class: "member", "aria-pressed": "false", tabindex: "-1", "data-member": member }, swatch, `${member}`);
    button.setAttribute("aria-label", `Follow member ${member}`);
    button.addEventListener("click", () => this.#store.pin(this.#store.pinned === member ? null : member));
    const cells = this.#columns.slice(1).map((column) => element("td", { class: column.kind }));
    return element("tr", { "data-member": member }, element("th", { scope: "row", class: "who" }, button), ...cells);
  }

  #sort(place) {
    this.#sorted = { place, down: this.#sorted.place === place ? !this.#sorted.down : true };
    this.#draw();
  }

  #draw() {
    const model = this.#model;
    const { colour } = model.derived;
    this.#rows.forEach((line, member) => {
      const row = model.newest[member];
      line.classList.toggle("best", model.best >= 0 && model.member[model.best] === member);
      const shade = row < 0 || colour[row] === EXTINCT ? "extinct" : `family-${colour[row]}`;
      line.firstChild.firstChild.firstChild.className = `swatch ${shade}`;
      this.#columns.slice(1).forEach((column, i) => {
        const cell = line.children[i + 1];
        if (column.kind === "curve") this.#curve(cell, member);
        else say(cell, String(column.text(member, row)));
        if (column.kind === "state") cell.dataset.state = cell.textContent;
      });
    });
    this.#arrange();
    this.#focus();
  }

  #arrange() {
    const { place, down } = this.#sorted;
    const key = this.#columns[place].key;
    const order = this.#rows.map((_, member) => member);
    const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    order.sort((a, b) => (down ? -1 : 1) * compare(key(a), key(b)) || a - b);
    const wanted = order.map((member) => this.#rows[member]);
    const active = document.activeElement;
    wanted.forEach((line, i) => {
      if (this.#body.children[i] !== line) this.#body.insertBefore(line, this.#body.children[i] ?? null);
    });
    if (active !== document.activeElement && this.#body.contains(active)) active.focus();
    this.heads.forEach((head, i) => head.setAttribute("aria-sort", i === place ? (down ? "descending" : "ascending") : "none"));
    const buttons = [...this.#body.querySelectorAll("button.member")];
    if (!buttons.some((button) => button.tabIndex === 0)) buttons[0].tabIndex = 0;
  }

  #curve(cell, member) {
    const model = this.#model;
    const rows = model.rows[member];
    if (cell.dataset.length === String(rows.length)) return;
    cell.dataset.length = rows.length;
    const [low, high] = model.derived.window;
    const stride = Math.max(1, rows.length / BARS);
    const points = [];
    for (let at = rows.length - 1; at >= 0; at -= stride) {
      const value = model.value[rows.data[Math.round(at)]];
      if (Number.isNaN(value)) continue;
      const x = (80 * Math.round(at)) / Math.max(1, rows.length - 1);
      const y = 18 - 16 * Math.min(1, Math.max(0, (value - low) / (high - low || 1)));
      points.push(`${x.toFixed(1)},${y.toFixed(1)}`);
    }
    cell.replaceChildren(shape("svg", { viewBox: "-1 0 82 20", width: 82, height: 20, "aria-hidden": "true" }, shape("polyline", { points: points.join(" ") })));
  }

  #over(target) {
    const line = target.closest("tr");
    if (line?.dataset.member === undefined) return;
    const row = this.#model.newest[Number(line.dataset.member)];
    this.#store.hover(row < 0 ? null : row);
  }

  /** Arrows go from member to member; Escape lets go. */
  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === "Escape") this.#store.pin(null);
    if (step === undefined) return;
    const buttons = [...this.#body.querySelectorAll("button.member")];
    const place = buttons.indexOf(event.target);
    if (place < 0) return;
    const next = buttons[Math.min(buttons.length - 1, Math.max(0, place + step))];
    for (const button of buttons) button.tabIndex = button === next ? 0 : -1;
    next.focus();
    event.preventDefault();
  }

  #focus() {
    const model = this.#model;
    const row = this.#store.focus(model);
    const line = new Set(row < 0 ? [] : model.ancestry(row).map((at) => model.member[at]));
    this.#rows.forEach((tr, member) => {
      tr.classList.toggle("followed", row >= 0 && model.member[row] === member);
      tr.classList.toggle("ancestor", line.has(member) && model.member[row] !== member);
      tr.classList.toggle("filtered", model.newest[member] >= 0 && !this.#store.passes(model, model.newest[member]));
      tr.querySelector("button").setAttribute("aria-pressed", String(this.#store.pinned === member));
    });
  }
}

/** The ancestry of what is followed, stretch by stretch: the schedule that its weights have seen. */
export function ancestry(model, store) {
  const pinned = store.pinned === null ? -1 : model.newest[store.pinned];
  const row = pinned >= 0 ? pinned : model.best;
  if (row < 0) {
    say(byId("followed"), "Nobody has reported a finite value yet.");
    return byId("ancestry").replaceChildren();
  }
  const stretches = model.stretches(row);
  const who = pinned >= 0 ? `Member ${model.member[row]}` : `The best, member ${model.member[row]}`;
  const members = [...new Set(stretches.map((stretch) => model.member[stretch.row]))];
  say(byId("followed"), `${who}, generation ${model.generation[row]}, value ${number(model.value[row], 6)}: trained by ${members.length === 1 ? "itself alone" : `members ${members.join(", ")}`}, in ${counted(stretches.length, "stretch", "stretches")}.`);
  const head = ["steps", "member", "value", ...model.axes.map((axis) => axis.name)];
  const body = stretches.map(({ start, row: at }, i) => {
    const before = i ? stretches[i - 1].row : -1;
    const settings = model.axes.map((axis, place) => {
      const column = model.hparams[place];
      const changed = before < 0 || !Object.is(column[before], column[at]);
      return element("td", { class: changed ? "number changed" : "number" }, setting(axis, column[at]));
    });
    const moved = before >= 0 && model.member[before] !== model.member[at];
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, `${whole(start)} to ${whole(model.step[at])}`),
      element("td", { class: "number" }, moved ? `↳ ${model.member[at]}` : model.member[at]),
      element("td", { class: "number" }, number(model.value[at], 6)),
      ...settings,
    );
  });
  const caption = element("caption", { class: "unseen" }, "Each stretch of training by one member with one configuration");
  const heads = head.map((title) => element("th", { scope: "col", class: title === "steps" ? "" : "number" }, title));
  byId("ancestry").replaceChildren(element("table", {}, caption, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...body)));
}

