// From what was counted since the start to what happens now: differences of samples.
import type { Latency, Sample } from "../api/types";

/** Samples that are kept: ten minutes. */
export const KEPT = 600;

export interface Rates {
  at: number;
  arrivals: number;
  accepted: number;
  throttled: number;
  shed: number;
  /** Null when it cannot be told. */
  decided: number | null;
  backlog: number | null;
  accept: Percentiles;
  decision: Percentiles;
}

export interface Percentiles { p50: number; p95: number; p99: number; count: number }

const sum = (of: Record<string, number>): number => Object.values(of).reduce((all, one) => all + one, 0);
const decided = (sample: Sample): number => sample.pipeline.partitions.reduce((all, one) => all + one.next_offset, 0);
const unread = (sample: Sample): string[] => sample.pipeline.unread.map((one) => one.part);

/** What the totals of a sample are made of. Only those made of the same can be subtracted: else all that was ever decided seems to have happened at once. */
const madeOf = (sample: Sample): string => JSON.stringify([unread(sample).sort(), sample.pipeline.partitions.map((one) => one.partition).sort((a, b) => a - b)]);

/** Records without a decision; null while the log cannot be read, for then none of its partitions is known. */
export function backlog(sample: Sample): number | null {
  return unread(sample).includes("log") ? null : sample.pipeline.lag;
}

/** Percentiles of what came between two samples, in seconds; within a bucket they are taken to lie evenly. */
export function percentiles(before: Latency | undefined, after: Latency): Percentiles {
  const counts = after.counts.map((count, index) => count - (before?.counts[index] ?? 0));
  const total = after.count - (before?.count ?? 0);
  const at = (share: number): number => {
    if (total <= 0) return Number.NaN;
    const rank = share * total;
    let [below, bound] = [0, 0];
    for (let index = 0; index < counts.length; index += 1) {
      const upper = after.bounds_s[index]!;
      const count = counts[index]!;
      if (count >= rank) return count === below ? upper : bound + ((upper - bound) * (rank - below)) / (count - below);
      [below, bound] = [count, upper];
    }
    return bound;
  };
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99), count: total };
}

/** What happened between the last two samples; latencies over the last ten. */
export function rates(samples: Sample[]): Rates | null {
  const after = samples[samples.length - 1];
  const before = samples[samples.length - 2];
  if (!after || !before) return null;
  const seconds = (Date.parse(after.at) - Date.parse(before.at)) / 1000;
  // A node that started anew counts from zero.
  const per = (now: number, then: number): number => (seconds > 0 ? Math.max(0, now - then) / seconds : 0);
  const window = samples[Math.max(0, samples.length - 11)];
  return {
    at: Date.parse(after.at) / 1000,
    arrivals: per(sum(after.totals.bookings), sum(before.totals.bookings)),
    accepted: per(after.totals.bookings["2xx"] ?? 0, before.totals.bookings["2xx"] ?? 0),
    throttled: per(sum(after.totals.throttled), sum(before.totals.throttled)),
    shed: per(sum(after.totals.shed), sum(before.totals.shed)),
    decided: backlog(after) !== null && madeOf(after) === madeOf(before) ? per(decided(after), decided(before)) : null,
    backlog: backlog(after),
    accept: percentiles(window?.totals.accept, after.totals.accept),
    decision: percentiles(window?.totals.decision, after.totals.decision),
  };
}
