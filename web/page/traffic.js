// What the tunnels carry: rates and shares, from counters.

const shareSpanMs = 10e3, tickMs = 900;  // a tick: a rate, and a point of the charts
export const chartSpanMs = 5 * 60e3;
export const gapMs = 5e3;  // between two statuses: a hole in the charts

/// Of one tunnel. The counters of sessions start anew with them; these only grow.
export class Traffic {
  points = [];  // {time, tx, rx, peers: {peer: tx}}, a tick apart
  #total = { tx: 0, rx: 0, peers: {} };
  #seen = new Map();
  #pid = null;

  add(time, tunnel) {
    const first = this.#pid === null;
    if (tunnel.pid !== this.#pid) this.#seen.clear();
    this.#pid = tunnel.pid;
    const sessions = Object.entries(tunnel.sessions).filter(([, session]) => "tx_bytes" in session);
    if (sessions.length === 0) {  // a sum over sessions: less than before tells nothing
      this.#grow("tx", "sum tx", tunnel.tx_bytes, () => 0, first);
      this.#grow("rx", "sum rx", tunnel.rx_bytes, () => 0, first);
    }
    for (const [peer, session] of sessions) {
      const sent = this.#grow("tx", `tx ${peer}`, session.tx_bytes, (now) => now, first);
      this.#total.peers[peer] = (this.#total.peers[peer] ?? 0) + sent;
      this.#grow("rx", `rx ${peer}`, session.rx_bytes, (now) => now, first);
    }
    const last = this.points.at(-1);
    if (last && time < last.time) this.points = [];  // the clock was set back
    else if (last && time - last.time < tickMs) return;
    this.points.push({ time, ...this.#total, peers: { ...this.#total.peers } });
    while (this.points[0].time < time - chartSpanMs - gapMs) this.points.shift();
  }

  #grow(direction, key, now, afresh, first) {
    const before = this.#seen.get(key);
    const more = first ? 0 : before === undefined || now < before ? afresh(now) : now - before;
    this.#seen.set(key, now);
    this.#total[direction] += more;
    return more;
  }

  /// bit/s in the last tick; null: not known yet.
  rate(direction) {
    const [before, now] = this.points.slice(-2);
    return now ? (now[direction] - before[direction]) * 8e3 / (now.time - before.time) : null;
  }
  /// Bytes sent lately, to one peer or to all.
  sent(peer) {
    const now = this.points.at(-1);
    const before = this.points.find((point) => point.time >= now.time - shareSpanMs);
    return peer === undefined ? now.tx - before.tx : (now.peers[peer] ?? 0) - (before.peers[peer] ?? 0);
  }
}

/// In the routes to this peer, by tunnel.
export const weightsOf = (bundle, peer) => peer.weights ?? Object.fromEntries(
  bundle.tunnels.filter((tunnel) => peer.carrying.includes(tunnel.name)).map((tunnel) => [tunnel.name, tunnel.weight]));

/// The part of what is sent that each tunnel should have: of each peer's traffic by that peer's weights.
export function wantedShares(bundle, traffic) {
  const parts = bundle.peers.map((peer) => {
    const weights = weightsOf(bundle, peer);
    const sum = Object.values(weights).reduce((a, b) => a + b, 0);
    const sent = bundle.tunnels.reduce((bytes, tunnel) => bytes + traffic.get(tunnel.name).sent(peer.name), 0);
    return { weights, sum, sent };
  }).filter((part) => part.sum > 0);
  const all = parts.reduce((bytes, part) => bytes + part.sent, 0);
  return Object.fromEntries(bundle.tunnels.map(({ name }) => [name, parts.reduce((share, part) =>
    share + (part.weights[name] ?? 0) / part.sum * (all > 0 ? part.sent / all : 1 / parts.length), 0)]));
}

/// The file's weight, and what the routes have instead where that differs.
export function weightText(bundle, tunnel) {
  const now = [...new Set(bundle.peers.filter((peer) => peer.carrying.length > 0)
    .map((peer) => weightsOf(bundle, peer)[tunnel.name] ?? 0))];
  const same = now.length === 0 || now.join() === String(tunnel.weight);
  return same ? tunnel.weight : `${tunnel.weight}, now ${now.join(" and ")}`;
}
