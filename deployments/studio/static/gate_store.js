// The state of one gate in the browser: columns, what stands about each picture, and the outbox of decisions on their way to the disk.
import { Problem, author, get, newId, post, showProblem } from "./api.js";

const POLL_MS = 2000;
const NOTHING = Object.freeze({ verdict: null, conflict: false, reasons: [], caption: null, better_prompt: null, correction: null, opinions: [] });

export class GateStore extends EventTarget {
  constructor(gate) {
    super();
    this.gate = gate;
    this.path = `/gates/${gate}`;
    this.states = new Map();
    this.pending = new Map();
    this.details = new Map();
    this.order = [];
    this.revision = 0;
    this.closed = null;
    this.offline = false;
    this.outbox = JSON.parse(localStorage.getItem(this.outboxKey) || "[]");
    this.sending = null;
    this.critic = null;
  }

  get outboxKey() { return `flenwheel-outbox-${this.gate}`; }

  async load() {
    const all = await get(`${this.path}/pictures`);
    this.columns = all.columns;
    this.index = new Map(all.columns.digest.map((digest, position) => [digest, position]));
    this.order = all.columns.digest.map((_, position) => position);
    this.apply(all);
    for (const item of this.outbox) this.showPending(item);
    this.send();
    setInterval(() => { if (!document.hidden) this.poll(); }, POLL_MS);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.poll(); });
  }

  digest(position) { return this.columns.digest[position]; }

  state(digest) { return this.pending.get(digest) ?? this.states.get(digest) ?? NOTHING; }

  kind(digest) {
    const state = this.state(digest);
    return state.conflict ? "conflict" : state.verdict ?? "undecided";
  }

  apply(changes) {
    for (const state of changes.states) this.states.set(state.image, state);
    this.revision = changes.revision;
    this.counts = changes.counts;
    if (changes.closed) this.closed = changes.closed;
    this.emit("changed", changes.states.map((state) => state.image));
  }

  emit(name, detail) { this.dispatchEvent(new CustomEvent(name, { detail })); }

  async poll() {
    if (this.outbox.length || this.polling) return;
    this.polling = true;
    try {
      const changes = await get(`${this.path}/changes?after=${this.revision}`);
      this.online(true);
      if (this.outbox.length) return;
      if (changes.revision < this.revision) this.states.clear();
      if (changes.revision !== this.revision || changes.closed || changes.states.length) this.apply(changes);
    } catch (problem) {
      if (problem instanceof Problem && problem.offline) this.online(false);
    } finally {
      this.polling = false;
    }
  }

  online(up) {
    if (this.offline === !up) return;
    this.offline = !up;
    this.emit("saving");
  }

  // What my next line about a picture says, whatever it leaves unsaid stays as it stands.
  draft(digest, change) {
    const state = this.state(digest);
    const base = { verdict: state.verdict, reasons: state.reasons, caption: state.caption, better_prompt: state.better_prompt, correction: state.correction };
    const over = state.conflict ? state.opinions.filter((o) => o.author !== author()).map((o) => o.id) : [];
    const next = { ...base, ...change, over };
    if (next.verdict === "good" || next.verdict === null) next.reasons = [];
    if (next.verdict !== "needs_correction") { next.better_prompt = null; next.correction = null; }
    return next;
  }

  decide(digest, change) {
    const line = this.draft(digest, change);
    this.push({ kind: "decide", image: digest, path: `/pictures/${digest}/decision`, body: { id: newId(), author: author(), ...line } });
  }

  decideMany(digests, verdict, reasons = []) {
    const rule = { images: digests, only_undecided: false };
    this.push({ kind: "bulk", images: digests, path: "/bulk", body: { id: newId(), author: author(), rule, verdict, reasons } });
  }

  bulk(rule, verdict, reasons, expected) {
    return this.push({ kind: "bulk", images: [], path: "/bulk", body: { id: newId(), author: author(), rule, verdict, reasons, expected } });
  }

  undo() {
    return this.push({ kind: "undo", path: "/undo", body: { id: newId(), author: author() } });
  }

  push(item) {
    this.outbox.push(item);
    this.keep();
    this.showPending(item);
    this.send();
  }

  keep() {
    localStorage.setItem(this.outboxKey, JSON.stringify(this.outbox));
    this.emit("saving");
  }

  showPending(item) {
    const touched = item.kind === "decide" ? [item.image] : item.images ?? [];
    for (const image of touched) {
      const before = this.state(image);
      const { verdict, reasons, caption = before.caption, better_prompt = null, correction = null } = item.body;
      this.pending.set(image, { ...before, conflict: false, verdict, reasons, caption, better_prompt, correction });
    }
    this.emit("changed", touched);
  }

  // One after the other, in order, with the same id until the server took it: a decision is made once, however often it is sent.
  async send() {
    if (this.sending) return;
    this.sending = true;
    while (this.outbox.length) {
      const item = this.outbox[0];
      try {
        const changes = await post(`${this.path}${item.path}?after=${this.revision}`, item.body);
        this.online(true);
        this.drop(item);
        this.apply(changes);
        if (item.kind === "undo") this.emit("undone", changes);
      } catch (problem) {
        if (problem instanceof Problem && problem.offline) {
          this.online(false);
          await new Promise((resolve) => setTimeout(resolve, 1000));
          continue;
        }
        this.drop(item);
        showProblem(problem);
        await this.poll();
        this.emit("changed", [item.image]);
      }
    }
    this.sending = false;
    this.emit("saving");
  }

  drop(item) {
    this.outbox.shift();
    const touched = item.kind === "decide" ? [item.image] : item.images ?? [];
    for (const image of touched) {
      if (!this.outbox.some((other) => other.image === image || other.images?.includes(image))) this.pending.delete(image);
    }
    this.keep();
  }

  async detail(digest) {
    const known = this.details.get(digest);
    if (known) return known;
    const asked = get(`${this.path}/pictures/${digest}`);
    this.details.set(digest, asked);
    asked.catch(() => this.details.delete(digest));
    while (this.details.size > 60) this.details.delete(this.details.keys().next().value);
    return asked;
  }

  forget(digest) { this.details.delete(digest); }

  // Sorting and filtering happen here, so they take no round trip.
  arrange({ sort, verdict, outcome, cell, source }) {
    const c = this.columns;
    const rows = [];
    for (let i = 0; i < c.digest.length; i++) {
      const kind = this.kind(c.digest[i]);
      const aside = this.critic?.aside(i, kind) ?? false;
      if (aside !== (verdict === "aside")) continue;
      if (verdict && verdict !== "aside" && kind !== verdict) continue;
      if (outcome && c.outcome[i] !== outcome) continue;
      if (cell && c.cell[i] !== cell) continue;
      if (source !== "" && c.source[i] !== Number(source)) continue;
      rows.push(i);
    }
    const [name, way] = sort.split("-");
    if (this.critic && (name === "useful" || name === "likely")) rows.sort((a, b) => this.critic.place(name, a) - this.critic.place(name, b));
    else if (name === "similarity" || name === "sharpness") {
      const sign = way === "down" ? -1 : 1;
      const value = (i) => c[name][i] ?? (way === "down" ? -Infinity : Infinity);
      rows.sort((a, b) => sign * (value(a) - value(b)) || a - b);
    } else if (name === "cell" || name === "source") {
      rows.sort((a, b) => String(c[name][a] ?? "~").localeCompare(String(c[name][b] ?? "~"), undefined, { numeric: true }) || a - b);
    }
    this.order = rows;
    this.emit("arranged");
  }
}
