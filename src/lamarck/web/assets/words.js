// What is said in words: numbers at a glance, the summary, the guards, how the run was made, what to cite.

import { byId, copyButton, counted, element, number, say, whole } from "lamarck/dom";
import { OTHER } from "lamarck/derived";

/** The most important numbers. */
export function tiles(model) {
  const { families } = model.derived;
  const alive = families.filter((family) => family.members > 0).length;
  const best = model.best < 0 ? NaN : model.value[model.best];
  const told = [
    ["best value", number(best, 6), model.best < 0 ? "none yet" : `member ${model.member[model.best]}, generation ${model.generation[model.best]}`],
    ["members", whole(model.size), model.retired.size ? `${model.retired.size} failed for good` : model.mode === "max" ? "higher is better" : "lower is better"],
    ["reports", whole(model.count), `of ${whole(model.size * model.generations)}`],
    ["copies", whole(model.copies), model.count ? `${number((100 * model.copies) / model.count, 2)} % of the intervals` : ""],
    ["beginnings left", whole(alive), `of ${whole(model.size)}`],
  ];
  const make = ([label, value, note]) => element("div", { class: "tile" }, element("p", { class: "label" }, label), element("p", { class: "figure" }, value), element("p", { class: "note" }, note));
  byId("tiles").replaceChildren(...told.map(make));
}

/** What the colours stand for. */
export function key(model) {
  const { families, colour } = model.derived;
  const entry = (shade, text) => element("span", { class: "entry" }, element("span", { class: `swatch ${shade}` }), text);
  const shown = families.slice(0, OTHER).filter((family) => family.members > 0);
  const others = families.slice(OTHER).reduce((sum, family) => sum + family.members, 0);
  const entries = shown.map((family) => entry(`family-${families.indexOf(family)}`, `from member ${family.founder}: ${family.members} of ${model.size}`));
  if (others) entries.push(entry("family-6", `from others: ${others} of ${model.size}`));
  if (colour.subarray(0, model.count).includes(OTHER + 1)) entries.push(entry("extinct", "no descendants left"));
  byId("key").replaceChildren(...entries);
}

/** What Python tells of the run. */
export function words(told) {
  const points = told.points.map((point) => element("li", {}, point));
  byId("summary").replaceChildren(element("p", { class: "headline" }, told.headline), element("ul", {}, ...points), schedule(told.schedule), ...fetching(told.fetch));
  findings(told.findings);
  byId("made").replaceChildren(...told.made.flatMap(([label, text]) => [element("dt", {}, label), element("dd", {}, text)]));
  byId("cite").replaceChildren(copyButton(told.cite, "Copy the BibTeX"), element("pre", { tabindex: "0" }, element("code", {}, told.cite)));
}

export function findings(found) {
  byId("findings-card").hidden = !found.length;
  const make = (finding) => element("li", { class: finding.severity }, element("strong", {}, finding.severity), " ", finding.text);
  byId("findings").replaceChildren(...found.map(make));
}

function schedule({ names, pieces }) {
  if (!pieces.length) return "";
  const head = ["from step", "to", ...names].map((title) => element("th", { scope: "col", class: "number" }, title));
  const rows = pieces.map(([start, until, ...settings]) =>
    element("tr", {}, ...[whole(start), whole(until), ...settings].map((text) => element("td", { class: "number" }, text))),
  );
  const table = element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
  const box = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The winner's schedule" }, table);
  return element("details", {}, element("summary", {}, `The winner's schedule: ${counted(pieces.length, "piece")}`), box);
}

function fetching(command) {
  if (!command) return [];
  return [element("p", { class: "fetch" }, "Its weights: ", element("code", {}, command), " ", copyButton(command, "Copy the command that fetches the best weights"))];
}

/** How far a run is that goes on. */
export function standing(state) {
  byId("progress").hidden = false;
  const bar = byId("bar");
  [bar.max, bar.value] = [Math.max(1, state.total), state.done];
  const left = state.ended ? state.ended : state.left === null ? "time left not known yet" : `${clock(state.left)} left`;
  const trouble = state.failures ? `, ${counted(state.failures, "failure")}` : "";
  say(byId("standing"), `${whole(state.done)} of ${whole(state.total)} intervals, generation ${whole(state.generation)} of ${whole(state.generations)}${trouble}, ${left}`);
}

function clock(seconds) {
  const minutes = Math.floor(seconds / 60);
  const two = (value) => String(value).padStart(2, "0");
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(Math.floor(seconds % 60))}`;
}
