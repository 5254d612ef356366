// An appointment as a calendar file (RFC 5545).
import type { Session } from "../api/types";
import { doctor, named } from "../text/names";
import { t } from "../text/language";

/** The moment of a local day and time in a zone, in milliseconds since the epoch. */
export function moment(day: string, time: string, zone: string): number {
  const wanted = Date.parse(`${day}T${time.length === 5 ? `${time}:00` : time}Z`);
  const format = new Intl.DateTimeFormat("en-CA", {
    timeZone: zone, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
  });
  let at = wanted;
  // The second time is for days on which the offset changes.
  for (let round = 0; round < 2; round += 1) {
    const part = Object.fromEntries(format.formatToParts(new Date(at)).map(({ type, value }) => [type, value]));
    const shown = Date.parse(`${part["year"]}-${part["month"]}-${part["day"]}T${part["hour"]}:${part["minute"]}:${part["second"]}Z`);
    at += wanted - shown;
  }
  return at;
}

const utc = (at: number): string => new Date(at).toISOString().replace(/[-:]|\.\d+/g, "");
const escape = (text: string): string => text.replace(/[\\;,]/g, "\\$&").replace(/\n/g, "\\n");

/** Lines have at most 75 bytes; longer ones go on in the next, after a space. */
function fold(line: string): string {
  const encoder = new TextEncoder();
  const lines: string[] = [];
  let current = "";
  for (const character of line) {
    if (encoder.encode(current + character).length > 73) {
      lines.push(current);
      current = "";
    }
    current += character;
  }
  return [...lines, current].join("\r\n ");
}

export function calendar(session: Session, number: number, ticket: string, now: number): string {
  const place = `${named(session.campus)}, ${named(session.department)}`;
  const title = `${doctor(session.doctor_name)}, ${named(session.department)}: ${t(`number ${number}`, `${number} 号`)}`;
  const lines = [
    "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Orderly//EN", "METHOD:PUBLISH", "BEGIN:VEVENT",
    `UID:${session.session_id}-${number}-${ticket.slice(-12)}@orderly`,
    `DTSTAMP:${utc(now)}`,
    `DTSTART:${utc(moment(session.day, session.start, session.timezone))}`,
    `DTEND:${utc(moment(session.day, session.end, session.timezone))}`,
    `SUMMARY:${escape(title)}`, `LOCATION:${escape(place)}`,
    "BEGIN:VALARM", "ACTION:DISPLAY", "TRIGGER:-P1D", `DESCRIPTION:${escape(title)}`, "END:VALARM",
    "END:VEVENT", "END:VCALENDAR", "",
  ];
  return lines.map(fold).join("\r\n");
}

export function download(name: string, type: string, text: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
