// What all views need of the page: elements, and numbers as text. Data only ever becomes text, never markup.

export const byId = (id) => document.getElementById(id);

/** Makes an element: attributes by name, `on<event>` listeners, children that are elements or text. */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Makes an element of a drawing. */
export function shape(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

/** Writes text into an element, if it is not there already. */
export function say(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

/** Writes a number with at most so many significant digits. */
export function number(value, digits = 5) {
  if (value === null || Number.isNaN(value)) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  return String(Number(value.toPrecision(digits)));
}

export const whole = (value) => Math.round(value).toLocaleString("en");

/** Labels of an axis that counts: what is between two whole numbers has none. */
export const wholes = (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? whole(tick) : ""));

export const counted = (count, one, many = `${one}s`) => `${whole(count)} ${count === 1 ? one : many}`;

/** Writes the value of a hyperparameter: of a choice its label. */
export function setting(axis, value) {
  if (Number.isNaN(value)) return "";
  return axis.choices.length ? axis.choices[value] : number(value, 4);
}

/** A button that copies a text, and says so. */
export function copyButton(text, label) {
  const button = element("button", { type: "button", class: "copy", "aria-label": label }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      say(button, "Copied");
    } catch {
      const shown = button.parentElement.querySelector("code");
      if (shown) getSelection().selectAllChildren(shown);
      say(button, "Selected: press Ctrl+C");
    }
    setTimeout(() => say(button, "Copy"), 2000);
  });
  return button;
}

/** Runs tasks one in each frame, so that no frame has to wait for all of them; a task that is waiting is not put down twice. */
export class Frames {
  #waiting = new Set();

  ask(task) {
    if (!this.#waiting.size) requestAnimationFrame(() => this.#next());
    this.#waiting.add(task);
  }

  #next() {
    const [task] = this.#waiting;
    this.#waiting.delete(task);
    if (this.#waiting.size) requestAnimationFrame(() => this.#next());
    task();
  }
}
