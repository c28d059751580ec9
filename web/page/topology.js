// This node, a peer in each row, and the tunnels between as lines: coloured by state, thick by weight.

import { attribute, set, svg, toneOf } from "./text.js";
import { weightsOf } from "./traffic.js";

function pathState(tunnel, peer) {
  if (tunnel.drain !== "no") return tunnel.drain;
  if (!peer.live_tunnels.includes(tunnel.name)) return tunnel.health === "unknown" ? "unknown" : "down";
  return peer.carrying.includes(tunnel.name) ? "up" : "standby";
}

export class Topology {
  #rows = new Map();

  constructor(root, bundle) {
    const apart = bundle.tunnels.length <= 4 ? 24 : 17;
    for (const peer of bundle.peers) {
      const row = document.createElement("div"), box = document.createElement("div");
      row.className = "link";
      box.className = "peer";
      box.append(document.createElement("b"), document.createElement("span"));
      box.lastChild.className = "faint";
      const picture = svg("svg", { role: "img", height: bundle.tunnels.length * apart + 8 });
      const lines = bundle.tunnels.map((tunnel, k) => {
        const y = (k + 0.5) * apart + 4, group = svg("g", { "data-line": tunnel.name, "data-peer": peer.name });
        group.append(svg("line", { x1: "0", x2: "100%", y1: y, y2: y }), svg("text", { x: "50%", y }));
        picture.append(group);
        return group;
      });
      row.append(picture, box);
      root.append(row);
      this.#rows.set(peer.name, { picture, lines, box });
    }
  }

  show(bundle) {
    for (const peer of bundle.peers) {
      const { picture, lines, box } = this.#rows.get(peer.name);
      const weights = weightsOf(bundle, peer), most = Math.max(1, ...Object.values(weights));
      const words = bundle.tunnels.map((tunnel, k) => {
        const state = pathState(tunnel, peer), weight = weights[tunnel.name] ?? 0, [line, text] = lines[k].children;
        attribute(lines[k], "data-tone", toneOf(state));
        attribute(line, "stroke-width", state === "up" ? 2 + 6 * weight / most : 2);
        set(text, state === "up" ? `${tunnel.name} ×${weight}` : `${tunnel.name} ${state}`);
        return `${tunnel.name} ${state}` + (state === "up" ? `, weight ${weight}` : "");
      });
      attribute(picture, "aria-label", `Tunnels to ${peer.name}: ${words.join("; ")}`);
      set(box.firstChild, peer.name);
      set(box.lastChild, peer.live_tunnels.length === 0 ? "not there" : `${peer.live_tunnels.length} live`);
    }
  }
}
