// What ops do, in a browser, against the real program.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Hospital, browser, freePort, page, signIn, sound, until } from "./kit.mjs";

let hospital, chrome;
before(async () => {
  [hospital, chrome] = await Promise.all([Hospital.start(), browser()]);
});
after(async () => {
  await chrome?.close();
  await hospital?.stop();
});

const heading = (of, name) => of.getByRole("heading", { level: 1, name });

async function room(options) {
  const ops = await page(chrome, options);
  await signIn(ops, `${hospital.url}/ops`, "ops", "amy");
  return ops;
}

describe("ops", () => {
  test("see the rush, tighten a limit, and see it bite", async () => {
    const [one] = await hospital.open();
    const ops = await room();
    await heading(ops, "The rush, live").waitFor();
    await ops.getByText("Live", { exact: true }).waitFor();
    await ops.getByRole("link", { name: "Policy" }).click();
    await ops.getByLabel("doctor: a second").fill("0.5");
    await ops.getByLabel("doctor: burst").fill("2");
    await ops.getByRole("button", { name: "Check and rehearse" }).click();
    await until("a rehearsal", async () => (await ops.getByText("The policy is valid").count()) + (await ops.getByText("Rehearsal:").count()));
    await ops.getByRole("button", { name: "Set it…" }).click();
    await ops.getByLabel("Why, for those who read the history").fill("the portal retries too fast");
    await sound(ops, "the question");
    await ops.getByRole("button", { name: "Put it in force" }).click();
    await ops.getByText("Version 1 is in force.").waitFor();
    await sound(ops, "the policy");
    await ops.getByRole("link", { name: "Rush" }).click();
    const answers = await Promise.all(Array.from({ length: 30 }, (_, index) => hospital.book(`crowd-${index}`, one.session_id, false)));
    assert(answers.filter(({ status }) => status === 429).length >= 20);
    const refused = ops.getByRole("row", { name: /^doctor/ });
    await refused.waitFor();
    await until("the hottest doctor", async () => ops.getByRole("region", { name: "Hottest doctors" }).getByRole("row").nth(1).getByText("/s").count());
    await sound(ops, "the rush");
    // And back.
    await ops.getByRole("link", { name: "Policy" }).click();
    await ops.getByLabel("doctor: a second").fill("");
    await ops.getByRole("button", { name: "Set it…" }).click();
    await ops.getByLabel("Why, for those who read the history").fill("it was the network");
    await ops.getByRole("button", { name: "Put it in force" }).click();
    await ops.getByText("Version 2 is in force.").waitFor();
    await ops.getByRole("button", { name: "Go back to it 1" }).click();
    await ops.getByRole("button", { name: "Put it in force" }).click();
    await ops.getByText("Version 3 is in force.").waitFor();
    await hospital.limit({});
    const audited = await hospital.as("eve", "auditor", "GET", "/v1/audit?from=1&limit=1000");
    const entries = audited.body.entries.filter((entry) => entry.actor === "amy");
    assert(entries.filter((entry) => entry.method === "PUT" && entry.route === "/v1/policy").length >= 3);
    assert(entries.filter((entry) => entry.route.startsWith("/v1/pipeline")).length < 10, "watching does not fill the trail");
    await ops.context().close();
  });

  test("a limit is what was typed, also where the other number is made of it", async () => {
    const ops = await room();
    await ops.goto(`${hospital.url}/ops#/policy`);
    const [rate, burst] = [ops.getByLabel("campus: a second"), ops.getByLabel("campus: burst")];
    await burst.pressSequentially("120");
    await burst.blur();
    await until("the rate", async () => (await rate.inputValue()) === "120");
    await rate.fill("");
    await rate.blur();
    await until("no limit", async () => (await burst.inputValue()) === "");
    await rate.pressSequentially("12.5");
    await rate.blur();
    await until("the burst", async () => (await burst.inputValue()) === "25");
    // Another number in place of one, digit by digit, leaves the other alone.
    await rate.press("ControlOrMeta+a");
    await rate.press("Delete");
    await rate.pressSequentially("40");
    await rate.blur();
    assert.deepEqual([await rate.inputValue(), await burst.inputValue()], ["40", "25"]);
    await ops.context().close();
  });

  test("a policy outlives the token of who writes it, and another that was set meanwhile", async () => {
    const ops = await room();
    await ops.goto(`${hospital.url}/ops#/policy`);
    await ops.getByLabel("campus: a second").fill("77");
    await ops.getByRole("button", { name: "Sign out" }).click();
    await heading(ops, "Sign in").waitFor();
    await ops.locator("form.card button").first().click();
    await until("the draft", async () => (await ops.getByLabel("campus: a second").inputValue()) === "77");
    await hospital.limit({});
    await ops.getByRole("button", { name: "Set it…" }).click();
    await ops.getByLabel("Why, for those who read the history").fill("a storm is coming");
    await ops.getByRole("button", { name: "Put it in force" }).click();
    await ops.getByRole("button", { name: "Load it and look again" }).click();
    await ops.getByText(/You began this with version \d+/).waitFor();
    assert.equal(await ops.getByLabel("campus: a second").inputValue(), "77");
    await sound(ops, "a draft of another version");
    await ops.getByRole("button", { name: "Undo" }).click();
    await ops.getByText("Nothing yet. Change a limit above.").waitFor();
    await ops.context().close();
  });

  test("a rehearsal is shown under the draft that was rehearsed, and no other", async () => {
    const ops = await room();
    await ops.goto(`${hospital.url}/ops#/policy`);
    // The first answer is on its way for as long as the test wants.
    let letGo;
    const held = new Promise((done) => { letGo = done; });
    await ops.route("**/v1/policy/rehearsals", async (route) => {
      await held;
      await route.continue();
    }, { times: 1 });
    const rehearse = ops.getByRole("button", { name: "Check and rehearse" });
    const said = ops.getByText(/The policy is valid|Rehearsal:/);
    await ops.getByLabel("campus: a second").fill("500");
    const asked = ops.waitForRequest("**/v1/policy/rehearsals");
    await rehearse.click();
    const first = await asked;
    await ops.getByLabel("campus: a second").fill("400");
    letGo();
    await (await first.response()).finished();
    assert.equal(await said.count(), 0);
    // The second is shown, and the late first one did not come in its place.
    await rehearse.click();
    await said.waitFor();
    await ops.getByLabel("campus: a second").fill("300");
    await said.waitFor({ state: "detached" });
    await ops.getByRole("button", { name: "Undo" }).click();
    await ops.context().close();
  });

  test("a policy that breaks a rule is told, and not set", async () => {
    const ops = await room();
    await ops.goto(`${hospital.url}/ops#/policy`);
    const [set, check] = [ops.getByRole("button", { name: "Set it…" }), ops.getByRole("button", { name: "Check and rehearse" })];
    await ops.getByLabel("patient: burst").fill("0");
    await ops.getByText("The limit of one patient: the burst must be a whole number, 1 at least.").waitFor();
    assert(await set.isDisabled() && await check.isDisabled());
    // What only the server knows is told by it, and is not set either.
    await ops.getByRole("button", { name: "Undo" }).click();
    const whole = ops.locator("textarea");
    const policy = JSON.parse(await whole.inputValue());
    await whole.fill(JSON.stringify({ ...policy, no_such_rule: 1 }));
    await check.click();
    await ops.getByText("The policy breaks a rule.").waitFor();
    await ops.locator("code", { hasText: "no_such_rule" }).waitFor();
    assert(await set.isDisabled());
    await sound(ops, "a policy that breaks a rule");
    await ops.context().close();
  });

  test("a policy that cannot be read says where, keeps its fields, and is not set", async () => {
    const ops = await room();
    await ops.goto(`${hospital.url}/ops#/policy`);
    const [set, check] = [ops.getByRole("button", { name: "Set it…" }), ops.getByRole("button", { name: "Check and rehearse" })];
    const rate = ops.getByLabel("campus: a second");
    await rate.fill("77");
    const whole = ops.locator("textarea");
    const good = await whole.inputValue();
    const line = good.split("\n").findIndex((one) => one.includes("77")) + 1;
    const cases = [
      [good.replace("77", "seventy"), `Line ${line}: a value is expected, and there is seventy`],
      [good.replace("77,", "77").replace("77\n", "77 !\n"), `Line ${line}: a comma or } is expected, and there is !.`],
      [`${good} }`, `Line ${good.split("\n").length}: nothing more is expected, and there is }.`],
      ["", "Line 1: a value is expected, and there is the end."],
      ["[]", "Line 1: a policy is an object"],
      ['{\n  "limits": 5\n}', "Line 2: “limits” is an object"],
    ];
    for (const [text, told] of cases) {
      await whole.fill(text);
      await ops.getByText(told).waitFor();
      assert.equal(await rate.inputValue(), "77", told);
      assert(await set.isDisabled() && await check.isDisabled(), told);
      assert.equal(await ops.getByText("Nothing yet.").count(), 0, told);
    }
    await sound(ops, "a policy that cannot be read");
    await whole.fill(good);
    await until("a policy that can be set", async () => set.isEnabled());
    await ops.getByRole("button", { name: "Undo" }).click();
    await ops.context().close();
  });

  test("close a session, and its patients see it; resize and open others", async () => {
    const open = await hospital.open();
    const one = open[4];
    const [patient, ops] = [await page(chrome), await room()];
    await patient.goto(`${hospital.url}/#/session/${one.session_id}`);
    await patient.getByRole("button", { name: /^Book/ }).click();
    await heading(patient, "Booked").waitFor();
    await ops.goto(`${hospital.url}/ops#/sessions`);
    await ops.getByLabel("Day").selectOption(one.day);
    const row = ops.locator(`[data-session="${one.session_id}"]`);
    await row.getByRole("button", { name: /Resize/ }).click();
    await ops.getByLabel(/Capacity/).fill(String(one.capacity + 5));
    await ops.getByRole("button", { name: "Change it" }).click();
    await row.getByText(`/ ${one.capacity + 5}`).waitFor();
    await row.getByRole("button", { name: /Close/ }).click();
    await ops.getByLabel(/Cause/).fill("Dr is ill today");
    await sound(ops, "the closing");
    await ops.getByRole("button", { name: "Close the session" }).click();
    await row.getByText("Closed").waitFor();
    await patient.getByText("Dr is ill today").waitFor();
    await ops.getByRole("button", { name: "Open a session" }).click();
    const { days } = await hospital.hospital();
    const next = new Date(Date.parse(days[days.length - 1].day) + 86_400_000).toISOString().slice(0, 10);
    await ops.locator("dialog").getByLabel("Day").fill(next);
    await ops.getByLabel("From", { exact: true }).fill("18:30");
    await ops.getByRole("button", { name: "Open it" }).click();
    await ops.locator("dialog").waitFor({ state: "detached" });
    assert.equal((await hospital.json("/v1/sessions?limit=2000")).body.sessions.filter((session) => session.start === "18:30").length, 1);
    // A day that was not there when the page was opened can be chosen.
    await ops.getByLabel("Day").selectOption(next);
    await ops.getByText("18:30–20:00").waitFor();
    await sound(ops, "the sessions");
    await patient.context().close();
    await ops.context().close();
  });

  test("freeze a session: it takes no bookings until it is thawed", async () => {
    const [one, other] = (await hospital.open()).slice(6);
    const ops = await room();
    await ops.goto(`${hospital.url}/ops#/sessions`);
    await ops.getByLabel("Day").selectOption(one.day);
    const row = ops.locator(`[data-session="${one.session_id}"]`);
    await row.getByRole("button", { name: /^Freeze/ }).click();
    await ops.getByLabel("Why, for those who read the history").fill("two patients, one number");
    await sound(ops, "the question");
    await ops.getByRole("button", { name: "Freeze it" }).click();
    await row.getByText("Frozen").waitFor();
    const refused = await hospital.book("frost-1", one.session_id, false);
    assert.equal(refused.status, 503);
    assert(refused.body.type.endsWith("/session-frozen"));
    assert.equal((await hospital.book("frost-1", other.session_id, false)).status, 202);
    await row.getByRole("button", { name: /^Thaw/ }).click();
    await ops.getByLabel("Why, for those who read the history").fill("it was one patient");
    await ops.getByRole("button", { name: "Thaw it" }).click();
    await until("it is thawed", async () => !(await row.getByText("Frozen").count()));
    assert.equal((await hospital.book("frost-2", one.session_id, false)).status, 202);
    await ops.context().close();
  });

  test("open a breaker and reset it", async () => {
    const ops = await room();
    await ops.goto(`${hospital.url}/ops#/breakers`);
    const card = ops.locator('[data-breaker="analytics"]');
    await card.getByRole("button", { name: "Open", exact: true }).click();
    await ops.getByLabel(/Why/).fill("ClickHouse moves");
    await ops.getByRole("button", { name: "Open it" }).click();
    await card.getByText("open: calls are refused").waitFor();
    await card.getByText("ClickHouse moves").waitFor();
    await sound(ops, "the breakers");
    await card.getByRole("button", { name: "Reset" }).click();
    await ops.getByRole("button", { name: "Reset it" }).click();
    await card.getByText("closed: calls go through").waitFor();
    await ops.context().close();
  });

  for (const [locale, titles] of [["zh-CN", ["放号实时监控", "号源", "限流策略", "熔断器与依赖"]], ["en-GB", ["The rush, live", "Sessions", "Throttle policy", "Breakers and dependencies"]]]) {
    for (const [width, colorScheme] of [["phone", "dark"], ["desktop", "light"]]) {
      test(`all pages in ${locale} on a ${width}, ${colorScheme}`, async () => {
        const ops = await room({ locale, width, colorScheme });
        for (const [index, path] of ["", "sessions", "policy", "breakers"].entries()) {
          await ops.goto(`${hospital.url}/ops#/${path}`);
          await heading(ops, titles[index]).waitFor();
          await until("something to see", async () => ops.locator("main table, main .card").count());
          await sound(ops, titles[index]);
        }
        await ops.context().close();
      });
    }
  }

  test("see what the auditor found", async () => {
    const port = await freePort();
    const folder = mkdtempSync(join(tmpdir(), "orderly-auditor-"));
    const config = join(folder, "orderly.toml");
    writeFileSync(config, `[auditor]\nurl = "http://127.0.0.1:${port}"\n`);
    const audited = await Hospital.start("--config", config);
    const ops = await page(chrome, { width: "phone" });
    let auditor;
    try {
      const [one] = await audited.open();
      assert.equal((await audited.book("ann", one.session_id)).body.status, "booked");
      await signIn(ops, `${audited.url}/ops`, "ops", "amy");
      await ops.getByText("The auditor cannot be asked:").waitFor();
      await sound(ops, "nobody to ask");
      auditor = audited.audit(port);
      const conserved = ops.locator('[data-invariant="conserved"]');
      await conserved.getByRole("cell", { name: "0", exact: true }).waitFor();
      await until("no alarm", async () => (await ops.getByText("The auditor cannot be asked:").count()) === 0);
      await sound(ops, "nothing found");
      audited.loseCount(one.session_id);
      const alarm = ops.getByRole("alert").filter({ hasText: "The auditor found something wrong" });
      await alarm.getByText(one.session_id).waitFor();
      await alarm.getByRole("link", { name: "See what" }).press("Enter");
      await until("the finding in view", () => ops.getByRole("heading", { name: "What the auditor found" }).evaluate((found) => found === document.activeElement));
      await conserved.getByRole("cell", { name: "1", exact: true }).waitFor();
      await sound(ops, "something found");
    } finally {
      auditor?.kill("SIGTERM");
      await ops.context().close();
      await audited.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test("who is no ops is not let in", async () => {
    const nobody = await page(chrome);
    await nobody.goto(`${hospital.url}/ops`);
    await heading(nobody, "Sign in").waitFor();
    await sound(nobody, "the sign-in");
    await nobody.getByText("With a token", { exact: true }).click();
    await nobody.locator("textarea").fill(await hospital.token("ann", "patient"));
    await nobody.getByRole("button", { name: "Use it" }).click();
    await nobody.getByText("This token is not for this room.").waitFor();
    await nobody.context().close();
  });
});
