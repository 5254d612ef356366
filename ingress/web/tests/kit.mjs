// A demo hospital and a browser for the tests of the pages. ORDERLY names the program, else it is looked for where cargo
// puts it; CHROMIUM names the browser.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { chromium } from "playwright-core";

const PATIENCE_MS = 60_000;

/** Where the program is. */
function program() {
  const target = process.env.CARGO_TARGET_DIR ?? resolve(import.meta.dirname, "../../../target");
  const found = [process.env.ORDERLY, join(target, "debug/orderly"), join(target, "release/orderly")].find((path) => path && existsSync(path));
  assert(found, "there is no orderly: build it, or name it with ORDERLY");
  return found;
}

export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((done) => server.once("listening", done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

/** Asks again until the answer is a true one. */
export async function until(what, ask, patience = PATIENCE_MS) {
  const deadline = Date.now() + patience;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    assert(Date.now() < deadline, `never came: ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

/** A demo hospital in a folder of its own. */
export class Hospital {
  static async start(...options) {
    const folder = mkdtempSync(join(tmpdir(), "orderly-web-"));
    const port = await freePort();
    const log = openSync(join(folder, "server.log"), "w");
    const server = spawn(program(), ["serve", "--demo", "--listen", `127.0.0.1:${port}`, "--data", join(folder, "data"), ...options], { stdio: ["ignore", log, log] });
    const hospital = new Hospital();
    Object.assign(hospital, { folder, server, url: `http://127.0.0.1:${port}`, ended: new Promise((done) => server.once("exit", done)) });
    await until("a ready server", async () => {
      assert.equal(server.exitCode, null, readFileSync(join(folder, "server.log"), "utf8"));
      return (await fetch(`${hospital.url}/readyz`).catch(() => null))?.ok;
    });
    await until("sessions", async () => (await hospital.hospital()).days.some((day) => day.remaining > 0));
    return hospital;
  }

  async stop() {
    this.server.kill("SIGTERM");
    await this.ended;
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** An auditor beside it, at that port, until it is killed. */
  audit(port) {
    return spawn(program(), ["audit-run", "--listen", `127.0.0.1:${port}`, "--data", join(this.folder, "data")], { stdio: "ignore" });
  }

  /** Somebody counts a number of the session as free that is held. */
  loseCount(session_id) {
    execFileSync("sqlite3", ["-cmd", ".timeout 20000", join(this.folder, "data/store.sqlite"), `UPDATE sessions SET booked = booked - 1 WHERE session_id = '${session_id}'`]);
  }

  async json(path, init) {
    const answer = await fetch(this.url + path, init);
    const text = await answer.text();
    return { status: answer.status, body: text ? JSON.parse(text) : null };
  }

  async hospital() {
    return (await this.json("/v1/hospital")).body;
  }

  /** Sessions that can be booked now, those of the first day first. */
  async open() {
    const { sessions } = (await this.json("/v1/sessions?state=open&limit=2000")).body;
    return sessions.filter((session) => session.remaining > 0);
  }

  async token(sub, role) {
    const asked = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ sub, role }) };
    return (await this.json("/v1/demo/token", asked)).body.access_token;
  }

  async as(sub, role, method, path, body, headers = {}) {
    const token = await this.token(sub, role);
    return this.json(path, { method, headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json", ...headers }, body: body === undefined ? undefined : JSON.stringify(body) });
  }

  /** Books for somebody, and waits for the outcome when asked to. */
  async book(sub, session_id, wait = true) {
    return this.as(sub, "patient", "POST", "/v1/bookings", { session_id }, { "Idempotency-Key": `${sub}-${session_id}`, ...(wait ? { Prefer: "wait=30" } : {}) });
  }

  /** Sets limits in place of those that are in force. */
  async limit(limits, more = {}) {
    const { status } = await this.as("amy", "ops", "PUT", "/v1/policy", { policy: { limits, ...more }, reason: "a test" });
    assert.equal(status, 200);
  }
}

export async function browser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
}

export const WIDTHS = { phone: { width: 360, height: 740 }, desktop: { width: 1280, height: 900 } };

/** A page of somebody of their own; what goes wrong in it is in `page.faults`. */
export async function page(of, { locale = "en-GB", width = "desktop", colorScheme = "light" } = {}) {
  const context = await of.newContext({ locale, viewport: WIDTHS[width], colorScheme, reducedMotion: "reduce" });
  if (process.env.FRESH) await fresh(context);
  const made = await context.newPage();
  made.faults = [];
  made.setDefaultTimeout(30_000);
  made.on("pageerror", (error) => made.faults.push(String(error)));
  made.on("console", (message) => {
    // What the network did is not the page's fault: tests that cut it or are throttled want that.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) made.faults.push(message.text());
  });
  return made;
}

/** With FRESH=1: the pages that lie in dist/ and plain/, whatever the program holds. For whoever works on them. */
async function fresh(context) {
  const [dist, plain] = ["../dist", "../plain"].map((folder) => resolve(import.meta.dirname, folder));
  const policy = "default-src 'none'; style-src 'self'; script-src 'self'; worker-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
  await context.route(/^http:[^?#]*\/(ops|reports|assets\/[^/]*|docs|docs\/[^/]*)?$/, (route) => {
    const { pathname } = new URL(route.request().url());
    const path = pathname === "/docs" ? join(plain, "docs.html") : pathname.startsWith("/docs/") ? join(plain, pathname.slice(6))
      : join(dist, pathname.startsWith("/assets/") ? pathname : "index.html");
    return route.fulfill({ path, headers: { "Content-Security-Policy": policy, "Content-Type": { js: "text/javascript", css: "text/css", svg: "image/svg+xml" }[path.split(".").pop()] ?? "text/html" } });
  });
}

/** Signs in to a room of the demo. */
export async function signIn(to, url, role, sub) {
  await to.goto(url);
  await to.locator("form.card input").first().fill(sub);
  await to.locator("form.card button").first().click();
  await to.locator("form.card").first().waitFor({ state: "detached" }).catch(() => undefined);
}

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Nothing that WCAG 2.2 AA forbids, nothing wider than the page, and no fault. */
export async function sound(of, what) {
  await of.evaluate(axe);
  const found = await of.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  const told = found.violations.map((one) => `${one.id} (${one.impact}): ${one.help}\n    ${one.nodes.map((node) => `${node.html} ${node.failureSummary}`).join("\n    ")}`);
  assert.deepEqual(told, [], `${what}: accessibility`);
  const [wide, has] = await of.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert(wide <= has, `${what} is ${wide} px wide in a window of ${has} px`);
  assert.deepEqual(of.faults, [], `${what}: the console`);
}
