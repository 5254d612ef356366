// A report's values as people read them, by their column.
import { count, day as dayText, decimal, duration, moment, percent } from "../text/format";
import { doctor, named } from "../text/names";
import { reason } from "../text/problems";
import { t } from "../text/language";
import { stepName } from "./texts";

export type Value = string | number | null;

export function isNumber(column: string, rows: Value[][], index: number): boolean {
  return column.endsWith("_ms") || rows.some((row) => typeof row[index] === "number");
}

export function text(column: string, value: Value, zone: string): string {
  if (value === null) return column === "at_most_ms" ? t("longer", "更久") : "–";
  switch (column) {
    case "department": case "campus": return named(String(value));
    case "doctor_name": return doctor(String(value));
    case "reason": return reason(String(value))[0];
    case "step": return stepName(String(value));
    case "day": return dayText(String(value), "short");
    case "minute": case "hour": return moment(String(value).replace("Z", ":00Z"), zone);
    case "fill_rate": case "share": case "cancel_rate": return percent(Number(value), 1);
    case "demand_per_number": return decimal(Number(value), 2);
    case "sold_out_after_ms": return duration(Number(value));
  }
  if (column.endsWith("_ms")) return Number(value) < 1000 ? `${count(Number(value))} ms` : duration(Number(value));
  return typeof value === "number" ? count(value) : value;
}
