// A bundle's panel: its topology, charts and tables. It lives as long as the bundle has the same tunnels
// and peers.

import { Charts, colour } from "./charts.js";
import { attribute, bytesText, cloned, lossText, optional, percentText, rateText, rttText, show, showState, toneOf,
  valueOf } from "./text.js";
import { Topology } from "./topology.js";
import { Traffic, wantedShares, weightText } from "./traffic.js";

function showSession(row, tunnel, peer, session) {
  show(row, "tunnel", tunnel);
  show(row, "peer", peer);
  show(row, "address", session.address || "–", session.address);
  show(row, "rtt_us", rttText(session.rtt_us), session.rtt_us);
  show(row, "loss_percent", optional(session.loss_percent, lossText), session.loss_percent ?? "");
  for (const key of ["tx_bytes", "rx_bytes", "queued_bytes"])
    show(row, key, optional(session[key], bytesText), session[key] ?? "");
  for (const key of ["retransmits", "cwnd_packets"]) show(row, key, optional(session[key]), session[key] ?? "");
}

export class Bundle {
  static signature = (bundle, node) => JSON.stringify([node, bundle.name, bundle.role,
    bundle.tunnels.map((tunnel) => tunnel.name), bundle.peers.map((peer) => peer.name)]);
  root = cloned("bundle-template");
  #traffic = new Map();
  #tunnels = new Map();
  #peers = new Map();
  #sessions = new Map();

  constructor(bundle, node) {
    this.root.dataset.bundle = bundle.name;
    this.signature = Bundle.signature(bundle, node);
    const title = this.root.querySelector("h2");
    title.id = `bundle-${bundle.name}`;
    this.root.setAttribute("aria-labelledby", title.id);
    show(this.root, "name", bundle.name);
    show(this.root, "role", `this node is the ${bundle.role}`, bundle.role);
    show(this.root, "tunnels", bundle.tunnels.length);
    show(this.root, "self", node);
    const [tunnels, peers] = this.root.querySelectorAll("tbody");
    for (const { name } of bundle.tunnels) {
      this.#traffic.set(name, new Traffic());
      this.#tunnels.set(name, this.#row(tunnels, "tunnel-template", { tunnel: name }));
    }
    for (const { name } of bundle.peers) this.#peers.set(name, this.#row(peers, "peer-template", { peer: name }));
    this.topology = new Topology(this.root.querySelector(".links"), bundle);
    this.charts = new Charts(this.root.querySelector(".charts"), bundle.tunnels);
    this.colour();
  }

  #row(body, template, data) {
    const row = cloned(template);
    Object.assign(row.dataset, data);
    body.append(row);
    return row;
  }

  colour() {
    [...this.#tunnels.values()].forEach((row, k) => { row.querySelector(".swatch").style.background = colour(k); });
    this.charts.colour();
  }

  show(bundle, time) {
    showState(this.root, "state", bundle.state);
    show(this.root, "live", bundle.live);
    for (const tunnel of bundle.tunnels) this.#traffic.get(tunnel.name).add(time, tunnel);
    const all = bundle.tunnels.reduce((bytes, tunnel) => bytes + this.#traffic.get(tunnel.name).sent(), 0);
    const wanted = wantedShares(bundle, this.#traffic);
    for (const tunnel of bundle.tunnels) this.#showTunnel(bundle, tunnel, all, wanted[tunnel.name]);
    for (const direction of ["tx", "rx"]) {
      const rates = bundle.tunnels.map((tunnel) => this.#traffic.get(tunnel.name).rate(direction));
      if (!rates.includes(null)) show(this.root, `${direction}_rate`, rateText(rates.reduce((a, b) => a + b, 0)));
    }
    for (const peer of bundle.peers) this.#showPeer(peer, bundle.tunnels);
    this.#showSessions(bundle);
    this.topology.show(bundle);
    this.charts.show(bundle, this.#traffic);
  }

  #showTunnel(bundle, tunnel, all, wanted) {
    const row = this.#tunnels.get(tunnel.name), traffic = this.#traffic.get(tunnel.name);
    attribute(row, "data-tone", toneOf(tunnel.health));
    for (const key of ["name", "engine", "worker", "restarts", "reason"]) show(row, key, tunnel[key]);
    show(row, "pid", tunnel.pid || "–", tunnel.pid);
    showState(row, "health", tunnel.health);
    show(row, "drain", tunnel.drain);
    valueOf(row, "drain").hidden = tunnel.drain === "no";
    show(row, "rtt_us", rttText(tunnel.rtt_us), tunnel.rtt_us);
    const losses = Object.values(tunnel.sessions).map((session) => session.loss_percent).filter(Number.isFinite);
    const loss = losses.length ? Math.max(...losses) : undefined;  // with several peers: the worst, as the RTT
    show(row, "loss_percent", optional(loss, lossText), loss ?? "");
    for (const direction of ["tx", "rx"]) {
      const rate = traffic.rate(direction), bytes = tunnel[`${direction}_bytes`];
      show(row, `${direction}_rate`, rate === null ? "–" : rateText(rate), rate ?? "");
      show(row, `${direction}_bytes`, bytesText(bytes), bytes);
    }
    const share = all < 1e4 ? null : traffic.sent() / all;  // of next to nothing there are no shares
    show(row, "share", share === null ? "idle" : percentText(share), share ?? "");
    show(row, "wanted", percentText(wanted), wanted);
    show(row, "weight", weightText(bundle, tunnel), tunnel.weight);
    attribute(row.querySelector(".got"), "width", `${100 * (share ?? 0)}%`);
    attribute(row.querySelector(".wanted"), "x", `${99 * wanted}%`);
  }

  #showPeer(peer, tunnels) {
    const row = this.#peers.get(peer.name), live = peer.live_tunnels.length;
    show(row, "name", peer.name);
    showState(row, "state", live === 0 ? "down" : live < tunnels.length ? "degraded" : "up");
    for (const key of ["live_tunnels", "carrying"]) {
      const names = tunnels.map((tunnel) => tunnel.name).filter((name) => peer[key].includes(name));
      show(row, key, names.length === 0 ? "none" : names.length === tunnels.length ? `all ${names.length}` :
        names.join(" "), peer[key].join(" "));
    }
    show(row, "mechanism", peer.mechanism);
  }

  #showSessions(bundle) {
    const there = new Set();
    for (const tunnel of bundle.tunnels)
      for (const [peer, session] of Object.entries(tunnel.sessions)) {
        const key = JSON.stringify([tunnel.name, peer]);
        there.add(key);
        if (!this.#sessions.has(key)) this.#sessions.set(key, this.#row(
          this.root.querySelector(".sessions tbody"), "session-template", { session: tunnel.name, of: peer }));
        showSession(this.#sessions.get(key), tunnel.name, peer, session);
      }
    for (const [key, row] of this.#sessions)
      if (!there.has(key)) {
        row.remove();
        this.#sessions.delete(key);
      }
  }

  close() {
    this.charts.close();
    this.root.remove();
  }
}
