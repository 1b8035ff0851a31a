// Dropping pictures: a new character, more pictures for one, and the start of a turn.
import { get, post, showProblem, toast, upload } from "./api.js";

const $ = (id) => document.getElementById(id);
const zone = $("drop");
const input = $("files");
const chosen = new Map();
const character = $("character")?.dataset.name ?? null;

function take(files) {
  for (const file of files) chosen.set(file.name, file);
  const pictures = [...chosen.values()].filter((file) => !file.name.endsWith(".txt"));
  const captions = chosen.size - pictures.length;
  $("chosen").textContent = `${pictures.length} pictures${captions ? `, ${captions} captions` : ""} chosen`;
  if (character && pictures.length) send(character).then(read).catch(showProblem);
}

async function send(name) {
  const pictures = [...chosen.values()].filter((file) => !file.name.endsWith(".txt"));
  const refused = [];
  let done = 0;
  for (const file of pictures) {
    $("drop-state").textContent = `uploading ${done + 1} of ${pictures.length}: ${file.name}`;
    const form = new FormData();
    form.append("file", file);
    const caption = chosen.get(file.name.replace(/\.[^.]*$/, ".txt"));
    if (caption) form.append("caption", (await caption.text()).trim().slice(0, 4000));
    try {
      await upload(`/characters/${name}/sources`, form);
    } catch (problem) {
      if (problem.status !== 422) throw problem;
      refused.push(problem.message);
    }
    done += 1;
  }
  chosen.clear();
  $("drop-state").textContent = refused.length ? `Not taken: ${refused.join(" ")}` : `${done} pictures uploaded`;
  for (const text of refused) toast(text, { bad: true, seconds: 9 });
}

async function read() {
  try {
    await post(`/characters/${character}/ingest`);
  } catch (problem) {
    showProblem(problem);
    return;
  }
  follow();
}

async function follow() {
  for (;;) {
    const report = await get(`/characters/${character}/ingest`);
    if (report.state !== "running") break;
    $("drop-state").textContent = `reading: ${report.progress}`;
    await new Promise((resolve) => setTimeout(resolve, 700));
  }
  location.reload();
}

zone.addEventListener("click", (event) => { if (event.target !== input) input.click(); });
zone.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); input.click(); } });
input.addEventListener("change", () => take(input.files));
zone.addEventListener("dragover", () => zone.classList.add("over"));
zone.addEventListener("dragleave", () => zone.classList.remove("over"));
zone.addEventListener("drop", (event) => {
  event.preventDefault();
  event.stopPropagation();
  zone.classList.remove("over");
  take(event.dataTransfer.files);
});

const creating = $("new-character");
creating?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const data = new FormData(creating);
  const body = Object.fromEntries(["name", "trigger", "class_word", "kind", "recipe"].map((name) => [name, data.get(name)]));
  try {
    await post("/characters", body);
    await send(body.name);
    if (chosen.size === 0) await post(`/characters/${body.name}/ingest`).catch(showProblem);
    location.assign(`/characters/${body.name}`);
  } catch (problem) {
    showProblem(problem);
  }
});
function tellRecipe() {
  for (const text of document.querySelectorAll(".recipe-text")) text.hidden = text.dataset.recipe !== creating.recipe.value;
}
if (creating) { creating.recipe.addEventListener("change", tellRecipe); tellRecipe(); }

$("read-again")?.addEventListener("click", read);
if ($("character")?.dataset.ingest === "running") follow();

$("start-turn")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const data = new FormData(event.target);
  $("turn-state").textContent = "starting…";
  try {
    const run = await post(`/characters/${character}/turns`, { flywheel: data.get("flywheel"), recipe: data.get("recipe") || null });
    $("turn-state").textContent = `${run.name || run.state}: the turn is in the queue. It appears under Turns when it begins.`;
  } catch (problem) {
    $("turn-state").textContent = `✕ ${problem.message} ${problem.why} ${problem.remedy}`;
  }
});
