// Two panes with linked zoom and pan, blink, difference, hold-for-source; and pictures decoded before they are asked for.
import { file } from "./api.js";

const KEEP = 14;
const BLINK_MS = 450;

// Decoded pictures by digest, least recently used first.
export class Decoded {
  constructor() { this.images = new Map(); }

  get(digest) {
    let image = this.images.get(digest);
    if (image) this.images.delete(digest);
    else {
      image = new Image();
      image.decoding = "sync";
      image.draggable = false;
      image.src = file(digest);
      image.ready = image.decode().then(() => { image.isReady = true; }, () => { this.images.delete(digest); });
    }
    this.images.set(digest, image);
    while (this.images.size > KEEP) {
      const oldest = this.images.keys().next().value;
      this.images.delete(oldest);
    }
    return image;
  }
}

export class Viewer {
  constructor(root) {
    this.compare = root.querySelector("#pane-compare");
    this.main = root.querySelector("#pane-main");
    this.panes = root.querySelector("#panes");
    this.decoded = new Decoded();
    this.mode = "subject"; // subject, full (100 %), fit, free
    this.at = { x: 0.5, y: 0.5, zoom: 1 };
    this.subject = null;
    this.token = 0;
    for (const pane of [this.compare, this.main]) this.listen(pane.querySelector(".view"));
    new ResizeObserver(() => this.place()).observe(this.panes);
  }

  // Shows a picture; resolves when it is on the screen. `compare` is null, or {image, role}.
  async show(digest, compare, subject, label) {
    const token = ++this.token;
    const main = this.decoded.get(digest);
    const other = compare ? this.decoded.get(compare.image) : null;
    if (!main.isReady || (other && !other.isReady)) await Promise.allSettled([main.ready, other?.ready]);
    if (token !== this.token) return;
    this.subject = subject;
    const place = (pane, images, text) => {
      pane.querySelector(".view").replaceChildren(...images);
      pane.querySelector("figcaption").textContent = text;
    };
    main.alt = label;
    this.overlay = null;
    if (other) {
      other.alt = `${compare.role} of ${label}`;
      this.overlay = other.cloneNode();
      this.overlay.decoding = "sync";
      this.overlay.className = "overlay";
      this.overlay.alt = "";
      place(this.compare, [other], compare.role);
    }
    this.compare.hidden = !other;
    place(this.main, this.overlay ? [main, this.overlay] : [main], label);
    this.shown = { main, other };
    if (this.mode !== "free") this.aim();
    this.place();
  }

  preload(digests) { for (const digest of digests) this.decoded.get(digest); }

  aim() {
    const box = this.subject;
    const view = this.main.querySelector(".view");
    const image = this.shown?.main;
    if (!image || !view.clientWidth) return;
    const fit = this.fit(image, view);
    if (this.mode === "fit" || !box) { this.at = { x: 0.5, y: 0.5, zoom: 1 }; return; }
    const centre = { x: box.left + box.width / 2, y: box.top + box.height / 2 };
    if (this.mode === "full") {
      this.at = { ...centre, zoom: 1 / (fit * devicePixelRatio) };
    } else {
      const wide = view.clientWidth / (box.width * image.naturalWidth * fit);
      const high = view.clientHeight / (box.height * image.naturalHeight * fit);
      this.at = { ...centre, zoom: Math.min(3, Math.max(1, 0.92 * Math.min(wide, high))) };
    }
  }

  fit(image, view) {
    return Math.min(view.clientWidth / image.naturalWidth, view.clientHeight / image.naturalHeight) || 1;
  }

  place() {
    if (!this.shown) return;
    for (const [pane, image] of [[this.main, this.shown.main], [this.main, this.overlay], [this.compare, this.shown.other]]) {
      if (!image || !image.naturalWidth && image !== this.overlay) continue;
      const natural = image === this.overlay ? this.shown.other : image;
      const view = pane.querySelector(".view");
      // The overlay is laid on the main picture exactly, whatever its own size.
      const ground = image === this.overlay ? this.shown.main : natural;
      const scale = this.fit(ground, view) * this.at.zoom;
      const [width, height] = [ground.naturalWidth * scale, ground.naturalHeight * scale];
      const clamp = (length, size, share) => (length <= size ? (size - length) / 2 : Math.min(0, Math.max(size - length, size / 2 - share * length)));
      image.style.width = `${width}px`;
      image.style.height = `${height}px`;
      image.style.transform = `translate(${clamp(width, view.clientWidth, this.at.x)}px, ${clamp(height, view.clientHeight, this.at.y)}px)`;
      image.classList.toggle("pixels", scale * devicePixelRatio > 2);
    }
  }

  zoomToggle() {
    const order = ["subject", "full", "fit"];
    this.mode = order[(order.indexOf(this.mode) + 1) % order.length];
    this.aim();
    this.place();
    return { subject: "on the subject", full: "100 %", fit: "whole picture" }[this.mode];
  }

  zoomBy(factor, x = this.at.x, y = this.at.y) {
    const zoom = Math.min(32, Math.max(1, this.at.zoom * factor));
    const pull = 1 - this.at.zoom / zoom;
    this.at = { zoom, x: this.at.x + (x - this.at.x) * pull, y: this.at.y + (y - this.at.y) * pull };
    this.mode = zoom === 1 ? "fit" : "free";
    this.place();
  }

  source(on) { this.main.classList.toggle("show-source", on && Boolean(this.overlay)); }

  blink(on) {
    clearInterval(this.blinking);
    this.source(false);
    if (!on) return;
    let visible = false;
    this.blinking = setInterval(() => { visible = !visible; this.source(visible); }, BLINK_MS);
  }

  difference(on) { this.main.classList.toggle("show-difference", on); }

  listen(view) {
    const share = (event) => {
      const image = view.querySelector("img");
      if (!image) return { x: 0.5, y: 0.5 };
      const box = image.getBoundingClientRect();
      return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
    };
    view.addEventListener("wheel", (event) => {
      event.preventDefault();
      const { x, y } = share(event);
      this.zoomBy(Math.exp(-event.deltaY / 400), x, y);
    }, { passive: false });
    const touches = new Map();
    let pinch = 0;
    view.addEventListener("pointerdown", (event) => {
      view.setPointerCapture(event.pointerId);
      touches.set(event.pointerId, event);
      pinch = 0;
    });
    view.addEventListener("pointermove", (event) => {
      const before = touches.get(event.pointerId);
      if (!before) return;
      touches.set(event.pointerId, event);
      if (touches.size === 2) {
        const [a, b] = [...touches.values()];
        const apart = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
        if (pinch) this.zoomBy(apart / pinch);
        pinch = apart;
        return;
      }
      const box = view.querySelector("img")?.getBoundingClientRect();
      if (!box?.width || this.at.zoom === 1) return;
      const keep = (value) => Math.min(1, Math.max(0, value));
      this.at.x = keep(this.at.x - (event.clientX - before.clientX) / box.width);
      this.at.y = keep(this.at.y - (event.clientY - before.clientY) / box.height);
      this.mode = "free";
      this.place();
    });
    for (const name of ["pointerup", "pointercancel"]) view.addEventListener(name, (event) => touches.delete(event.pointerId));
    view.addEventListener("dblclick", () => this.zoomToggle());
  }
}
