// The API's shapes that the pages rely on. /openapi.json has all of them.

export interface Session {
  session_id: string;
  doctor_id: string;
  doctor_name: string;
  department: string;
  campus: string;
  day: string;
  start: string;
  end: string;
  timezone: string;
  capacity: number;
  remaining: number;
  release_at: string;
  state: "scheduled" | "open" | "closed";
}

export interface Hospital {
  demo: boolean;
  now: string;
  timezones: string[];
  campuses: string[];
  departments: string[];
  /** What the hospital calls its departments and campuses, by their ids; not all need be there. */
  names: Record<string, { en: string; zh: string } | undefined>;
  doctors: { doctor_id: string; doctor_name: string; department: string; campus: string }[];
  days: { day: string; sessions: number; remaining: number }[];
}

export interface Queued {
  ticket: string;
  status: "queued";
  session?: Session | { session_id: string };
  position: number;
  eta_ms: number | null;
  rate_per_s: number | null;
  late?: boolean;
}

export interface Decided {
  ticket: string;
  status: "booked" | "rejected" | "cancelled";
  reason?: string;
  cause?: string;
  number?: number;
  session: Session | { session_id: string };
  decided_at: string;
}

export type Ticket = Queued | Decided;

export interface Position {
  position: number;
  eta_ms: number | null;
  rate_per_s: number | null;
}

export interface Breaker {
  name: string;
  state: "closed" | "half_open" | "open";
  held: "automatic" | "open" | "closed";
  cause: string;
  since: string;
  probe_at: string | null;
  calls: number;
  failed_share: number | null;
  mean_ms: number | null;
  opened_total: number;
  refused_total: number;
}

export interface Partition {
  partition: number;
  log_start: number;
  log_end: number;
  next_offset: number;
  published_offset: number;
  lag: number;
  rate_per_s: number | null;
  expected_wait_ms: number | null;
  owner: string | null;
  fence: number;
}

export interface Pipeline {
  pipeline: {
    running: boolean;
    cause: string | null;
    partitions: number[];
    epochs_in_flight: number;
    epochs_in_flight_max: number;
    decided_total: number;
  } | null;
  partitions: Partition[];
  unread: { part: string; cause: string }[];
  breakers: Breaker[];
  undecided: number;
  undecided_max: number;
  wait_max_ms: number;
  lag: number;
  waiters: number;
  streams: number;
  connections: number;
  auditor: Auditor | null;
  following: boolean;
}

export interface Auditor {
  heard_at: string | null;
  cause: string | null;
  report: {
    up: boolean;
    in_flight: number;
    invariants: { invariant: string; unit: string; checked: number; violations: number; rows: string[]; skipped: string | null }[];
    suspects: string[];
    suspects_total: number;
  } | null;
}

export interface Latency {
  bounds_s: number[];
  counts: number[];
  count: number;
}

export interface Sample {
  at: string;
  pipeline: Pipeline;
  totals: {
    bookings: Record<string, number>;
    retries: number;
    throttled: Record<string, number>;
    shed: Record<string, number>;
    accept: Latency;
    decision: Latency;
  };
  hottest: { doctor_id: string; requests_per_s: number; throttled_per_s: number }[];
}

export interface PolicyVersion {
  version: number;
  policy: unknown;
  author: string;
  reason: string;
  set_at: string;
  scheduled?: string[];
}

export interface ReportInfo {
  name: string;
  purpose: string;
}

export interface Report {
  name: string;
  purpose: string;
  from: string;
  to: string;
  columns: string[];
  rows: (string | number | null)[][];
  sql: string;
}
