// A run as numbers: its reports as columns that grow.

import { Derived } from "lamarck/derived";

class Column {
  constructor(Kind) {
    this.data = new Kind(1024);
    this.length = 0;
  }

  push(value) {
    if (this.length === this.data.length) {
      const wider = new this.data.constructor(2 * this.length);
      wider.set(this.data);
      this.data = wider;
    }
    this.data[this.length++] = value;
  }
}

export class Model {
  #columns;
  #derived = null;
  sorted = true; // whether the reports have come in the order of their steps

  constructor(description) {
    Object.assign(this, description); // title, size, interval, generations, mode, axes
    this.count = 0;
    this.copies = 0;
    this.best = -1;
    this.newest = new Int32Array(this.size).fill(-1);
    this.rows = Array.from({ length: this.size }, () => new Column(Int32Array));
    this.retired = new Set();
    const columns = { member: Uint32Array, generation: Uint32Array, step: Float64Array, value: Float64Array, parent: Int32Array };
    this.#columns = Object.fromEntries(Object.entries(columns).map(([name, Kind]) => [name, new Column(Kind)]));
    this.#columns.root = new Column(Int32Array);
    this.#columns.previous = new Column(Int32Array);
    this.hparamColumns = this.axes.map(() => new Column(Float64Array));
    this.#expose();
  }

  #expose() {
    for (const [name, column] of Object.entries(this.#columns)) this[name] = column.data;
    this.hparams = this.hparamColumns.map((column) => column.data);
  }

  /** Takes in a batch of reports; what is known already is passed over. */
  add(batch) {
    const columns = this.#columns;
    for (let i = Math.max(0, this.count - batch.start); i < batch.member.length; i++) {
      const row = this.count++;
      const member = batch.member[i];
      const value = batch.value[i] ?? NaN;
      const parent = batch.back[i] ? row - batch.back[i] : -1;
      if (row > 0 && batch.step[i] < columns.step.data[row - 1]) this.sorted = false;
      columns.member.push(member);
      columns.generation.push(batch.generation[i]);
      columns.step.push(batch.step[i]);
      columns.value.push(value);
      columns.parent.push(parent);
      columns.root.push(parent < 0 ? row : columns.root.data[parent]);
      columns.previous.push(this.newest[member]);
      this.hparamColumns.forEach((column, axis) => column.push(batch.hparams[axis][i] ?? NaN));
      if (parent >= 0 && columns.member.data[parent] !== member) this.copies++;
      this.newest[member] = row;
      this.rows[member].push(row);
      if (!Number.isNaN(value) && (this.best < 0 || this.fitness(value) > this.fitness(columns.value.data[this.best]))) this.best = row;
    }
    this.#derived = null;
    this.#expose();
  }

  retire(members) {
    this.retired = new Set(members);
    this.#derived = null;
  }

  fitness(value) {
    return this.mode === "max" ? value : -value;
  }

  /** Step at which a strand begins: where the weights that it went on from were reported. */
  start(row) {
    return this.parent[row] < 0 ? 0 : this.step[this.parent[row]];
  }

  copied(row) {
    return this.parent[row] >= 0 && this.member[this.parent[row]] !== this.member[row];
  }

  /** Whether a report's weights are not those of the member's report before: another member's, or older ones of its own. */
  jumped(row) {
    return this.parent[row] >= 0 && this.parent[row] !== this.previous[row];
  }

  /** Rows of a report and its ancestors, the newest first. */
  ancestry(row) {
    const line = [];
    for (let at = row; at >= 0; at = this.parent[at]) line.push(at);
    return line;
  }

  /** What a report's weights have done, in stretches by one member with one configuration, the oldest first. */
  stretches(row) {
    const found = [];
    for (const at of this.ancestry(row).reverse()) {
      const last = found.at(-1);
      const same = last && this.member[last.row] === this.member[at] && this.hparams.every((column) => Object.is(column[last.row], column[at]));
      if (same) last.row = at;
      else found.push({ start: this.start(at), row: at });
    }
    return found;
  }

  /** What follows from the reports until now. */
  get derived() {
    this.#derived ??= new Derived(this);
    return this.#derived;
  }
}
