// What analysts do, in a browser, against the real program.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Hospital, browser, page, signIn, sound, until } from "./kit.mjs";

let hospital, chrome, names, folder;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "orderly-names-"));
  const [names_file, config] = [join(folder, "names.toml"), join(folder, "orderly.toml")];
  writeFileSync(names_file, '[cardiology]\nen = "Heart centre"\nzh = "心脏中心"\n');
  writeFileSync(config, `[ingress]\nnames_file = ${JSON.stringify(names_file)}\n`);
  [hospital, chrome] = await Promise.all([Hospital.start("--config", config), browser()]);
  const open = await hospital.open();
  await hospital.limit({});
  const few = open.sort((a, b) => a.remaining - b.remaining)[0];
  const asked = Array.from({ length: few.remaining + 10 }, (_, index) => hospital.book(`p-${index}`, few.session_id));
  asked.push(...open.slice(1, 30).map((session, index) => hospital.book(`q-${index}`, session.session_id)));
  const answers = await Promise.all(asked);
  // Somebody gives a number of the full session back, and somebody else has it at once.
  const giver = answers.findIndex(({ body }) => body.status === "booked");
  await hospital.as(`p-${giver}`, "patient", "DELETE", `/v1/tickets/${answers[giver].body.ticket}`);
  assert.equal((await hospital.book("heir", few.session_id)).body.status, "booked");
  names = (await hospital.as("ada", "analyst", "GET", "/v1/reports")).body.map((report) => report.name);
  await until("the relay", async () => {
    const { body } = await hospital.as("ada", "analyst", "GET", "/v1/reports/summary");
    return body.rows[0][1] >= asked.length;
  });
});
after(async () => {
  await chrome?.close();
  await hospital?.stop();
  if (folder) rmSync(folder, { recursive: true });
});

async function room(options) {
  const analyst = await page(chrome, options);
  await signIn(analyst, `${hospital.url}/reports`, "analyst", "ada");
  return analyst;
}

describe("analysts", () => {
  for (const [locale, width, colorScheme] of [["en-GB", "desktop", "light"], ["zh-CN", "phone", "dark"]]) {
    test(`open each report in ${locale} on a ${width}, ${colorScheme}`, async () => {
      const analyst = await room({ locale, width, colorScheme });
      for (const name of names) {
        await analyst.goto(`${hospital.url}/reports#/${name}`);
        await until(name, async () => analyst.evaluate((of) => location.hash === `#/${of}` && document.querySelector("main details pre")?.textContent.includes("SELECT"), name));
        assert.equal(await analyst.locator("main .note.bad").count(), 0, name);
        assert((await analyst.locator("main table, main .tiles").count()) > 0, `${name} has rows`);
        await sound(analyst, name);
      }
      await analyst.context().close();
    });
  }

  test("drill down from a department to a session, and take the CSV home", async () => {
    const analyst = await room();
    await analyst.goto(`${hospital.url}/reports#/departments`);
    await analyst.locator("tbody button").first().click();
    await analyst.getByRole("heading", { level: 1, name: "By doctor" }).waitFor();
    await analyst.locator("tbody button").first().click();
    await analyst.getByRole("heading", { level: 1, name: "Sessions and their sell-out" }).waitFor();
    await analyst.locator("tbody tr").first().waitFor();
    const downloading = analyst.waitForEvent("download");
    await analyst.getByRole("button", { name: "Download as CSV" }).click();
    const text = await (await downloading).createReadStream().then(async (stream) => (await stream.toArray()).join(""));
    assert(text.startsWith("session_id,"), text.slice(0, 100));
    // The doctor that was chosen, and nobody else.
    const [heads, ...lines] = text.trim().split("\r\n").map((line) => line.split(","));
    const doctors = new Set(lines.map((line) => line[heads.indexOf("doctor_id")]));
    assert.equal(doctors.size, 1, [...doctors].join(" "));
    // A bar is called by its doctor and day, not by an id.
    const session = lines[0][0];
    assert(!(await analyst.locator(".bars li").first().innerText()).includes(session));
    assert.deepEqual(analyst.faults, []);
    await analyst.context().close();
  });

  test("departments are called as the hospital calls them", async () => {
    for (const [locale, name] of [["en-GB", "Heart centre"], ["zh-CN", "心脏中心"]]) {
      const analyst = await room({ locale });
      await analyst.goto(`${hospital.url}/reports#/departments`);
      await analyst.locator("tbody").getByText(name).waitFor();
      await analyst.goto(hospital.url);
      await analyst.locator("select option", { hasText: name }).first().waitFor({ state: "attached" });
      await analyst.context().close();
    }
  });

  test("nobody was overtaken", async () => {
    const analyst = await room();
    await analyst.goto(`${hospital.url}/reports#/fairness`);
    await analyst.getByText("Nobody was overtaken.").waitFor();
    await analyst.context().close();
  });
});
