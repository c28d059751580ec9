// The page in Debian's chromium, beside a real node. Run by tests/netns/test_page.py inside the node's
// network namespace, where nothing else can be reached:
//     node page_test.mjs CASE '{"url": …, "tunorch": …, "options": […], "pictures": …}'

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { chromium } from "playwright-core";
import { contrasts, shown } from "./looks.mjs";

const lab = JSON.parse(process.argv[3]);
const status = () => JSON.parse(execFileSync(lab.tunorch, ["status", "--json", ...lab.options]));
const tunnelOf = (name) => status().bundles[0].tunnels.find((tunnel) => tunnel.name === name);
const health = (name) => `tr[data-tunnel="${name}"] [data-value="health"]`;

let browser;
const complaints = [];  // of any page: requests to elsewhere, errors, breaches of the policy

/// A page that keeps what its own stream said last, seen before the page's code sees it.
async function open(options = {}, prepare = async () => {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== new URL(lab.url).origin) complaints.push(`request ${request.url()}`);
  });
  page.on("console", (message) => {
    const expected = page.losesItsServer && message.text().includes("net::ERR_");
    if (["error", "warning"].includes(message.type()) && !expected) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) =>
      console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
    window.EventSource = class extends EventSource {
      constructor(...given) {
        super(...given);
        this.addEventListener("status", (message) => { window.lastStatus = JSON.parse(message.data); });
      }
    };
  });
  await prepare(page);
  await reach(page);
  await page.waitForFunction(() => document.body.dataset.statusTime, null, { timeout: 10000 });
  return page;
}

async function reach(page) {  // the daemon starts its server when it has applied
  for (const end = Date.now() + 10000; ;) {
    try {
      const response = await page.goto(lab.url);
      return assert.match(response.headers()["content-security-policy"], /default-src 'none'/);
    } catch (error) {
      if (!String(error).includes("ERR_CONNECTION_REFUSED") || Date.now() > end) throw error;
      await sleep(100);
    }
  }
}

/// A page whose stream says these messages and then ends, again and again.
function openTold(messages, options = {}) {
  const body = messages.map(([name, data]) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`).join("");
  return open(options, (page) => page.route("**/stream", (route) =>
    route.fulfill({ contentType: "text/event-stream", body })));
}

const becomes = (page, selector, text, timeout) => page.waitForFunction(([selector, text]) =>
  document.querySelector(selector)?.textContent === text, [selector, text], { timeout, polling: 50 });

/// A status in which all is that a page can show, and an event that failed over.
function everything() {
  const bad = { ...status(), problem: "cannot load it", conflicts: ["a device"] };
  bad.certificate = { expires: "2030-01-01T00:00:00Z", warning: "the certificate ends in 3 days" };
  bad.time ??= new Date().toISOString();
  const [bundle] = bad.bundles, [first, second, third] = bundle.tunnels;
  Object.assign(bundle, { state: "degraded" });
  Object.assign(first, { health: "down", reason: "killed" });
  Object.assign(second, { drain: "draining" });
  Object.assign(third, { health: "unknown" });
  bundle.peers[0].live_tunnels = bundle.peers[0].live_tunnels.slice(3);
  const at = { time: bad.time, tunnel: first.name, peer: bundle.peers[0].name };
  return [["status", bad], ["event", { id: 1, event: "tunnel_out", cause: "killed", duration_ms: 1.5, ...at }],
    ["event", { id: 2, event: "tunnel_in", ...at }], ["event", { id: 3, event: "drained", cause: "asked", ...at }]];
}

const changing = ["rtt_us", "tx_bytes", "rx_bytes"];  // from one status to the next
const lasting = ["name", "engine", "worker", "health", "drain", "weight", "pid", "restarts", "reason"];

function checkTunnel(view, tunnel, now) {
  const row = view.tunnels[tunnel.name];
  for (const key of [...changing, ...lasting]) assert.equal(row[key], String(tunnel[key]), `${tunnel.name} ${key}`);
  for (const key of lasting) assert.equal(row[key], String(now[key]), `${tunnel.name} ${key} of tunorch status`);
  assert.ok(Number(row.tx_rate) >= 0 && Number(row.rx_rate) >= 0, `rates: ${row.tx_rate}, ${row.rx_rate}`);
  for (const [peer, session] of Object.entries(tunnel.sessions))
    for (const [key, value] of Object.entries(view.sessions[`${tunnel.name} ${peer}`]))
      if (key in session) assert.equal(value, String(session[key]), `${tunnel.name} ${peer} ${key}`);
}

function checkBundle(view, bundle, now) {
  for (const key of ["state", "role", "live"]) assert.equal(view[key], String(bundle[key]), key);
  bundle.tunnels.forEach((tunnel, k) => checkTunnel(view, tunnel, now.tunnels[k]));
  const wanted = Object.values(view.tunnels).reduce((sum, row) => sum + Number(row.wanted), 0);
  assert.ok(Math.abs(wanted - 1) < 1e-6, `wanted shares: ${wanted}`);
  for (const peer of bundle.peers) {
    const row = view.peers[peer.name];
    for (const key of ["live_tunnels", "carrying"]) assert.equal(row[key], peer[key].join(" "), key);
    assert.equal(row.mechanism, peer.mechanism);
    for (const { name } of bundle.tunnels) assert.ok(view.pictures[peer.name].includes(`${name} up`), name);
  }
}

const drawn = () => [...document.querySelectorAll("canvas")].filter((canvas) =>
  canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some((byte) => byte > 0)).length;
const openDetails = () => document.querySelectorAll("details").forEach((one) => { one.open = true; });
const sideways = () => document.documentElement.scrollWidth - innerWidth;

const cases = {
  async values() {
    const page = await open();
    await sleep(3000);  // rates are known after two statuses
    const { told, seen } = await page.evaluate(shown), now = status();
    for (const key of ["time", "cluster", "node", "version"])
      if (key in told) assert.equal(seen[key], told[key], key);
    assert.equal(seen.certificate, told.certificate.expires);
    assert.equal(seen.overall, told.bundles[0].state);
    told.bundles.forEach((bundle, k) => checkBundle(seen.bundles[bundle.name], bundle, now.bundles[k]));
    assert.equal(await page.evaluate(drawn), 2, "charts");
    const events = execFileSync(lab.tunorch, ["events", "--json", ...lab.options], { encoding: "utf8" });
    assert.equal(await page.locator("#events li").count(), events.trim().split("\n").length);
  },

  async traffic() {
    const page = await open();
    const found = await page.evaluate(async () => {
      const { Traffic, wantedShares } = await import("/traffic.js");
      const session = (tx_bytes) => ({ tx_bytes, rx_bytes: tx_bytes });
      const run = (...seconds) => {
        const traffic = new Traffic();
        return seconds.map(([time, pid, sessions, sum = 0]) => {
          traffic.add(time * 1000, { pid, sessions, tx_bytes: sum, rx_bytes: sum });
          return traffic.rate("tx");
        });
      };
      const bundle = { tunnels: [{ name: "a" }, { name: "b" }],
        peers: [{ name: "x", weights: { a: 3, b: 1 } }, { name: "y", weights: { b: 1 } }] };
      const shares = (a, b) => wantedShares(bundle, new Map([
        ["a", { sent: (peer) => a[peer] }], ["b", { sent: (peer) => b[peer] }]]));
      return {
        sessions: run([0, 1, { x: session(500) }], [1, 1, { x: session(1500) }],
          [2, 1, { x: session(1500), y: session(250) }], [3, 1, { y: session(250) }],
          [4, 2, { x: session(125), y: session(250) }]),
        sums: run([0, 1, {}, 1000], [1, 1, {}, 3000], [2, 1, {}, 500], [3, 1, {}, 1500]),
        often: run([0, 1, {}, 0], [1, 1, {}, 1000], [1.01, 1, {}, 9000], [2, 1, {}, 2000]),
        back: run([100, 1, {}, 0], [101, 1, {}, 1000], [50, 1, {}, 2000], [51, 1, {}, 3000]),
        wanted: shares({ x: 100, y: 0 }, { x: 0, y: 300 }),
        idle: shares({ x: 0, y: 0 }, { x: 0, y: 0 }),
      };
    });
    assert.deepEqual(found, {
      sessions: [null, 8000, 2000, 0, 3000],  // one that ends takes nothing away; a new worker's count anew
      sums: [null, 16000, 0, 8000],
      often: [null, 8000, 8000, 64000],  // a rate is of a second, however often a status comes
      back: [null, 8000, null, 8000],
      wanted: { a: 0.75 * 0.25, b: 0.25 * 0.25 + 0.75 },
      idle: { a: 0.375, b: 0.625 },
    });
  },

  async keyboard() {
    const page = await open();
    await page.waitForSelector("#events li");
    const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent.trim());
    const tabTo = async (what) => {
      for (let k = 0; k < 30; ++k) {
        await page.keyboard.press("Tab");
        const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
        assert.notEqual(outline, "none", `focus is not seen on ${await focused()}`);
        if (await focused() === what) return;
      }
      assert.fail(`Tab does not reach ${what}`);
    };
    await tabTo("backbone-1");
    await page.keyboard.press("Enter");
    assert.equal(await page.locator('.key [aria-pressed="true"]').textContent(), "backbone-1");
    await tabTo("Sessions");
    await page.keyboard.press("Enter");
    assert.ok(await page.locator(".sessions table").isVisible());
    await tabTo("of-tunnel");
    await page.keyboard.type("backbone-2");
    const tunnels = () => page.locator("#events li").evaluateAll((items) =>
      [...new Set(items.map((item) => item.querySelector('[data-value="tunnel"]')?.textContent))]);
    await page.waitForFunction(() => document.getElementById("of-tunnel").value === "backbone-2");
    assert.deepEqual(await tunnels(), ["backbone-2"]);
    await tabTo("only-failovers");
    await page.keyboard.press("Space");
    assert.equal(await page.locator("#events li").count(), 0, "none failed over yet");
  },

  async narrow() {
    for (const width of [390, 320]) {
      const page = await open({ viewport: { width, height: 844 } });
      await page.evaluate(openDetails);
      assert.equal(await page.evaluate(sideways), 0, `scrolls sideways at ${width}`);
    }
  },

  async contrast() {
    for (const colorScheme of ["light", "dark"]) {
      const page = await openTold(everything(), { colorScheme });
      await page.waitForSelector("#events .failover");
      await page.evaluate(openDetails);
      const found = await page.evaluate(contrasts);
      assert.ok(found.length > 80, `only ${found.length} texts`);
      for (const { text, ratio } of found) assert.ok(ratio >= 4.5, `${colorScheme}: '${text}' has ${ratio.toFixed(2)}`);
      const least = found.reduce((one, other) => (one.ratio < other.ratio ? one : other));
      console.log(`${colorScheme}: ${found.length} texts, at least ${least.ratio.toFixed(2)} ('${least.text}')`);
    }
  },

  async strangers() {
    const evil = `<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>"'${"long".repeat(40)}`;
    const messages = everything(), told = messages[0][1], [bundle] = told.bundles;
    told.conflicts = [evil];
    told.problem = undefined;
    bundle.tunnels[0].reason = evil;
    bundle.peers[0].name = evil;
    bundle.tunnels[0].sessions = { [evil]: { address: evil, rtt_us: 1 } };
    messages.push(["event", { id: 9, time: told.time, event: evil, tunnel: evil, peer: evil, cause: evil }]);
    const page = await openTold(messages, { viewport: { width: 390, height: 844 } });
    await page.waitForSelector('#events li[data-id="9"]');
    const text = (selector) => page.locator(selector).first().textContent();
    for (const place of [`tr[data-tunnel="${bundle.tunnels[0].name}"] [data-value="reason"]`, ".peers tbody th",
      ".peer b", ".sessions [data-value=peer]", '#events li[data-id="9"] [data-value=cause]',
      '#events li[data-id="9"] [data-value=event]']) assert.equal(await text(place), evil, place);
    assert.match(await text("#notices"), /<script>/);
    await page.evaluate(openDetails);
    assert.equal(await page.evaluate(sideways), 0, "scrolls sideways");
    assert.equal(await page.locator("body img, body script").count(), 0);
    assert.equal(await page.evaluate(() => window.hacked), undefined);
  },

  async lost() {
    const page = await open();
    page.losesItsServer = true;
    await page.route("**/stream", (route) => route.abort());
    await page.reload();
    await page.waitForSelector('body[data-connection="lost"]');
    const notices = await page.locator("#notices").textContent();
    assert.match(notices, /connection to this page's server is lost. Reconnecting/);
    assert.equal(await page.locator('[data-value="overall"]').getAttribute("data-raw"), "unknown");
    await page.unroute("**/stream");
    await page.waitForSelector('body[data-connection="open"]', { timeout: 10000 });
    assert.ok(await page.locator("#notices").isHidden());
  },

  async failover() {
    const page = await open();
    await becomes(page, health("backbone-1"), "up", 10000);
    await page.waitForSelector("#events li");
    process.kill(tunnelOf("backbone-1").pid, "SIGKILL");
    await becomes(page, health("backbone-1"), "down", 2000);
    const state = page.locator(health("backbone-1"));
    const [red, green] = (await state.evaluate((node) => getComputedStyle(node).color)).match(/\d+/g).map(Number);
    assert.ok(red > green + 80, "red");
    assert.equal(await page.locator('[data-line="backbone-1"]').getAttribute("data-tone"), "bad");
    assert.equal(await page.locator('[data-value="overall"]').getAttribute("data-raw"), "degraded");
    const item = page.locator("#events .failover").first();
    await item.waitFor({ timeout: 2000 });
    assert.match(await item.textContent(), /tunnel_out\s+backbone-1\s+peer gateway\s+in [\d.]+ ms/);
    assert.equal(await page.locator(".axis .out").count(), 1);
    await page.waitForFunction(() => document.getElementById("news").textContent.includes("backbone-1 is down"));
    await becomes(page, health("backbone-1"), "up", 20000);
    await page.waitForSelector("#events .return", { timeout: 5000 });
    assert.equal(await page.locator('tr[data-tunnel="backbone-1"] [data-value="restarts"]').textContent(), "1");
    await page.locator("#only-failovers").check();
    assert.equal(await page.locator("#events li").count(), 2);
  },

  async daemon() {
    const page = await open();
    const before = status();
    process.kill(before.daemon.pid, "SIGKILL");
    await page.waitForSelector('[data-value="daemon"][data-raw="down"]', { timeout: 10000 });
    assert.match(await page.locator("#notices").textContent(), /daemon does not answer since \d\d:\d\d:\d\d UTC/);
    spawn(lab.tunorch, ["daemon", ...lab.options], { detached: true, stdio: "ignore" }).unref();
    await page.waitForSelector('[data-value="daemon"][data-raw="up"]', { timeout: 15000 });
    await becomes(page, `.head [data-value="daemon"]`, `answers, pid ${status().daemon.pid}`, 5000);
    await page.waitForSelector('[data-value="overall"][data-raw="up"]', { timeout: 15000 });
    assert.ok(await page.locator("#notices").isHidden());
    const pids = await page.locator('[data-tunnel] [data-value="pid"]').allTextContents();
    assert.deepEqual(pids, before.bundles[0].tunnels.map((tunnel) => String(tunnel.pid)), "the workers went on");
  },

  async pictures() {
    const wide = await open({ colorScheme: "dark", viewport: { width: 1200, height: 860 } });
    const phone = await open({ colorScheme: "light", viewport: { width: 390, height: 844 } });
    await sleep(lab.seconds * 1000);
    const shot = (page, name) => page.screenshot({ path: `${lab.pictures}/page-${name}.png` });
    await shot(wide, "dark");
    await shot(phone, "phone");
    await wide.emulateMedia({ colorScheme: "light" });
    await sleep(1500);
    await shot(wide, "light");
    process.kill(tunnelOf("backbone-1").pid, "SIGKILL");
    await wide.emulateMedia({ colorScheme: "dark" });
    await becomes(wide, health("backbone-1"), "down", 2000);
    await wide.setViewportSize({ width: 1200, height: 930 });
    await sleep(3500);
    await shot(wide, "failover");
  },
};

try {
  browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--headless=new"] });
  await cases[process.argv[2]]();
  assert.deepEqual(complaints, [], "what the pages asked elsewhere, or complained of");
} finally {
  await browser?.close();
}
