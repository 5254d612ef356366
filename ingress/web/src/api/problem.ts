// What goes wrong between page and server.

/** The server answered, and said no (RFC 9457). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    /** The end of the problem's type, such as "rate-limited". */
    readonly kind: string,
    readonly detail: string,
    readonly members: Record<string, unknown>,
    /** When to ask again, in milliseconds; null when the server did not say. */
    readonly retryAfterMs: number | null,
  ) {
    super(detail);
  }

  /** Whether asking again later may help. */
  get passes(): boolean {
    return this.status === 429 || this.status === 408 || this.status >= 500;
  }

  static async of(answer: Response): Promise<Problem> {
    const body: Record<string, unknown> = await answer.json().catch(() => ({}));
    const type = typeof body["type"] === "string" ? body["type"] : "";
    const seconds = Number(answer.headers.get("Retry-After") ?? Number.NaN);
    const ms = typeof body["retry_after_ms"] === "number" ? body["retry_after_ms"] : seconds * 1000;
    const detail = typeof body["detail"] === "string" ? body["detail"] : `HTTP ${answer.status}`;
    return new Problem(answer.status, type.split("/").pop() ?? "", detail, body, Number.isFinite(ms) ? ms : null);
  }
}

/** Nothing was heard: the network broke, or the server does not answer. */
export class NoAnswer extends Error {}
