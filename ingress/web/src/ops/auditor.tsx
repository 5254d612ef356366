// What the auditor beside the system found.
import type { Auditor } from "../api/types";
import { zone } from "../hospital";
import { Table } from "../parts/table";
import { clock, count } from "../text/format";
import { t } from "../text/language";

const INVARIANTS: Record<string, () => string> = {
  no_oversell: () => t("No session has more appointments than places, and no number was given twice", "任一号源均未超号，号码无重复"),
  no_loss: () => t("No request was passed over without a decision", "没有请求被遗漏"),
  exactly_once: () => t("Each was decided once", "每个请求只处理一次"),
  one_per_patient: () => t("No patient holds more appointments than the rule allows", "患者持有的预约未超出规则"),
  in_order: () => t("In the order of the line; nobody was told “full” while a place was free", "按排队顺序处理；有号时未曾答复“已约满”"),
  atomic_progress: () => t("Nothing was decided beyond the progress", "处理进度与结果一致"),
  conserved: () => t("What a session counts as booked, in Redis too, is what its appointments hold", "号源计数（含 Redis）与预约一致"),
  analytics_agree: () => t("Analytics have what the store has", "分析库与主库一致"),
  deterministic: () => t("Deciding the log again gives the same", "重新处理日志结果相同"),
};

const UNITS: Record<string, () => string> = {
  sessions: () => t("sessions", "个号源"),
  records: () => t("records", "条记录"),
  decisions: () => t("decisions", "个结果"),
  appointments: () => t("appointments", "个预约"),
  bookings: () => t("bookings", "个预约请求"),
  partitions: () => t("partitions", "个分区"),
};

/** Sessions that the alarm names. */
const SHOWN = 5;

type Report = NonNullable<Auditor["report"]>;

const broken = (report: Report): Report["invariants"] => report.invariants.filter((one) => one.violations > 0);

/** What nobody may overlook. */
export function AuditorAlarm({ auditor }: { auditor: Auditor | null }): preact.JSX.Element | null {
  if (!auditor) return null;
  const { report, cause } = auditor;
  const wrong = report ? broken(report) : [];
  return (
    <>
      {cause !== null && <p class="note warn" role="alert">{t("The auditor cannot be asked: ", "无法连接审计程序：")}<span class="breaks" lang="en">{cause}</span></p>}
      {cause === null && report && !report.up && <p class="note warn" role="alert">{t("The auditor has not read log and store yet, or cannot now. What is below was found before.", "审计程序尚未读取或暂时无法读取日志与主库；下方为此前的结果。")}</p>}
      {report && wrong.length > 0 && (
        <p class="note bad" role="alert">
          {t("The auditor found something wrong", "审计发现异常")}
          {report.suspects.length > 0 && <>{t(" in ", "，涉及号源 ")}{report.suspects.slice(0, SHOWN).map((id, nth) => <span key={id}>{nth > 0 && t(", ", "、")}<code>{id}</code></span>)}{report.suspects_total > SHOWN && t(` and ${count(report.suspects_total - SHOWN)} more`, ` 等 ${count(report.suspects_total)} 个`)}</>}
          {t(". ", "。")}<a href="#auditor" onClick={show}>{t("See what", "查看")}</a>
        </p>
      )}
    </>
  );
}

// The address stays: its part after # is the page's.
function show(event: Event): void {
  event.preventDefault();
  document.getElementById("auditor")?.focus();
}

export function AuditorCard({ auditor }: { auditor: Auditor | null }): preact.JSX.Element {
  const report = auditor?.report;
  return (
    <section class="stack tight">
      <h2 id="auditor" tabIndex={-1}>{t("What the auditor found", "独立审计结果")}</h2>
      {!auditor && <p class="small soft">{t("No auditor is asked. Start ", "未配置审计程序。请运行 ")}<code>orderly audit-run</code>{t(" beside this system, and name its address by ", "，并通过配置项 ")}<code>auditor.url</code>{t(": it decides everything a second time and compares.", " 指定其地址：它会独立复核所有处理结果。")}</p>}
      {auditor && !report && <p class="small soft">{t("It has not answered yet.", "尚未收到审计结果。")}</p>}
      {auditor && report && (
        <>
          <Table caption={t("What the auditor compares", "审计项目")}>
            <thead><tr><th>{t("What must be true", "审计项目")}</th><th class="n">{t("Wrong", "异常")}</th><th class="n">{t("Looked at", "已检查")}</th></tr></thead>
            <tbody>
              {report.invariants.map((one) => (
                <tr key={one.invariant} data-invariant={one.invariant}>
                  <td class="breaks">
                    {INVARIANTS[one.invariant]?.() ?? one.invariant}
                    {one.rows.map((row) => <div key={row} class="small breaks" lang="en"><code>{row}</code></div>)}
                    {one.skipped !== null && <div class="small soft breaks" lang="en">{one.skipped}</div>}
                  </td>
                  <td class="n">{one.violations > 0 ? <strong class="badge bad">{count(one.violations)}</strong> : "0"}</td>
                  <td class="n">{count(one.checked)} {UNITS[one.unit]?.() ?? one.unit}</td>
                </tr>
              ))}
            </tbody>
          </Table>
          {auditor.heard_at !== null && <p class="small soft">{t(`Asked at ${clock(auditor.heard_at, zone())}; ${count(report.in_flight)} records were on their way.`, `查询时间 ${clock(auditor.heard_at, zone())}；处理中记录 ${count(report.in_flight)} 条。`)}</p>}
        </>
      )}
    </section>
  );
}
