// The server's time. The browser's clock may be wrong by minutes and may jump; only its steady counter is used.
import { call } from "./call";

/** How far a measurement may be off before it is not used, in milliseconds. */
const ROUND_TRIP_MAX = 3_000;

let serverAt: number | null = null;
let counterAt = 0;
let roundTrip = Number.POSITIVE_INFINITY;

/** Now, at the server, in milliseconds since the epoch; the browser's clock until the server was heard. */
export function now(): number {
  return serverAt === null ? Date.now() : serverAt + (performance.now() - counterAt);
}

/** Whether the server's time is known: what a browser's clock says alone ends nothing. */
export function known(): boolean {
  return serverAt !== null;
}

export async function measure(): Promise<void> {
  const before = performance.now();
  const { now: at } = await call<{ now: string }>("/v1/time");
  const after = performance.now();
  const took = after - before;
  // The quickest answer is the best; an old one has drifted.
  const old = after - counterAt > 120_000;
  if (took > ROUND_TRIP_MAX || (!old && took > roundTrip)) return;
  serverAt = Date.parse(at);
  counterAt = before + took / 2;
  roundTrip = took;
}

/** Measures now and then, and when the page is looked at again: a browser that slept has lost count. */
export function follow(): void {
  const quietly = (): void => void measure().catch(() => undefined);
  quietly();
  setInterval(quietly, 60_000);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState !== "visible") return;
    roundTrip = Number.POSITIVE_INFINITY;
    quietly();
  });
}
