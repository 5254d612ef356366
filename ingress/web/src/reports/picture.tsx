// A report's picture.
import { useLayoutEffect, useRef } from "preact/hooks";
import type { Report, Session } from "../api/types";
import { Chart } from "../parts/chart";
import { hospital } from "../hospital";
import { Spans } from "../parts/why";
import { count, day, percent } from "../text/format";
import { locale, t } from "../text/language";
import { doctor } from "../text/names";
import { columnName } from "./texts";
import { text } from "./values";

const BARS_MAX = 20;

interface Bar { label: string; parts: number[]; told: string }

export function Picture({ report, zone, sessions }: { report: Report; zone: string; sessions: Map<string, Session> }): preact.JSX.Element | null {
  const of = (row: (string | number | null)[], column: string): number => Number(row[report.columns.indexOf(column)] ?? 0);
  const name = (row: (string | number | null)[], column: string): string => text(column, row[report.columns.indexOf(column)] ?? null, zone);
  const bars = (label: string, parts: string[], told: (row: (string | number | null)[]) => string): preact.JSX.Element =>
    <Bars legend={parts.map(columnName)} bars={report.rows.slice(0, BARS_MAX).map((row) => ({ label: label === "session_id" ? sessionName(report, row, sessions) : name(row, label), parts: parts.map((part) => of(row, part)), told: told(row) }))} more={report.rows.length - BARS_MAX} />;
  const demand = (row: (string | number | null)[]): string => t(`${count(of(row, "booked"))} of ${count(of(row, "demand"))} · ${name(row, "fill_rate")} full`, `${count(of(row, "booked"))}/${count(of(row, "demand"))} · 使用率 ${name(row, "fill_rate")}`);
  switch (report.name) {
    case "departments": return bars("department", ["booked", "rejected"], demand);
    case "campuses": return bars("campus", ["booked", "rejected"], demand);
    case "doctors": return bars("doctor_name", ["booked", "rejected"], demand);
    case "days": return bars("day", ["booked", "rejected"], demand);
    case "sessions": return bars("session_id", ["booked", "sold_out"], (row) => (row[report.columns.indexOf("sold_out_after_ms")] === null ? t("not sold out", "未约满") : t(`sold out after ${name(row, "sold_out_after_ms")}`, `${name(row, "sold_out_after_ms")}约满`)));
    case "rejections": return bars("reason", ["rejected"], (row) => `${count(of(row, "rejected"))} · ${name(row, "share")}`);
    case "waits": return bars("department", ["wait_p95_ms"], (row) => `p95 ${name(row, "wait_p95_ms")}`);
    case "wait_lengths": return bars("at_most_ms", ["booked", "rejected"], (row) => `${count(of(row, "decided"))} · ${name(row, "share")}`);
    case "cancellations": return bars("department", ["cancelled"], (row) => t(`${count(of(row, "cancelled"))}, again ${count(of(row, "booked_again"))}`, `退 ${count(of(row, "cancelled"))}，再约 ${count(of(row, "booked_again"))}`));
    // The share is one of the requests; numbers that were offered are no part of them.
    case "funnel": return bars("step", ["count"], (row) => (row[report.columns.indexOf("step")] === "offered" ? count(of(row, "count")) : `${count(of(row, "count"))} · ${name(row, "share")}`));
    case "fairness": return <Fair report={report} of={of} />;
    case "minutes": return <Minutes report={report} zone={zone} of={of} />;
    case "hours": return <Hours report={report} zone={zone} of={of} />;
    default: return null;
  }
}

/** Who sees patients when, as far as it is known: reports go back further than the list of sessions. */
function sessionName(report: Report, row: (string | number | null)[], sessions: Map<string, Session>): string {
  const of = (column: string): string => String(row[report.columns.indexOf(column)] ?? "");
  const session = sessions.get(of("session_id"));
  const name = session?.doctor_name ?? hospital.get()?.doctors.find((one) => one.doctor_id === of("doctor_id"))?.doctor_name;
  if (name === undefined) return of("session_id");
  return `${doctor(name)} · ${day(of("day"), "short")}${session ? ` ${session.start}` : ""}`;
}

function Bars({ bars, legend, more }: { bars: Bar[]; legend: string[]; more: number }): preact.JSX.Element {
  const most = Math.max(1, ...bars.map((bar) => bar.parts.reduce((a, b) => a + b, 0)));
  return (
    <figure class="card stack tight" style={{ margin: 0 }}>
      {legend.length > 1 && (
        <figcaption class="row small"><span class="row"><i class="dot" style={{ color: "var(--series-1)" }} />{legend[0]}</span><span class="row"><i class="dot" style={{ color: "var(--series-3)" }} />{legend[1]}</span></figcaption>
      )}
      <ul class="bars">
        {bars.map((bar) => (
          <li>
            <span class="breaks">{bar.label}</span>
            <span class="track" aria-hidden="true">{bar.parts.map((part, index) => <i class={index > 0 ? "b" : ""} style={{ width: `${(100 * part) / most}%` }} />)}</span>
            <span class="number small right">{bar.told}</span>
          </li>
        ))}
      </ul>
      {more > 0 && <p class="small soft">{t(`The first ${BARS_MAX}; all are in the table.`, `仅显示前 ${BARS_MAX} 项，其余见下表。`)}</p>}
    </figure>
  );
}

type Of = (row: (string | number | null)[], column: string) => number;

function Fair({ report, of }: { report: Report; of: Of }): preact.JSX.Element {
  const total = (column: string): number => report.rows.reduce((sum, row) => sum + of(row, column), 0);
  const wrong = total("out_of_order") + total("overtaken");
  return wrong === 0
    ? <p class="note good" role="status"><span class="strong">{t("Nobody was overtaken.", "没有任何人被插队。")}</span> {t(`${count(total("decided"))} decisions, all in the order in which the log took them.`, `共 ${count(total("decided"))} 次处理，均按受理顺序进行。`)}</p>
    : <p class="note bad" role="alert"><span class="strong">{t(`${count(wrong)} decisions were not in order.`, `有 ${count(wrong)} 次处理未按顺序。`)}</span> <Spans text={t("Run `orderly check`, and keep the log.", "请运行 `orderly check` 并保留日志。")} /></p>;
}

function Minutes({ report, zone, of }: { report: Report; zone: string; of: Of }): preact.JSX.Element {
  const at = report.rows.map((row) => Date.parse(String(row[0]).replace("Z", ":00Z")) / 1000);
  // Minutes without anything are left out by the report; the line goes down to zero there.
  const [times, rows]: [number[], ((typeof report.rows)[number] | null)[]] = [[], []];
  at.forEach((time, index) => {
    const before = times[times.length - 1];
    if (before !== undefined && time - before > 60) {
      times.push(before + 60);
      rows.push(null);
      if (time - before > 120) {
        times.push(time - 60);
        rows.push(null);
      }
    }
    times.push(time);
    rows.push(report.rows[index]!);
  });
  const series = (column: string, colour: 1 | 2 | 3 | 4 | 5): { label: string; colour: 1 | 2 | 3 | 4 | 5; values: number[] } =>
    ({ label: columnName(column), colour, values: rows.map((row) => (row ? of(row, column) : 0)) });
  return <Chart title={t("A minute", "每分钟")} zone={zone} times={times} unit={count} minutes series={[series("arrivals", 2), series("booked", 1), series("rejected", 3), series("cancelled", 5)]} />;
}

/** Weekdays by hours, in the hospital's zone. */
function Hours({ report, zone, of }: { report: Report; zone: string; of: Of }): preact.JSX.Element {
  const parts = new Intl.DateTimeFormat("en-GB", { timeZone: zone, weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
  const cells = new Map<string, number>();
  // Reports count whole hours of UTC: where the zone is off by half an hour, they begin at half past, and the map says so.
  let begins = "00";
  for (const row of report.rows) {
    const found = Object.fromEntries(parts.formatToParts(Date.parse(String(row[0]).replace("Z", ":00Z"))).map(({ type, value }) => [type, value]));
    const key = `${found["weekday"]} ${Number(found["hour"])}`;
    begins = found["minute"] ?? begins;
    cells.set(key, (cells.get(key) ?? 0) + of(row, "demand"));
  }
  const most = Math.max(1, ...cells.values());
  // On a phone only some hours fit: the busiest is in sight.
  const box = useRef<HTMLElement>(null);
  useLayoutEffect(() => {
    const busiest = box.current?.querySelector<HTMLElement>(".c5");
    if (box.current && busiest) box.current.scrollLeft = busiest.offsetLeft - box.current.clientWidth / 2;
  }, [report]);
  const shade = (value: number): string => `c${value === 0 ? 0 : Math.max(1, Math.ceil((Math.log1p(value) / Math.log1p(most)) * 5))}`;
  const short = (value: number): string => (value === 0 ? "" : value >= 1000 ? `${Math.round(value / 1000)}k` : String(value));
  const dayName = (index: number): string => new Intl.DateTimeFormat(locale(), { weekday: "short", timeZone: "UTC" }).format(Date.UTC(2024, 0, 1 + index));
  const total = [...cells.values()].reduce((a, b) => a + b, 0);
  return (
    <figure class="scroll" ref={box} tabIndex={0} role="region" aria-label={t("Heat map of requests by weekday and hour", "按星期与小时的请求热力图")} style={{ margin: 0 }}>
      <div class="hm" role="img" aria-label={t(`${count(total)} requests; the busiest hour has ${count(most)}, ${percent(most / Math.max(1, total))} of them`, `共 ${count(total)} 个请求，最高峰小时 ${count(most)} 个，占 ${percent(most / Math.max(1, total))}`)}>
        <span />{Array.from({ length: 24 }, (_, hour) => <span class="head">{hour}</span>)}
        {names.map((name, index) => [<span class="side">{dayName(index)}</span>, ...Array.from({ length: 24 }, (_, hour) => {
          const value = cells.get(`${name} ${hour}`) ?? 0;
          return <span class={shade(value)} title={`${dayName(index)} ${hour}:${begins} · ${count(value)}`}>{short(value)}</span>;
        })])}
      </div>
      {begins !== "00" && <figcaption class="small soft pad">{t(`Each column is the hour that begins at :${begins} in this zone.`, `每列为当地时间 :${begins} 起的一小时。`)}</figcaption>}
    </figure>
  );
}
