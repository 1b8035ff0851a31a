// Blind pairs: two pictures of one scene, a verdict with one key, and the next. Nothing on the page says which way a picture was drawn in.
import { author, file, get, post, showProblem } from "./api.js";

const $ = (id) => document.getElementById(id);
const url = $("pairs").dataset.url;
const KEYS = { ArrowLeft: "first", ArrowRight: "second", " ": "neither" };
let pairs = [], judged = 0, total = 0, past = [], busy = false;

async function load() {
  const ways = [...document.querySelectorAll("[name=way]:checked")].map((box) => `&way=${encodeURIComponent(box.value)}`);
  if (ways.length === 1) return;
  const found = await get(`${url}?author=${encodeURIComponent(author())}${ways.join("")}`);
  [pairs, judged, total, past] = [found.pairs, found.judged, found.total, []];
  show();
}

function show() {
  const pair = pairs[0];
  $("pair").hidden = !pair;
  $("back").disabled = !past.length;
  if (!pair) {
    $("scene").textContent = total ? `All ${total} pairs are judged. Thank you.` : "There is nothing to compare.";
    return;
  }
  $("scene").textContent = `${judged + 1} of ${total}: ${pair.scene}`;
  for (const side of ["first", "second"]) $(side).src = file(pair[side]);
  for (const next of pairs.slice(1, 3)) for (const side of ["first", "second"]) new Image().src = file(next[side]);
}

const say = (pair, choice) => post(url, { author: author(), pair: pair.id, first: pair.first, second: pair.second, choice });

async function once(work) {
  if (busy) return;
  busy = true;
  try {
    await work();
    show();
  } catch (problem) {
    showProblem(problem);
  } finally {
    busy = false;
  }
}

const pick = (choice) => once(async () => {
  if (!pairs.length) return;
  await say(pairs[0], choice);
  past.push(pairs.shift());
  judged += 1;
});

const back = () => once(async () => {
  if (!past.length) return;
  await say(past[past.length - 1], null);
  pairs.unshift(past.pop());
  judged -= 1;
});

for (const button of document.querySelectorAll(".pick")) button.addEventListener("click", () => pick(button.dataset.choice));
$("back").addEventListener("click", back);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, dialog, summary")) return;
  if (event.key === "Backspace") {
    event.preventDefault();
    back();
  } else if (KEYS[event.key]) {
    event.preventDefault();
    pick(KEYS[event.key]);
  }
});
for (const box of document.querySelectorAll("[name=way]")) box.addEventListener("change", () => load().catch(showProblem));
document.addEventListener("author-changed", () => load().catch(showProblem));
load().catch(showProblem);
