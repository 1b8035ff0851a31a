// Keys and what they do; every one may be changed, and the choice is kept in this browser.
import { el } from "./api.js";

export const COMMANDS = {
  good: ["g", "good"],
  reject: ["x", "reject"],
  correct: ["c", "needs correction"],
  next: ["Space", "next picture"],
  previous: ["p", "previous picture"],
  undo: ["Backspace", "undo (also Ctrl+Z)"],
  zoom: ["z", "zoom: subject, 100 %, whole"],
  source: ["s", "hold: show the source"],
  blink: ["b", "blink between source and picture"],
  difference: ["d", "difference to the source"],
  grid: ["v", "grid or one picture"],
  caption: ["e", "edit the caption"],
  bulk: ["t", "decide by a threshold"],
  finish: ["f", "finish the gate"],
  keys: ["?", "this sheet"],
};
const STORE = "flenwheel-keys";

export const keyName = (event) => (event.key === " " ? "Space" : event.key.length === 1 ? event.key.toLowerCase() : event.key);

export class Keys {
  constructor() {
    const chosen = JSON.parse(localStorage.getItem(STORE) || "{}");
    this.keys = Object.fromEntries(Object.entries(COMMANDS).map(([name, [key]]) => [name, chosen[name] ?? key]));
  }

  command(event) {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") return "undo";
    if (event.ctrlKey || event.metaKey || event.altKey) return null;
    const key = keyName(event);
    return Object.keys(this.keys).find((name) => this.keys[name] === key) ?? null;
  }

  set(name, key) {
    const holder = Object.keys(this.keys).find((other) => other !== name && this.keys[other] === key);
    if (holder) this.keys[holder] = this.keys[name];
    this.keys[name] = key;
    localStorage.setItem(STORE, JSON.stringify(this.keys));
    this.label();
  }

  reset() {
    localStorage.removeItem(STORE);
    for (const [name, [key]] of Object.entries(COMMANDS)) this.keys[name] = key;
    this.label();
  }

  label() {
    for (const node of document.querySelectorAll("[data-key]")) node.textContent = this.keys[node.dataset.key];
  }

  sheet(table) {
    const rows = Object.entries(COMMANDS).map(([name, [, text]]) => {
      const button = el("button", { type: "button", "aria-label": `Change the key for: ${text}` }, el("kbd", {}, this.keys[name]));
      button.addEventListener("click", () => {
        button.replaceChildren("press a key");
        button.addEventListener("keydown", (event) => {
          event.preventDefault();
          event.stopPropagation();
          if (!/^[1-9]$|^(Escape|Enter|Tab|Shift|Control|Alt|Meta|Arrow.*)$/.test(event.key)) this.set(name, keyName(event));
          this.sheet(table);
        }, { once: true });
      });
      return el("tr", {}, el("td", {}, button), el("td", {}, text));
    });
    table.replaceChildren(el("table", {}, el("tbody", {}, ...rows)));
  }
}
