// What a page shows, read inside of it: its values, and the contrast of its texts.

/// The status that the page was told last, and all that it shows of it: of one moment.
export function shown() {
  const raw = (node) => node?.dataset.raw ?? node?.textContent;
  const values = (root, ...without) => Object.fromEntries([...root.querySelectorAll("[data-value]")]
    .filter((node) => !without.some((inner) => node.closest(inner)))
    .map((node) => [node.dataset.value, raw(node)]));
  const rows = (root, selector, key) => Object.fromEntries([...root.querySelectorAll(selector)].map((row) =>
    [key(row.dataset), values(row)]));
  const head = values(document.querySelector(".head"));
  const bundles = [...document.querySelectorAll("[data-bundle]")].map((root) => [root.dataset.bundle, {
    ...values(root, "table"),
    tunnels: rows(root, "tr[data-tunnel]", (data) => data.tunnel),
    peers: rows(root, "tr[data-peer]", (data) => data.peer),
    sessions: rows(root, "tr[data-session]", (data) => `${data.session} ${data.of}`),
    pictures: Object.fromEntries([...root.querySelectorAll(".link")].map((link) =>
      [link.querySelector("b").textContent, link.querySelector("svg").getAttribute("aria-label")])),
  }]);
  return { told: window.lastStatus, seen: { ...head, time: document.body.dataset.statusTime,
    certificate: head.certificate_expires, bundles: Object.fromEntries(bundles) } };
}

/// Of each visible text against what is behind it: WCAG 2.1, 1.4.3 and its definition of relative luminance.
export function contrasts() {
  const channels = (colour) => {
    const [r, g, b, alpha = 1] = colour.match(/[\d.]+/g).map(Number);
    return { rgb: [r, g, b], alpha };
  };
  const over = (top, ground) => top.rgb.map((value, k) => value * top.alpha + ground[k] * (1 - top.alpha));
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((value) => value / 255)
      .map((value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    if (!node) return [255, 255, 255];
    const own = channels(getComputedStyle(node).backgroundColor);
    return own.alpha === 1 ? own.rgb : over(own, ground(node.parentElement));
  };
  const found = [];
  for (const node of document.body.querySelectorAll("*")) {
    const texts = [...node.childNodes].filter((one) => one.nodeType === Node.TEXT_NODE);
    const text = texts.map((one) => one.data).join("").trim(), style = getComputedStyle(node);
    const seen = node.checkVisibility({ visibilityProperty: true }) && !node.closest(".unseen, noscript");
    if (!text || !seen) continue;
    if (style.opacity !== "1") throw new Error(`'${text}' is translucent: its contrast is not known`);
    const behind = ground(node), colour = node instanceof SVGElement ? style.fill : style.color;
    const [dim, bright] = [luminance(behind), luminance(over(channels(colour), behind))].sort((a, b) => a - b);
    found.push({ text, ratio: (bright + 0.05) / (dim + 0.05) });
  }
  return found;
}
