// What is known of the picture in view: prompt, seed, scores with reasons, caption, correction.
import { author, el, newId, page, showProblem, toast, upload } from "./api.js";

const $ = (id) => document.getElementById(id);
const number = (value, digits = 3) => (value === null || value === undefined ? null : value.toFixed(digits));
const words = (code) => code.replaceAll("_", " ");

export class Panel {
  constructor(store) {
    this.store = store;
    this.digest = null;
    $("caption").addEventListener("change", () => this.saveCaption());
    $("caption").addEventListener("input", () => { $("caption-state").textContent = "edited; leave the field to save"; });
    $("save-prompt")?.addEventListener("click", () => this.savePrompt());
    $("correction-file")?.addEventListener("change", () => this.sendCorrection());
  }

  show(digest, detail) {
    this.digest = digest;
    this.record = detail.record;
    const rows = [];
    const add = (name, value) => { if (value !== null && value !== undefined && value !== "") rows.push(el("dt", {}, name), el("dd", {}, value)); };
    const r = detail.record;
    const s = detail.screening;
    for (const [name, text] of this.store.critic?.rows(this.store.index.get(digest)) ?? []) add(name, text);
    add(r.kind === "enriched" ? "Edit prompt" : "Prompt", r.prompt);
    add("Cell", r.cell);
    add("Seed", r.seed === null ? null : String(r.seed));
    if (s) {
      add("Screening", el("span", { class: `badge ${s.outcome}` }, s.outcome));
      add("Why", el("ul", { class: "why" }, ...s.reasons.map((reason) => el("li", {}, this.reason(reason)))));
      add("Identity", [number(s.similarity) && `cosine ${number(s.similarity)}`, number(s.distance) && `distance ${number(s.distance)}`].filter(Boolean).join(", "));
      add("Sharpness", number(s.sharpness, 1));
      const read = Object.entries(s.read).filter(([, value]) => value).map(([, value]) => value).join(", ");
      add("Reader saw", read);
    }
    add("Size", `${r.width}×${r.height}`);
    add("Model", r.model);
    add("Record", el("a", { href: page(`/pictures/${digest}`) }, digest.slice(0, 12)));
    $("facts").replaceChildren(...rows);
    $("caption-state").textContent = "";
    if ($("correction-file")) {
      $("correction-state").textContent = "";
      $("correction-file").value = "";
    }
    this.refresh();
  }

  reason(reason) {
    const figures = reason.value === null ? "" : ` ${reason.value.toFixed(3)}${reason.limit === null ? "" : ` (limit ${reason.limit.toFixed(3)})`}`;
    return `${words(reason.code)}${figures}${reason.detail ? `: ${reason.detail}` : ""}`;
  }

  // What may change while the picture stays: verdict, reasons, conflict, caption.
  refresh() {
    if (!this.digest) return;
    const state = this.store.state(this.digest);
    const kind = this.store.kind(this.digest);
    for (const button of document.querySelectorAll(".verdict[data-command]")) {
      const means = { good: "good", correct: "needs_correction", reject: "reject" }[button.dataset.command];
      if (means) button.setAttribute("aria-pressed", means === kind);
    }
    for (const chip of document.querySelectorAll(".chip")) chip.setAttribute("aria-pressed", state.reasons.includes(chip.dataset.reason));
    $("conflict").hidden = !state.conflict;
    if (state.conflict) {
      const said = state.opinions.filter((o) => o.verdict).map((o) => `${o.author} says ${words(o.verdict)}`).join(", ");
      $("conflict").textContent = `⚠ In conflict: ${said || "captions or prompts differ"}. A verdict given now settles it, by your name.`;
    }
    $("correction").hidden = kind !== "needs_correction";
    if (document.activeElement !== $("caption")) $("caption").value = state.caption ?? this.record.caption ?? "";
    const prompt = $("better-prompt");
    if (prompt && document.activeElement !== prompt) prompt.value = state.better_prompt ?? "";
    if (state.correction && !$("correction-state").textContent) $("correction-state").textContent = "✓ A corrected picture is kept.";
    const others = state.opinions.filter((o) => o.author !== author() && o.verdict);
    document.getElementById("pane-main").dataset.verdict = kind;
    document.getElementById("pane-main").dataset.by = others.map((o) => o.author).join(", ");
  }

  // Text that was typed but not saved is saved before another picture comes.
  leave() {
    if (!this.digest) return;
    if (document.activeElement === $("caption")) $("caption").blur();
    const prompt = $("better-prompt");
    const state = this.store.state(this.digest);
    if (prompt && prompt.value.trim() && prompt.value !== (state.better_prompt ?? "") && state.verdict === "needs_correction") this.savePrompt();
  }

  saveCaption() {
    const text = $("caption").value.trim();
    const state = this.store.state(this.digest);
    if (!text || text === (state.caption ?? this.record.caption)) { $("caption-state").textContent = ""; return; }
    this.store.decide(this.digest, { caption: text });
    $("caption-state").textContent = "✓ caption changed";
  }

  savePrompt() {
    const text = $("better-prompt").value.trim();
    if (!text) return;
    this.store.decide(this.digest, { verdict: "needs_correction", better_prompt: text });
    toast("The better prompt is kept; the picture is made again after the gate.");
  }

  async sendCorrection() {
    const chosen = $("correction-file").files[0];
    const digest = this.digest;
    if (!chosen) return;
    const form = new FormData();
    form.append("file", chosen);
    form.append("author", author());
    form.append("id", newId());
    $("correction-state").textContent = "checking…";
    try {
      const taken = await upload(`/gates/${this.store.gate}/pictures/${digest}/correction?after=${this.store.revision}`, form);
      this.store.forget(digest);
      this.store.apply(taken);
      const check = taken.check;
      $("correction-state").textContent = `✓ Kept: ${(100 * check.changed_share).toFixed(1)} % of the picture changed, aligned within ${(100 * check.shift_share).toFixed(1)} %${check.resized ? ", scaled to the edit's size" : ""}.`;
    } catch (problem) {
      $("correction-state").textContent = `✕ ${problem.message} ${problem.why} ${problem.remedy}`;
      $("correction-file").value = "";
      if (!(problem.status === 422)) showProblem(problem);
    }
  }
}
