// What every page has: the reviewer's name, and dropping a picture anywhere to find its record.
import { author, page, setAuthor, showProblem, toast, upload } from "./api.js";

const name = document.getElementById("author-name");
const dialog = document.getElementById("author-dialog");
const input = document.getElementById("author-input");
const show = () => { name.textContent = author(); };

show();
document.addEventListener("author-changed", show);
document.getElementById("author-button").addEventListener("click", () => {
  input.value = author();
  dialog.showModal();
  input.select();
});
dialog.addEventListener("close", () => {
  if (dialog.returnValue === "ok" && input.value.trim()) setAuthor(input.value);
});

for (const button of document.querySelectorAll("dialog [data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close("cancel"));
}

// Pages that take dropped pictures themselves stop the event before it gets here.
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", async (event) => {
  event.preventDefault();
  const file = event.dataTransfer?.files?.[0];
  if (!file || !file.type.startsWith("image/")) return;
  const form = new FormData();
  form.append("file", file);
  try {
    const found = await upload("/lineage", form);
    toast(`${file.name}: ${found.title}`);
    location.assign(page(`/pictures/${found.digest}`));
  } catch (problem) {
    showProblem(problem);
  }
});
