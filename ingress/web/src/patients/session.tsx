// One session as a card: who, when, where, what is left, and the one tap.
import { useState } from "preact/hooks";
import type { Session } from "../api/types";
import { identities } from "../api/identity";
import { now } from "../api/time";
import { useCell } from "../cell";
import { demo } from "../hospital";
import { demoToken } from "../parts/sign-in";
import { demoPatient } from "../api/identity";
import { go, to } from "../route";
import { countdown, day, moment } from "../text/format";
import { t } from "../text/language";
import { doctor, named } from "../text/names";
import { explain } from "../text/problems";
import { book, tickets } from "./tickets";

export type State = "scheduled" | "open" | "full" | "closed";

/** What can be done with it now: a release that the clock has passed needs no message. */
export function stateOf(session: Session): State {
  if (session.state === "closed") return "closed";
  if (session.state === "scheduled" && Date.parse(session.release_at) > now()) return "scheduled";
  return session.remaining > 0 ? "open" : "full";
}

export function When({ session }: { session: Session }): preact.JSX.Element {
  return <>{day(session.day)}{t(", ", " ")}<span class="nowrap">{session.start}–{session.end}</span></>;
}

export function Places({ session }: { session: Session }): preact.JSX.Element {
  const state = stateOf(session);
  const share = session.capacity > 0 ? session.remaining / session.capacity : 0;
  // Before the release nothing is left or taken yet, and what is closed has no places.
  if (state === "closed") return <div class="places soft">{t("Closed by the hospital", "医院已停诊")}</div>;
  if (state === "scheduled") return <div class="places">{t(`${session.capacity} numbers to come`, `将放 ${session.capacity} 个号`)}</div>;
  const left = t(`${session.remaining} of ${session.capacity} left`, `剩余 ${session.remaining} / ${session.capacity}`);
  return (
    <div class="stack tight">
      <div class="places">{left}</div>
      <div class={`meter ${share < 0.2 ? "low" : ""}`} aria-hidden="true"><i style={{ width: `${share * 100}%` }} /></div>
    </div>
  );
}

/**
 * The session that was tapped before signing in. It is known in memory only, so that an address alone books nothing: a link
 * may come from anybody.
 */
let tapped: string | null = null;

/** Whether that session was tapped and is to be booked now; it answers yes once. */
export function takeTap(session: string): boolean {
  const is = tapped === session;
  tapped = null;
  return is;
}

/** The tap. Twice is as good as once. */
export function Book({ session }: { session: Session }): preact.JSX.Element {
  const identity = useCell(identities.patient);
  const kept = useCell(tickets).find((one) => one.session.session_id === session.session_id && (one.last.status === "booked" || one.last.status === "queued"));
  const [error, setError] = useState<string | null>(null);
  const name = doctor(session.doctor_name);
  if (kept) {
    const text = kept.last.status === "booked" ? t(`Yours: number ${kept.last.number ?? ""}`, `已约：${kept.last.number ?? ""} 号`) : t("In line", "排队中");
    return <a class="button wide" href={to("ticket", kept.ticket)}>{text}</a>;
  }
  const state = stateOf(session);
  const tap = async (): Promise<void> => {
    setError(null);
    try {
      if (!identities.patient.get()) {
        if (!demo.get()) {
          tapped = session.session_id;
          return go("sign-in", session.session_id);
        }
        await demoToken("patient", demoPatient());
      }
      go("booking", book(session));
    } catch (failed) {
      setError(explain(failed));
    }
  };
  const text = {
    open: identity || demo.get() ? t("Book", "预约") : t("Sign in and book", "登录并预约"),
    full: t("Fully booked", "已约满"), closed: t("Cannot be booked", "不可预约"), scheduled: t("Not released yet", "未放号"),
  }[state];
  return (
    <div class="stack tight">
      <button class="primary wide" disabled={state !== "open"} onClick={() => void tap()}>
        {text}<span class="hidden">: {name}, {day(session.day)}, {session.start}</span>
      </button>
      {error && <p class="note bad" role="alert">{error}</p>}
    </div>
  );
}

export function Release({ session }: { session: Session }): preact.JSX.Element | null {
  if (stateOf(session) !== "scheduled") return null;
  const at = Date.parse(session.release_at);
  return (
    <p class="small">
      <span class="soft">{t("Released", "放号时间")} {moment(at, session.timezone)} · </span>
      <span class="strong number nowrap">{t(`in ${countdown(at - now())}`, `还有 ${countdown(at - now())}`)}</span>
    </p>
  );
}

export function SessionCard({ session, withDay }: { session: Session; withDay: boolean }): preact.JSX.Element {
  return (
    <li class="card session" data-session={session.session_id}>
      <div class="stack tight">
        <a class="doctor" href={to("session", session.session_id)}>{doctor(session.doctor_name)}</a>
        <p class="soft">{withDay && <>{named(session.department)} · </>}{named(session.campus)}</p>
        <p>{withDay ? <When session={session} /> : <span class="nowrap">{session.start}–{session.end}</span>}</p>
        <Release session={session} />
      </div>
      <div class="stack tight"><Places session={session} /><Book session={session} /></div>
    </li>
  );
}
