// How fresh what is shown is: said, whatever the connection does.
import { useEffect, useState } from "preact/hooks";
import { useTick } from "../cell";
import { open, type Heard, type Line } from "../api/stream";
import type { Role } from "../api/identity";
import type { Problem } from "../api/problem";
import { duration } from "../text/format";
import { t } from "../text/language";

export interface Freshness {
  line: Line;
  /** As performance.now(). */
  heardAt: number | null;
}

/** Follows a stream for as long as the component is there. */
export function useStream(path: string | null, role: Role | undefined, onEvent: (heard: Heard) => void, onRefused?: (problem: Problem) => void): Freshness {
  const [freshness, setFreshness] = useState<Freshness>({ line: "connecting", heardAt: null });
  useEffect(() => {
    if (path === null) return;
    setFreshness((before) => ({ line: "connecting", heardAt: before.heardAt }));
    const stream = open({
      path, role, onEvent,
      onRefused,
      onLine: (line, heardAt) => setFreshness((before) => (before.line === line && line !== "live" ? before : { line, heardAt: heardAt ?? before.heardAt })),
    });
    return () => stream.close();
  }, [path, role]);
  return freshness;
}

/** A silent stream of this age is still a live one: the server says every 15 seconds that it is there. */
const FRESH_MS = 20_000;

export function Fresh({ of }: { of: Freshness }): preact.JSX.Element {
  useTick(1000);
  const age = of.heardAt === null ? null : performance.now() - of.heardAt;
  if (of.line === "live" && age !== null && age < FRESH_MS) {
    return <span class="badge good" role="status"><i class="dot pulse" />{t("Live", "实时更新")}</span>;
  }
  if (age === null) return <span class="badge" role="status"><i class="dot pulse" />{t("Connecting…", "正在连接…")}</span>;
  return (
    <span class="badge warn" role="status">
      <i class="dot" />
      <span>{t("Connection lost · shown as of ", "连接中断 · 以下为")}<span aria-hidden="true">{age < 1000 ? t("just now", "刚才的情况") : t(`${duration(age)} ago`, `${duration(age)}前的情况`)}</span></span>
    </span>
  );
}
