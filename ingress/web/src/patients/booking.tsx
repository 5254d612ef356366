// A booking on its way to becoming a ticket: mostly a moment, in a rush a while.
import { useEffect, useRef } from "preact/hooks";
import { working } from "../api/challenge";
import { now } from "../api/time";
import { useCell, useTick } from "../cell";
import { Title } from "../parts/frame";
import { go, instead, to } from "../route";
import { countdown } from "../text/format";
import { t } from "../text/language";
import { doctor, named } from "../text/names";
import { Why } from "../parts/why";
import { LIMITS } from "../text/problems";
import { Problem } from "../api/problem";
import { When } from "./session";
import { book, pending, stop, tickets, withoutDetails } from "./tickets";

export function Booking({ id }: { id: string }): preact.JSX.Element {
  useTick(250);
  const there = useCell(tickets).find((entry) => entry.key === id);
  const busy = useCell(working);
  const one = useCell(pending).find((entry) => entry.key === id);
  const leaving = useRef(false);
  useEffect(() => {
    if (there) instead("ticket", there.ticket);
    else if (!one && !leaving.current) instead("tickets");
  }, [there?.ticket, one === undefined]);
  if (!one) return <p class="empty" role="status">{t("One moment…", "请稍候…")}</p>;
  const { session, state, problem, tries } = one;
  const left = one.againAt === null ? 0 : Math.max(0, one.againAt - now());
  const limit = problem?.limit ? LIMITS[problem.limit]?.() : undefined;
  const back = (): void => go("session", session.session_id);
  // A booking that may exist is not forgotten, and this page says so; of any other there is nothing left to show.
  const giveUp = (): void => {
    leaving.current = true;
    if (stop(id)) leaving.current = false;
    else back();
  };
  const heading = state === "failed" ? t("This cannot be booked", "无法预约")
    : state === "later" ? t("Waiting to be let in", "正在等候受理")
    : state === "stopped" ? t("You may have a booking", "可能已预约")
    : state === "details" ? t("Your details are needed again", "请重新填写就诊人信息")
    : state === "offline" ? t("No connection", "网络连接中断") : t("Booking…", "正在提交预约…");
  return (
    <article class={`card big stack outcome ${state === "failed" ? "bad" : "wait"}`}>
      <Title plain={heading}>{heading}</Title>
      <p><span class="strong">{doctor(session.doctor_name)}</span> · {named(session.department)} · {named(session.campus)}<br /><When session={session} /></p>
      <div class="stack" aria-live="polite">
        {state === "asking" && <p class="note">{busy
          ? t("Your device shows that it is no program: a short calculation, mostly a few seconds. You need not do anything.", "正在进行安全校验：您的设备会自动完成一段计算，通常只需几秒，无需操作。")
          : t("Your request is on its way.", "正在提交您的请求。")}</p>}
        {state === "later" && (
          <div class="note warn stack tight">
            <p>{t("Not let in yet", "暂未受理")}{limit ? t(`: ${limit}.`, `：${limit}。`) : t(": the system is busy.", "：系统繁忙。")}</p>
            <p class="strong">
              {t("This page tries again by itself ", "本页将自动重试：")}
              <span class="number" aria-hidden="true">{left > 0 ? t(`in ${countdown(left)}`, `${countdown(left)} 后`) : t("now", "正在重试")}</span>
            </p>
            <p class="small">{t("Reloading or tapping again does not make it faster. You may close the page: it goes on when you return.",
              "刷新或重复点击不会更快。可以关闭页面，返回后将继续。")}{one.details && t(" Your details end with this tab: you are asked for them again.", "就诊人信息随标签页关闭而清除，届时需重新填写。")}</p>
          </div>
        )}
        {state === "offline" && (
          <div class="note warn stack tight">
            <p>{t("Nobody knows yet whether your request arrived. It is sent again, under the same key: it is taken once at most.",
              "尚不确定请求是否送达。系统会以同一凭据重新提交，最多受理一次。")}</p>
            <p class="strong">{t("Trying again as soon as there is a connection", "网络恢复后将自动重试")}{left > 0 && <span aria-hidden="true"> {t(`(in ${countdown(left)})`, `（${countdown(left)} 后）`)}</span>}</p>
          </div>
        )}
        {state === "details" && <p class="note warn">{t("This booking was to carry your details. They ended with the tab, or when you signed out; it goes on once you have given them again.",
          "此预约需附带就诊人信息。信息已随标签页关闭或退出登录而清除，重新填写后将继续提交。")}</p>}
        {state === "failed" && problem && <Why of={new Problem(problem.status, problem.kind, problem.detail, {}, null)} />}
      </div>
      {one.unsure && (state === "stopped" || state === "failed") && <p class="note warn">{t("A request went out, and nobody knows whether it arrived: an appointment may exist. Ask again to find out, and to cancel it if you do not want it. The request is the same: it is taken once at most.",
        "请求已发出，但尚不确定是否送达，预约可能已经生成。可再次提交以确认，不需要时再取消；重复提交最多受理一次。")}</p>}
      {tries > 1 && state !== "failed" && <p class="small soft">{t(`Tried ${tries} times so far.`, `已尝试 ${tries} 次。`)}</p>}
      <div class="row">
        {state === "failed" && <button class="primary" onClick={() => instead("booking", book(session))}>{t("Try again", "重试")}</button>}
        {state === "stopped" && <button class="primary" onClick={() => book(session)}>{t("Ask again", "再次提交")}</button>}
        {state === "details" && <a class="button primary" href={to("details")}>{t("Give my details", "填写信息")}</a>}
        {state === "details" && <button onClick={() => withoutDetails(id)}>{t("Book without them", "不附带信息预约")}</button>}
        {state === "stopped" || (state === "failed" && one.unsure) ? <button onClick={back}>{t("Back", "返回")}</button>
          : <button onClick={giveUp}>{state === "failed" ? t("Back", "返回") : t("Stop trying", "停止等候")}</button>}
      </div>
    </article>
  );
}
