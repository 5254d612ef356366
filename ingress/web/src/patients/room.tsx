// The patients' room.
import { useEffect, useState } from "preact/hooks";
import { call } from "../api/call";
import { demoPatientBefore, identities } from "../api/identity";
import { Problem } from "../api/problem";
import { now } from "../api/time";
import type { Session } from "../api/types";
import { useCell, useTick } from "../cell";
import { Frame, Title } from "../parts/frame";
import { demo, hospital } from "../hospital";
import { Fresh } from "../parts/live";
import { demoToken, SignIn } from "../parts/sign-in";
import { instead, route, to } from "../route";
import { countdown, moment, zoneName } from "../text/format";
import { language, t } from "../text/language";
import { doctor, named } from "../text/names";
import { Why } from "../parts/why";
import { Booking } from "./booking";
import { DetailsPage } from "./details";
import { Find, useSessions } from "./find";
import { Book, Places, stateOf, takeTap, When } from "./session";
import { Others, TicketPage } from "./ticket";
import { MyTickets } from "./list";
import { book, pending, tickets } from "./tickets";

export function Room(): preact.JSX.Element {
  useCell(language);
  const [page, id] = useCell(route);
  const isDemo = useCell(demo);
  const known = useCell(hospital) !== null;
  useEffect(() => {
    // In the demo a patient who was here is here again; elsewhere the identity provider says who is.
    const before = demoPatientBefore();
    if (isDemo && before && !identities.patient.get()) void demoToken("patient", before).catch(() => undefined);
  }, [isDemo]);
  const mine = useCell(tickets).filter((one) => one.last.status === "queued" || one.last.status === "booked").length + useCell(pending).length;
  const nav = (
    <nav aria-label={t("Patients", "患者")}>
      <a href="#/" aria-current={page === undefined || page === "session" ? "page" : undefined}>{t("Find", "挂号")}</a>
      <a href="#/tickets" aria-current={page === "tickets" || page === "ticket" || page === "booking" || page === "details" ? "page" : undefined}>
        {t("My tickets", "我的预约")}{mine > 0 && <span class="count">{mine}</span>}
      </a>
    </nav>
  );
  return (
    <Frame role="patient" nav={nav} narrow={page !== undefined}>
      {page === "ticket" && id ? <Mine><TicketPage key={id} ticket={id} /></Mine>
        : page === "booking" && id ? <Mine><Booking key={id} id={id} /></Mine>
        : page === "tickets" ? (known && !isDemo ? <Mine><MyTickets /></Mine> : <MyTickets />)
        : page === "details" ? <Mine><Details /></Mine>
        : page === "session" && id ? <SessionPage key={id} id={id} />
        : page === "sign-in" ? <Return id={id} />
        : <Find />}
    </Frame>
  );
}

function Mine({ children }: { children: preact.ComponentChildren }): preact.JSX.Element {
  const identity = useCell(identities.patient);
  return identity ? <>{children}</> : <SignIn role="patient" why={t("Tickets and details are shown to the patient whose they are.", "凭证和就诊人信息仅向本人显示。")} />;
}

/** Drawn anew for each patient: nobody sees what another one has typed. */
function Details(): preact.JSX.Element | null {
  const subject = useCell(identities.patient)?.subject;
  return subject === undefined ? null : <DetailsPage key={subject} subject={subject} />;
}

/** Signs in, and goes on with the booking whose tap led here. */
function Return({ id }: { id: string | undefined }): preact.JSX.Element {
  const identity = useCell(identities.patient);
  useEffect(() => {
    if (!identity) return;
    if (!id) return instead();
    if (!takeTap(id)) return instead("session", id);
    let there = true;
    void call<Session>(`/v1/sessions/${encodeURIComponent(id)}`).then(
      (session) => there && instead("booking", book(session)),
      () => there && instead("session", id));
    return () => { there = false; };
  }, [identity, id]);
  // Who goes elsewhere instead of signing in has given up that booking.
  useEffect(() => () => { takeTap(""); }, []);
  return <SignIn role="patient" why={t("To book, the hospital has to know who you are.", "预约前请先登录，以确认您的身份。")} />;
}

function SessionPage({ id }: { id: string }): preact.JSX.Element {
  useTick(500);
  const [first, setFirst] = useState<Session | null>(null);
  const [error, setError] = useState<unknown>(null);
  useEffect(() => {
    let there = true;
    const ask = (): void => void call<Session>(`/v1/sessions/${encodeURIComponent(id)}`).then(
      (found) => there && setFirst(found),
      (failed: unknown) => {
        if (!there) return;
        if (failed instanceof Problem && !failed.passes) setError(failed);
        else setTimeout(ask, 2_000);
      });
    ask();
    return () => { there = false; };
  }, [id]);
  if (error !== null) {
    return <><Title plain={t("Session", "号源")}>{t("Session", "号源")}</Title><Why of={error} /><p><a href="#/">{t("Find another session", "查找其他号源")}</a></p></>;
  }
  return first ? <OneSession first={first} /> : <p class="empty" role="status">{t("Loading…", "正在载入…")}</p>;
}

function OneSession({ first }: { first: Session }): preact.JSX.Element {
  const { sessions, freshness } = useSessions({ doctor: first.doctor_id, day: first.day });
  const session = sessions?.find((one) => one.session_id === first.session_id) ?? first;
  const state = stateOf(session);
  const name = doctor(session.doctor_name);
  const release = Date.parse(session.release_at);
  return (
    <>
      <p><a href="#/">← {t("All sessions", "全部号源")}</a></p>
      <article class="card big stack">
        <div class="row apart"><Title plain={name}>{name}</Title><Fresh of={freshness} /></div>
        <dl class="facts">
          <dt>{t("When", "时间")}</dt><dd><When session={session} /></dd>
          <dt>{t("Department", "科室")}</dt><dd>{named(session.department)}</dd>
          <dt>{t("Campus", "院区")}</dt><dd>{named(session.campus)}</dd>
          <dt>{t("Released", "放号时间")}</dt><dd>{moment(release, session.timezone)}</dd>
        </dl>
        {state === "scheduled" && (
          <div class="note" role="timer" aria-live="off">
            <p>{t("Booking opens in", "距放号还有")}</p>
            <p class="big-number" style={{ fontSize: "clamp(2rem, 9vw, 3.25rem)" }}>{countdown(release - now())}</p>
            <p class="small">{t("By the hospital's clock. You may keep this page open: the button works from the release on. Who asks first is served first.",
              "以医院服务器时间为准。可保持本页打开，放号后即可点击预约，先到先得。")}</p>
          </div>
        )}
        {state === "full" && <p class="note warn">{t("All numbers are taken. One that is given back appears here by itself.", "号已约满。如有退号会自动显示在此。")}</p>}
        {state === "closed" && <p class="note warn">{t("The hospital closed this session. It cannot be booked.", "医院已停止该门诊，无法预约。")}</p>}
        {state !== "closed" && <Places session={session} />}
        <Book session={session} />
        <p class="small soft">{t("Times are the hospital's: ", "时间均为医院当地时间：")}{zoneName(session.timezone)}</p>
      </article>
      {(state === "full" || state === "closed") && <Others than={session} />}
      <p><a href={to("tickets")}>{t("My tickets", "我的预约")}</a></p>
    </>
  );
}
