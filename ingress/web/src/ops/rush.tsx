// The rush as it happens.
import type { Sample } from "../api/types";
import { useCell } from "../cell";
import { hospital, zone } from "../hospital";
import { Chart } from "../parts/chart";
import { Title } from "../parts/frame";
import { Fresh, type Freshness } from "../parts/live";
import { Table } from "../parts/table";
import { brief, clock, count, decimal, duration, zoneName } from "../text/format";
import { t } from "../text/language";
import { doctor, named } from "../text/names";
import { AuditorAlarm, AuditorCard } from "./auditor";
import { BREAKER_STATE } from "./breakers";
import { limitName } from "./limits";
import { backlog, type Rates } from "./rates";

const perSecond = (value: number): string => `${value >= 10 ? count(value) : decimal(value)}${t("/s", "/秒")}`;

export function Rush({ sample, series, freshness }: { sample: Sample | null; series: Rates[]; freshness: Freshness }): preact.JSX.Element {
  const all = useCell(hospital);
  const now = series[series.length - 1];
  const title = t("The rush, live", "放号实时监控");
  if (!sample) {
    return <><div class="row apart"><Title plain={title}>{title}</Title><Fresh of={freshness} /></div><p class="empty" role="status">{t("Waiting for the first numbers…", "正在等待首批数据…")}</p></>;
  }
  const { pipeline, totals, hottest } = sample;
  const waiting = backlog(sample);
  const wait = Math.max(0, ...pipeline.partitions.map((one) => one.expected_wait_ms ?? 0));
  const times = series.map((one) => one.at);
  const here = zone();
  const open = pipeline.breakers.filter((one) => one.state !== "closed" || one.held !== "automatic");
  const Tile = ({ name, value, small, alarm }: { name: string; value: string; small?: string; alarm?: boolean }): preact.JSX.Element => (
    <div class={`tile ${alarm ? "alarm" : ""}`}><dt>{name}</dt><dd>{value}{small !== undefined && <small>{small}</small>}</dd></div>
  );
  const p = (of: Rates["accept"] | undefined): string => (of && of.count > 0 ? `p50 ${brief(of.p50)} · p95 ${brief(of.p95)}` : t("none in the last 10 s", "最近 10 秒无数据"));
  const throttled = Object.entries(totals.throttled).filter(([, value]) => value > 0);
  return (
    <>
      <div class="row apart">
        <Title plain={title}>{title}</Title>
        <div class="row"><span class="soft small number">{clock(sample.at, here)} · {zoneName(here)}</span><Fresh of={freshness} /></div>
      </div>
      {pipeline.unread.map((one) => <p class="note bad" role="alert">{t(`The ${one.part} could not be asked: ${one.cause}`, `无法读取 ${one.part}：${one.cause}`)}</p>)}
      {pipeline.pipeline?.cause && <p class="note bad" role="alert">{t("The pipeline says: ", "处理管道：")}{pipeline.pipeline.cause}</p>}
      <AuditorAlarm auditor={pipeline.auditor} />
      {open.length > 0 && (
        <p class="note warn" role="alert">
          {t("Breakers that need a look: ", "需要关注的熔断器：")}{open.map((one) => `${one.name} (${BREAKER_STATE[one.state]()})`).join(t(", ", "、"))}{t(". ", "。")}<a href="#/breakers">{t("See them", "查看")}</a>
        </p>
      )}
      <dl class="tiles" style={{ margin: 0 }}>
        <Tile name={t("Arrivals", "到达")} value={perSecond(now?.arrivals ?? 0)} />
        <Tile name={t("Accepted", "受理")} value={perSecond(now?.accepted ?? 0)} />
        <Tile name={t("Throttled", "限流")} value={perSecond(now?.throttled ?? 0)} small={now && now.shed > 0 ? t(`and shed ${perSecond(now.shed)}`, `另过载拒绝 ${perSecond(now.shed)}`) : undefined} />
        <Tile name={t("Decided", "已处理")} value={now?.decided === null ? "–" : perSecond(now?.decided ?? 0)} small={pipeline.pipeline ? t(`${pipeline.pipeline.epochs_in_flight} of ${pipeline.pipeline.epochs_in_flight_max} epochs in flight`, `处理中批次 ${pipeline.pipeline.epochs_in_flight}/${pipeline.pipeline.epochs_in_flight_max}`) : undefined} />
        <Tile name={t("Backlog", "积压")} value={waiting === null ? "–" : count(waiting)} small={t(`this node ${count(pipeline.undecided)} of ${count(pipeline.undecided_max)}`, `本节点 ${count(pipeline.undecided)}/${count(pipeline.undecided_max)}`)} alarm={pipeline.undecided > pipeline.undecided_max / 2} />
        <Tile name={t("Expected wait", "预计等待")} value={brief(wait / 1000)} small={t(`shed above ${duration(pipeline.wait_max_ms)}`, `超过 ${duration(pipeline.wait_max_ms)} 即拒绝新请求`)} alarm={wait > pipeline.wait_max_ms} />
        <Tile name={t("Accepted after, p99", "受理延迟 p99")} value={brief(now?.accept.p99 ?? Number.NaN)} small={p(now?.accept)} />
        <Tile name={t("Outcome after, p99", "结果延迟 p99")} value={brief(now?.decision.p99 ?? Number.NaN)} small={p(now?.decision)} />
        <Tile name={t("Watching", "在线查看")} value={count(pipeline.streams)} small={t(`streams; ${count(pipeline.connections)} connections`, `推送流；${count(pipeline.connections)} 个连接`)} />
      </dl>
      <div class="grid two">
        <Chart title={t("Requests a second", "每秒请求")} zone={here} times={times} unit={perSecond} series={[
          { label: t("Arrivals", "到达"), colour: 2, values: series.map((one) => one.arrivals) },
          { label: t("Accepted", "受理"), colour: 1, values: series.map((one) => one.accepted) },
          { label: t("Decided", "已处理"), colour: 5, values: series.map((one) => one.decided), dash: true },
          { label: t("Throttled", "限流"), colour: 3, values: series.map((one) => one.throttled) },
          { label: t("Shed", "过载拒绝"), colour: 4, values: series.map((one) => one.shed) },
        ]} />
        <Chart title={t("Backlog: records without a decision", "积压：待处理记录")} zone={here} times={times} unit={count} series={[
          { label: t("Backlog", "积压"), colour: 3, values: series.map((one) => one.backlog) },
        ]} />
        <Chart title={t("Time until accepted (last 10 s)", "受理延迟（最近 10 秒）")} zone={here} times={times} unit={brief} least={0.02} series={percentileSeries(series, "accept")} />
        <Chart title={t("Time until the outcome (last 10 s)", "结果延迟（最近 10 秒）")} zone={here} times={times} unit={brief} least={0.02} series={percentileSeries(series, "decision")} />
      </div>
      <div class="grid two">
        <section class="stack tight">
          <h2>{t("Doctors who are asked for most (last 10 s)", "最热门医生（最近 10 秒）")}</h2>
          <Table caption={t("Hottest doctors", "最热门医生")}>
            <thead><tr><th>{t("Doctor", "医生")}</th><th>{t("Department", "科室")}</th><th class="n">{t("Requests", "请求")}</th><th class="n">{t("Throttled", "限流")}</th></tr></thead>
            <tbody>
              {hottest.map((hot) => {
                const known = all?.doctors.find((one) => one.doctor_id === hot.doctor_id);
                return <tr key={hot.doctor_id}><td>{known ? doctor(known.doctor_name) : hot.doctor_id}</td><td>{known ? named(known.department) : ""}</td><td class="n">{perSecond(hot.requests_per_s)}</td><td class="n">{perSecond(hot.throttled_per_s)}</td></tr>;
              })}
              {hottest.length === 0 && <tr><td colSpan={4} class="soft">{t("Nobody is asked for at the moment.", "目前没有请求。")}</td></tr>}
            </tbody>
          </Table>
        </section>
        <section class="stack tight">
          <h2>{t("Throttled by limit, since the start", "各限流规则累计拦截")}</h2>
          <Table caption={t("Throttled by limit", "各限流规则累计拦截")}>
            <thead><tr><th>{t("Limit", "规则")}</th><th class="n">{t("Refused", "拦截")}</th></tr></thead>
            <tbody>
              {throttled.map(([limit, value]) => <tr key={limit}><td><code>{limit}</code>{limitName(limit) !== limit && <span class="soft"> {limitName(limit)}</span>}</td><td class="n">{count(value)}</td></tr>)}
              {throttled.length === 0 && <tr><td colSpan={2} class="soft">{t("Nobody was throttled.", "没有拦截。")}</td></tr>}
            </tbody>
          </Table>
        </section>
      </div>
      <section class="stack tight">
        <h2>{t("Partitions", "分区")}</h2>
        <Table caption={t("Partitions", "分区")}>
          <thead><tr><th class="n">#</th><th class="n">{t("Backlog", "积压")}</th><th class="n">{t("Rate", "速率")}</th><th class="n">{t("Expected wait", "预计等待")}</th><th class="n">{t("Decided up to", "已处理至")}</th><th>{t("Owner", "归属节点")}</th><th class="n">{t("Takeovers", "接管次数")}</th></tr></thead>
          <tbody>
            {pipeline.partitions.map((one) => (
              <tr key={one.partition}>
                <td class="n">{one.partition}</td><td class="n">{count(one.lag)}</td><td class="n">{one.rate_per_s === null ? "–" : perSecond(one.rate_per_s)}</td>
                <td class="n">{one.expected_wait_ms === null ? "–" : brief(one.expected_wait_ms / 1000)}</td><td class="n">{count(one.next_offset)}</td><td class="small">{one.owner ?? "–"}</td><td class="n">{one.fence}</td>
              </tr>
            ))}
          </tbody>
        </Table>
      </section>
      <AuditorCard auditor={pipeline.auditor} />
      <p class="small soft">{t("What was decided, the backlog and the partitions are the whole system's; all other counts are this node's. Percentiles lie between the bounds of a histogram, so they are near, not exact.", "处理量、积压与分区为全系统数据，其余计数为本节点数据；百分位由直方图估算，非精确值。")}</p>
    </>
  );
}

function percentileSeries(series: Rates[], of: "accept" | "decision"): { label: string; colour: 1 | 2 | 3; values: (number | null)[] }[] {
  const value = (number: number): number | null => (Number.isFinite(number) ? number : null);
  return [
    { label: "p50", colour: 1, values: series.map((one) => value(one[of].p50)) },
    { label: "p95", colour: 2, values: series.map((one) => value(one[of].p95)) },
    { label: "p99", colour: 3, values: series.map((one) => value(one[of].p99)) },
  ];
}
