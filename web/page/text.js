// Values as words, and words put into elements: always as text, because names and reasons come from
// strangers. Where the words are rounded, data-raw has the value as it came.

const round = (value, maximumFractionDigits) =>
  value.toLocaleString("en", { maximumFractionDigits, useGrouping: false });

function scaled(value, base, units) {
  let unit = 0;
  for (; value >= base && unit + 1 < units.length; ++unit) value /= base;
  return `${round(value, unit === 0 ? 0 : value < 100 ? 1 : 0)} ${units[unit]}`;
}
export const bytesText = (bytes) => scaled(bytes, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
export const rateText = (bits) => scaled(bits, 1000, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"]);
export const rttText = (us) => us > 0 ? `${(us / 1000).toFixed(2)} ms` : "–";
export const percentText = (part) => `${round(part * 100, part < 0.1 ? 1 : 0)} %`;
export const lossText = (percent) => percentText(percent / 100);
export const durationText = (ms) => ms < 1000 ? `in ${ms.toFixed(2)} ms` : `in ${(ms / 1000).toFixed(2)} s`;
export const optional = (value, text = String) => value === undefined || value === null ? "–" : text(value);
export const clock = (time) => time.slice(11, 19);  // of RFC 3339

const tones = { up: "good", degraded: "warning", draining: "warning", drained: "warning", down: "bad" };
export const toneOf = (state) => tones[state] ?? "faint";

export const byId = (id) => document.getElementById(id);
export const cloned = (template) => byId(template).content.firstElementChild.cloneNode(true);

export function set(node, text, raw = text) {
  text = String(text);
  if (node.textContent !== text) node.textContent = text;
  if (String(raw) !== text) attribute(node, "data-raw", raw);
  else node.removeAttribute("data-raw");
}
export function attribute(node, name, value) {
  if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}
export const valueOf = (root, name) => root.querySelector(`[data-value="${name}"]`);
export const show = (root, name, text, raw = text) => set(valueOf(root, name), text, raw);
export function showState(root, name, text, tone = toneOf(text), raw = text) {
  show(root, name, text, raw);
  attribute(valueOf(root, name), "data-tone", tone);
}
export function svg(name, attributes = {}, text = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text) node.textContent = text;
  return node;
}
