// Every call to the server goes through here: tokens, problems, and what to do when a challenge is asked for.
import { answer as solve } from "./challenge";
import { ended, identities, leave, type Role } from "./identity";
import { NoAnswer, Problem } from "./problem";

export interface Asked {
  method?: string;
  role?: Role;
  json?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** After this long without an answer it counts as lost, in milliseconds. */
  patience?: number;
}

const PATIENCE = 15_000;

/** A challenge that came too late or from elsewhere is asked anew; more often than this it is no use. */
const CHALLENGES_MAX = 3;

/** Asks, and answers with the response when it is a good one. Throws a Problem or NoAnswer. */
export async function ask(path: string, asked: Asked = {}, challenges = CHALLENGES_MAX): Promise<Response> {
  const headers: Record<string, string> = { Accept: "application/json", ...asked.headers };
  if (asked.json !== undefined) headers["Content-Type"] = "application/json";
  const identity = asked.role ? identities[asked.role].get() : null;
  if (identity) headers["Authorization"] = `Bearer ${identity.token}`;
  // One controller for both reasons to end: AbortSignal.any is missing in the browsers of older phones. The timer goes on
  // after the answer's beginning, since its end may be lost too.
  const controller = new AbortController();
  const abort = (): void => controller.abort();
  const timer = setTimeout(abort, asked.patience ?? PATIENCE);
  asked.signal?.addEventListener("abort", abort, { once: true });
  if (asked.signal?.aborted) abort();
  let answer: Response;
  try {
    answer = await fetch(path, {
      method: asked.method ?? "GET",
      headers,
      body: asked.json === undefined ? undefined : JSON.stringify(asked.json),
      signal: controller.signal,
      cache: "no-store",
      credentials: "omit",
    });
  } catch (error) {
    clearTimeout(timer);
    if (asked.signal?.aborted) throw error;
    throw new NoAnswer(String(error));
  }
  if (answer.ok) return answer;
  const problem = await Problem.of(answer);
  if (problem.status === 428 && challenges > 0) {
    const solved = await solve(problem, asked.signal);
    if (solved) return ask(path, { ...asked, headers: { ...asked.headers, "Challenge-Response": solved } }, challenges - 1);
  }
  if (problem.status === 401 && asked.role && identity === identities[asked.role].get()) {
    leave(asked.role);
    ended.set(identity !== null);
  }
  throw problem;
}

/** As `ask`, and reads the JSON. */
export async function call<T>(path: string, asked: Asked = {}): Promise<T> {
  const answer = await ask(path, asked);
  try {
    return (await answer.json()) as T;
  } catch (error) {
    throw new NoAnswer(String(error));
  }
}
