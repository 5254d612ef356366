// Numbers, days and times as people read them. Days and times are those of the hospital, never of the browser.
import { locale, t } from "./language";

export function count(value: number): string {
  return new Intl.NumberFormat(locale(), { maximumFractionDigits: 0 }).format(value);
}

export function decimal(value: number, digits = 1): string {
  return new Intl.NumberFormat(locale(), { maximumFractionDigits: digits }).format(value);
}

export function percent(share: number, digits = 0): string {
  return new Intl.NumberFormat(locale(), { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits }).format(share);
}

/** A local day such as 2026-11-23, in words. */
export function day(iso: string, style: "long" | "short" = "long"): string {
  const date = new Date(`${iso}T12:00:00Z`);
  const options: Intl.DateTimeFormatOptions =
    style === "long"
      ? { weekday: "long", day: "numeric", month: "long", timeZone: "UTC" }
      : { weekday: "short", day: "numeric", month: "short", timeZone: "UTC" };
  return new Intl.DateTimeFormat(locale(), options).format(date);
}

export function weekday(iso: string): string {
  return new Intl.DateTimeFormat(locale(), { weekday: "short", timeZone: "UTC" }).format(new Date(`${iso}T12:00:00Z`));
}

export function dayOfMonth(iso: string): string {
  const date = new Date(`${iso}T12:00:00Z`);
  return new Intl.DateTimeFormat(locale(), { day: "numeric", month: "numeric", timeZone: "UTC" }).format(date);
}

/** A moment, in that zone; with its year when that is another one. */
export function moment(at: string | number, zone: string, seconds = false): string {
  const options: Intl.DateTimeFormatOptions = {
    timeZone: zone, month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
    ...(new Date(at).getUTCFullYear() === new Date().getUTCFullYear() ? {} : { year: "numeric" }),
    ...(seconds ? { second: "2-digit" } : {}),
  };
  return new Intl.DateTimeFormat(locale(), options).format(new Date(at));
}

/** The time of day of a moment, in that zone. */
export function clock(at: string | number, zone: string): string {
  const options: Intl.DateTimeFormatOptions = { timeZone: zone, hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
  return new Intl.DateTimeFormat(locale(), options).format(new Date(at));
}

/** The zone in words, such as "China Standard Time". */
export function zoneName(zone: string): string {
  try {
    const parts = new Intl.DateTimeFormat(locale(), { timeZone: zone, timeZoneName: "long" }).formatToParts(new Date());
    return parts.find((part) => part.type === "timeZoneName")?.value ?? zone;
  } catch {
    return zone;
  }
}

/** A duration in words, rounded as people would. */
export function duration(ms: number): string {
  const s = Math.max(0, ms) / 1000;
  if (s < 1) return t("under a second", "不到 1 秒");
  if (s < 90) return t(`${Math.round(s)} s`, `${Math.round(s)} 秒`);
  const minutes = Math.round(s / 60);
  if (minutes < 90) return t(`${minutes} min`, `${minutes} 分钟`);
  const hours = Math.round(s / 3600);
  if (hours < 48) return t(`${hours} h`, `${hours} 小时`);
  const days = Math.round(s / 86400);
  return t(`${days} days`, `${days} 天`);
}

/** A countdown: 1 day 02:13:04, 02:13:04 or 13:04. */
export function countdown(ms: number): string {
  const s = Math.max(0, Math.ceil(ms / 1000));
  const two = (n: number): string => String(n).padStart(2, "0");
  const days = Math.floor(s / 86400);
  const [h, m, rest] = [Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60, s % 60];
  if (days > 0) return `${t(days === 1 ? "1 day" : `${days} days`, `${days} 天`)} ${two(h)}:${two(m)}:${two(rest)}`;
  return h > 0 ? `${two(h)}:${two(m)}:${two(rest)}` : `${two(m)}:${two(rest)}`;
}

/** A short time, for engineers: 1.2 ms, 340 ms, 2.1 s. */
export function brief(seconds: number): string {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 1) return `${decimal(seconds * 1000, seconds < 0.01 ? 1 : 0)} ms`;
  return seconds < 100 ? `${decimal(seconds, 1)} s` : duration(seconds * 1000);
}
