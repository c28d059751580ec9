// The event timeline: a list, newest first, an axis with the failovers on it, and what filters both.

import { attribute, byId, clock, cloned, durationText, set, show, svg, valueOf } from "./text.js";

const kept = 2000, aPage = 200;
const minutes = 60e3, hours = 60 * minutes;
const spans = [[5 * minutes, "5 min"], [15 * minutes, "15 min"], [hours, "1 h"], [6 * hours, "6 h"],
  [24 * hours, "24 h"], [7 * 24 * hours, "7 d"]];

const known = new Set();  // a daemon counts its events from 1, so time and id tell them apart
const left = new Set();   // tunnels that failed over and are not back
const all = [];           // {key, event, kind, item}, oldest first
let listed = aPage, due = false, now = Date.now();

/// failover: traffic had to leave a tunnel, unasked. return: it is back after one.
function kindOf(event) {
  if (event.event === "tunnel_out" && !(event.cause ?? "").startsWith("drained")) {
    left.add(event.tunnel);
    return "failover";
  }
  if (event.event === "tunnel_in" && left.delete(event.tunnel)) return "return";
  return "";
}

function itemOf(event, kind) {
  const item = cloned("event-template"), time = item.querySelector("time");
  item.dataset.event = event.event;
  item.dataset.id = event.id;
  if (kind) item.className = kind;
  time.dateTime = event.time;
  set(time, event.time.slice(5, 23).replace("T", " "), event.time);
  show(item, "event", event.event);
  for (const key of ["tunnel", "cause"]) show(item, key, event[key] ?? "");
  show(item, "peer", event.peer ? `peer ${event.peer}` : "", event.peer ?? "");
  const took = event.duration_ms;
  show(item, "duration_ms", took === undefined ? "" : durationText(took), took ?? "");
  for (const part of item.querySelectorAll(":scope > :empty")) part.remove();
  return item;
}

export function add(event) {
  const key = `${event.time} ${event.id}`;
  if (known.has(key)) return;
  known.add(key);
  const kind = kindOf(event);
  all.push({ key, event, kind, item: itemOf(event, kind) });
  if (event.tunnel) offer([event.tunnel]);
  if (all.length > kept) known.delete(all.shift().key);
  if (!due) requestAnimationFrame(list);  // a thousand come at once
  due = true;
}

/// Tunnels that the filter knows, in their order.
export function offer(names) {
  const filter = byId("of-tunnel"), offered = [...filter.options].map((option) => option.value);
  for (const name of names) {
    if (offered.includes(name)) continue;
    offered.push(name);
    const after = [...filter.options].find((option) => option.value.localeCompare(name, "en", { numeric: true }) > 0);
    filter.add(new Option(name, name), after);
  }
}

export function failoversOf(tunnels) {
  return all.filter(({ event, kind }) => kind === "failover" && tunnels.has(event.tunnel)).map(({ event }) => event);
}

function chosen() {
  const tunnel = byId("of-tunnel").value, only = byId("only-failovers").checked;
  return all.filter(({ event, kind }) => (!tunnel || event.tunnel === tunnel) && (!only || kind));
}

function list() {
  due = false;
  const matching = chosen(), root = byId("events");
  root.querySelector("ol").replaceChildren(...matching.slice(-listed).reverse().map(({ item }) => item));
  byId("older").hidden = matching.length <= listed;
  show(root, "event_count", matching.length === all.length ? `${all.length}, newest first` :
    `${matching.length} of ${all.length}, newest first`, matching.length);
  showAxis(now);
}

function mark({ event, kind }, x) {
  const out = kind === "failover", at = svg("svg", { x: `${x}%`, y: out ? 2 : 14, overflow: "visible" });
  const shape = svg("path", { d: out ? "M-6 0h12l-6 10z" : "M-6 10h12l-6 -10z", class: out ? "out" : "in" });
  shape.append(svg("title", {}, `${clock(event.time)} ${event.tunnel} ${kind}: ${event.cause ?? ""}`));
  at.append(shape);
  return at;
}

/// The shortest span that has the oldest failover of those chosen, up to `time` (ms).
export function showAxis(time) {
  now = time;
  const root = byId("events"), picture = root.querySelector(".axis svg");
  const marks = chosen().filter(({ kind }) => kind);
  const age = marks.length ? time - Date.parse(marks[0].event.time) : 0;
  const [span, words] = spans.find(([ms]) => ms >= age) ?? spans.at(-1);
  const within = marks.map((one) => ({ ...one, x: 100 - (time - Date.parse(one.event.time)) / span * 100 }))
    .filter(({ x }) => x >= 0);
  const ticks = [0, 25, 50, 75, 100].flatMap((x) => [
    svg("line", { x1: `${x}%`, x2: `${x}%`, y1: 26, y2: 31 }),
    svg("text", { x: `${x}%`, y: 43, "text-anchor": x === 0 ? "start" : x === 100 ? "end" : "middle" },
      x === 100 ? "now" : clock(new Date(time - span * (1 - x / 100)).toISOString()).slice(0, span < hours ? 8 : 5)),
  ]);
  picture.replaceChildren(svg("line", { x1: "0", x2: "100%", y1: 26, y2: 26 }), ...ticks,
    ...within.map((one) => mark(one, Math.min(one.x, 100))));
  const count = (kind) => within.filter((one) => one.kind === kind).length;
  const last = within.findLast((one) => one.kind === "failover");
  show(root, "axis_span", `last ${words}`);
  attribute(picture, "aria-label", `In the last ${words}: failovers ${count("failover")}, returns ${count("return")}` +
    (last ? `; the last failover at ${clock(last.event.time)}, ${last.event.tunnel}` : ""));
}

export function start() {
  for (const filter of [byId("of-tunnel"), byId("only-failovers")])
    filter.addEventListener("change", () => { listed = aPage; list(); });
  byId("older").addEventListener("click", () => { listed += aPage; list(); });
  valueOf(byId("events"), "event_count").textContent = "";
  list();
}
