// What a gate tells besides its pictures: doubtful pictures are kept or left out, another state of the LoRA is taken.
import { author, post, toast } from "./api.js";

const box = document.getElementById("evidence");
const gate = document.getElementById("gate").dataset.gate;

async function say(path, body, done) {
  try {
    done(await post(`/gates/${gate}/${path}`, { ...body, author: author() }));
  } catch (problem) {
    toast([problem.message, problem.why, problem.remedy].filter(Boolean).join(" "), { bad: true });
  }
}

box.addEventListener("click", (event) => {
  const keep = event.target.closest("[data-keep]");
  if (keep) {
    const doubt = keep.closest(".doubt");
    say(`doubts/${doubt.dataset.image}`, { keep: keep.dataset.keep === "yes" }, () => {
      for (const button of doubt.querySelectorAll("[data-keep]")) button.setAttribute("aria-pressed", String(button === keep));
      doubt.querySelector("[role=status]").textContent = `said by ${author()}`;
    });
  }
  if (event.target.id === "take-state") {
    const [step, strength] = document.getElementById("state").value.split(" ").map(Number);
    say("state", { step, strength }, () => { document.getElementById("state-said").textContent = `taken by ${author()}`; });
  }
});
