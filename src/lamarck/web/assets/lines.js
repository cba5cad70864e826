// Strands over steps: values, and each hyperparameter on its own scale.

import { EXTINCT } from "lamarck/derived";
import { counted, number, setting, wholes } from "lamarck/dom";

const JUMPS = 3000; // most copies that are drawn as jumps; more would be a veil
const SEGMENTS = 60000; // most segments in a figure; of more, each member's are drawn as their extremes in narrow columns

function dot(path, x, y, radius) {
  path.moveTo(x + radius, y);
  path.arc(x, y, radius, 0, 7);
}

/** Paths by colour, filled in any order and drawn from the least to the most important. */
class Layers {
  constructor() {
    this.lines = Array.from({ length: EXTINCT + 1 }, () => new Path2D());
    this.jumps = Array.from({ length: EXTINCT + 1 }, () => new Path2D());
    this.pale = new Path2D();
  }

  draw(context, look, width, veil) {
    context.lineWidth = width;
    context.strokeStyle = look.strands[EXTINCT];
    context.globalAlpha = 0.35;
    context.stroke(this.pale);
    for (let colour = EXTINCT; colour >= 0; colour--) {
      context.strokeStyle = look.strands[colour];
      context.globalAlpha = colour === EXTINCT ? 0.7 * veil : 0.4;
      context.setLineDash([2 * width, 3 * width]);
      context.stroke(this.jumps[colour]);
      context.setLineDash([]);
      context.globalAlpha = colour === EXTINCT ? veil : 0.9;
      context.stroke(this.lines[colour]);
    }
    context.globalAlpha = 1;
  }
}

/** What values and hyperparameters have in common: a strand goes from (start, before) to (step, after). */
class Lines {
  steps = true;

  constructor(model, store) {
    [this.model, this.store] = [model, store];
  }

  ends() {
    let last = this.model.interval;
    for (const row of this.model.newest) if (row >= 0) last = Math.max(last, this.model.step[row]);
    return { x: [0, last * 1.015], y: this.limits() }; // with room for the dots at the end
  }

  /** Where a strand ends: the value, or of a hyperparameter what it was trained with. */
  after(row) {
    return this.values[row] + this.spread(this.model.member[row]);
  }

  /** Where a strand begins: where its parent ended. */
  before(row) {
    const parent = this.model.parent[row];
    return parent < 0 ? NaN : this.after(parent);
  }

  get width() {
    return Math.min(1.6, Math.max(0.6, 1.6 * Math.sqrt(12 / this.model.size)));
  }

  paint(context, at, look) {
    const { model, store, straight, values } = this;
    const { colour } = model.derived;
    const { step, parent, member: memberOf } = model;
    const layers = new Layers();
    const column = model.count <= SEGMENTS ? 0 : (at.width * model.size * 2) / SEGMENTS;
    const filtering = store.ranges.size > 0;
    const jumping = model.copies <= JUMPS;
    const paths = [...layers.lines, layers.pale];
    const spread = Float64Array.from({ length: model.size }, (_, member) => this.spread(member));
    // Of each member the open stretch of its line, which nothing has been drawn of yet: where it began, the report that it has come to, and in one
    // column of pixels how far it went down and up. Reports are taken in the order in which they lie in memory, which is several times faster.
    const numbers = () => new Float64Array(model.size);
    const [fromX, fromY, edge, low, high] = [numbers(), numbers(), numbers(), numbers(), numbers()];
    const [last, shade] = [new Int32Array(model.size).fill(-1), new Uint8Array(model.size)];
    const flush = (member) => {
      const path = paths[shade[member]];
      const x = at.x(step[last[member]]);
      const y = at.y(values[last[member]] + spread[member]);
      path.moveTo(fromX[member], fromY[member]);
      if (low[member] !== high[member]) path.lineTo(x, low[member]);
      if (low[member] !== high[member]) path.lineTo(x, high[member]);
      path.lineTo(x, y);
      [fromX[member], fromY[member]] = [x, y];
    };
    for (let row = 0; row < model.count; row++) {
      const member = memberOf[row];
      const before = last[member];
      const target = filtering && !store.passes(model, row) ? EXTINCT + 1 : colour[row];
      const goesOn = before >= 0 && target === shade[member] && parent[row] === before;
      if (goesOn && !straight && values[row] === values[before]) {
        last[member] = row;
        continue;
      }
      const [x, y] = [at.x(step[row]), at.y(values[row] + spread[member])];
      if (goesOn && straight && x < edge[member]) {
        low[member] = Math.min(low[member], y);
        high[member] = Math.max(high[member], y);
        last[member] = row;
        continue;
      }
      if (before >= 0) flush(member);
      const start = at.x(model.start(row));
      if (!goesOn) {
        const origin = this.before(row);
        [fromX[member], fromY[member]] = Number.isNaN(origin) ? [straight ? x - 0.01 : start, y] : [start, at.y(origin)];
        if (jumping && before >= 0 && model.jumped(row)) {
          const jump = layers.jumps[colour[row]];
          jump.moveTo(at.x(step[before]), at.y(values[before] + spread[member]));
          jump.lineTo(start, Number.isNaN(origin) ? y : fromY[member]);
        }
      }
      if (!straight) {
        paths[target].moveTo(fromX[member], fromY[member]);
        paths[target].lineTo(start, y);
        [fromX[member], fromY[member]] = [start, y];
      }
      [last[member], shade[member], edge[member], low[member], high[member]] = [row, target, x + column, y, y];
    }
    for (let member = 0; member < model.size; member++) {
      const row = last[member];
      if (row < 0) continue;
      flush(member);
      if (straight && parent[row] < 0) dot(paths[shade[member]], at.x(step[row]), at.y(values[row]), 2 * at.ratio); // no line leads there
    }
    layers.draw(context, look, this.width * at.ratio, Math.min(0.85, Math.max(0.3, 5 / Math.sqrt(model.size))));
    if (model.best >= 0 && !filtering) this.trace(context, at, look, model.ancestry(model.best).reverse());
    this.finish?.(context, at, look);
  }

  /** Draws one line of descent, with a dot where it changes hands. */
  trace(context, at, look, line) {
    const path = new Path2D();
    const dots = new Path2D();
    line.forEach((row, i) => {
      const [start, x] = [at.x(this.model.start(row)), at.x(this.model.step[row])];
      const [before, y] = [this.before(row), at.y(this.after(row))];
      if (i === 0) path.moveTo(this.straight ? x : start, y);
      if (i > 0 && Number.isNaN(before)) path.moveTo(x, y);
      if (!this.straight && i > 0) path.lineTo(start, y);
      path.lineTo(x, y);
      if (this.model.copied(row)) dot(dots, start, Number.isNaN(before) ? y : at.y(before), 2.6 * at.ratio);
    });
    const newest = line.at(-1);
    const tip = new Path2D();
    dot(tip, at.x(this.model.step[newest]), at.y(this.after(newest)), 4 * at.ratio);
    const colour = look.strands[this.model.derived.colour[newest]];
    const strokes = [[look.paper, 5], [colour, 2.8]];
    for (const [ink, width] of strokes) {
      context.strokeStyle = ink;
      context.lineWidth = width * at.ratio;
      context.stroke(path);
    }
    context.fillStyle = look.paper;
    context.lineWidth = 1.5 * at.ratio;
    context.fill(dots);
    context.stroke(dots);
    context.fillStyle = look.ink;
    context.fill(tip);
  }

  nearest(at, px, py) {
    const { model } = this;
    let [row, best] = [-1, Infinity];
    for (let i = 0; i < model.count; i++) {
      const x = at.x(model.step[i]);
      const start = at.x(model.start(i));
      if (px < start - 24 || px > x + 24) continue;
      const y = at.y(this.after(i));
      const begun = this.straight && model.parent[i] >= 0 ? at.y(this.before(i)) : y;
      const part = x > start ? Math.min(1, Math.max(0, (px - start) / (x - start))) : 1;
      const distance = Math.hypot(px - (start + part * (x - start)), py - (begun + part * (y - begun)));
      if (distance < best) [row, best] = [i, distance];
    }
    return { row, distance: best };
  }
}

export class Values extends Lines {
  straight = true;

  get values() {
    return this.model.value;
  }

  spread() {
    return 0;
  }

  options = { x: { label: "step", values: wholes }, y: { label: "value", values: (_, ticks) => ticks.map((tick) => number(tick)) } };

  limits() {
    const [low, high] = this.model.derived.window;
    const margin = 0.04 * (high - low) || Math.abs(low) * 0.05 || 0.5;
    return [low - margin, high + margin];
  }

  words() {
    const { model } = this;
    const [low, high] = model.derived.window;
    let hidden = 0;
    for (let row = 0; row < model.count; row++) hidden += !(model.value[row] >= low && model.value[row] <= high);
    const more = hidden ? ` ${counted(hidden, "value")} outside the figure or not finite.` : "";
    const best = model.best < 0 ? "" : ` The best is ${number(model.value[model.best], 6)}, by member ${model.member[model.best]}.`;
    const caption = `${counted(model.size, "member")}, ${counted(model.count, "report")}, ${counted(model.copies, "copy", "copies")}${model.copies && model.copies <= JUMPS ? ", drawn as dashed jumps" : ""}.${more}`;
    return { caption, label: `Value over steps. ${caption}${best} The table of members has the numbers.` };
  }

  /** The best so far, as a thin staircase. */
  finish(context, at, look) {
    const { model } = this;
    const path = new Path2D();
    let best = NaN;
    for (const row of model.derived.records) {
      const x = at.x(model.step[row]);
      if (Number.isNaN(best)) path.moveTo(x, at.y(model.value[row]));
      else path.lineTo(x, at.y(best));
      best = model.value[row];
      path.lineTo(x, at.y(best));
    }
    if (Number.isNaN(best)) return;
    path.lineTo(at.x(this.ends().x[1]), at.y(best));
    context.strokeStyle = look.ink;
    context.lineWidth = at.ratio;
    context.stroke(path);
  }
}

export class Hyperparameter extends Lines {
  straight = false;

  constructor(model, store, place) {
    super(model, store);
    this.place = place;
    this.axis = model.axes[place];
    const { choices, log } = this.axis;
    const values = (_, found) => found.map((tick) => number(tick, 4));
    const ticks = choices.length ? { splits: () => choices.map((_, i) => i), values: () => choices } : log ? { splits: () => this.#powers(), filter: (_, found) => found, values } : { values };
    this.options = { log, x: { label: "step", values: wholes }, y: ticks };
  }

  /** Ticks of a logarithmic scale: powers of ten, and 2 and 5 times those if there are few. */
  #powers() {
    const [low, high] = this.limits();
    const within = (factors) => {
      const found = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
        for (const factor of factors) if (factor * 10 ** power >= low && factor * 10 ** power <= high) found.push(Number(`${factor}e${power}`));
      }
      return found;
    };
    return [[1], [1, 3], [1, 2, 5]].map(within).find((found) => found.length >= 3) ?? within([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  }

  get values() {
    return this.model.hparams[this.place];
  }

  /** A small offset for each member, so that equal choices do not hide each other. */
  spread(member) {
    return this.axis.choices.length && this.model.size > 1 ? 0.6 * (member / (this.model.size - 1) - 0.5) : 0;
  }

  limits() {
    const { low, high, log } = this.axis;
    if (log) return [low / (high / low) ** 0.04, high * (high / low) ** 0.04];
    const margin = 0.04 * (high - low);
    return [low - margin, high + margin];
  }

  words() {
    const { model, axis, place } = this;
    const best = model.best < 0 ? NaN : model.hparams[place][model.best];
    const scale = axis.choices.length ? "" : axis.log ? ", logarithmic scale" : "";
    const now = Number.isNaN(best) ? "" : ` The best ended with ${setting(axis, best)}.`;
    return { caption: `${axis.name}${scale}`, label: `${axis.name} over steps${scale}.${now} The table of members has the numbers.` };
  }
}
