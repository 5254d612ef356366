// A report's table: sorted as one likes, with a way into the next finer report.
import { useState } from "preact/hooks";
import type { Report } from "../api/types";
import { Table } from "../parts/table";
import { count } from "../text/format";
import { t } from "../text/language";
import type { Filter } from "./room";
import { columnName, reportName } from "./texts";
import { isNumber, text } from "./values";

const SHOWN_MAX = 500;

export function ReportTable({ report, zone, drill }: { report: Report; zone: string; drill(to: string, changes: Partial<Filter>): void }): preact.JSX.Element {
  const [order, setOrder] = useState<{ column: number; down: boolean } | null>(null);
  // A report of one row reads better as a list.
  if (report.rows.length === 1 && report.name === "summary") {
    return (
      <dl class="tiles" style={{ margin: 0 }}>
        {report.columns.map((column, index) => <div class="tile"><dt>{columnName(column)}</dt><dd>{text(column, report.rows[0]![index]!, zone)}</dd></div>)}
      </dl>
    );
  }
  const rows = order ? [...report.rows].sort((a, b) => {
    const [x, y] = [a[order.column] ?? null, b[order.column] ?? null];
    if (x === null || y === null) return x === y ? 0 : x === null ? 1 : -1;
    const way = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
    return order.down ? -way : way;
  }) : report.rows;
  const at = (column: string): number => report.columns.indexOf(column);
  const into = (row: (string | number | null)[], column: string): (() => void) | null => {
    const value = String(row[at(column)] ?? "");
    if (report.name === "departments" && column === "department") return () => drill("doctors", { department: value, doctor: "" });
    if (report.name === "campuses" && column === "campus") return () => drill("sessions", { campus: value, department: "", doctor: "" });
    if (report.name === "doctors" && column === "doctor_name") return () => drill("sessions", { doctor: String(row[at("doctor_id")]), department: "", campus: "" });
    if (report.name === "waits" && column === "department") return () => drill("sessions", { department: value, doctor: "" });
    if (report.name === "cancellations" && column === "department") return () => drill("sessions", { department: value, doctor: "" });
    return null;
  };
  return (
    <div class="stack tight">
      <Table caption={reportName(report.name)[0]}>
        <thead><tr>
          {report.columns.map((column, index) => {
            const numeric = isNumber(column, report.rows, index);
            const sorted = order?.column === index ? (order.down ? "descending" : "ascending") : "none";
            return (
              <th class={numeric ? "n" : ""} aria-sort={sorted}>
                <button onClick={() => setOrder({ column: index, down: order?.column === index ? !order.down : numeric })}>{columnName(column)}<span aria-hidden="true">{sorted === "descending" ? " ↓" : sorted === "ascending" ? " ↑" : ""}</span></button>
              </th>
            );
          })}
        </tr></thead>
        <tbody>
          {rows.slice(0, SHOWN_MAX).map((row) => (
            <tr>{row.map((value, index) => {
              const column = report.columns[index]!;
              const go = into(row, column);
              // Of the requests: numbers that were offered are no part of them.
              const shown = column === "share" && row[at("step")] === "offered" ? "–" : text(column, value, zone);
              return <td class={isNumber(column, report.rows, index) ? "n" : ""}>{go ? <button class="quiet small" onClick={go}>{shown}</button> : shown}</td>;
            })}</tr>
          ))}
        </tbody>
      </Table>
      {rows.length > SHOWN_MAX && <p class="small soft">{t(`The first ${SHOWN_MAX} of ${count(rows.length)} rows. The CSV has all.`, `共 ${count(rows.length)} 行，仅显示前 ${SHOWN_MAX} 行，CSV 含全部。`)}</p>}
    </div>
  );
}
