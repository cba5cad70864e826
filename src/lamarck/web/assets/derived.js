// What follows from the reports of a run: families, who is alive, in which order to draw. Each part is worked out when it is first asked for.

/** Colours that a strand can have: six families, further families, and what has no descendants. */
export const OTHER = 6;
export const EXTINCT = 7;

export class Derived {
  #model;
  #kept = new Map();

  constructor(model) {
    this.#model = model;
  }

  #once(name, make) {
    if (!this.#kept.has(name)) this.#kept.set(name, make());
    return this.#kept.get(name);
  }

  /** For each report whether a member that has not retired carries its weights, or weights that descend from them. */
  get living() {
    const { newest, retired } = this.#model;
    return this.#once("living", () => this.#withAncestors(newest.filter((row, member) => row >= 0 && !retired.has(member))));
  }

  /** For each report whether it is the best or an ancestor of it. */
  get winning() {
    return this.#once("winning", () => this.#withAncestors([this.#model.best]));
  }

  /** The families: root, founding member, and how many members carry them now; the winner's first. */
  get families() {
    return this.#once("families", () => this.#families());
  }

  /** The colour of each report. */
  get colour() {
    return this.#once("colour", () => {
      const { living, winning } = this;
      const { root, count } = this.#model;
      const shades = new Map(this.families.map((family, i) => [family.root, Math.min(i, OTHER)]));
      const colour = new Uint8Array(count).fill(EXTINCT);
      for (let row = 0; row < count; row++) if (living[row] || winning[row]) colour[row] = shades.get(root[row]);
      return colour;
    });
  }

  /** Place of each member in the tree. */
  get rowOf() {
    return this.#once("rowOf", () => this.#order());
  }

  /** Reports that were the best until then, by step. */
  get records() {
    return this.#once("records", () => this.#records());
  }

  /** Ends of an axis for the values. */
  get window() {
    return this.#once("window", () => this.#window());
  }

  #withAncestors(rows) {
    const { parent, count } = this.#model;
    const marked = new Uint8Array(count);
    for (const row of rows) for (let at = row; at >= 0 && !marked[at]; at = parent[at]) marked[at] = 1;
    return marked;
  }

  get #carried() {
    const { newest, retired, root } = this.#model;
    const carried = new Map();
    newest.forEach((row, member) => {
      if (row >= 0 && !retired.has(member)) carried.set(root[row], (carried.get(root[row]) ?? 0) + 1);
    });
    return carried;
  }

  get #places() {
    return new Map(this.families.map((family, i) => [family.root, i]));
  }

  /** The winner's family first, then by members that carry it now. */
  #families() {
    const model = this.#model;
    const carried = this.#carried;
    const roots = [];
    for (let row = 0; row < model.count; row++) if (model.parent[row] < 0) roots.push(row);
    const first = model.best < 0 ? -1 : model.root[model.best];
    const families = roots.map((root) => ({ root, founder: model.member[root], members: carried.get(root) ?? 0 }));
    const { member, generation } = model;
    return families.sort(
      (a, b) =>
        (a.root !== first) - (b.root !== first) ||
        b.members - a.members ||
        member[a.root] - member[b.root] ||
        generation[a.root] - generation[b.root],
    );
  }

  /** Place of each member in the tree: relatives are neighbours, the best family on top. */
  #order() {
    const model = this.#model;
    const place = this.#places;
    const promise = new Float64Array(model.count).fill(-Infinity); // the best that became of a strand among the newest weights
    for (let row = model.count - 1; row >= 0; row--) {
      if (model.newest[model.member[row]] === row) {
        const value = model.value[row];
        promise[row] = Math.max(promise[row], Number.isNaN(value) ? -Infinity : model.fitness(value));
      }
      const above = model.parent[row];
      if (above >= 0) promise[above] = Math.max(promise[above], promise[row]);
    }
    const family = (member) => (model.newest[member] < 0 ? Infinity : place.get(model.root[model.newest[member]]));
    const compare = (a, b) => {
      if (family(a) !== family(b)) return family(a) - family(b);
      let [x, y] = [model.newest[a], model.newest[b]];
      if (x < 0) return a - b;
      let [left, right] = [-1, -1]; // on either side the child of what both descend from
      while (x !== y) {
        if (x > y) [left, x] = [x, model.parent[x]];
        else [right, y] = [y, model.parent[y]];
      }
      if (left < 0) return -1; // the other descends from it
      if (right < 0) return 1;
      return promise[left] === promise[right] ? left - right : promise[right] - promise[left];
    };
    const order = Array.from({ length: model.size }, (_, member) => member).sort(compare);
    const rowOf = new Int32Array(model.size);
    order.forEach((member, row) => (rowOf[member] = row));
    return rowOf;
  }

  #records() {
    const model = this.#model;
    const order = model.sorted ? null : Uint32Array.from({ length: model.count }, (_, row) => row).sort((a, b) => model.step[a] - model.step[b]);
    const found = [];
    let best = -Infinity;
    for (let i = 0; i < model.count; i++) {
      const row = order ? order[i] : i;
      const fitness = model.fitness(model.value[row]);
      if (fitness > best) found.push(row);
      if (fitness > best) best = fitness;
    }
    return found;
  }

  /** Ends of an axis that a few runaway values do not ruin: all, unless that is over thirty times what the middle seven tenths cover. */
  #window() {
    const model = this.#model;
    const stride = Math.max(1, Math.floor(model.count / 50000));
    const known = [];
    let [low, high] = [Infinity, -Infinity];
    for (let row = 0; row < model.count; row++) {
      const value = model.value[row];
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
    for (let row = 0; row < model.count; row++) {
      const value = model.value[row];
      if (!(value >= least - 3 * middle && value <= most + 3 * middle)) continue;
      near = Math.min(near, value);
      far = Math.max(far, value);
    }
    return [near, far];
  }
}
