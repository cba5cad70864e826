// A run as numbers: its reports as columns that grow, and what follows from them: families, ancestries, who is alive, in which order to draw.

/** Colours that a strand can have: six families, further families, and what has no descendants. */
export const FAMILIES = 6;
export const OTHER = 6;
export const EXTINCT = 7;

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

  get derived() {
    this.#derived ??= this.#derive();
    return this.#derived;
  }

  #derive() {
    const living = new Uint8Array(this.count);
    const winning = new Uint8Array(this.count);
    const mark = (marked, row) => {
      for (let at = row; at >= 0 && !marked[at]; at = this.parent[at]) marked[at] = 1;
    };
    const carried = new Map();
    for (let member = 0; member < this.size; member++) {
      const row = this.newest[member];
      if (row < 0 || this.retired.has(member)) continue;
      mark(living, row);
      carried.set(this.root[row], (carried.get(this.root[row]) ?? 0) + 1);
    }
    mark(winning, this.best);
    const families = this.#families(carried);
    const place = new Map(families.map((family, i) => [family.root, i]));
    const colour = new Uint8Array(this.count);
    for (let row = 0; row < this.count; row++) {
      colour[row] = living[row] || winning[row] ? Math.min(place.get(this.root[row]), OTHER) : EXTINCT;
    }
    return { living, winning, families, colour, rowOf: this.#order(place), window: this.#window(), records: this.#records() };
  }

  /** The winner's family first, then by members that carry it now. */
  #families(carried) {
    const roots = [];
    for (let row = 0; row < this.count; row++) if (this.parent[row] < 0) roots.push(row);
    const first = this.best < 0 ? -1 : this.root[this.best];
    const families = roots.map((root) => ({ root, founder: this.member[root], members: carried.get(root) ?? 0 }));
    const { member, generation } = this;
    return families.sort(
      (a, b) =>
        (a.root !== first) - (b.root !== first) ||
        b.members - a.members ||
        member[a.root] - member[b.root] ||
        generation[a.root] - generation[b.root],
    );
  }

  /** Place of each member in the tree: relatives are neighbours, the best family on top. */
  #order(place) {
    const promise = new Float64Array(this.count).fill(-Infinity); // the best that became of a strand among the newest weights
    for (let row = this.count - 1; row >= 0; row--) {
      if (this.newest[this.member[row]] === row) {
        const value = this.value[row];
        promise[row] = Math.max(promise[row], Number.isNaN(value) ? -Infinity : this.fitness(value));
      }
      const above = this.parent[row];
      if (above >= 0) promise[above] = Math.max(promise[above], promise[row]);
    }
    const family = (member) => (this.newest[member] < 0 ? Infinity : place.get(this.root[this.newest[member]]));
    const compare = (a, b) => {
      if (family(a) !== family(b)) return family(a) - family(b);
      let [x, y] = [this.newest[a], this.newest[b]];
      if (x < 0) return a - b;
      let [left, right] = [-1, -1]; // on either side the child of what both descend from
      while (x !== y) {
        if (x > y) [left, x] = [x, this.parent[x]];
        else [right, y] = [y, this.parent[y]];
      }
      if (left < 0) return -1; // the other descends from it
      if (right < 0) return 1;
      return promise[left] === promise[right] ? left - right : promise[right] - promise[left];
    };
    const order = Array.from({ length: this.size }, (_, member) => member).sort(compare);
    const rowOf = new Int32Array(this.size);
    order.forEach((member, row) => (rowOf[member] = row));
    return rowOf;
  }

  /** Reports that were the best until then, by step. */
  #records() {
    const order = Uint32Array.from({ length: this.count }, (_, row) => row).filter((row) => !Number.isNaN(this.value[row]));
    order.sort((a, b) => this.step[a] - this.step[b]);
    const found = [];
    for (const row of order) if (!found.length || this.fitness(this.value[row]) > this.fitness(this.value[found.at(-1)])) found.push(row);
    return found;
  }

  /** Ends of an axis that a few runaway values do not ruin: all, unless that is over thirty times what the middle seven tenths cover. */
  #window() {
    const stride = Math.max(1, Math.floor(this.count / 50000));
    const known = [];
    let [low, high] = [Infinity, -Infinity];
    for (let row = 0; row < this.count; row++) {
      const value = this.value[row];
      if (Number.isNaN(value)) continue;
      if (row % stride === 0) known.push(value);
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    if (low > high) return [0, 1];
    const sorted = Float64Array.from(known).sort();
    const quantile = (q) => {
      const at = q * (sorted.length - 1);
      const below = Math.floor(at);
      return sorted[below] + (at - below) * ((sorted[below + 1] ?? sorted[below]) - sorted[below]);
    };
    const [least, most] = [quantile(0.15), quantile(0.85)];
    const middle = most - least;
    if (!(middle > 0 && high - low > 30 * middle)) return [low, high];
    let [near, far] = [Infinity, -Infinity];
    for (let row = 0; row < this.count; row++) {
      const value = this.value[row];
      if (!(value >= least - 3 * middle && value <= most + 3 * middle)) continue;
      near = Math.min(near, value);
      far = Math.max(far, value);
    }
    return [near, far];
  }
}
