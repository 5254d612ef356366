// The ops' room.
import { useRef, useState } from "preact/hooks";
import type { Sample } from "../api/types";
import { useCell } from "../cell";
import { Frame } from "../parts/frame";
import { useStream } from "../parts/live";
import { ForRole } from "../parts/sign-in";
import { route } from "../route";
import { language, t } from "../text/language";
import { Breakers } from "./breakers";
import { PolicyPage } from "./policy";
import { KEPT, rates, type Rates } from "./rates";
import { Rush } from "./rush";
import { Sessions } from "./sessions";

export function Room(): preact.JSX.Element {
  useCell(language);
  const [page] = useCell(route);
  const tab = (of: string | undefined, name: string): preact.JSX.Element =>
    <a href={`#/${of ?? ""}`} aria-current={page === of ? "page" : undefined}>{name}</a>;
  const nav = (
    <nav aria-label={t("Ops", "运营")}>
      {tab(undefined, t("Rush", "实时"))}{tab("sessions", t("Sessions", "号源"))}{tab("policy", t("Policy", "限流策略"))}{tab("breakers", t("Breakers", "熔断器"))}
    </nav>
  );
  return (
    <Frame role="ops" nav={nav}>
      <ForRole role="ops" why={t("Ops see and steer the rush. Whatever is done here is written into the audit trail.", "运营人员在此查看并调度放号高峰。所有操作均记入审计。")}>
        <Watched page={page} />
      </ForRole>
    </Frame>
  );
}

function Watched({ page }: { page: string | undefined }): preact.JSX.Element {
  const samples = useRef<Sample[]>([]);
  const series = useRef<Rates[]>([]);
  const [, again] = useState(0);
  const freshness = useStream("/v1/pipeline/events", "ops", ({ name, data }) => {
    if (name !== "sample") return;
    samples.current = [...samples.current, JSON.parse(data) as Sample].slice(-12);
    const now = rates(samples.current);
    if (now) series.current = [...series.current, now].slice(-KEPT);
    again((n) => n + 1);
  });
  const sample = samples.current[samples.current.length - 1] ?? null;
  switch (page) {
    case "sessions": return <Sessions />;
    case "policy": return <PolicyPage />;
    case "breakers": return <Breakers sample={sample} freshness={freshness} />;
    default: return <Rush sample={sample} series={series.current} freshness={freshness} />;
  }
}
