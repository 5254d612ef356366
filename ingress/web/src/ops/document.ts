// A policy's document: read, judged as far as a page can, and written always in the same way.
import { t } from "../text/language";
import { fault } from "./json";
import { limitName } from "./limits";

export interface Rate { rate_per_s: number; burst: number }
export type Document = { limits?: Record<string, Rate | undefined>; [key: string]: unknown };

/** A policy that can be judged by the server; else why not. */
export type Read = { policy: Document; wrong: string[] } | { policy: null; wrong: [string] };

/** Always in the same order, so that only what changes differs. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, inside]) => [key, sorted(inside)]));
}

export const write = (policy: unknown): string => JSON.stringify(sorted(policy), null, 2);

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);

/** What is wrong with a text is named with its line; with the numbers of a limit, by the limit. All else the server judges. */
export function read(text: string): Read {
  const found = fault(text);
  if (found) return { policy: null, wrong: [t(`Line ${found.line}: ${found.text}.`, `第 ${found.line} 行：${found.text}。`)] };
  const policy: unknown = JSON.parse(text);
  if (!isRecord(policy)) return { policy: null, wrong: [t("Line 1: a policy is an object, in { … }.", "第 1 行：策略应为 { … } 形式的对象。")] };
  const limits = policy["limits"] ?? {};
  if (!isRecord(limits) || Object.values(limits).some((one) => one !== null && !isRecord(one))) {
    const line = text.slice(0, Math.max(0, text.indexOf('"limits"'))).split("\n").length;
    return { policy: null, wrong: [t(`Line ${line}: “limits” is an object, with one for each limit.`, `第 ${line} 行：“limits” 应为对象，每条规则各为一个对象。`)] };
  }
  const wrong: string[] = [];
  for (const [kind, rate] of Object.entries(limits as Record<string, Partial<Rate> | null>)) {
    if (rate === null) continue;
    if (!(typeof rate.rate_per_s === "number" && rate.rate_per_s > 0)) wrong.push(t(`The limit of ${limitName(kind)}: the rate a second must be above 0.`, `“${limitName(kind)}”规则：每秒速率必须大于 0。`));
    if (!(Number.isInteger(rate.burst) && rate.burst! >= 1)) wrong.push(t(`The limit of ${limitName(kind)}: the burst must be a whole number, 1 at least.`, `“${limitName(kind)}”规则：突发量必须为不小于 1 的整数。`));
  }
  return { policy: policy as Document, wrong };
}
