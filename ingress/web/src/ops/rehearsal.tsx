// What a policy would have done to those who asked so far, beside the one in force.
import { Table } from "../parts/table";
import { zone } from "../hospital";
import { count, duration, moment } from "../text/format";
import { t } from "../text/language";
import { limitName } from "./limits";

interface Side { arrived: number; admitted: number; refused: Record<string, { requests: number; patients: number; retry_after_max_ms: number }> }

interface Affected { key: string; in_force: number; rehearsed: number }

export interface Rehearsed { arrivals: number; from: string | null; to: string | null; in_force: Side; rehearsed: Side; most_affected: Record<string, Affected[]> }

export function Rehearsal({ of }: { of: Rehearsed }): preact.JSX.Element {
  if (of.arrivals === 0) return <p class="note good">{t("The policy is valid. Nobody has asked for anything yet, so there is nothing to rehearse it with.", "策略有效。尚无历史请求，无法预演。")}</p>;
  const kinds = [...new Set([...Object.keys(of.in_force.refused), ...Object.keys(of.rehearsed.refused)])];
  const line = (name: string, a: number, b: number): preact.JSX.Element => (
    <tr key={name}><td>{name}</td><td class="n">{count(a)}</td><td class="n">{count(b)}</td><td class="n">{b > a ? "+" : ""}{count(b - a)}</td></tr>
  );
  const row = (name: string, value: (side: Side) => number): preact.JSX.Element => line(name, value(of.in_force), value(of.rehearsed));
  return (
    <div class="stack tight">
      <h3>{t("Rehearsal: it is valid, and would have done this", "预演：策略有效，若当时启用则")}</h3>
      <Table caption={t("Rehearsal", "预演")}>
        <thead><tr><th></th><th class="n">{t("In force", "生效中")}</th><th class="n">{t("This one", "新策略")}</th><th class="n">{t("Difference", "差异")}</th></tr></thead>
        <tbody>
          {row(t("let in", "放行"), (side) => side.admitted)}
          {kinds.map((kind) => row(t(`refused by the limit on ${limitName(kind)}`, `被“${limitName(kind)}”规则拦截`), (side) => side.refused[kind]?.requests ?? 0))}
          {kinds.map((kind) => row(t(`patients refused by the limit on ${limitName(kind)}`, `被“${limitName(kind)}”规则拦截的患者`), (side) => side.refused[kind]?.patients ?? 0))}
          {kinds.flatMap((kind) => (of.most_affected[kind] ?? []).map((one) => line(`${limitName(kind)} ${one.key}`, one.in_force, one.rehearsed)))}
        </tbody>
      </Table>
      <p class="small soft">
        {t(`Over the last ${count(of.arrivals)} requests that the log has`, `基于日志中最近 ${count(of.arrivals)} 个请求`)}{of.from && of.to && ` (${moment(of.from, zone(), true)} – ${moment(of.to, zone(), true)})`}{t(". ", "。")}
        {t("Those who were throttled are not in it, addresses, API clients and member levels neither, and whoever is refused is taken not to ask again. With a recording of all who ask: ", "不含当时被限流的请求、地址、接入应用与会员等级，且假定被拒者不再重试。若有完整请求记录，可使用：")}
        <code>orderly policy rehearse FILE --against TRACE</code>
        {Object.values(of.rehearsed.refused).some((one) => one.retry_after_max_ms > 0) && <> · {t("longest wait told:", "最长提示等待：")} {duration(Math.max(...Object.values(of.rehearsed.refused).map((one) => one.retry_after_max_ms)))}</>}
      </p>
    </div>
  );
}
