// Dropping pictures: a new character, more pictures for one, and the start of a turn.
import { el, get, onSubmit, page, post, remove, showProblem, upload } from "./api.js";
import { TEXTS, chosenFiles, droppedFiles } from "./drop_files.js";

const $ = (id) => document.getElementById(id);
const zone = $("drop");
const input = $("files");
const character = $("character")?.dataset.name ?? null;
const stopping = [401, 403, 404];
const MOST_TEXT_BYTES = 8 * 2 ** 20;
const MOST_TEXTS = 900; // A request holds no more; the server names those that it misses.

// What was chosen at once: the pictures with their captions, as the server sorted them, and what was not taken.
let batches = [];
let queue = Promise.resolve();

function take(collecting) {
  queue = queue.then(async () => {
    const files = await collecting;
    if (!files.size && !files.unread?.length) return;
    batches.push(await sorted(files));
    const pictures = batches.flatMap((batch) => batch.pictures);
    const captions = pictures.filter((picture) => picture.caption).length;
    $("chosen").textContent = `${pictures.length} pictures${captions ? `, ${captions} captions` : ""} chosen`;
    tell(batches.flatMap((batch) => batch.notes));
    if (character) await add();
  }).catch(showProblem);
}

async function add() {
  const taken = await send(character);
  if (taken) await read();
}

async function sorted(files) {
  const form = new FormData();
  form.append("names", JSON.stringify([...files.keys()]));
  const texts = [...files].filter(([path, file]) => TEXTS.test(path) && file.size <= MOST_TEXT_BYTES);
  for (const [path, file] of texts.slice(0, MOST_TEXTS)) form.append("texts", file, path);
  const found = await upload("/folders/sorted", form);
  const pictures = found.pictures.map(({ name, caption, mask }) => ({ name, caption, file: files.get(name), mask: files.get(mask) }));
  const unread = (files.unread ?? []).map((path) => `${path}: not taken. It cannot be read.`);
  return { pictures, notes: [...found.notes, ...unread], mostBytes: found.most_bytes, mostMaskBytes: found.most_mask_bytes };
}

// Sends everything that was chosen. What is refused is listed, and the others are sent.
async function send(name) {
  const sending = batches;
  batches = [];
  const told = sending.flatMap((batch) => batch.notes);
  const total = sending.reduce((sum, batch) => sum + batch.pictures.length, 0);
  let done = 0, taken = 0;
  try {
    for (const { pictures, mostBytes, mostMaskBytes } of sending) {
      for (const picture of pictures) {
        $("drop-state").textContent = `uploading ${done + 1} of ${total}: ${picture.name}`;
        try {
          if (picture.mask?.size > mostMaskBytes) {
            told.push(`${picture.mask.name}: not taken. A mask may have ${Math.round(mostMaskBytes / 2 ** 20)} MiB; ${picture.name} is taken without it.`);
            picture.mask = undefined;
          }
          const answer = await sendOne(name, picture, mostBytes);
          taken += 1;
          if (answer.note) told.push(`${picture.name}: ${answer.note}`);
        } catch (problem) {
          if (stopping.includes(problem.status) || problem.offline) throw problem;
          told.push(`${picture.name}: not taken. ${[problem.message, problem.remedy].filter(Boolean).join(" ")}`);
        }
        done += 1;
      }
    }
  } finally {
    if (done < total) told.push(`${total - done} pictures were not sent. Drop them again.`);
    $("drop-state").textContent = total ? `${taken} of ${total} pictures uploaded` : "no pictures among these files";
    remember(name, told);
    tell(told);
  }
  return taken;
}

async function sendOne(name, { name: path, caption, file, mask }, mostBytes) {
  if (file.size > mostBytes) throw { message: `It is larger than ${Math.round(mostBytes / 2 ** 20)} MiB.`, remedy: "Export it smaller." };
  const form = new FormData();
  form.append("file", file, path);
  if (caption) form.append("caption", caption);
  if (mask) form.append("mask", mask, mask.name);
  try {
    return await upload(`/characters/${name}/sources`, form);
  } catch (problem) {
    if (!problem.offline) throw problem;
    await get("/session"); // If the studio answers this, it was the file.
    throw { message: "It could not be sent.", remedy: "Was it moved or changed? Drop it again." };
  }
}

// The lines survive the reload that shows what was read.
function remember(name, lines) {
  sessionStorage.setItem(`flenwheel-dropped-${name}`, JSON.stringify(lines));
}

function tell(lines) {
  $("drop-notes")?.replaceChildren(...lines.map((line) => el("li", { class: "warning" }, line)));
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
input.addEventListener("change", () => { take(Promise.resolve(chosenFiles(input.files))); input.value = ""; });
zone.addEventListener("dragover", () => zone.classList.add("over"));
zone.addEventListener("dragleave", () => zone.classList.remove("over"));
zone.addEventListener("drop", (event) => {
  event.preventDefault();
  event.stopPropagation();
  zone.classList.remove("over");
  take(droppedFiles(event.dataTransfer));
});

const creating = $("new-character");
if (creating) onSubmit(creating, async (data) => {
  const body = Object.fromEntries(["name", "trigger", "class_word", "kind", "recipe"].map((name) => [name, data.get(name)]));
  try {
    await queue;
    await post("/characters", body);
    if (await send(body.name)) await post(`/characters/${body.name}/ingest`).catch(showProblem);
    location.assign(page(`/characters/${body.name}`));
  } catch (problem) {
    showProblem(problem);
  }
});
function tellRecipe() {
  for (const text of document.querySelectorAll(".recipe-text")) text.hidden = text.dataset.recipe !== creating.recipe.value;
}
// A style has words and recipes of its own; what a person typed stays.
function tellKind() {
  const all = JSON.parse(creating.dataset.new);
  const usual = all[creating.kind.value];
  [creating.trigger, creating.class_word].forEach((field, index) => {
    if (Object.values(all).some((one) => one[index] === field.value)) field.value = usual[index];
  });
  const style = creating.kind.value === "style" ? "yes" : "";
  for (const option of creating.recipe.options) option.hidden = option.disabled = option.dataset.style !== style;
  if (creating.recipe.selectedOptions[0]?.disabled ?? true) creating.recipe.value = usual[2];
  tellRecipe();
}
if (creating) { creating.kind.addEventListener("change", tellKind); tellKind(); }
if (creating) { creating.recipe.addEventListener("change", tellRecipe); tellRecipe(); }

$("read-again")?.addEventListener("click", read);
if (character) tell(JSON.parse(sessionStorage.getItem(`flenwheel-dropped-${character}`) ?? "[]"));
for (const button of document.querySelectorAll(".take-back")) {
  button.addEventListener("click", async () => {
    try {
      await remove(`/characters/${character}/sources/${button.dataset.digest}`);
      location.reload();
    } catch (problem) {
      showProblem(problem);
    }
  });
}
$("remove-character")?.addEventListener("click", async () => {
  if (!confirm(`Remove ${character} with all its pictures?`)) return;
  try {
    await remove(`/characters/${character}`);
    location.assign(page("/characters"));
  } catch (problem) {
    showProblem(problem);
  }
});
if ($("character")?.dataset.ingest === "running") follow();

const starting = $("start-turn");
if (starting) onSubmit(starting, async (data) => {
  $("turn-state").textContent = "starting…";
  try {
    const run = await post(`/characters/${character}/turns`, { flywheel: data.get("flywheel"), recipe: data.get("recipe") || null });
    $("turn-state").textContent = `${run.name || run.state}: the turn is in the queue. It appears under Turns when it begins.`;
  } catch (problem) {
    $("turn-state").textContent = `✕ ${problem.message} ${problem.why} ${problem.remedy}`;
  }
});
