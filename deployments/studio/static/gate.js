// The review of one gate: ties store, viewer, grid, panel, keys and dialogs together.
import { author, get, post, showProblem, toast } from "./api.js";
import { Critic, chosenOrder, keepOrder } from "./critic.js";
import { BulkDialog, FinishDialog } from "./dialogs.js";
import { GateStore } from "./gate_store.js";
import { Grid } from "./grid.js";
import { Keys } from "./keys.js";
import { Panel } from "./panel.js";
import { Viewer } from "./viewer.js";

const $ = (id) => document.getElementById(id);
const root = $("gate");
const store = new GateStore(root.dataset.gate);
const viewer = new Viewer(root);
const panel = new Panel(store);
const keys = new Keys();
const grid = new Grid(store, $("grid-scroll"), $("grid-content"), (place) => { go(place); showGrid(false); });
const bulk = new BulkDialog(store);
const finish = new FinishDialog(store, Number(root.dataset.minimum));
const REASONS = [...document.querySelectorAll(".chip")].map((chip) => chip.dataset.reason);
const AHEAD = 5;
const PREPARE_MS = 40; // a decision on its way goes first
let preparing = 0;
let showing = Promise.resolve();
let place = 0;
let blinking = false;
let difference = false;
let compareWith = 0;

const current = () => store.digest(store.order[place]);
const typing = () => Boolean(document.activeElement?.closest("textarea, input:not([type=checkbox])"));
const isGrid = () => !$("grid").hidden;

// The caption field belongs to the picture that is shown: who wants to write waits until it is there.
function go(to) {
  const mine = show(to);
  const over = () => { if (showing === mine) delete root.dataset.showing; };
  showing = mine;
  root.dataset.showing = "yes";
  mine.then(over, (problem) => { over(); throw problem; });
  return mine;
}

async function show(to) {
  if (!store.order.length) return;
  panel.leave();
  place = Math.min(store.order.length - 1, Math.max(0, to));
  grid.cursor = place;
  const digest = current();
  const asked = store.detail(digest);
  let detail;
  try {
    detail = await asked;
  } catch (problem) {
    showProblem(problem);
    return;
  }
  if (digest !== current()) return;
  const compare = detail.compare[Math.min(compareWith, detail.compare.length - 1)] ?? null;
  await viewer.show(digest, compare, detail.subject, `picture ${place + 1}`);
  if (digest !== current()) return;
  panel.show(digest, detail);
  $("position").textContent = `${place + 1} / ${store.order.length}`;
  root.dataset.shown = digest;
  performance.mark("picture-shown", { detail: digest });
  clearTimeout(preparing);
  preparing = setTimeout(prepare, PREPARE_MS);
}

// The next pictures are fetched and decoded while this one is looked at.
function prepare() {
  for (let step = 1; step <= AHEAD; step++) {
    for (const next of step === 1 ? [place + 1, place - 1] : [place + step]) {
      if (next < 0 || next >= store.order.length) continue;
      const digest = store.digest(store.order[next]);
      store.detail(digest).then((detail) => viewer.preload([digest, ...detail.compare.slice(0, 1).map((other) => other.image)]), () => {});
    }
  }
}

function verdict(name) {
  if (store.closed) { toast("This gate is answered; nothing changes any more.", { bad: true }); return; }
  if (isGrid()) {
    const targets = grid.targets();
    if (targets.length > 1) store.decideMany(targets, name);
    else if (targets.length) store.decide(targets[0], { verdict: name });
    if (grid.selected.size === 0) grid.key({ key: "ArrowRight" });
    grid.selected.clear();
    grid.draw();
    return;
  }
  store.decide(current(), { verdict: name });
  if (name !== "needs_correction" && $("auto-next").checked) go(place + 1);
}

function reason(number) {
  if (store.closed || isGrid()) return;
  const digest = current();
  const state = store.state(digest);
  if (state.verdict === "good") { toast("Reasons belong to a rejection or a correction: press the key for that first."); return; }
  const code = REASONS[number - 1];
  const reasons = state.reasons.includes(code) ? state.reasons.filter((other) => other !== code) : [...state.reasons, code];
  store.decide(digest, { verdict: state.verdict ?? "reject", reasons });
}

const commands = {
  good: () => verdict("good"),
  reject: () => verdict("reject"),
  correct: () => verdict("needs_correction"),
  next: () => (isGrid() ? grid.key({ key: "ArrowRight" }) : go(place + 1)),
  previous: () => (isGrid() ? grid.key({ key: "ArrowLeft" }) : go(place - 1)),
  undo: () => store.undo(),
  zoom: () => toast(`Zoom: ${viewer.zoomToggle()}`, { seconds: 1.5 }),
  source: () => viewer.source(true),
  blink: () => { blinking = !blinking; viewer.blink(blinking); $("blink").setAttribute("aria-pressed", blinking); },
  difference: () => { difference = !difference; viewer.difference(difference); $("difference").setAttribute("aria-pressed", difference); },
  grid: () => showGrid(!isGrid()),
  single: () => showGrid(false),
  caption: async () => { if (isGrid()) showGrid(false); await showing; $("caption").focus(); },
  bulk: () => bulk.open(),
  finish: () => finish.open(),
  keys: () => { keys.sheet($("keys-table")); $("keys-dialog").showModal(); },
};

function showGrid(on) {
  $("grid").hidden = !on;
  $("single").hidden = on;
  $("view-grid").setAttribute("aria-pressed", on);
  $("view-single").setAttribute("aria-pressed", !on);
  if (on) { grid.cursor = place; grid.measure(); grid.reveal(); grid.draw(); $("grid-scroll").focus(); tell(); } else go(grid.cursor ?? place);
}

function tell() {
  const c = store.counts;
  if (!c) return;
  $("tally").innerHTML = "";
  const add = (name, text) => { const s = document.createElement("span"); s.className = name; s.textContent = text; $("tally").append(s); };
  add("good", `✓ ${c.good} good`);
  add("correct", `✎ ${c.needs_correction} to correct`);
  add("reject", `✕ ${c.reject} rejected`);
  if (c.conflicts) add("conflict", `⚠ ${c.conflicts} in conflict`);
  add("muted", `${c.undecided} of ${c.total} undecided`);
  if (store.critic?.rejects) add("muted", `${store.critic.set_aside.filter(Boolean).length} set aside by the critic`);
  add("muted", `asks for ${root.dataset.minimum} good`);
  const picked = grid.selected.size;
  $("grid-count").textContent = `${store.order.length} pictures${picked ? `, ${picked} selected` : ""}`;
}

function tellSaving() {
  const waiting = store.outbox.length;
  const text = store.offline ? `⚠ the studio does not answer; ${waiting} waiting, sent when it is back` : waiting ? `saving ${waiting}…` : "✓ saved";
  $("save-state").textContent = text;
  $("save-state").className = store.offline ? "save error" : "save";
}

const GOES_ON = ["SCHEDULED", "PENDING", "RUNNING", "PAUSED"];
let view = null;
async function tellGate() {
  try { view = await get(store.path); } catch { return; }
  if (view.closed) store.closed = view.closed;
  banner();
}

function banner() {
  const closed = store.closed;
  const box = $("banner");
  const finishing = $("finish-button");
  const over = view?.run && !GOES_ON.includes(view.run.state);
  box.hidden = !closed && view?.server !== "down" && !over;
  finishing.disabled = Boolean(closed);
  if (closed && $("evidence")) {
    for (const one of $("evidence").querySelectorAll("button, select")) one.disabled = true;
    $("evidence-closed").hidden = false;
  }
  if (closed) {
    const waits = view?.run?.state === "PAUSED";
    box.textContent = `Answered: ${closed.verdict} by ${closed.reviewer || "somebody"}; ${closed.good} good, ${closed.needs_correction} to correct, ${closed.reject} rejected. `;
    for (const late of view?.late_answers ?? []) box.textContent += `A later answer (${late.verdict} by ${late.reviewer}) did not count. `;
    if (waits || (view?.server === "down" && view?.opened_by)) {
      box.append(waits ? "The run still waits. " : "The server does not answer, so the run may still wait. ");
      const again = document.createElement("button");
      again.textContent = "Resume the run";
      again.dataset.testid = "resume-again";
      again.addEventListener("click", resumeAgain);
      box.append(again);
    }
  } else if (over) {
    box.textContent = `Nobody waits for this gate any more: its run is ${view.run.name.toLowerCase()}. Retry the run in Prefect, or finish with "Stop the turn": what was decided is kept.`;
  } else if (view?.server === "down") box.textContent = `The flow server does not answer (${view.server_message}). Review on: decisions are kept; finish when it is back.`;
}

async function resumeAgain() {
  try {
    const done = await post(`${store.path}/resume`);
    toast(done.resumed.accepted ? "The run goes on." : done.resumed.reason, { bad: !done.resumed.accepted });
    setTimeout(tellGate, 1500);
  } catch (problem) { showProblem(problem); }
}

function listen() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-command]");
    if (button && root.contains(button)) commands[button.dataset.command]?.();
    const chip = event.target.closest(".chip");
    if (chip) reason(REASONS.indexOf(chip.dataset.reason) + 1);
  });
  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]")) return;
    const field = event.target.closest("input:not([type=checkbox]), textarea, select");
    if (field) { if (event.key === "Escape") field.blur(); return; }
    if (event.target.closest("button") && (event.key === "Enter" || event.key === " ")) return;
    if (isGrid() && !event.ctrlKey && !event.metaKey && grid.key(event)) { event.preventDefault(); return; }
    if (!isGrid() && (event.key === "ArrowRight" || event.key === "ArrowLeft")) { event.preventDefault(); go(place + (event.key === "ArrowRight" ? 1 : -1)); return; }
    if (!isGrid() && (event.key === "ArrowUp" || event.key === "ArrowDown")) { event.preventDefault(); compareWith = compareWith ? 0 : 1; go(place); return; }
    if (/^[1-9]$/.test(event.key) && !event.ctrlKey && !event.metaKey && !event.altKey) { event.preventDefault(); reason(Number(event.key)); return; }
    const name = keys.command(event);
    if (!name || (event.repeat && !["next", "previous"].includes(name))) return;
    event.preventDefault();
    commands[name]();
  });
  document.addEventListener("keyup", (event) => { if (keys.command(event) === "source") viewer.source(false); });
  const hold = $("hold-source");
  hold.addEventListener("pointerdown", () => viewer.source(true));
  for (const name of ["pointerup", "pointerleave", "blur"]) hold.addEventListener(name, () => viewer.source(false));
  for (const id of ["sort", "filter-verdict", "filter-outcome", "filter-cell", "filter-source"]) $(id).addEventListener("change", arrange);
  $("auto-next").checked = localStorage.getItem("flenwheel-auto-next") !== "no";
  $("auto-next").addEventListener("change", () => localStorage.setItem("flenwheel-auto-next", $("auto-next").checked ? "yes" : "no"));
  $("keys-reset").addEventListener("click", () => { keys.reset(); keys.sheet($("keys-table")); });
  document.addEventListener("author-changed", () => panel.refresh());
  store.addEventListener("changed", (event) => {
    tell();
    banner();
    if (event.detail.includes(panel.digest)) panel.refresh();
  });
  store.addEventListener("saving", tellSaving);
  store.addEventListener("selected", tell);
  store.addEventListener("undone", (event) => {
    const { undone, pictures } = event.detail;
    if (!undone) { toast(`Nothing of ${author()}'s is left to take back.`); return; }
    if (pictures > 1) toast(`${pictures} decisions taken back.`);
    const at = store.order.indexOf(store.index.get(undone));
    if (at >= 0 && at !== place && !isGrid() && !typing()) go(at);
  });
}

function arrange() {
  const value = (id) => $(id).value;
  if (store.critic) keepOrder(value("sort"));
  const digest = store.order.length ? current() : null;
  store.arrange({ sort: value("sort"), verdict: value("filter-verdict"), outcome: value("filter-outcome"), cell: value("filter-cell"), source: value("filter-source") });
  const at = digest === null ? 0 : store.order.indexOf(store.index.get(digest));
  place = Math.max(0, at);
  grid.cursor = place;
  tell();
  if (!isGrid()) go(place);
}

function fillFilters() {
  const add = (id, value, text) => { const o = document.createElement("option"); o.value = value; o.textContent = text; $(id).append(o); };
  for (const cell of [...new Set(store.columns.cell)].filter(Boolean).sort()) add("filter-cell", cell, cell);
  store.columns.sources.forEach((digest, index) => add("filter-source", index, `source ${index + 1} (${digest.slice(0, 6)})`));
}

listen();
keys.label();
await store.load().catch(showProblem);
if (store.columns) {
  store.critic = await Critic.of(store, root.dataset.critic).catch((problem) => { showProblem(problem); return null; });
  fillFilters();
  if (store.critic) {
    $("sort").value = chosenOrder();
    store.arrange({ sort: $("sort").value, verdict: "", outcome: "", cell: "", source: "" });
  }
  tell();
  tellSaving();
  const wanted = store.index.get(location.hash.slice(1));
  const undecided = store.order.findIndex((position) => store.kind(store.digest(position)) === "undecided");
  const at = wanted === undefined ? -1 : store.order.indexOf(wanted);
  await go(at >= 0 ? at : Math.max(0, undecided));
  tellGate();
  setInterval(() => { if (!document.hidden) tellGate(); }, 5000);
}
root.dataset.ready = "yes";
