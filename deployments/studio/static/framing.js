// Cut and hide: what of a source picture is the character's. Everything is in shares of the whole picture.
import { el, get, onSubmit, post, showProblem, toast } from "./api.js";

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const SIDES = ["left", "top", "right", "bottom"];
const LEAST = 0.01;
const character = $("character").dataset.name;
const dialog = $("framing-dialog");
const form = $("framing-form");
const stage = $("framing-stage");
const sheet = stage.querySelector("svg");
let open = null; // { digest, crop, hidden, faces, by }
let drag = null;

const clamp = (value) => Math.min(1, Math.max(0, value));
const round = (value) => Math.round(value * 10000) / 10000;

function box(name, at, title = "") {
  const rect = document.createElementNS(SVG, "rect");
  rect.setAttribute("class", name);
  rect.setAttribute("x", 1000 * at.left);
  rect.setAttribute("y", 1000 * at.top);
  rect.setAttribute("width", 1000 * (at.right - at.left));
  rect.setAttribute("height", 1000 * (at.bottom - at.top));
  if (title) {
    const words = document.createElementNS(SVG, "title");
    words.textContent = title;
    rect.append(words);
  }
  return rect;
}

function away(crop) {
  const path = document.createElementNS(SVG, "path");
  const [l, t, r, b] = SIDES.map((side) => 1000 * crop[side]);
  path.setAttribute("class", "cut-away");
  path.setAttribute("fill-rule", "evenodd");
  path.setAttribute("d", `M0 0H1000V1000H0Z M${l} ${t}H${r}V${b}H${l}Z`);
  return path;
}

function draw() {
  const { crop, hidden, faces } = open;
  sheet.replaceChildren(
    ...hidden.map((at) => box("hidden-part", at, "hidden from training")),
    ...(crop ? [away(crop), box("cut-line", crop)] : []),
    ...faces.map((face) => box(face.chosen ? "face chosen" : "face", face.box, face.chosen ? "taken for the character" : "somebody else")),
  );
  if (drag) return; // The page must not move under the hand.
  for (const side of SIDES) form[side].value = Math.round(1000 * (crop ? crop[side] : side === "left" || side === "top" ? 0 : 1)) / 10;
  $("framing-hidden").replaceChildren(...hidden.map((at, index) => {
    const button = el("button", { type: "button" }, "Show again");
    button.addEventListener("click", () => { hidden.splice(index, 1); draw(); });
    return el("li", {}, `${SIDES.map((side) => `${side} ${Math.round(100 * at[side])} %`).join(", ")} `, button);
  }));
  const who = { person: "Framed by you.", ingest: "Framed by the program: look whether it is right.", nobody: "Learned whole." }[open.by];
  $("framing-state").textContent = `${who} ${crop ? "Cut." : "Not cut."} Hidden parts: ${hidden.length}.`;
}

function place(event, at = drag.at) {
  return { x: clamp((event.clientX - at.left) / at.width), y: clamp((event.clientY - at.top) / at.height) };
}

function between(a, b) {
  return { left: round(Math.min(a.x, b.x)), top: round(Math.min(a.y, b.y)), right: round(Math.max(a.x, b.x)), bottom: round(Math.max(a.y, b.y)) };
}

sheet.addEventListener("pointerdown", (event) => {
  event.preventDefault();
  sheet.setPointerCapture(event.pointerId);
  const at = sheet.getBoundingClientRect();
  drag = { at, from: place(event, at), hidden: [...open.hidden] };
});
sheet.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const drawn = between(drag.from, place(event));
  if (drawn.right - drawn.left < LEAST || drawn.bottom - drawn.top < LEAST) return;
  if (form.tool.value === "cut") open.crop = drawn;
  else open.hidden = [...drag.hidden, drawn].slice(0, 32);
  draw();
});
for (const name of ["pointerup", "pointercancel"]) sheet.addEventListener(name, () => { drag = null; draw(); });

for (const side of SIDES) {
  form[side].addEventListener("change", () => {
    const crop = Object.fromEntries(SIDES.map((one) => [one, round(clamp(Number(form[one].value) / 100))]));
    if (crop.right - crop.left < LEAST || crop.bottom - crop.top < LEAST) { draw(); return; }
    open.crop = crop.left === 0 && crop.top === 0 && crop.right === 1 && crop.bottom === 1 ? null : crop;
    draw();
  });
}
$("framing-whole").addEventListener("click", () => { open.crop = null; open.hidden = []; draw(); });
$("framing-forget").addEventListener("click", () => save(null));
$("framing-close").addEventListener("click", () => dialog.close());
form.addEventListener("submit", (event) => {
  event.preventDefault();
  save({ crop: open.crop, hidden: open.hidden });
});

async function save(framing) {
  try {
    await post(`/characters/${character}/sources/${open.digest}/framing`, { framing });
    dialog.close();
    const note = document.querySelector(`[data-note="${open.digest}"]`);
    if (note) note.textContent = framing ? "framed by you; read the pictures again" : "read the pictures again";
    toast("Kept. It counts when the pictures are read again.");
  } catch (problem) {
    showProblem(problem);
  }
}

const consent = $("consent-form");
if (consent) onSubmit(consent, async (said) => {
  try {
    const view = await post(`/characters/${character}/consent`, { whose: said.get("whose"), vouched_by: said.get("vouched_by") });
    document.querySelector("[data-testid=consent]").textContent = `The face is ${view.consent.whose}. ${view.consent.vouched_by} vouches that it may be used.`;
  } catch (problem) {
    showProblem(problem);
  }
});

for (const button of document.querySelectorAll(".frame")) {
  button.addEventListener("click", async () => {
    try {
      const found = await get(`/characters/${character}/sources/${button.dataset.digest}/framing`);
      open = { digest: button.dataset.digest, crop: found.framing.crop, hidden: [...found.framing.hidden], faces: found.faces, by: found.by };
      $("framing-title").textContent = found.file;
      const picture = stage.querySelector("img");
      picture.src = button.dataset.picture;
      picture.alt = found.file;
      await picture.decode().catch(() => {});
      draw();
      dialog.showModal();
    } catch (problem) {
      showProblem(problem);
    }
  });
}
