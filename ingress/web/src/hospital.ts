// What sessions can be looked for by: asked when the page is opened, and again now and then.
import { call } from "./api/call";
import type { Hospital } from "./api/types";
import { cell } from "./cell";
import { given } from "./text/names";

export const hospital = cell<Hospital | null>(null);
export const demo = cell(false);

const PAUSE_MS = 3_000;
/** Days pass and sessions are opened while a page stays open. Pages that were opened together ask at different times: this long, up to twice as long. */
const OLD_MS = 5 * 60_000;
/** Whoever goes from app to app and back does not ask each time. */
const FRESH_MS = 60_000;

let asks = 0;
/** By the device's clock: the page's own counter may stand still while the device sleeps. */
let answeredAt = 0;

/** Asks until there is an answer, or somebody else asks anew. */
export async function load(): Promise<void> {
  asks += 1;
  for (const turn = asks; turn === asks;) {
    try {
      const found = await call<Hospital>("/v1/hospital");
      if (turn !== asks) return;
      answeredAt = Date.now();
      // Whoever knows the hospital knows whether it is a demo.
      demo.set(found.demo);
      given.set(found.names);
      hospital.set(found);
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}

/** Asks now, and again for as long as somebody looks at the page. */
export function follow(): void {
  const seen = (): boolean => document.visibilityState === "visible";
  void load();
  document.addEventListener("visibilitychange", () => {
    if (seen() && Math.abs(Date.now() - answeredAt) >= FRESH_MS) void load();
  });
  setInterval(() => {
    if (seen()) void load();
  }, OLD_MS * (1 + Math.random()));
}

/** The zone that the hospital lives by. */
export function zone(): string {
  return hospital.get()?.timezones[0] ?? "UTC";
}
