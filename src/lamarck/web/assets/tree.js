// Who descends from whom: a row for each member, generations across, copies as curves.

import { EXTINCT } from "lamarck/derived";
import { counted, whole, wholes } from "lamarck/dom";

const BEND = 0.45; // part of a generation that a copy's curve takes
const ARC = 0.6; // rows that an arc's handles are lifted by: it reaches three quarters of that
const LABELLED = 64; // members up to which each row is labelled

export class Tree {
  steps = false;

  constructor(model, store) {
    [this.model, this.store] = [model, store];
    this.options = {
      down: true,
      x: { label: "generation", values: wholes },
      y: {
        splits: () => (model.size <= LABELLED ? Array.from({ length: model.size }, (_, row) => row) : []),
        values: (_, rows) => rows.map((row) => String(this.#memberAt(row))),
        grid: { show: false },
        ticks: { show: false },
        label: model.size <= LABELLED ? "member" : `${whole(model.size)} members`,
      },
    };
  }

  height() {
    return Math.round(Math.min(900, Math.max(220, 60 + 17 * this.model.size)));
  }

  ends() {
    let last = 1;
    for (const row of this.model.newest) if (row >= 0) last = Math.max(last, this.model.generation[row] + 1);
    return { x: [0, last * 1.01], y: [-0.6, this.model.size - 0.4] };
  }

  words() {
    const { model } = this;
    const alive = model.derived.families.filter((family) => family.members > 0);
    const names = alive.slice(0, 6).map((family) => `member ${family.founder} (${family.members})`);
    const caption = `${counted(model.copies, "copy", "copies")}; the members descend from ${names.join(", ") || "nobody yet"}${alive.length > 6 ? " and others" : ""}`;
    return { caption, label: `Lineage over generations: ${caption}. The table of the ancestry tells one line of descent in words.` };
  }

  #memberAt(row) {
    return this.model.derived.rowOf.indexOf(row);
  }

  #curve(path, at, row) {
    const { model } = this;
    const { rowOf } = model.derived;
    const donor = model.parent[row];
    const [left, right] = [at.x(model.generation[donor] + 1), at.x(model.generation[row] + BEND)];
    const [from, to] = [at.y(rowOf[model.member[donor]]), at.y(rowOf[model.member[row]])];
    const middle = (left + right) / 2;
    const lift = from === to ? ARC * (at.y(1) - at.y(0)) : 0; // back to its own past: an arc over the row
    path.moveTo(left, from);
    path.bezierCurveTo(middle, from - lift, middle, to - lift, right, to);
  }

  paint(context, at, look) {
    const { model, store } = this;
    const { colour, rowOf } = model.derived;
    const make = () => Array.from({ length: EXTINCT + 1 }, () => new Path2D());
    const [rows, curves, pale] = [make(), make(), new Path2D()];
    const filtering = store.ranges.size > 0;
    const strips = [...rows, pale];
    const { member: memberOf, parent, previous, generation } = model;
    // Of each member the open stretch of its row: its colour, where it began, and the generation that it has come to.
    const [shade, from, until] = [new Int8Array(model.size).fill(-1), new Float64Array(model.size), new Float64Array(model.size)];
    const flush = (member) => {
      const y = at.y(rowOf[member]);
      strips[shade[member]].moveTo(from[member], y);
      strips[shade[member]].lineTo(at.x(until[member]), y);
    };
    for (let row = 0; row < model.count; row++) {
      const member = memberOf[row];
      const shown = !filtering || store.passes(model, row);
      const next = shown ? colour[row] : EXTINCT + 1;
      const jumped = parent[row] !== previous[row] && parent[row] >= 0;
      if (jumped && shown) this.#curve(curves[colour[row]], at, row);
      if (next !== shade[member] || jumped) {
        if (shade[member] >= 0) flush(member);
        [shade[member], from[member]] = [next, at.x(generation[row] + (jumped ? BEND : 0))];
      }
      until[member] = generation[row] + 1;
    }
    for (let member = 0; member < model.size; member++) if (shade[member] >= 0) flush(member);
    const thick = Math.min(7, Math.max(1, (0.5 * at.height) / at.ratio / Math.max(model.size, 4))) * at.ratio;
    const bend = Math.max(0.45 * thick, 0.7 * at.ratio);
    const veil = Math.min(0.6, Math.max(0.12, 400 / Math.max(1, model.copies))); // many extinct copies would hide what lives
    context.lineCap = "butt";
    context.strokeStyle = look.strands[EXTINCT];
    context.lineWidth = 0.5 * thick;
    context.globalAlpha = 0.4;
    context.stroke(pale);
    context.globalAlpha = 1;
    for (let shade = EXTINCT; shade >= 0; shade--) {
      const faded = shade === EXTINCT;
      context.strokeStyle = look.strands[shade];
      context.lineWidth = faded ? 0.5 * bend : bend;
      context.globalAlpha = faded ? veil : 0.9;
      context.stroke(curves[shade]);
      context.globalAlpha = faded ? 0.75 : 1;
      context.lineWidth = faded ? 0.55 * thick : thick;
      context.stroke(rows[shade]);
    }
    context.globalAlpha = 1;
    if (model.best >= 0 && !filtering) this.#line(context, at, look.ink, model.ancestry(model.best).reverse(), Math.min(1.6 * at.ratio, 0.5 * thick));
  }

  #line(context, at, ink, line, width) {
    const { model } = this;
    const path = new Path2D();
    for (const row of line) {
      const y = at.y(model.derived.rowOf[model.member[row]]);
      if (model.jumped(row)) this.#curve(path, at, row);
      path.moveTo(at.x(model.generation[row] + (model.jumped(row) ? BEND : 0)), y);
      path.lineTo(at.x(model.generation[row] + 1), y);
    }
    context.strokeStyle = ink;
    context.lineWidth = width;
    context.stroke(path);
    const tip = new Path2D();
    const newest = line.at(-1);
    tip.arc(at.x(model.generation[newest] + 1), at.y(model.derived.rowOf[model.member[newest]]), Math.min(5, Math.max(2.5, (1.6 * width) / at.ratio)) * at.ratio, 0, 7);
    context.fillStyle = ink;
    context.fill(tip);
  }

  trace(context, at, look, line) {
    const thick = Math.min(7, Math.max(2.5, (0.5 * at.height) / at.ratio / this.model.size)) * at.ratio;
    this.#line(context, at, look.strands[this.model.derived.colour[line.at(-1)]], line, thick);
    this.#line(context, at, look.ink, line, Math.max(at.ratio, 0.25 * thick));
  }

  nearest(at, px, py) {
    const { model } = this;
    const row = Math.round(((py - at.top) / at.height) * model.size - 0.5);
    if (row < 0 || row >= model.size) return { row: -1, distance: Infinity };
    const list = model.rows[this.#memberAt(row)];
    const generation = Math.floor(((px - at.x(0)) / (at.x(1) - at.x(0))) || 0);
    if (!list.length || generation < 0) return { row: -1, distance: Infinity };
    return { row: list.data[Math.min(generation, list.length - 1)], distance: 0 };
  }
}
