// Server-sent events over fetch, which can send a token. It connects again by itself, and knows how long nothing was heard.
import { ask } from "./call";
import type { Role } from "./identity";
import { Problem } from "./problem";

export interface Heard {
  name: string;
  data: string;
}

export type Line = "connecting" | "live" | "waiting" | "ended";

export interface Stream {
  close(): void;
}

export interface Asked {
  path: string;
  role?: Role;
  onEvent(heard: Heard): void;
  /** The connection's state, and when something was heard last (performance.now). */
  onLine(line: Line, heardAt: number | null): void;
  /** A refusal that asking again does not help: the stream has ended. */
  onRefused?(problem: Problem): void;
}

/** Streams send a comment every 15 seconds; after this long without one the connection is taken for dead. */
const SILENCE_MAX = 35_000;
const PAUSE_MIN = 500;
const PAUSE_MAX = 15_000;

export function open(asked: Asked): Stream {
  let controller = new AbortController();
  let closed = false;
  let heardAt: number | null = null;
  let lastId = "";
  let failures = 0;
  let wake: (() => void) | null = null;
  let watchdog = 0;

  const tell = (line: Line): void => {
    if (!closed) asked.onLine(line, heardAt);
  };
  const heard = (): void => {
    heardAt = performance.now();
    clearTimeout(watchdog);
    watchdog = window.setTimeout(() => controller.abort(), SILENCE_MAX);
  };
  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = window.setTimeout(resolve, ms);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  const online = (): void => wake?.();
  const offline = (): void => controller.abort();
  window.addEventListener("online", online);
  window.addEventListener("offline", offline);

  const block = (text: string): void => {
    let name = "message";
    const data: string[] = [];
    for (const line of text.split("\n")) {
      const at = line.indexOf(":");
      if (at === 0) continue;
      const field = at < 0 ? line : line.slice(0, at);
      const value = at < 0 ? "" : line.slice(at + 1).replace(/^ /, "");
      if (field === "event") name = value;
      else if (field === "data") data.push(value);
      else if (field === "id") lastId = value;
    }
    if (data.length > 0) asked.onEvent({ name, data: data.join("\n") });
  };

  /** One connection. Answers whether to connect again. */
  const once = async (): Promise<boolean> => {
    controller = new AbortController();
    const headers: Record<string, string> = { Accept: "text/event-stream" };
    if (lastId) headers["Last-Event-ID"] = lastId;
    // The patience is for the answer's beginning; how long it stays silent after that is watched here.
    const answer = await ask(asked.path, { role: asked.role, headers, signal: controller.signal, patience: 2 ** 31 - 1 });
    if (answer.status === 204 || !answer.body) return false;
    failures = 0;
    heard();
    tell("live");
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return true;
      heard();
      text += value;
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        block(text.slice(0, end));
        text = text.slice(end + 2);
        if (closed) return false;
      }
      tell("live");
    }
  };

  const run = async (): Promise<void> => {
    while (!closed) {
      let again = PAUSE_MIN;
      try {
        tell("connecting");
        watchdog = window.setTimeout(() => controller.abort(), SILENCE_MAX);
        if (!(await once())) break;
      } catch (error) {
        if (error instanceof Problem) {
          if (!error.passes) {
            if (!closed) asked.onRefused?.(error);
            break;
          }
          again = Math.max(again, error.retryAfterMs ?? 0);
        }
        failures += 1;
        again = Math.max(again, Math.min(PAUSE_MAX, PAUSE_MIN * 2 ** (failures - 1)) * (0.75 + Math.random() / 2));
      }
      clearTimeout(watchdog);
      if (closed) return;
      tell("waiting");
      await pause(again);
    }
    clearTimeout(watchdog);
    tell("ended");
  };
  void run();

  return {
    close: () => {
      closed = true;
      clearTimeout(watchdog);
      window.removeEventListener("online", online);
      window.removeEventListener("offline", offline);
      controller.abort();
      wake?.();
    },
  };
}
