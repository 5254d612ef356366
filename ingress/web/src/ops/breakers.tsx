// Breakers and the dependencies behind them: see, open, hold, reset.
import { useState } from "preact/hooks";
import { call } from "../api/call";
import type { Breaker, Sample } from "../api/types";
import { zone } from "../hospital";
import { Dialog } from "../parts/dialog";
import { Title } from "../parts/frame";
import { Fresh, type Freshness } from "../parts/live";
import { count, moment, percent } from "../text/format";
import { t } from "../text/language";

export const BREAKER_STATE: Record<Breaker["state"], () => string> = {
  closed: () => t("closed: calls go through", "闭合：正常通行"),
  half_open: () => t("half open: one probe at a time", "半开：逐个试探"),
  open: () => t("open: calls are refused", "断开：拒绝调用"),
};

const GUARDS: Record<string, () => [string, string]> = {
  log: () => [t("takes bookings, cancellations and what ops ask", "接收预约、取消与运营操作"), t("bookings, cancellations and calls of ops answer 503 at once", "预约、取消与运营操作将立即返回 503")],
  ledger: () => [t("decides who gets a number", "决定号归谁"), t("bookings are taken, and the line stands still", "预约仍受理，但队伍停止前进")],
  store: () => [t("keeps decisions and appointments", "保存处理结果与预约"), t("bookings are taken and wait; outcomes are late", "预约仍受理并等待，结果会延迟")],
  "store-reads": () => [t("answers what was decided", "查询已有结果"), t("decided tickets cannot be read; new bookings go on", "无法查询已有结果，新预约不受影响")],
  analytics: () => [t("answers reports", "提供报表"), t("reports answer 503; patients notice nothing", "报表返回 503，患者不受影响")],
};

type Held = Breaker["held"];

export function Breakers({ sample, freshness }: { sample: Sample | null; freshness: Freshness }): preact.JSX.Element {
  const [asked, setAsked] = useState<{ breaker: Breaker; held: Held } | null>(null);
  const title = t("Breakers and dependencies", "熔断器与依赖");
  return (
    <>
      <div class="row apart"><Title plain={title}>{title}</Title><Fresh of={freshness} /></div>
      <p class="soft">{t("Each node has its own and judges by its own calls; these are of the node that serves this page.", "每个节点独立判断；此处为当前页面所在节点的熔断器。")}</p>
      {!sample && <p class="empty" role="status">{t("Waiting for the first numbers…", "正在等待首批数据…")}</p>}
      <ul class="grid">
        {sample?.pipeline.breakers.map((one) => (
          <li key={one.name} class="card stack" data-breaker={one.name}>
            <div class="row apart">
              <h2><code>{one.name}</code></h2>
              <span class={`badge ${one.state === "closed" ? "good" : one.state === "open" ? "bad" : "warn"}`}><i class="dot" />{BREAKER_STATE[one.state]()}</span>
            </div>
            <p class="small soft">{GUARDS[one.name]?.()[0] ?? ""}</p>
            {one.held !== "automatic" && <p class="note warn">{t("Held by hand: ", "人工保持：")}{one.cause}</p>}
            {one.held === "automatic" && one.cause && <p class="small">{one.cause}</p>}
            <dl class="facts small">
              <dt>{t("Since", "自")}</dt><dd>{moment(one.since, zone(), true)}</dd>
              <dt>{t("Calls", "近期调用")}</dt><dd>{count(one.calls)}{one.failed_share !== null && `${t(", failed", "，失败")} ${percent(one.failed_share)}`}{one.mean_ms !== null && `${t(", mean", "，平均")} ${one.mean_ms} ms`}</dd>
              <dt>{t("Opened", "断开次数")}</dt><dd>{count(one.opened_total)}{t(", calls refused", "，拒绝调用")} {count(one.refused_total)}</dd>
            </dl>
            <div class="row">
              {one.held !== "open" && <button class="small" onClick={() => setAsked({ breaker: one, held: "open" })}>{t("Open", "断开")}</button>}
              {one.held !== "closed" && <button class="small" onClick={() => setAsked({ breaker: one, held: "closed" })}>{t("Hold closed", "保持闭合")}</button>}
              <button class="small" onClick={() => setAsked({ breaker: one, held: "automatic" })}>{t("Reset", "复位")}</button>
            </div>
          </li>
        ))}
      </ul>
      {asked && <Ask breaker={asked.breaker} held={asked.held} onClose={() => setAsked(null)} />}
    </>
  );
}

function Ask({ breaker, held, onClose }: { breaker: Breaker; held: Held; onClose(): void }): preact.JSX.Element {
  const [why, setWhy] = useState("");
  const [title, happens, confirm] = {
    open: [t(`Open “${breaker.name}”?`, `断开“${breaker.name}”？`), `${t("Until it is reset: ", "直到复位：")}${GUARDS[breaker.name]?.()[1] ?? ""}${t(".", "。")}`, t("Open it", "确认断开")],
    closed: [t(`Hold “${breaker.name}” closed?`, `保持“${breaker.name}”闭合？`), t("Calls go through however slow or broken the dependency is, until it is reset.", "无论依赖多慢或故障，调用都会放行，直到复位。"), t("Hold it closed", "确认保持闭合")],
    automatic: [t(`Reset “${breaker.name}”?`, `复位“${breaker.name}”？`), t("It starts closed, with nothing measured, and judges by itself again.", "将从闭合状态重新开始，并恢复自动判断。"), t("Reset it", "确认复位")],
  }[held] as [string, string, string];
  return (
    <Dialog title={title} confirm={confirm} danger={held === "open"} onClose={onClose}
      onConfirm={async () => { await call(`/v1/breakers/${breaker.name}`, { method: "PUT", role: "ops", json: { state: held, reason: why } }); }}>
      <p>{happens}</p>
      <label>{t("Why (in the breaker's cause)", "原因（显示在熔断器状态中）")}<input value={why} maxLength={200} onInput={(event) => setWhy(event.currentTarget.value)} /></label>
      <Audited />
    </Dialog>
  );
}

export function Audited(): preact.JSX.Element {
  return <p class="small soft">{t("It is written into the audit trail under your name.", "此操作将以您的名义记入审计。")}</p>;
}
