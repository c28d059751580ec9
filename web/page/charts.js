// The last five minutes of each tunnel, stacked, so that a lost tunnel's part is seen to move to the
// others. Chart.js draws them; the page has the numbers without it too.

import { failoversOf } from "./events.js";
import { attribute, rateText } from "./text.js";
import { chartSpanMs, gapMs } from "./traffic.js";

export const dark = matchMedia("(prefers-color-scheme: dark)");
/// Of the k-th tunnel of a bundle.
export const colour = (k, alpha = 1) => {
  const lightness = dark.matches ? (k % 3 ? 62 : 54) : (k % 3 ? 46 : 38);
  return `hsl(${(212 + k * 137.508) % 360} ${k % 2 ? 60 : 72}% ${lightness}% / ${alpha})`;  // the golden angle apart
};
const themed = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const failoverMarks = {  // where a tunnel left the routes
  id: "failovers",
  afterDatasetsDraw({ ctx, chartArea: area, scales: { x }, data }) {
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = themed("--bad-line");
    ctx.setLineDash([3, 3]);
    for (const event of failoversOf(new Set(data.datasets.map((set) => set.label)))) {
      const at = x.getPixelForValue(Date.parse(event.time));
      if (at < area.left || at > area.right) continue;
      ctx.stroke(new Path2D(`M${at} ${area.top}V${area.bottom}`));
      ctx.fill(new Path2D(`M${at - 4} ${area.top}h8l-4 7z`));
    }
    ctx.restore();
  },
};

function newChart(canvas, tunnels) {
  const area = { fill: "stack", borderWidth: 1.5, pointRadius: 0 };
  const datasets = tunnels.map((tunnel) => ({ label: tunnel.name, data: [], ...area }));
  const x = { type: "linear", ticks: { maxRotation: 0, callback: (value, k, { length }) =>
    k === length - 1 ? "now" : `−${length - 1 - k} min` } };
  x.afterBuildTicks = (axis) => { axis.ticks = [5, 4, 3, 2, 1, 0].map((min) => ({ value: axis.max - min * 60e3 })); };
  const y = { stacked: true, beginAtZero: true, suggestedMax: 1000, ticks: { maxTicksLimit: 5, callback: rateText } };
  const tooltip = {
    animation: false, mode: "index", intersect: false, itemSort: (a, b) => b.raw.y - a.raw.y,
    callbacks: { title: ([item]) => item ? `${new Date(item.raw.x).toISOString().slice(11, 19)} UTC` : "",
      label: (item) => `${item.dataset.label}  ${rateText(item.raw.y)}` },
  };
  return new Chart(canvas, { type: "line", data: { datasets }, plugins: [failoverMarks], options: {
    animation: false, parsing: false, normalized: true, maintainAspectRatio: false, scales: { x, y },
    interaction: { mode: "index", intersect: false }, plugins: { legend: { display: false }, tooltip },
  } });
}

export class Charts {
  #charts = {};
  #keys = [];
  #drawn = null;

  constructor(root, tunnels) {
    for (const canvas of root.querySelectorAll("canvas"))
      if (window.Chart) this.#charts[canvas.dataset.chart] = newChart(canvas, tunnels);
    this.#keys = tunnels.map((tunnel) => {
      const button = document.createElement("button"), swatch = document.createElement("span");
      button.type = "button";
      button.setAttribute("aria-pressed", "false");
      swatch.className = "swatch";
      button.append(swatch, tunnel.name);
      button.addEventListener("click", () => this.#press(button));
      return button;
    });
    root.querySelector(".key").append(...this.#keys);
    this.colour();
  }

  #press(button) {
    attribute(button, "aria-pressed", button.getAttribute("aria-pressed") === "false");
    const pressed = this.#keys.map((key) => key.getAttribute("aria-pressed") === "true");
    for (const chart of Object.values(this.#charts)) {
      pressed.forEach((one, k) => chart.setDatasetVisibility(k, one || !pressed.includes(true)));
      chart.update("none");
    }
  }

  colour() {
    this.#keys.forEach((key, k) => { key.firstChild.style.background = colour(k); });
    for (const chart of Object.values(this.#charts)) {
      chart.data.datasets.forEach((set, k) => {
        set.backgroundColor = colour(k, 0.7);
        set.borderColor = colour(k);
      });
      for (const scale of Object.values(chart.options.scales)) {
        scale.grid = { color: themed("--line"), borderColor: themed("--line") };
        scale.ticks.color = themed("--faint");
      }
      chart.options.font = { family: getComputedStyle(document.body).fontFamily, size: 12 };
      chart.update("none");
    }
  }

  show(bundle, traffic) {
    const time = traffic.get(bundle.tunnels[0].name).points.at(-1).time;
    if (time === this.#drawn) return;  // statuses come with each event too
    this.#drawn = time;
    for (const [direction, chart] of Object.entries(this.#charts)) {
      let most = 0;
      bundle.tunnels.forEach(({ name }, k) => {
        const { points } = traffic.get(name);
        chart.data.datasets[k].data = points.slice(1).map((point, at) => {
          const took = point.time - points[at].time;
          const y = took > gapMs ? NaN : (point[direction] - points[at][direction]) * 8e3 / took;
          most = Math.max(most, y || 0);
          return { x: point.time, y };
        });
      });
      Object.assign(chart.options.scales.x, { min: time - chartSpanMs, max: time });
      if (!document.hidden) chart.update("none");
      attribute(chart.canvas, "aria-label", `${direction === "tx" ? "Sent" : "Received"} by each tunnel in the last ` +
        `5 minutes, stacked; at most ${rateText(most)} by one. The table below has the numbers of now.`);
    }
  }

  close() { for (const chart of Object.values(this.#charts)) chart.destroy(); }
}
