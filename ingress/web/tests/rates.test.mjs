// The rates that ops see, from samples that are missing something.
import assert from "node:assert/strict";
import { resolve } from "node:path";
import { before, test } from "node:test";
import { build } from "vite";

let rates, backlog;
before(async () => {
  const entry = resolve(import.meta.dirname, "../src/ops/rates.ts");
  const [{ output }] = await build({ configFile: false, logLevel: "warn", build: { write: false, lib: { entry, formats: ["es"], fileName: "rates" } } });
  ({ rates, backlog } = await import(`data:text/javascript,${encodeURIComponent(output[0].code)}`));
});

const LATENCY = { bounds_s: [], counts: [], count: 0 };

/** What a node says at that second: how far each partition is decided, and what it could not ask. */
function sample(second, offsets, unread = []) {
  const partitions = Object.entries(offsets).map(([partition, next_offset]) => ({ partition: Number(partition), next_offset, lag: 3 }));
  return {
    at: new Date(Date.UTC(2026, 0, 1) + second * 1000).toISOString(),
    pipeline: { partitions, lag: 3 * partitions.length, unread: unread.map((part) => ({ part, cause: "it does not answer in time" })) },
    totals: { bookings: {}, throttled: {}, shed: {}, accept: LATENCY, decision: LATENCY },
  };
}

const decided = (...samples) => rates(samples).decided;

test("what was decided in between is the difference of two samples", () => {
  assert.equal(decided(sample(0, { 0: 1000, 1: 5000 }), sample(2, { 0: 1010, 1: 5030 })), 20);
  assert.equal(rates([sample(0, { 0: 1 }), sample(1, { 0: 2 })]).backlog, 3);
});

test("a log that could not be read for a moment is no leap by all that was ever decided", () => {
  const [well, away, again, later] = [sample(0, { 0: 900_000 }), sample(1, {}, ["log"]), sample(2, { 0: 900_100 }), sample(3, { 0: 900_150 })];
  assert.equal(decided(well, away), null);
  assert.equal(rates([well, away]).backlog, null);
  assert.equal(backlog(away), null);
  assert.equal(decided(away, sample(2, {}, ["log"])), null);
  assert.equal(decided(away, again), null);
  assert.equal(decided(again, later), 50);
});

test("other partitions, or another source of theirs, are not subtracted", () => {
  assert.equal(decided(sample(0, { 0: 10 }), sample(1, { 0: 10, 1: 70_000 })), null);
  assert.equal(decided(sample(0, { 0: 0 }, ["store"]), sample(1, { 0: 70_000 })), null);
  // What the node heard last, while the store is away, is a count too; and so is the backlog.
  assert.equal(decided(sample(0, { 0: 10 }, ["store"]), sample(1, { 0: 15 }, ["store"])), 5);
  assert.equal(backlog(sample(1, { 0: 15 }, ["store"])), 3);
});
