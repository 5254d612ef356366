// The ticket: where one stands in line, then what came of it.
import { useEffect, useRef, useState } from "preact/hooks";
import { ask, call } from "../api/call";
import { now } from "../api/time";
import type { Problem } from "../api/problem";
import type { Decided, Position, Session, Ticket } from "../api/types";
import { useCell, useTick } from "../cell";
import { Dialog } from "../parts/dialog";
import { Title } from "../parts/frame";
import { Fresh, useStream } from "../parts/live";
import { to } from "../route";
import { count, decimal, duration, moment, zoneName } from "../text/format";
import { t } from "../text/language";
import { doctor, named } from "../text/names";
import { Why } from "../parts/why";
import { reason } from "../text/problems";
import { calendar, download } from "./calendar";
import { SessionCard, When } from "./session";
import { learn, tickets } from "./tickets";

/** Points of the line's movement that are drawn. */
const POINTS_MAX = 240;

/** How often the position is said at most; sooner once the line has halved. */
const SAY_EVERY_MS = 10_000;
const SAY_HALVED_MS = 3_000;

interface Point { at: number; position: number }

export function TicketPage({ ticket }: { ticket: string }): preact.JSX.Element {
  const kept = useCell(tickets).find((one) => one.ticket === ticket);
  const [known, setKnown] = useState<Ticket | null>(kept?.last ?? null);
  const [line, setLine] = useState<Position | null>(null);
  const [refused, setRefused] = useState<Problem | null>(null);
  const points = useRef<Point[]>([]);
  const freshness = useStream(`/v1/tickets/${encodeURIComponent(ticket)}/events?follow=true`, "patient", ({ name, data }) => {
    if (name === "position") {
      const position = JSON.parse(data) as Position;
      points.current = [...points.current, { at: performance.now(), position: position.position }].slice(-POINTS_MAX);
      setLine(position);
    } else if (name === "outcome") {
      const outcome = JSON.parse(data) as Decided;
      setKnown(outcome);
      learn(ticket, outcome);
    }
  }, setRefused);
  const session = (known && "session" in known && known.session && "day" in known.session ? known.session : kept?.session) ?? null;
  const decided = known !== null && known.status !== "queued" ? known : null;
  if (refused) {
    return <><Title plain={t("Ticket", "凭证")}>{t("Ticket", "凭证")}</Title><Why of={refused} /><p><a href={to("tickets")}>{t("My tickets", "我的预约")}</a></p></>;
  }
  return (
    <>
      <p class="row apart"><a href={to("tickets")}>← {t("My tickets", "我的预约")}</a>{(decided === null || decided.status === "booked") && <Fresh of={freshness} />}</p>
      {decided === null ? <InLine session={session} line={line} points={points.current} />
        : decided.status === "booked" ? <Booked ticket={ticket} decided={decided} session={session} />
        : <Refused decided={decided} session={session} />}
    </>
  );
}

function Facts({ session }: { session: Session }): preact.JSX.Element {
  return (
    <dl class="facts">
      <dt>{t("Doctor", "医生")}</dt><dd class="strong">{doctor(session.doctor_name)}</dd>
      <dt>{t("When", "时间")}</dt><dd class="strong"><When session={session} /></dd>
      <dt>{t("Where", "地点")}</dt><dd>{named(session.campus)} · {named(session.department)}</dd>
    </dl>
  );
}

/** Between what and what the wait lies: by the rate that the server measured, and by how the line moved while one looked. */
function between(line: Position, points: Point[]): [number, number] | null {
  const rates = line.rate_per_s ? [line.rate_per_s] : [];
  const [first, last] = [points[0], points[points.length - 1]];
  if (first && last && last.at - first.at > 2_000 && first.position > last.position) {
    rates.push(((first.position - last.position) / (last.at - first.at)) * 1000);
  }
  if (rates.length === 0) return null;
  const ahead = line.position + 1;
  return [(ahead / Math.max(...rates)) * 800, (ahead / Math.min(...rates)) * 1300];
}

/** "2 s to 5 s", and one number where both would read the same. */
function waitText([least, most]: [number, number]): string {
  const [from, to] = [duration(least), duration(most)];
  if (from === to) return to;
  return least < 1000 ? t(`up to ${to}`, `不超过 ${to}`) : t(`${from} to ${to}`, `${from}至 ${to}`);
}

function InLine({ session, line, points }: { session: Session | null; line: Position | null; points: Point[] }): preact.JSX.Element {
  useTick(1000);
  const range = line && between(line, points);
  return (
    <article class="card big stack outcome wait">
      <Title plain={t("You are in line", "您已在排队")}>{t("You are in line", "您已在排队")}</Title>
      <div>
        <p class="soft">{t("Ahead of you", "您前面还有")}</p>
        <p class="big-number">{line ? count(line.position) : "…"}</p>
        {line && <Said position={line.position} />}
      </div>
      {range ? (
        <p>{t("Likely wait: ", "预计等待：")}<span class="strong">{waitText(range)}</span>{t(". ", "。")}
          {line?.rate_per_s ? <span class="soft">{t(`The line moves by ${decimal(line.rate_per_s, line.rate_per_s < 10 ? 1 : 0)} a second, as measured.`, `实测队伍每秒前进约 ${decimal(line.rate_per_s, line.rate_per_s < 10 ? 1 : 0)} 位。`)}</span> : null}</p>
      ) : <p class="soft">{t("How long it takes is not known yet: the line has not been measured.", "尚无法估计等待时间。")}</p>}
      <Spark points={points} />
      {session && <Facts session={session} />}
      <p class="small soft">{t("Your request is safe, and your place is kept: you may close this page. The outcome appears here by itself.", "您的请求已保存，排队位置保留。可以关闭本页，结果会自动显示。")}</p>
    </article>
  );
}

/** The position for a screen reader: it moves many times a second, which nobody can listen to. */
function Said({ position }: { position: number }): preact.JSX.Element {
  const said = useRef({ position, at: performance.now() });
  const { position: before, at } = said.current;
  const since = performance.now() - at;
  if (position !== before && since > (position * 2 <= before ? SAY_HALVED_MS : SAY_EVERY_MS)) said.current = { position, at: performance.now() };
  return <p class="hidden" role="status">{t(`${count(said.current.position)} ahead of you`, `前面还有 ${count(said.current.position)} 位`)}</p>;
}

/** How the line moved since the page was opened. */
function Spark({ points }: { points: Point[] }): preact.JSX.Element | null {
  const [first, last] = [points[0], points[points.length - 1]];
  if (!first || !last || points.length < 3) return null;
  const top = Math.max(...points.map((point) => point.position), 1);
  const span = Math.max(last.at - first.at, 1);
  const at = (point: Point): string => `${(((point.at - first.at) / span) * 300).toFixed(1)},${(58 - (point.position / top) * 54).toFixed(1)}`;
  const path = `M${points.map(at).join("L")}`;
  return (
    <figure style={{ margin: 0 }}>
      <svg class="spark" viewBox="0 0 300 60" preserveAspectRatio="none" role="img"
        aria-label={t(`The line went from ${first.position} to ${last.position} in ${duration(span)}`, `${duration(span)}内从 ${first.position} 位前进到 ${last.position} 位`)}>
        <path class="under" d={`${path}L300,58L0,58Z`} /><line x1="0" y1="58" x2="300" y2="58" /><path d={path} />
      </svg>
      <figcaption class="small soft">{span < 2000 ? t("How your line moves", "排队进展") : t(`How your line moved in the last ${duration(span)}`, `最近${duration(span)}的排队进展`)}</figcaption>
    </figure>
  );
}

function Booked({ ticket, decided, session }: { ticket: string; decided: Decided; session: Session | null }): preact.JSX.Element {
  const [asking, setAsking] = useState(false);
  const [leaving, setLeaving] = useState(false);
  const number = decided.number ?? 0;
  const cancel = async (): Promise<void> => {
    await ask(`/v1/tickets/${encodeURIComponent(ticket)}`, { method: "DELETE", role: "patient" });
    setLeaving(true);
  };
  return (
    <article class="card big stack outcome good">
      <Title plain={t("Booked", "预约成功")}>{t("Booked", "预约成功")}</Title>
      <div role="status"><p class="soft">{t("Your number", "您的就诊序号")}</p><p class="big-number">{number}</p></div>
      {session ? <Facts session={session} /> : <p>{decided.session.session_id}</p>}
      {session && <p class="small soft">{t(`Decided ${moment(decided.decided_at, session.timezone, true)}. Times are the hospital's: `, `结果时间 ${moment(decided.decided_at, session.timezone, true)}。时间均为医院当地时间：`)}{zoneName(session.timezone)}</p>}
      {leaving ? <p class="note" role="status">{t("Being cancelled…", "正在取消…")}</p> : (
        <div class="row">
          {session && <button class="primary" onClick={() => download(`${session.session_id}.ics`, "text/calendar", calendar(session, number, ticket, now()))}>{t("Add to calendar", "加入日历")}</button>}
          <button onClick={() => setAsking(true)}>{t("Cancel it", "取消预约")}</button>
        </div>
      )}
      {asking && (
        <Dialog danger title={t("Cancel this appointment?", "确定取消此预约吗？")} confirm={t("Cancel the appointment", "确定取消")} onConfirm={cancel} onClose={() => setAsking(false)}>
          <p>{t(`Number ${number} goes back to the hospital at once, and somebody else can have it. You cannot take it back.`, `${number} 号将立即退回医院并可被他人预约，取消后无法恢复。`)}</p>
        </Dialog>
      )}
    </article>
  );
}

function Refused({ decided, session }: { decided: Decided; session: Session | null }): preact.JSX.Element {
  const closed = decided.reason === "session_closed";
  const [heading, sentence] = decided.status === "cancelled" && !closed
    ? [t("Cancelled", "已取消"), t("You gave this number back.", "您已退回此号。")]
    : reason(decided.reason);
  return (
    <>
      <article class={`card big stack outcome ${decided.status === "cancelled" && !closed ? "" : "bad"}`}>
        <Title plain={heading}>{heading}</Title>
        <p role="status">{sentence}</p>
        {decided.cause && <p class="note warn">{t("The hospital says: ", "医院说明：")}<span class="strong">{decided.cause}</span></p>}
        {session && <Facts session={session} />}
        {session && <p class="small soft">{t(`Decided ${moment(decided.decided_at, session.timezone, true)}, ${zoneName(session.timezone)}.`, `结果时间 ${moment(decided.decided_at, session.timezone, true)}（${zoneName(session.timezone)}）。`)}</p>}
        {decided.reason === "already_booked" && <p><a class="button" href={to("tickets")}>{t("See your tickets", "查看我的预约")}</a></p>}
        {decided.reason === "not_released" && session && <p><a class="button primary" href={to("session", session.session_id)}>{t("Wait for the release", "等待放号")}</a></p>}
      </article>
      {session && <Others than={session} />}
    </>
  );
}

/** Other sessions of the same department with places, the nearest in time first. */
export function Others({ than }: { than: Session }): preact.JSX.Element | null {
  const [others, setOthers] = useState<Session[] | null>(null);
  useEffect(() => {
    const query = new URLSearchParams({ department: than.department, state: "open", limit: "500" });
    void call<{ sessions: Session[] }>(`/v1/sessions?${query}`).then(({ sessions }) => {
      const apart = (one: Session): number => Math.abs(Date.parse(one.day) - Date.parse(than.day)) + (one.doctor_id === than.doctor_id ? 0 : 1);
      setOthers(sessions.filter((one) => one.remaining > 0 && one.session_id !== than.session_id).sort((a, b) => apart(a) - apart(b)).slice(0, 4));
    }, () => setOthers([]));
  }, [than.session_id]);
  if (others === null) return null;
  return (
    <section class="stack">
      <h2>{t(`Others in ${named(than.department)} with places`, `${named(than.department)}其他有号门诊`)}</h2>
      {others.length === 0
        ? <p class="soft">{t("There is none at the moment. New sessions are released day by day; numbers that are given back appear in the list.", "目前没有。医院每日放号，退号也会出现在列表中。")} <a href="#/">{t("To the list", "查看列表")}</a></p>
        : <ul class="grid">{others.map((one) => <SessionCard key={one.session_id} session={one} withDay />)}</ul>}
    </section>
  );
}
