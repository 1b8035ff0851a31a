// Ends a turn whose run waits, or does not go on any more.
import { author, post, showProblem, toast } from "./api.js";

// The page is drawn anew every few seconds, so the click is caught above it.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("#end-turn");
  if (!button || !confirm("End this turn? What was decided and made is kept; nothing is promoted.")) return;
  button.disabled = true;
  try {
    toast((await post(`/turns/${button.dataset.turn}/end`, { author: author() })).said);
  } catch (problem) {
    showProblem(problem);
    button.disabled = false;
  }
});
