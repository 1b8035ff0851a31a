// Bulk by threshold, and the finish.
import { author, el, get, post, showProblem, toast } from "./api.js";

const $ = (id) => document.getElementById(id);
const percent = (share) => (share === null ? "unknown" : `${Math.round(100 * share)} %`);

export class BulkDialog {
  constructor(store) {
    this.store = store;
    this.form = $("bulk-form");
    this.form.addEventListener("input", () => this.preview());
    this.form.measure.addEventListener("change", () => this.scale());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.apply();
    });
  }

  open() {
    this.scale();
    $("bulk-dialog").showModal();
    this.preview();
  }

  scale() {
    const slider = this.form.threshold;
    const values = this.store.columns[this.form.measure.value]?.filter((value) => value !== null) ?? [];
    if (values.length) {
      slider.min = Math.min(...values);
      slider.max = Math.max(...values) * 1.001;
    } else if (this.form.measure.value === "brightness") { slider.min = 0; slider.max = 255; } else { slider.min = 0; slider.max = 1; }
    slider.step = (slider.max - slider.min) / 200 || 0.005;
    slider.value = (Number(slider.min) + Number(slider.max)) / 2;
  }

  rule() {
    const f = this.form;
    return { measure: f.measure.value, [f.side.value]: Number(f.threshold.value), only_undecided: f.only_undecided.checked };
  }

  async preview() {
    const number = (this.asked = (this.asked ?? 0) + 1);
    $("bulk-value").textContent = Number(this.form.threshold.value).toFixed(3);
    try {
      const found = await post(`${this.store.path}/bulk/preview`, this.rule());
      if (number !== this.asked) return;
      this.count = found.count;
      const words = this.form.verdict.selectedOptions[0].textContent;
      $("bulk-count").textContent = `${found.count} of ${this.store.columns.digest.length} pictures become “${words}”. One undo takes them all back.`;
      $("bulk-apply").textContent = `Apply to ${found.count}`;
      $("bulk-apply").disabled = found.count === 0;
    } catch (problem) {
      showProblem(problem);
    }
  }

  apply() {
    const { verdict, reason } = this.form;
    const reasons = reason.value && verdict.value !== "good" ? [reason.value] : [];
    this.store.bulk(this.rule(), verdict.value, reasons, this.count);
    $("bulk-dialog").close();
    toast(`${this.count} pictures decided at once. Undo takes them back together.`);
  }
}

export class FinishDialog {
  constructor(store, minimum) {
    this.store = store;
    this.minimum = minimum;
    this.form = $("finish-form");
    this.form.undecided.addEventListener("change", () => this.load());
    this.form.override_minimum.addEventListener("change", () => this.allow());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.finish(event.submitter.value);
    });
  }

  async open() {
    $("finish-state").textContent = "";
    $("finish-dialog").showModal();
    await this.load();
  }

  async load() {
    try {
      this.summary = await get(`${this.store.path}/summary?undecided=${this.form.undecided.value}`);
    } catch (problem) {
      $("finish-state").textContent = problem.message;
      return;
    }
    $("finish-body").replaceChildren(...this.describe(this.summary));
    $("finish-override").hidden = this.summary.enough;
    this.allow();
    if (!$("finish-dialog").contains(document.activeElement) || document.activeElement === $("finish-dialog")) $("approve").focus();
  }

  allow() {
    const unsaved = this.store.outbox.length > 0;
    $("approve").disabled = unsaved || !(this.summary?.enough || this.form.override_minimum.checked);
    if (unsaved) $("finish-state").textContent = "Some decisions are not on disk yet; wait a moment.";
  }

  describe(s) {
    const facts = [
      ["Good", String(s.good)], ["To correct", `${s.needs_correction} (${s.corrections} corrected pictures, ${s.better_prompts} better prompts)`],
      ["Rejected", String(s.reject)], ["Undecided", String(s.undecided)],
      ["Training would get", `${s.training_pictures} pictures: ${s.pool_real} real, ${s.pool_made} made before, ${s.training_pictures - s.pool_real - s.pool_made} new`],
      ["Real pictures", percent(s.real_share)], ["Lessons for the editor", `${s.triplets} triplets`], ["Cells covered", `${s.covered_cells} of ${s.coverage.length}`],
    ];
    const cells = s.coverage.map((row) => {
      const total = row.real + row.made + row.new;
      return el("li", { class: total ? "covered" : "uncovered", title: `${row.real} real, ${row.made} made before, ${row.new} new` },
        el("span", {}, row.cell), el("b", {}, total ? `${total}${row.new ? ` (+${row.new})` : ""}` : "empty"));
    });
    return [
      el("dl", { class: "facts" }, ...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
      el("ul", { class: "warnings" }, ...s.warnings.map((text) => el("li", { class: "warning" }, text))),
      el("details", {}, el("summary", {}, "Coverage of the model card, cell by cell"), el("ul", { class: "cells" }, ...cells)),
    ];
  }

  async finish(verdict) {
    const state = $("finish-state");
    const buttons = [...this.form.querySelectorAll("button")];
    for (const button of buttons) button.disabled = true;
    state.textContent = "freezing the decisions…";
    try {
      const done = await post(`${this.store.path}/finish`, {
        author: author(), verdict, undecided: this.form.undecided.value, override_minimum: this.form.override_minimum.checked,
      });
      this.store.closed = done.closed;
      this.store.emit("changed", []);
      if (done.resumed.accepted) {
        $("finish-dialog").close();
        toast(done.first ? `Answered: ${verdict}. ${done.resumed.reason || "The run goes on."}` : "This gate had been answered before; that answer stands.");
      } else {
        state.textContent = `Your decisions are kept, but the run was not resumed: ${done.resumed.reason}`;
      }
    } catch (problem) {
      state.textContent = `Not finished; your decisions are kept. ${problem.message} ${problem.why} ${problem.remedy}`;
    } finally {
      for (const button of buttons) button.disabled = false;
      this.allow();
    }
  }
}
