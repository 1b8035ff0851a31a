// Line charts as SVG: every series has its own dash, marker and name at its end, so colour is never needed; the figures are in a table below.
import { el, get } from "./api.js";

const NS = "http://www.w3.org/2000/svg";
const DASHES = ["", "7 4", "2 4"];

function svg(tag, attributes = {}, text = null) {
  const node = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== null) node.textContent = text;
  return node;
}

function ticks(low, high, count = 4) {
  const span = high - low || 1;
  const raw = span / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= raw);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step / 1e6; value += step) found.push(Number(value.toPrecision(10)));
  return found;
}

function marker(kind, x, y) {
  if (kind === 1) return svg("rect", { x: x - 3.5, y: y - 3.5, width: 7, height: 7, class: "f1" });
  if (kind === 2) return svg("path", { d: `M${x} ${y - 4.5}l4.5 8h-9z`, class: "f2" });
  return svg("circle", { cx: x, cy: y, r: 3.5, class: "f0" });
}

// series: [{name, points: [[x, y]], low?: [y], high?: [y]}]
export function lineChart({ title, series, xName, zero = false, format = (v) => String(v), width = 560, height = 230, whole = false }) {
  const all = series.flatMap((s) => [...s.points.map((p) => p[1]), ...(s.low ?? []), ...(s.high ?? [])]).filter(Number.isFinite);
  const xs = series.flatMap((s) => s.points.map((p) => p[0]));
  if (!xs.length) return el("p", { class: "muted" }, `${title}: nothing measured yet.`);
  let [low, high] = [Math.min(...all, ...(zero ? [0] : [])), Math.max(...all)];
  if (low === high) { low -= Math.abs(low) * 0.1 || 0.5; high += Math.abs(high) * 0.1 || 0.5; }
  const pad = (high - low) * 0.06;
  high += pad;
  if (!zero) low -= pad;
  const [left, right, top, bottom] = [52, 96, 24, 34];
  const [first, last] = [Math.min(...xs), Math.max(...xs)];
  const x = (v) => left + (last === first ? 0.5 : (v - first) / (last - first)) * (width - left - right);
  const y = (v) => height - bottom - ((v - low) / (high - low)) * (height - top - bottom);
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": `${title}. The figures are in the table below.` });
  root.append(svg("text", { x: left, y: 14, class: "heading" }, title));
  for (const value of ticks(low, high)) {
    root.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
    root.append(svg("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, format(value)));
  }
  const marks = whole ? [...new Set(xs)].sort((a, b) => a - b) : ticks(first, last, 5);
  for (const value of marks.length > 12 ? ticks(first, last, 6) : marks) root.append(svg("text", { x: x(value), y: height - bottom + 16, "text-anchor": "middle" }, String(value)));
  root.append(svg("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, xName));
  const taken = [];
  series.forEach((line, index) => {
    if (line.low) {
      const up = line.points.map((p, i) => `${x(p[0])},${y(line.high[i])}`);
      const down = line.points.map((p, i) => `${x(p[0])},${y(line.low[i])}`).reverse();
      if (line.points.length > 1) root.append(svg("polygon", { points: [...up, ...down].join(" "), class: `band f${index}` }));
      line.points.forEach((p, i) => root.append(svg("line", { class: `s${index}`, x1: x(p[0]), x2: x(p[0]), y1: y(line.low[i]), y2: y(line.high[i]) })));
    }
    root.append(svg("polyline", { class: `line s${index}`, "stroke-dasharray": DASHES[index % 3], points: line.points.map((p) => `${x(p[0])},${y(p[1])}`).join(" ") }));
    if (line.points.length <= 40) for (const p of line.points) root.append(marker(index, x(p[0]), y(p[1])));
    const end = line.points[line.points.length - 1];
    let at = y(end[1]) + 4;
    while (taken.some((other) => Math.abs(other - at) < 13)) at += 13;
    taken.push(at);
    root.append(svg("text", { x: x(end[0]) + 8, y: at }, line.name));
  });
  const rows = series.flatMap((line) => thin(line.points).map((p) => el("tr", {}, el("td", {}, line.name), el("td", { class: "number" }, String(p[0])), el("td", { class: "number" }, format(p[1])))));
  const table = el("table", {}, el("thead", {}, el("tr", {}, el("th", {}, ""), el("th", { class: "number" }, xName), el("th", { class: "number" }, title))), el("tbody", {}, ...rows));
  return el("div", {}, root, el("details", {}, el("summary", {}, "figures"), table));
}

function thin(points, most = 60) {
  if (points.length <= most) return points;
  const step = Math.ceil(points.length / most);
  return points.filter((_, i) => i % step === 0 || i === points.length - 1);
}

const percent = (v) => `${Math.round(100 * v)} %`;
const fixed = (digits) => (v) => v.toFixed(digits);

const charts = {
  loss: (page) => page.turn.losses.map((curve) => lineChart({ title: `Loss of ${curve.step}${curve.finished ? "" : " (going on)"}`, series: [{ name: "loss", points: curve.points.map((p) => [p.step, p.loss]) }], xName: "step", format: fixed(3) })),
  "lora-loss": (view) => [lineChart({ title: "Loss", series: [{ name: "loss", points: view.losses.map((p) => [p.step, p.loss]) }], xName: "step", format: fixed(3) })],
  study: (study) => {
    const loras = Map.groupBy(study.result.ways.filter((one) => one.way.lora), (one) => one.way.lora);
    const several = [...loras.values()].filter((ways) => ways.length > 1).map((ways) => ways.sort((a, b) => a.way.strength - b.way.strength));
    const line = (ways, pick) => ({ name: several.length > 1 ? ways[0].way.name.split(" at ")[0] : "", points: ways.map((one) => [one.way.strength, pick(one.style)]) });
    const small = { xName: "strength", width: 520, height: 230, whole: true };
    const told = several.every((ways) => ways.every((one) => one.style.content !== null));
    return [el("div", { class: "grid-2" },
      lineChart({ ...small, title: "Distance to the style", zero: true, format: fixed(2), series: several.map((ways) => ({ ...line(ways, (s) => s.distance), low: ways.map((one) => one.style.low), high: ways.map((one) => one.style.high) })) }),
      told ? lineChart({ ...small, title: "Content kept", zero: true, format: percent, series: several.map((ways) => line(ways, (s) => s.content)) }) : el("p", { class: "muted" }, "Content was not told: the recipe names no reader and no CLIP."))];
  },
  turns: (scores) => {
    if (!scores.length) return [el("p", { class: "muted" }, "No turn has ended with a benchmark yet.")];
    const line = (name, pick) => ({ name, points: scores.map((s) => [s.turn, pick(s.scorecard)]) });
    const small = { xName: "turn", width: 380, height: 220, whole: true };
    return [el("div", { class: "charts-3" },
      lineChart({ ...small, title: "First-try pass rate", series: [{ ...line("pass rate", (c) => c.pass_rate), low: scores.map((s) => s.scorecard.pass_rate_low), high: scores.map((s) => s.scorecard.pass_rate_high) }], zero: true, format: percent }),
      scores.every((s) => s.scorecard.style)
        ? lineChart({ ...small, title: "Distance to the style", series: [{ ...line("distance", (c) => c.style.distance), low: scores.map((s) => s.scorecard.style.low), high: scores.map((s) => s.scorecard.style.high) }], zero: true, format: fixed(2) })
        : lineChart({ ...small, title: "Identity, cosine", series: [line("mean", (c) => c.identity), line("5 % quantile", (c) => c.identity_p05)], format: fixed(2) }),
      lineChart({ ...small, title: "Diversity, effective pictures", series: [line("diversity", (c) => c.diversity)], zero: true, format: fixed(1) }))];
  },
};

async function draw(figure) {
  try {
    figure.replaceChildren(...charts[figure.dataset.chart](await get(figure.dataset.url)));
  } catch (problem) {
    figure.replaceChildren(el("p", { class: "muted" }, problem.message));
  }
}

for (const figure of document.querySelectorAll("[data-chart]")) {
  draw(figure);
  if (figure.dataset.every) setInterval(() => { if (!document.hidden && !figure.querySelector("details[open]")) draw(figure); }, Number(figure.dataset.every));
}
