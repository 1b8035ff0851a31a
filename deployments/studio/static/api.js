// The one door to the server: JSON in and out, the CSRF token, the author's name, readable problems.

const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";
const AT = meta("at"); // The path of the host below which the studio lies; mostly none.

export class Problem extends Error {
  constructor(status, body) {
    super(body.what || `The server answered ${status}.`);
    this.status = status;
    this.why = body.why || "";
    this.remedy = body.remedy || "";
  }
  get offline() {
    return this.status === 0 || this.status === 502 || this.status === 504;
  }
}

async function call(method, path, { json, form, signal } = {}) {
  const headers = { "x-csrf-token": meta("csrf-token"), accept: "application/json" };
  if (json !== undefined) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(`${AT}/api/v1${path}`, {
      method, headers, signal, body: json !== undefined ? JSON.stringify(json) : form, credentials: "same-origin",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { what: "The studio does not answer.", remedy: "It may be starting again; nothing is lost." });
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Problem(answer.status, body);
  return body;
}

export const get = (path, options) => call("GET", path, options);
export const post = (path, json) => call("POST", path, { json: json ?? {} });
export const remove = (path) => call("DELETE", path);
export const upload = (path, form) => call("POST", path, { form });
export const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");

// A form that a script sends. Its buttons stay off until then: pressed before, they would load the page again and lose what was typed.
export function onSubmit(form, send) {
  form.addEventListener("submit", (event) => { event.preventDefault(); send(new FormData(form)); });
  for (const button of form.querySelectorAll("[data-waits]")) button.disabled = false;
}

export const page = (path) => `${AT}${path}`;
export const thumbnail = (digest, side = 320) => `${AT}/api/v1/pictures/${digest}/thumbnail/${side}`;
export const file = (digest) => `${AT}/api/v1/pictures/${digest}/file`;

export function author() {
  return localStorage.getItem("flenwheel-author") || meta("default-author") || "reviewer";
}

export function setAuthor(name) {
  localStorage.setItem("flenwheel-author", name.trim().slice(0, 60));
  document.dispatchEvent(new Event("author-changed"));
}

export function toast(text, { bad = false, seconds = 5 } = {}) {
  const box = document.createElement("div");
  box.className = bad ? "toast bad" : "toast";
  box.textContent = text;
  document.getElementById("toasts").append(box);
  setTimeout(() => box.remove(), seconds * 1000);
}

export function showProblem(problem) {
  toast([problem.message, problem.why, problem.remedy].filter(Boolean).join(" "), { bad: true, seconds: 9 });
}

// el("p", {class: "muted", onclick: f}, "text", child): elements without markup in strings.
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}
