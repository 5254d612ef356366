// The patient's tickets, the newest first.
import { useEffect } from "preact/hooks";
import { call } from "../api/call";
import { identities } from "../api/identity";
import { Problem } from "../api/problem";
import type { Ticket } from "../api/types";
import { useCell } from "../cell";
import { Title } from "../parts/frame";
import { to } from "../route";
import { t } from "../text/language";
import { doctor, named } from "../text/names";
import { reason } from "../text/problems";
import { When } from "./session";
import { forgetTicket, learn, pending, tickets, type Kept } from "./tickets";

export function Sign({ of }: { of: Ticket }): preact.JSX.Element {
  switch (of.status) {
    case "queued": return <span class="badge info"><i class="dot pulse" />{t("In line", "排队中")}</span>;
    case "booked": return <span class="badge good"><i class="dot" />{t("Booked", "已预约")}</span>;
    case "rejected": return <span class="badge bad"><i class="dot" />{reason(of.reason)[0]}</span>;
    case "cancelled": return <span class="badge warn"><i class="dot" />{of.reason === "session_closed" ? t("Session closed", "已停诊") : t("Cancelled", "已取消")}</span>;
  }
}

export function MyTickets(): preact.JSX.Element {
  const identity = useCell(identities.patient);
  const mine = useCell(tickets);
  const waiting = useCell(pending);
  // What may have changed while nobody looked is asked once.
  useEffect(() => {
    for (const one of mine.filter((entry) => entry.last.status === "queued" || entry.last.status === "booked").slice(0, 20)) {
      void call<Ticket>(`/v1/tickets/${encodeURIComponent(one.ticket)}`, { role: "patient" }).then(
        (last) => learn(one.ticket, last),
        (error: unknown) => { if (error instanceof Problem && error.kind === "unknown-ticket") forgetTicket(one.ticket); });
    }
  }, [identity]);
  const nothing = mine.length === 0 && waiting.length === 0;
  return (
    <>
      <div class="row apart">
        <Title plain={t("My tickets", "我的预约")}>{t("My tickets", "我的预约")}</Title>
        <a class="button small" href="#/details">{t("My details", "就诊人信息")}</a>
      </div>
      <p class="soft small">{t("They are kept in this browser. To see one on another device, sign in there and open its address.", "凭证保存在本浏览器中。如需在其他设备查看，请登录后打开凭证链接。")}</p>
      {nothing && (
        <div class="empty card"><p>{t("You have no tickets yet.", "您还没有预约。")}</p><a class="button primary" href="#/">{t("Find a session", "预约挂号")}</a></div>
      )}
      <ul class="stack">
        {waiting.map((one) => (
          <li class="card row apart">
            <div>
              <a class="strong" href={to("booking", one.key)}>{doctor(one.session.doctor_name)}</a>
              <p class="small soft">{named(one.session.department)} · <When session={one.session} /></p>
            </div>
            <span class={`badge ${one.state === "failed" ? "bad" : "warn"}`}><i class="dot" />{one.state === "failed" ? t("Not booked", "未能预约")
              : one.state === "stopped" ? t("Stopped, may be booked", "已停止，可能已预约")
              : one.state === "details" ? t("Needs your details", "需填写就诊人信息") : t("Waiting to be let in", "等候受理")}</span>
          </li>
        ))}
        {mine.map((one) => <Row key={one.ticket} one={one} />)}
      </ul>
    </>
  );
}

function Row({ one }: { one: Kept }): preact.JSX.Element {
  const { session, last } = one;
  return (
    <li class="card row apart">
      <div>
        <a class="strong" href={to("ticket", one.ticket)}>{doctor(session.doctor_name)}{last.status === "booked" && last.number !== undefined && t(`, number ${last.number}`, `，${last.number} 号`)}</a>
        <p class="small soft">{named(session.department)} · <When session={session} /></p>
      </div>
      <Sign of={last} />
    </li>
  );
}
