// Pictures of the main pages, for the README: `make screenshots`.
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { Hospital, browser, page, signIn, until } from "./kit.mjs";

const folder = resolve(process.argv[2] ?? join(import.meta.dirname, "../../../docs/img"));
mkdirSync(folder, { recursive: true });
const [hospital, chrome] = await Promise.all([Hospital.start(), browser()]);
const shoot = async (of, name, options = {}) => {
  await of.waitForTimeout(300);
  await of.screenshot({ path: join(folder, `${name}.png`), ...options });
  console.log(`${name}.png`);
};
const everything = process.argv[3] === "all";
try {
  await hospital.limit({ doctor: { rate_per_s: 40, burst: 60 } });
  const open = await hospital.open();
  // A rush that goes on while pictures are taken.
  let going = true;
  let next = 0;
  const rush = Array.from({ length: 8 }, async () => {
    while (going) {
      const one = open[Math.floor(Math.random() ** 2 * 24)];
      next += 1;
      await hospital.book(`p-${next}`, one.session_id, false);
    }
  });
  const variants = everything
    ? ["phone", "desktop"].flatMap((width) => ["zh-CN", "en-GB"].flatMap((locale) => ["light", "dark"].map((colorScheme) => ({ width, locale, colorScheme }))))
    : [{ width: "phone", locale: "zh-CN", colorScheme: "light" }, { width: "desktop", locale: "en-GB", colorScheme: "light" }];
  for (const [index, variant] of variants.entries()) {
    const suffix = everything ? `-${variant.width}-${variant.locale}-${variant.colorScheme}` : "";
    const options = everything ? { fullPage: true } : {};
    const patient = await page(chrome, variant);
    await patient.goto(hospital.url);
    await patient.locator("[data-session]").first().waitFor();
    if (everything || variant.width === "phone") await shoot(patient, `patients-find${suffix}`, options);
    const mine = open.at(-1 - index);
    await patient.goto(`${hospital.url}/#/session/${mine.session_id}`);
    await patient.locator("button.primary").waitFor();
    if (everything) await shoot(patient, `patients-session${suffix}`, options);
    await patient.locator("button.primary").click();
    await patient.locator(".outcome.good").waitFor();
    if (everything || variant.width === "phone") await shoot(patient, `patients-ticket${suffix}`, options);
    if (everything) {
      const { sessions } = (await hospital.json("/v1/sessions?state=scheduled&limit=3")).body;
      await patient.goto(`${hospital.url}/#/session/${sessions[0].session_id}`);
      await patient.locator(".big-number").waitFor();
      await shoot(patient, `patients-release${suffix}`, options);
      await patient.goto(`${hospital.url}/#/tickets`);
      await shoot(patient, `patients-tickets${suffix}`, options);
    }
    await patient.context().close();
    if (!everything && variant.width === "phone") continue;
    const ops = await page(chrome, variant);
    await signIn(ops, `${hospital.url}/ops`, "ops", "amy");
    await until("some seconds of the rush", async () => Number((await ops.locator(".u-over").count()) > 0 && (await ops.locator("tbody tr").count()) > 8), 60_000);
    await ops.waitForTimeout(everything ? 4_000 : 25_000);
    await shoot(ops, `ops-rush${suffix}`, options);
    for (const name of ["sessions", "policy", "breakers"]) {
      if (!everything && name !== "policy") continue;
      await ops.goto(`${hospital.url}/ops#/${name}`);
      await ops.locator("main table, main .card").first().waitFor();
      if (name === "policy") await ops.locator("input[aria-label^=doctor]").first().fill("20");
      await shoot(ops, `ops-${name}${suffix}`, options);
    }
    await ops.context().close();
    const analyst = await page(chrome, variant);
    await signIn(analyst, `${hospital.url}/reports`, "analyst", "ada");
    for (const name of everything ? ["summary", "departments", "doctors", "hours", "minutes", "funnel", "fairness", "sessions", "rejections", "wait_lengths"] : ["departments"]) {
      await analyst.goto(`${hospital.url}/reports#/${name}`);
      await until(name, async () => analyst.evaluate((of) => location.hash === `#/${of}` && document.querySelector("main details pre")?.textContent.includes("SELECT"), name));
      await shoot(analyst, `reports-${name}${suffix}`, options);
    }
    await analyst.context().close();
  }
  going = false;
  await Promise.all(rush);
} finally {
  await chrome.close();
  await hospital.stop();
}
