// A figure: uPlot's axes and zoom around a painter's strands, and above them whose ancestry is followed.

import { element, say } from "lamarck/dom";

const uPlot = globalThis.uPlot;
const HEIGHT = 280;
const NEAR = 24; // pixels within which the pointer is on a strand

/** Colours as the style sheet has them now. */
export function colours() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const families = [0, 1, 2, 3, 4, 5].map((i) => colour(`--family-${i}`));
  return {
    strands: [...families, colour("--other"), colour("--extinct")],
    ink: colour("--ink"),
    paper: colour("--card"),
    grid: colour("--grid"),
    text: colour("--muted"),
  };
}

/** Where numbers are on the canvas: made once for all strands, because it is asked a hundred thousand times. */
function placed(plot, scale) {
  const { left, top, width, height } = plot.bbox;
  const [x, y] = [plot.scales.x, plot.scales.y];
  const log = y.distr === 3;
  const [low, high] = log ? [Math.log10(y.min), Math.log10(y.max)] : [y.min, y.max];
  const [across, up] = [(width / (x.max - x.min)) * scale, (height / (high - low || 1)) * scale];
  const [x0, y0] = [left * scale, top * scale];
  const down = y.dir === -1;
  return {
    x: (value) => x0 + (value - x.min) * across,
    y: (value) => {
      const along = ((log ? Math.log10(value) : value) - low) * up;
      return down ? y0 + along : y0 + height * scale - along;
    },
    left: x0,
    top: y0,
    width: width * scale,
    height: height * scale,
    ratio: scale * devicePixelRatio,
  };
}

/** A figure in the page.
 *
 * The painter says what is drawn: `ends()` and `options` of the axes, `label(model)` in words, `paint(context, at, look)` for everything,
 * `trace(context, at, line)` for the path of an ancestry, `nearest(at, x, y)` for what is under the pointer: a row and its distance.
 */
export class Chart {
  #painter;
  #store;
  #model;
  #plot;
  #over;
  #caption;
  #canvas;

  constructor(place, model, store, frames, painter) {
    [this.#model, this.#store, this.#painter] = [model, store, painter];
    this.#caption = element("figcaption");
    this.frame = element("figure", { class: "chart" }, this.#caption);
    place.append(this.frame);
    this.redraw = () => this.#draw();
    this.trace = () => this.#trace();
    this.#make();
    new ResizeObserver(() => frames.ask(this.resize)).observe(this.frame);
  }

  resize = () => {
    const width = this.#width();
    if (width > 0 && width !== this.#plot.width) this.#plot.setSize({ width, height: this.#plot.height });
  };

  /** Steps or generations that are seen. */
  zoom(range) {
    const [low, high] = range ?? this.#painter.ends().x;
    const { min, max } = this.#plot.scales.x;
    if (min !== low || max !== high) this.#plot.setScale("x", { min: low, max: high });
  }

  #width() {
    return Math.floor(this.frame.clientWidth);
  }

  #make() {
    const { options } = this.#painter;
    const axis = (extra) => ({
      stroke: () => colours().text,
      grid: { stroke: () => colours().grid, width: 1 },
      ticks: { stroke: () => colours().grid, width: 1 },
      font: "12px system-ui, sans-serif",
      labelFont: "12px system-ui, sans-serif",
      labelSize: 18,
      ...extra,
    });
    const plot = new uPlot(
      {
        width: Math.max(200, this.#width()),
        height: this.#painter.height?.() ?? HEIGHT,
        legend: { show: false },
        cursor: { x: false, y: false, points: { show: false }, drag: { x: true, y: false, dist: 6 } },
        padding: [8, 26, 0, 0],
        scales: {
          x: { time: false, range: (_, low, high) => (high > low ? [low, high] : [low - 0.5, low + 0.5]) },
          y: { distr: options.log ? 3 : 1, dir: options.down ? -1 : 1, range: () => this.#painter.ends().y },
        },
        axes: [axis({ size: 34, ...options.x }), axis({ size: (_, texts) => 20 + 7 * Math.max(2, ...(texts ?? []).map((text) => text.length)), ...options.y })],
        series: [{}, { show: true, paths: () => null, points: { show: false } }],
        hooks: {
          draw: [() => this.#paint()],
          setScale: [(_, key) => key === "x" && this.#zoomed()],
          setSize: [() => this.#trace()],
        },
      },
      this.#data(),
      this.frame,
    );
    this.#plot = plot;
    this.#canvas = plot.ctx.canvas;
    this.#canvas.setAttribute("role", "img");
    this.#over = element("canvas", { class: "trace", "aria-hidden": "true" });
    plot.over.append(this.#over);
    plot.over.addEventListener("pointermove", (event) => this.#store.hover(this.#under(event)));
    plot.over.addEventListener("pointerleave", () => this.#store.hover(null));
    plot.over.addEventListener("click", (event) => {
      const row = this.#under(event);
      this.#store.pin(row === null || this.#model.member[row] === this.#store.pinned ? null : this.#model.member[row]);
    });
    this.#describe();
  }

  #data() {
    const [low, high] = this.#painter.ends().x;
    return [
      [low, high],
      [1, 1],
    ];
  }

  /** The report under the pointer. */
  #under(event) {
    const at = placed(this.#plot, 1 / devicePixelRatio);
    const box = this.#plot.over.getBoundingClientRect();
    const found = this.#painter.nearest(at, event.clientX - box.left + at.left, event.clientY - box.top + at.top);
    return found.row >= 0 && found.distance <= NEAR ? found.row : null;
  }

  #zoomed() {
    if (!this.#plot || !this.#painter.steps) return;
    const { min, max } = this.#plot.scales.x;
    const [low, high] = this.#painter.ends().x;
    this.#store.zoom(min <= low && max >= high ? null : [min, max]);
  }

  #draw() {
    const height = this.#painter.height?.() ?? HEIGHT;
    if (height !== this.#plot.height) this.#plot.setSize({ width: this.#plot.width, height });
    const range = this.#painter.steps ? this.#store.steps : null;
    this.#plot.setData(this.#data(), false);
    const [min, max] = range ?? this.#painter.ends().x;
    this.#plot.setScale("x", { min, max });
    this.#describe();
  }

  #describe() {
    const { caption, label } = this.#painter.words();
    say(this.#caption, caption);
    this.#canvas.setAttribute("aria-label", label);
  }

  #paint() {
    const context = this.#plot?.ctx;
    if (!context) return requestAnimationFrame(() => this.redraw()); // uPlot draws once before it is ours
    const at = placed(this.#plot, 1);
    context.save();
    context.beginPath();
    context.rect(at.left, at.top, at.width, at.height);
    context.clip();
    context.lineCap = context.lineJoin = "round";
    this.#painter.paint(context, at, colours());
    context.restore();
    this.#trace();
  }

  /** Draws the followed ancestry above everything else, which steps back. */
  #trace() {
    const { over, bbox } = this.#plot;
    const canvas = this.#over;
    [canvas.width, canvas.height] = [bbox.width, bbox.height];
    [canvas.style.width, canvas.style.height] = [`${over.clientWidth}px`, `${over.clientHeight}px`];
    const row = this.#store.focus(this.#model);
    canvas.dataset.row = row;
    if (row < 0) return;
    const context = canvas.getContext("2d");
    const look = colours();
    const at = placed(this.#plot, 1);
    context.globalAlpha = 0.7;
    context.fillStyle = look.paper;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.globalAlpha = 1;
    context.translate(-at.left, -at.top);
    context.lineCap = context.lineJoin = "round";
    this.#painter.trace(context, at, look, this.#model.ancestry(row).reverse());
  }
}
