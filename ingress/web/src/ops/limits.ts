// What a limit of the throttle policy is counted of, in words.
import { t } from "../text/language";

/** The limits that a policy can set, the widest first. */
export const KINDS: [string, () => string][] = [
  ["global", () => t("everything together", "全局")], ["campus", () => t("one campus", "单个院区")], ["department", () => t("one department", "单个科室")],
  ["doctor", () => t("one doctor", "单个医生")], ["client", () => t("one API client", "单个接入应用")], ["address", () => t("one address", "单个地址")], ["patient", () => t("one patient", "单个患者")],
];

/** A limit in words; one that has no name here is called as the API calls it. */
export function limitName(kind: string): string {
  return KINDS.find(([one]) => one === kind)?.[1]() ?? kind;
}
