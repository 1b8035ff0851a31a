// A grid of any size that holds only the tiles in view. Its scroll position stays where it is whatever is decided.
import { el, thumbnail } from "./api.js";

const SIGNS = { good: "✓ good", needs_correction: "✎ correct", reject: "✕ reject", conflict: "⚠ conflict" };

export class Grid {
  constructor(store, scroll, content, open) {
    this.store = store;
    this.scroll = scroll;
    this.content = content;
    this.open = open;
    this.selected = new Set();
    this.cursor = 0;
    this.anchor = 0;
    this.tiles = new Map();
    scroll.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => { this.measure(); this.draw(); }).observe(scroll);
    store.addEventListener("arranged", () => this.refill());
    store.addEventListener("changed", (event) => {
      for (const digest of event.detail) if (this.tiles.has(digest)) this.dress(digest);
    });
    content.addEventListener("click", (event) => this.click(event));
    content.addEventListener("dblclick", () => this.open(this.cursor));
  }

  measure() {
    const width = this.scroll.clientWidth;
    this.columns = Math.max(2, Math.floor(width / 172));
    this.size = Math.floor(width / this.columns);
    this.height = this.size + 24;
  }

  refill() {
    this.selected.clear();
    this.cursor = Math.min(this.cursor, Math.max(0, this.store.order.length - 1));
    for (const tile of this.tiles.values()) tile.remove();
    this.tiles.clear();
    this.draw();
  }

  draw() {
    if (!this.scroll.clientWidth) return;
    if (!this.columns) this.measure();
    const order = this.store.order;
    const rows = Math.ceil(order.length / this.columns);
    this.content.style.height = `${rows * this.height}px`;
    const first = Math.max(0, Math.floor(this.scroll.scrollTop / this.height) - 1);
    const last = Math.min(rows, Math.ceil((this.scroll.scrollTop + this.scroll.clientHeight) / this.height) + 1);
    const wanted = new Set();
    for (let place = first * this.columns; place < Math.min(order.length, last * this.columns); place++) {
      const digest = this.store.digest(order[place]);
      wanted.add(digest);
      let tile = this.tiles.get(digest);
      if (!tile) {
        tile = el("div", { class: "tile", role: "option", id: `tile-${digest}` },
          el("img", { src: thumbnail(digest, 160), alt: "", draggable: "false" }), el("span", { class: "sign" }), el("small", {}));
        this.tiles.set(digest, tile);
        this.content.append(tile);
      }
      tile.dataset.place = place;
      tile.style.width = `${this.size - 6}px`;
      tile.style.height = `${this.height - 6}px`;
      tile.style.transform = `translate(${(place % this.columns) * this.size}px, ${Math.floor(place / this.columns) * this.height}px)`;
      this.dress(digest);
    }
    for (const [digest, tile] of this.tiles) {
      if (!wanted.has(digest)) { tile.remove(); this.tiles.delete(digest); }
    }
  }

  dress(digest) {
    const tile = this.tiles.get(digest);
    const place = Number(tile.dataset.place);
    const c = this.store.columns;
    const position = this.store.order[place];
    const kind = this.store.kind(digest);
    const selected = this.selected.has(place);
    tile.className = `tile ${kind}${place === this.cursor ? " cursor" : ""}`;
    tile.setAttribute("aria-selected", selected);
    tile.querySelector(".sign").textContent = SIGNS[kind] ?? "";
    const score = c.similarity[position];
    const critic = this.store.critic;
    const text = [critic?.mark(position), critic?.short(position), c.cell[position], c.outcome[position], score === null ? null : score.toFixed(2)].filter(Boolean).join(" · ");
    tile.querySelector("small").textContent = text;
    tile.setAttribute("aria-label", `Picture ${place + 1}: ${text || "no scores"}, ${kind}`);
    if (place === this.cursor) this.scroll.setAttribute("aria-activedescendant", tile.id);
  }

  click(event) {
    const tile = event.target.closest(".tile");
    if (!tile) return;
    const place = Number(tile.dataset.place);
    if (event.shiftKey) this.range(this.anchor, place);
    else if (event.ctrlKey || event.metaKey) { this.toggle(place); this.anchor = place; }
    else if (this.selected.size && !this.selected.has(place)) this.anchor = place; // a plain click never loses a selection
    else this.anchor = place;
    this.cursor = place;
    this.draw();
    this.tell();
  }

  toggle(place) { if (!this.selected.delete(place)) this.selected.add(place); }

  range(from, to) {
    for (let place = Math.min(from, to); place <= Math.max(from, to); place++) this.selected.add(place);
  }

  tell() { this.store.emit("selected"); }

  // Returns true if the key was the grid's.
  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns, Home: -1e9, End: 1e9 }[event.key];
    if (step !== undefined) {
      const to = Math.min(this.store.order.length - 1, Math.max(0, this.cursor + step));
      if (event.shiftKey) this.range(this.cursor, to);
      else this.anchor = to;
      this.cursor = to;
      this.reveal();
    } else if (event.key === "a") this.range(0, this.store.order.length - 1);
    else if (event.key === "Escape") this.selected.clear();
    else if (event.key === "Enter") this.open(this.cursor);
    else return false;
    this.draw();
    this.tell();
    return true;
  }

  reveal() {
    if (!this.columns) return;
    const top = Math.floor(this.cursor / this.columns) * this.height;
    if (top < this.scroll.scrollTop) this.scroll.scrollTop = top;
    else if (top + this.height > this.scroll.scrollTop + this.scroll.clientHeight) this.scroll.scrollTop = top + this.height - this.scroll.clientHeight;
  }

  // What a verdict is about: the selection, or the tile under the cursor.
  targets() {
    const places = this.selected.size ? [...this.selected].sort((a, b) => a - b) : [this.cursor];
    return places.filter((place) => place < this.store.order.length).map((place) => this.store.digest(this.store.order[place]));
  }
}
