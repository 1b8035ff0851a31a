// Parts of a page that are drawn anew: every so many seconds, or when a choice in a form changes. The server always gives the whole page.
async function redraw(address, id) {
  const answer = await fetch(address, { credentials: "same-origin" }).catch(() => null); // the studio may be starting again
  if (!answer?.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(id);
  if (fresh) document.getElementById(id)?.replaceWith(fresh); // a login page has none
}

const live = document.querySelector("[data-live-seconds]");
if (live) {
  const { id, dataset: { liveSeconds } } = live;
  const again = () => setTimeout(async () => { await redraw(location.href, id); again(); }, 1000 * Number(liveSeconds));
  again();
}

document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-live]");
  if (!form) return;
  const address = `${form.getAttribute("action") ?? location.pathname}?${new URLSearchParams(new FormData(form))}`;
  history.pushState(null, "", address);
  redraw(address, form.dataset.live);
});
addEventListener("popstate", () => location.reload());
