// What the reader has chosen, which all views show: whose ancestry is followed, which ranges count, which steps are seen.

export class Store {
  #listeners = new Set();

  constructor() {
    this.hovered = null; // a report's row, while the pointer or the keyboard is on it
    this.pinned = null; // a member that stays followed
    this.ranges = new Map(); // place of an axis -> [low, high]; the place after the last axis is the value
    this.steps = null; // [from, to], or null for all
  }

  /** Calls back with the name of what has changed: "focus", "ranges" or "steps". */
  watch(listener) {
    this.#listeners.add(listener);
  }

  set(name, change) {
    const before = JSON.stringify([this.hovered, this.pinned, [...this.ranges], this.steps]);
    change(this);
    if (before === JSON.stringify([this.hovered, this.pinned, [...this.ranges], this.steps])) return;
    for (const listener of this.#listeners) listener(name);
  }

  hover(row) {
    this.set("focus", (store) => (store.hovered = row));
  }

  pin(member) {
    this.set("focus", (store) => (store.pinned = member));
  }

  range(axis, ends) {
    this.set("ranges", (store) => (ends ? store.ranges.set(axis, ends) : store.ranges.delete(axis)));
  }

  zoom(steps) {
    this.set("steps", (store) => (store.steps = steps));
  }

  /** The report whose ancestry is shown strong, or -1 if none was chosen. */
  focus(model) {
    if (this.hovered !== null && this.hovered < model.count) return this.hovered;
    return this.pinned === null ? -1 : model.newest[this.pinned];
  }

  /** Whether a report was trained within the chosen ranges. */
  passes(model, row) {
    for (const [axis, [low, high]] of this.ranges) {
      const value = axis < model.axes.length ? model.hparams[axis][row] : model.value[row];
      if (!(value >= low && value <= high)) return false;
    }
    return true;
  }
}
