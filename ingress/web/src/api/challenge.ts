// Challenges: the server asks for a little work of a booking that looks like a program's (docs/ops/bots.md).
import { cell } from "../cell";
import { NoAnswer, type Problem } from "./problem";

/** Whether work is being done right now. */
export const working = cell(false);

/** More than this nobody solves on a phone. */
const BITS_MAX = 32;

/** The header that answers the challenge in a problem; null when there is none that this page can answer. */
export async function answer(problem: Problem, signal?: AbortSignal): Promise<string | null> {
  const asked = problem.members["challenge"] as { scheme?: string; token?: string; bits?: number } | undefined;
  if (problem.kind !== "challenge-required" || asked?.scheme !== "proof-of-work" || !asked.token || !asked.bits || asked.bits > BITS_MAX) return null;
  const { token, bits } = asked;
  const worker = new Worker(new URL("./solver.ts", import.meta.url), { type: "module" });
  working.set(true);
  try {
    return await new Promise<string>((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<string>) => resolve(data);
      // The solver could not be loaded, or broke: as good as no answer, and worth another try.
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new NoAnswer(event.message || "the solver could not be loaded"));
      };
      signal?.addEventListener("abort", () => reject(signal.reason as Error));
      worker.postMessage({ token, bits });
    });
  } finally {
    worker.terminate();
    working.set(false);
  }
}
