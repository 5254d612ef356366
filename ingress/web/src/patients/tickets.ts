// The patient's tickets and the bookings that have no answer yet, kept in the browser: closing the page loses nothing.
import { call } from "../api/call";
import { identities } from "../api/identity";
import { Problem } from "../api/problem";
import { now } from "../api/time";
import type { Queued, Session, Ticket } from "../api/types";
import { cell } from "../cell";
import { keep, recall } from "../stored";
import { details, given } from "./details";

export interface Kept {
  ticket: string;
  /** The Idempotency-Key that it was asked for with, in this browser. */
  key?: string;
  session: Session;
  /** When it was booked, in milliseconds since the epoch. */
  at: number;
  /** What was known of it last. */
  last: Ticket;
}

export interface Pending {
  /** The Idempotency-Key: the same for every try, so that the request is taken once at most. */
  key: string;
  session: Session;
  at: number;
  tries: number;
  /** What it waits for. `details`: for the patient's, which ended with a tab. `stopped`: the patient wants no more tries. */
  state: "asking" | "later" | "offline" | "details" | "stopped" | "failed";
  /** When it is tried again, in the server's time: a reload does not make it sooner. */
  againAt: number | null;
  /** Whether a try went out whose outcome is not known: then an appointment may exist, and only this key finds it. */
  unsure?: boolean;
  /** Whether the patient's details go with it. They themselves are not kept here. */
  details?: boolean;
  /** Why it has no ticket yet. */
  problem: { kind: string; status: number; detail: string; limit: string | null } | null;
}

interface Lists { tickets: Kept[]; pending: Pending[] }

/** How many tickets are kept; the oldest go first. */
const KEPT_MAX = 100;
const PAUSES_MS = [1_000, 2_000, 4_000, 8_000, 15_000];

/** Another tab that asks is left alone for so long: then its answer counts as lost. */
const ASKING_MAX_MS = 16_000;

/** A wait is looked at again this often: the server's time becomes known, or another tab has tried meanwhile. */
const LOOK_MS = 500;

/** A stopped booking is forgotten so long after its session's day. */
const STOPPED_KEPT_MS = 2 * 86_400_000;

export const tickets = cell<Kept[]>([]);
export const pending = cell<Pending[]>([]);

const subject = (): string | null => identities.patient.get()?.subject ?? null;
const running = new Set<string>();

const keys = (who: string): { tickets: string; pending: string } => ({ tickets: `orderly.tickets.${who}`, pending: `orderly.pending.${who}` });

function read(): Lists {
  const who = subject();
  if (who === null) return { tickets: [], pending: [] };
  return { tickets: recall<Kept[]>(keys(who).tickets, []), pending: recall<Pending[]>(keys(who).pending, []) };
}

/**
 * Makes one change to what the browser keeps now, which other tabs change too. It does so at once and not under a lock that
 * must be waited for: a key has to be kept before its request goes out.
 */
function edit(change: (kept: Lists) => Partial<Lists>): void {
  const who = subject();
  if (who === null) return;
  const before = read();
  const after = { ...before, ...change(before) };
  if (after.tickets !== before.tickets) keep(keys(who).tickets, after.tickets);
  if (after.pending !== before.pending) keep(keys(who).pending, after.pending);
  tickets.set(after.tickets);
  pending.set(after.pending);
}

/** Reads what is kept for the patient, and goes on with what had no answer. */
export function restore(): void {
  edit((kept) => {
    const due = kept.pending.filter((one) => one.state !== "stopped" || Date.parse(one.session.day) + STOPPED_KEPT_MS > now());
    return due.length < kept.pending.length ? { pending: due } : {};
  });
  adopt();
  // What a page was asking when it was closed has lost its answer.
  for (const one of pending.get()) if (!running.has(one.key) && one.state === "asking") change(one.key, { againAt: null });
  goOn();
}

/** Takes over what another tab wrote. */
function adopt(): void {
  const kept = read();
  tickets.set(kept.tickets);
  pending.set(kept.pending);
}

function goOn(): void {
  for (const one of pending.get()) if (one.state !== "failed" && one.state !== "stopped") void pursue(one.key);
}

const find = (key: string): Pending | undefined => read().pending.find((one) => one.key === key);

function change(key: string, changes: Partial<Pending>): void {
  edit((kept) => ({ pending: kept.pending.map((one) => (one.key === key ? { ...one, ...changes } : one)) }));
}

function drop(key: string): void {
  edit((kept) => ({ pending: kept.pending.filter((one) => one.key !== key) }));
}

/** Tries no more. A booking that may exist stays known: its key is what finds it. Answers whether it does. */
export function stop(key: string): boolean {
  const unsure = find(key)?.unsure ?? false;
  if (unsure) change(key, { state: "stopped", againAt: null });
  else drop(key);
  return unsure;
}

export function learn(ticket: string, last: Ticket): void {
  edit((kept) => ({
    tickets: kept.tickets.map((one) => {
      if (one.ticket !== ticket) return one;
      const session = "session" in last && last.session && "day" in last.session ? last.session : one.session;
      return { ...one, last, session };
    }),
  }));
}

export function forgetTicket(ticket: string): void {
  edit((kept) => ({ tickets: kept.tickets.filter((one) => one.ticket !== ticket) }));
}

/** Begins a booking, or goes on with the one that is under way or may exist. Answers its key. */
export function book(session: Session): string {
  const known = read().pending.find((one) => one.session.session_id === session.session_id && (one.state !== "failed" || one.unsure));
  if (known) {
    if (known.state === "stopped" || known.state === "failed") change(known.key, { state: "asking", againAt: null, problem: null });
    void pursue(known.key);
    return known.key;
  }
  const key = crypto.randomUUID ? crypto.randomUUID() : [...crypto.getRandomValues(new Uint8Array(16))].map((n) => n.toString(16).padStart(2, "0")).join("");
  const begun: Pending = { key, session, at: Date.now(), tries: 0, state: "asking", againAt: null, details: given().patient !== undefined, problem: null };
  edit((kept) => ({ pending: [begun, ...kept.pending.filter((one) => one.session.session_id !== session.session_id)] }));
  void pursue(key);
  return key;
}

/** Goes on without the details that ended with a tab. */
export function withoutDetails(key: string): void {
  change(key, { details: false, state: "asking", againAt: null });
  void pursue(key);
}

/** Asks until there is an answer: at the moment that the server names, or when the connection is back. */
async function pursue(key: string): Promise<void> {
  if (running.has(key)) return;
  running.add(key);
  const who = subject();
  try {
    while (await due(key, who)) {
      const one = find(key)!;
      if (one.details && !given().patient) {
        change(key, { state: "details", againAt: null });
        return;
      }
      change(key, { state: "asking", againAt: now() + ASKING_MAX_MS, tries: one.tries + 1, unsure: true, details: given().patient !== undefined });
      const wait = PAUSES_MS[Math.min(one.tries, PAUSES_MS.length - 1)]!;
      let queued: Queued;
      try {
        queued = await call<Queued>("/v1/bookings", {
          method: "POST", role: "patient", json: { session_id: one.session.session_id, ...given() }, headers: { "Idempotency-Key": key },
        });
      } catch (error) {
        if (subject() !== who) return;
        failed(key, error, wait, one.unsure ?? false);
        continue;
      }
      if (subject() !== who) return;
      edit((kept) => ({
        tickets: [{ ticket: queued.ticket, key, session: one.session, at: Date.now(), last: queued },
          // Another tab may have asked with the same key, and have its answer already: that is the same booking.
          ...kept.tickets.filter((entry) => entry.ticket !== queued.ticket && entry.key !== key)].slice(0, KEPT_MAX),
        pending: kept.pending.filter((entry) => entry.key !== key),
      }));
      return;
    }
  } finally {
    running.delete(key);
  }
}

/** Notes why a try brought no ticket; `unsure` says whether one before it may have. */
function failed(key: string, error: unknown, wait: number, unsure: boolean): void {
  const stopped = find(key)?.state === "stopped";
  if (!(error instanceof Problem)) {
    // Whatever it was, whether the request arrived is not known: it is sent again.
    if (!stopped) change(key, { state: "offline", againAt: now() + wait, problem: null });
    return;
  }
  const { kind, status, detail, members } = error;
  const limit = typeof members["limit"] === "string" ? members["limit"] : null;
  // A server in trouble may have taken it all the same; any other refusal says that it did not.
  const known = { unsure: unsure || status === 408 || status >= 500, problem: { kind, status, detail, limit } };
  if (stopped) {
    if (known.unsure) change(key, known);
    else drop(key);
  } else if (error.passes) change(key, { ...known, state: "later", againAt: now() + (error.retryAfterMs ?? wait) });
  else change(key, { ...known, state: "failed", againAt: null });
}

/** Waits until it is to be tried again, whoever says so. False when it is not: it has an answer, was stopped, or is another patient's. */
async function due(key: string, who: string | null): Promise<boolean> {
  for (;;) {
    if (subject() !== who) return false;
    const one = find(key);
    if (!one || one.state === "failed" || one.state === "stopped") return false;
    const left = one.againAt === null ? 0 : one.againAt - now();
    if (left <= 0) return true;
    // The connection's return ends only the wait for it: a moment that the server named holds.
    if ((await pause(Math.min(left, LOOK_MS))) && find(key)?.state === "offline") return true;
  }
}

/** Waits that long, or until the connection is back; answers whether that was it. */
function pause(ms: number): Promise<boolean> {
  return new Promise((resolve) => {
    const end = (online: boolean): void => {
      clearTimeout(timer);
      window.removeEventListener("online", back);
      resolve(online);
    };
    const back = (): void => end(true);
    const timer = window.setTimeout(() => end(false), ms);
    window.addEventListener("online", back);
  });
}

identities.patient.listen(restore);
details.listen(goOn);
window.addEventListener("storage", ({ key }) => {
  const who = subject();
  if (who === null || (key !== null && key !== keys(who).tickets && key !== keys(who).pending)) return;
  adopt();
  goOn();
});
restore();
