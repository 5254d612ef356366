// Who is looking: the token, and what it says. It lies in sessionStorage: it ends with the tab, and no other site reads it.
import { cell } from "../cell";
import { known, now } from "./time";
import { forget, keep, recall, session } from "../stored";

export type Role = "patient" | "ops" | "analyst";

export interface Identity {
  token: string;
  subject: string;
  roles: string[];
  /** In milliseconds since the epoch; null when it does not end. */
  expiresAt: number | null;
}

const key = (role: Role): string => `orderly.token.${role}`;

/** Where the tab keeps what a patient told of themselves: by patient, for the next one in this tab is somebody else. */
export const detailsKey = (subject: string): string => `orderly.details.${subject}`;

function read(token: string): Identity | null {
  try {
    const part = token.split(".")[1] ?? "";
    const text = atob(part.replace(/-/g, "+").replace(/_/g, "/"));
    const claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(text, (c) => c.charCodeAt(0)))) as Record<string, unknown>;
    const roles = [claims["role"], claims["roles"]].flat().filter((role): role is string => typeof role === "string");
    if (typeof claims["sub"] !== "string") return null;
    const exp = claims["exp"];
    return { token, subject: claims["sub"], roles, expiresAt: typeof exp === "number" ? exp * 1000 : null };
  } catch {
    return null;
  }
}

function recalled(role: Role): Identity | null {
  return read(recall<string>(key(role), "", session));
}

export const identities: Record<Role, ReturnType<typeof cell<Identity | null>>> = {
  patient: cell(recalled("patient")),
  ops: cell(recalled("ops")),
  analyst: cell(recalled("analyst")),
};

/** Whether the server ended the last sign-in: the page to sign in says so. */
export const ended = cell(false);

/** Takes a token for a room. Answers what is wrong with it, or null. */
export function take(role: Role, token: string): "unreadable" | "expired" | "role" | null {
  const identity = read(token.trim());
  if (!identity) return "unreadable";
  if (known() && identity.expiresAt !== null && identity.expiresAt <= now()) return "expired";
  if (identity.roles.length > 0 && !identity.roles.includes(role)) return "role";
  const before = identities[role].get();
  if (before && before.subject !== identity.subject) leave(role);
  ended.set(false);
  keep(key(role), identity.token, session);
  identities[role].set(identity);
  return null;
}

export function leave(role: Role): void {
  const left = identities[role].get();
  // One token may open several rooms: who leaves one of them leaves them all.
  for (const one of Object.keys(identities) as Role[]) {
    if (one !== role && (!left || identities[one].get()?.token !== left.token)) continue;
    if (one === "patient" && left) forget(detailsKey(left.subject), session);
    forget(key(one), session);
    identities[one].set(null);
  }
}

/** A token from a link, while somebody else is signed in: anybody can send a link, so the page asks first. */
export const offered = cell<{ identity: Identity; instead: string } | null>(null);

/** Takes the token that the identity provider put into the address, and removes it from there at once; now and whenever a link is followed. */
export function takeFromAddress(): void {
  fromAddress();
  window.addEventListener("hashchange", fromAddress);
}

function fromAddress(): void {
  const parameters = new URLSearchParams(location.hash.slice(1));
  const token = parameters.get("access_token");
  if (!token) return;
  history.replaceState(null, "", location.pathname + location.search);
  const identity = read(token.trim());
  if (!identity) return;
  const other = Object.values(identities).map((one) => one.get()).find((one) => one && one.subject !== identity.subject);
  if (other) offered.set({ identity, instead: other.subject });
  else takeEverywhere(identity);
}

/** Signs in to every room that the token opens; nobody else stays signed in to another one. */
export function takeEverywhere(identity: Identity): void {
  for (const role of Object.keys(identities) as Role[]) {
    const before = identities[role].get();
    if (before && before.subject !== identity.subject) leave(role);
    take(role, identity.token);
  }
}

/** The demo's patient, when there was one here. */
export function demoPatientBefore(): string | null {
  return recall<string>("orderly.demo-patient", "") || null;
}

export function rememberDemoPatient(sub: string): void {
  keep("orderly.demo-patient", sub);
}

/** The demo's patient: who was here before, else somebody new. */
export function demoPatient(): string {
  return demoPatientBefore() ?? `patient-${Math.floor(Math.random() * 1e8).toString().padStart(8, "0")}`;
}
