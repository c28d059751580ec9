// The page of one node: what /stream says, shown. It asks for nothing else and changes nothing.

import { Bundle } from "./bundle.js";
import { dark } from "./charts.js";
import * as events from "./events.js";
import { byId, clock, show, showState, toneOf } from "./text.js";
import { gapMs } from "./traffic.js";

const reconnectMs = 2000, newsMs = 4000;

let status = null;
let daemon = { up: true };
let connection = "connecting";  // open, lost
let heardMs = 0;                // when the server last said something; of the monotonic clock
const bundles = new Map();

// The head and the notices

const nodeOf = () => status.node || "this node";
const since = () => (status ? ` What is shown is of ${clock(status.time)} UTC.` : "");

/// The worst of all, in a word, and the words around it.
function overall() {
  if (connection === "lost") return ["unknown", "unknown: no connection to this page's server"];
  if (!daemon.up) return ["down", "the daemon does not answer"];
  if (!status) return ["unknown", "no status yet"];
  if (status.problem) return ["down", "what was applied is not in force"];
  if (!status.cluster) return ["nothing", "nothing is applied"];
  const states = status.bundles.map((bundle) => bundle.state);
  const worst = ["down", "degraded"].find((state) => states.includes(state)) ?? "up";
  const live = status.bundles.reduce((sum, bundle) => sum + bundle.live, 0);
  const tunnels = status.bundles.reduce((sum, bundle) => sum + bundle.tunnels.length, 0);
  return [worst, `${worst}, ${live} of ${tunnels} tunnels live`];
}

function daemonWords() {
  if (connection === "lost" || (daemon.up && !status)) return ["unknown", "–"];
  return daemon.up ? ["up", `answers, pid ${status.daemon.pid}`] : ["down", "does not answer"];
}

function notices() {
  const all = [];
  if (connection === "lost") {
    all.push(["bad", `The connection to this page's server is lost. Reconnecting.${since()}`]);
  } else if (!daemon.up) all.push(["bad", `The daemon does not answer since ${clock(daemon.since)} UTC. ` +
    `Its tunnels go on without it.${since()}`]);
  if (status?.problem) all.push(["bad", status.problem]);
  if (status && !status.problem && !status.cluster) all.push(["faint", "Nothing is applied on this node."]);
  for (const conflict of status?.conflicts ?? []) all.push(["bad", `in the way: ${conflict}`]);
  if (status?.certificate?.warning) all.push(["warning", status.certificate.warning]);
  return all;
}

function showNotices() {
  const root = byId("notices"), all = notices(), key = JSON.stringify(all);
  if (root.dataset.key === key) return;
  root.dataset.key = key;
  root.hidden = all.length === 0;
  root.firstElementChild.replaceChildren(...all.map(([tone, text]) => {
    const item = document.createElement("li");
    item.className = "notice";
    item.dataset.tone = tone;
    item.textContent = text;
    return item;
  }));
}

function showOptional(head, name, text, raw = text) {
  head.querySelector(`[data-show="${name}"]`).hidden = !text;
  show(head, name, text ?? "", raw ?? "");
}

function showHead() {
  const head = document.querySelector(".head"), [state, words] = overall();
  document.body.dataset.connection = connection;
  document.body.classList.toggle("stale", connection === "lost" || !daemon.up);
  showState(head, "overall", words, toneOf(state), state);
  document.title = `${state} · ${status?.node || "tunorch"}`;
  const [there, how] = daemonWords();
  showState(head, "daemon", how, toneOf(there), there);
  showNotices();
  if (!status) return;
  show(head, "node", status.node || "tunorch", status.node);
  show(head, "time", `${clock(status.time)} UTC`, status.time);
  showOptional(head, "cluster", status.cluster);
  showOptional(head, "version", status.version);
  showOptional(head, "certificate_expires", status.certificate?.expires.slice(0, 10), status.certificate?.expires);
}

// What changed, for those who do not see it: one sentence at a time, with the last of each thing only.

const told = new Map(), untold = new Map();
let newsTimer = null;

function tell(thing, state, words) {
  if (told.get(thing) === state) untold.delete(thing);
  else if (!told.has(thing)) told.set(thing, state);  // the first state is no change
  else untold.set(thing, [state, words]);
  if (untold.size > 0 && !newsTimer) newsTimer = setTimeout(speak, newsMs / 4);
}

function speak() {
  newsTimer = null;
  if (untold.size === 0) return;
  const words = [...untold.values()].map((one) => one[1]);
  byId("news").textContent = words.slice(0, 4).join(". ") + (words.length > 4 ? `, and ${words.length - 4} more` : "");
  for (const [thing, [state]] of untold) told.set(thing, state);
  untold.clear();
  newsTimer = setTimeout(speak, newsMs);
}

function tellAll() {
  const [state, words] = overall();
  if (!status) return;
  tell("overall", state, `${nodeOf()}: ${words}`);
  for (const bundle of status.bundles)
    for (const { name, health } of bundle.tunnels) tell(`tunnel ${name}`, health, `${name} is ${health}`);
}

// The stream

function showBundles() {
  const time = Date.parse(status.time), there = new Set();
  for (const bundle of status.bundles) {
    there.add(bundle.name);
    if (bundles.get(bundle.name)?.signature !== Bundle.signature(bundle, nodeOf())) {
      bundles.get(bundle.name)?.close();
      bundles.set(bundle.name, new Bundle(bundle, nodeOf()));
      byId("bundles").append(bundles.get(bundle.name).root);
      events.offer(bundle.tunnels.map((tunnel) => tunnel.name));
    }
    bundles.get(bundle.name).show(bundle, time);
  }
  for (const [name, bundle] of bundles)
    if (!there.has(name)) {
      bundle.close();
      bundles.delete(name);
    }
  events.showAxis(time);
}

function onStatus(now) {
  status = { bundles: [], time: new Date().toISOString(), ...now };
  daemon = { up: true };
  showHead();
  showBundles();
  tellAll();
  document.body.dataset.statusTime = status.time;
}

function onConnection(now) {
  connection = now;
  showHead();
  tellAll();
}

function connect() {
  const source = new EventSource("stream");
  heardMs = performance.now();
  const on = (name, act) => source.addEventListener(name, (message) => {
    heardMs = performance.now();
    if (connection !== "open") onConnection("open");
    act(JSON.parse(message.data));
  });
  on("status", onStatus);
  on("event", events.add);
  on("daemon", (now) => {
    daemon = now;
    showHead();
    tellAll();
  });
  const again = () => {
    source.close();
    clearInterval(watch);
    onConnection("lost");
    setTimeout(connect, reconnectMs);
  };
  source.addEventListener("error", again);
  // A server that hangs, or a path that swallows all, ends no connection.
  const watch = setInterval(() => { if (daemon.up && performance.now() - heardMs > gapMs) again(); }, 1000);
}

dark.addEventListener("change", () => { for (const bundle of bundles.values()) bundle.colour(); });
events.start();
connect();
