// The analysts' room: reports, with their pictures, their tables, and the SQL behind them.
import { useEffect, useMemo, useState } from "preact/hooks";
import { ask, call } from "../api/call";
import { now } from "../api/time";
import type { Report, Session } from "../api/types";
import { useCell } from "../cell";
import { hospital, zone } from "../hospital";
import { Frame, Title } from "../parts/frame";
import { ForRole } from "../parts/sign-in";
import { download, moment as momentOf } from "../patients/calendar";
import { go, route } from "../route";
import { moment, zoneName } from "../text/format";
import { language, t } from "../text/language";
import { doctor, named } from "../text/names";
import { Why } from "../parts/why";
import { Picture } from "./picture";
import { ReportTable } from "./table";
import { GROUPS, reportName } from "./texts";

export interface Filter { department: string; campus: string; doctor: string }

const SPANS: Record<string, [number, () => string]> = {
  hour: [3_600_000, () => t("Last hour", "最近 1 小时")],
  day: [86_400_000, () => t("Last 24 hours", "最近 24 小时")],
  week: [7 * 86_400_000, () => t("Last 7 days", "最近 7 天")],
  month: [30 * 86_400_000, () => t("Last 30 days", "最近 30 天")],
};

export function Room(): preact.JSX.Element {
  useCell(language);
  return (
    <Frame role="analyst">
      <ForRole role="analyst" why={t("Reports tell what happened. They name departments and doctors, never patients.", "报表用于分析运行情况，涉及科室与医生，不含患者信息。")}>
        <Reports />
      </ForRole>
    </Frame>
  );
}

function Reports(): preact.JSX.Element {
  const [name = "summary"] = useCell(route);
  const all = useCell(hospital);
  const [span, setSpan] = useState("day");
  const [custom, setCustom] = useState<[string, string]>(["", ""]);
  const [filter, setFilter] = useState<Filter>({ department: "", campus: "", doctor: "" });
  const [asked, setAsked] = useState(0);
  const [report, setReport] = useState<Report | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [sessions, setSessions] = useState<Map<string, Session>>(new Map());
  const here = zone();
  const query = useMemo(() => {
    const at = (local: string): string => new Date(momentOf(local.slice(0, 10), local.slice(11) || "00:00", here)).toISOString();
    if (span === "custom") return custom[0] && custom[1] ? `?${new URLSearchParams({ from: at(custom[0]), to: at(custom[1]) })}` : null;
    const to = now();
    return `?${new URLSearchParams({ from: new Date(to - SPANS[span]![0]).toISOString(), to: new Date(to).toISOString() })}`;
  }, [span, custom, asked, name, here]);
  const path = query === null ? null : `/v1/reports/${encodeURIComponent(name)}${query}`;
  useEffect(() => {
    if (path === null) return;
    const stop = new AbortController();
    setError(null);
    setReport((before) => (before?.name === name ? before : null));
    void call<Report>(path, { role: "analyst", signal: stop.signal, patience: 30_000 }).then(setReport, (failed: unknown) => {
      if (!stop.signal.aborted) setError(failed);
    });
    return () => stop.abort();
  }, [path]);
  // Sessions of today and later can be told by their times.
  useEffect(() => {
    if (name !== "sessions" || sessions.size > 0) return;
    void call<{ sessions: Session[] }>("/v1/sessions?limit=2000").then(
      (found) => setSessions(new Map(found.sessions.map((one) => [one.session_id, one]))), () => undefined);
  }, [name]);
  const [title, purpose] = reportName(name);
  const shown = report && report.name === name ? filtered(report, filter) : null;
  const chosen = (of: string): string => {
    const filters = new URLSearchParams(report ? filtersOf(report, filter) : {}).toString();
    return filters === "" ? of : `${of}&${filters}`;
  };
  const csv = async (): Promise<void> => {
    try {
      const answer = await ask(chosen(path!), { role: "analyst", headers: { Accept: "text/csv" }, patience: 30_000 });
      download(`${name}.csv`, "text/csv", await answer.text());
    } catch (failed) {
      setError(failed);
    }
  };
  const drill = (to: string, changes: Partial<Filter>): void => {
    setFilter({ ...filter, ...changes });
    go(to);
  };
  const pick = (key: keyof Filter, label: string, options: [string, string][]): preact.JSX.Element => (
    <label>{label}
      <select value={filter[key]} onChange={(event) => setFilter({ ...filter, [key]: event.currentTarget.value })}>
        <option value="">{t("All", "全部")}</option>{options.map(([value, name]) => <option value={value}>{name}</option>)}
      </select>
    </label>
  );
  const used = (column: string): boolean => report?.columns.includes(column) ?? false;
  return (
    <>
      <label class="report-choice">{t("Report", "报表")}
        <select value={name} onChange={(event) => go(event.currentTarget.value)}>
          {GROUPS.map((group) => <optgroup label={group.name()}>{group.reports.map((one) => <option value={one}>{reportName(one)[0]}</option>)}</optgroup>)}
        </select>
      </label>
      <nav class="tabs report-tabs" aria-label={t("Reports", "报表")}>
        {GROUPS.flatMap((group) => group.reports).map((one) => <a href={`#/${one}`} aria-current={one === name ? "page" : undefined}>{reportName(one)[0]}</a>)}
      </nav>
      <div class="stack tight"><Title plain={title} key={name}>{title}</Title><p class="soft">{purpose}</p></div>
      <div class="filters">
        <label>{t("Time", "时间范围")}
          <select value={span} onChange={(event) => setSpan(event.currentTarget.value)}>
            {Object.entries(SPANS).map(([value, [, text]]) => <option value={value}>{text()}</option>)}
            <option value="custom">{t("From … to …", "自定义")}</option>
          </select>
        </label>
        {span === "custom" && <>
          <label>{t("From", "从")}<input type="datetime-local" value={custom[0]} onInput={(event) => setCustom([event.currentTarget.value, custom[1]])} /></label>
          <label>{t("To", "到")}<input type="datetime-local" value={custom[1]} onInput={(event) => setCustom([custom[0], event.currentTarget.value])} /></label>
        </>}
        {used("department") && pick("department", t("Department", "科室"), (all?.departments ?? []).map((id) => [id, named(id)]))}
        {used("campus") && pick("campus", t("Campus", "院区"), (all?.campuses ?? []).map((id) => [id, named(id)]))}
        {used("doctor_id") && pick("doctor", t("Doctor", "医生"), (all?.doctors ?? []).filter((one) => !filter.department || one.department === filter.department).map((one) => [one.doctor_id, doctor(one.doctor_name)]))}
        <button onClick={() => setAsked((n) => n + 1)}>{t("Refresh", "刷新")}</button>
      </div>
      {error !== null && <Why of={error} />}
      {!shown && error === null && <p class="empty" role="status">{path === null ? t("Say from when to when.", "请选择起止时间。") : t("Loading…", "正在载入…")}</p>}
      {shown && <>
        <p class="small soft">
          {t("Requests that the log took from ", "统计受理时间：")}{moment(shown.from, here)} – {moment(shown.to, here)} ({zoneName(here)})
        </p>
        {shown.rows.length === 0 ? <p class="empty card">{t("Nothing happened in that time. Choose a longer time, or fewer filters.", "该时间段内没有数据，请扩大时间范围或减少筛选条件。")}</p> : <>
          <Picture report={shown} zone={here} sessions={sessions} />
          <ReportTable report={shown} zone={here} drill={drill} />
        </>}
        <div class="row"><button onClick={() => void csv()}>{t("Download as CSV", "下载 CSV")}</button>{Object.keys(filtersOf(shown, filter)).length > 0 && <span class="small soft">{t("Only the rows that you chose by the filters.", "仅包含筛选后的数据。")}</span>}</div>
        <details class="card"><summary>{t("The SQL behind it", "查看 SQL")}</summary><pre tabIndex={0}><code>{shown.sql}</code></pre></details>
      </>}
    </>
  );
}

/** The filters that are set and that the report has a column for, as the API calls them. */
function filtersOf(report: Report, filter: Filter): Record<string, string> {
  const all = { department: filter.department, campus: filter.campus, doctor_id: filter.doctor };
  return Object.fromEntries(Object.entries(all).filter(([column, value]) => value !== "" && report.columns.includes(column)));
}

function filtered(report: Report, filter: Filter): Report {
  const wanted = Object.entries(filtersOf(report, filter)).map(([column, value]) => [report.columns.indexOf(column), value] as const);
  return wanted.length === 0 ? report : { ...report, rows: report.rows.filter((row) => wanted.every(([index, value]) => row[index] === value)) };
}
