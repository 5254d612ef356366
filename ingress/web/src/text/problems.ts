// What went wrong, in words, with what one can do.
import { NoAnswer, Problem } from "../api/problem";
import { t } from "./language";

export const LIMITS: Record<string, () => string> = {
  patient: () => t("you asked very often", "您的请求过于频繁"),
  address: () => t("many requests come from your network", "您所在网络的请求过多"),
  doctor: () => t("very many people ask for this doctor", "该医生的预约请求过多"),
  department: () => t("very many people ask for this department", "该科室的预约请求过多"),
  campus: () => t("very many people ask for this campus", "该院区的预约请求过多"),
  client: () => t("this app sends too many requests", "当前应用的请求过多"),
  global: () => t("very many people are booking right now", "当前预约人数过多"),
  wait: () => t("the line is too long at the moment", "当前排队过长"),
  undecided: () => t("the line is too long at the moment", "当前排队过长"),
};

/** In the pages' own words, by the kind of problem: what is wrong and what to do. The server's are English. */
const KINDS: Record<string, () => string> = {
  "malformed-request": () => t("The request cannot be read. Load the page again; if that does not help, tell the hospital.", "请求无法识别。请刷新页面，若仍有问题请联系医院。"),
  "idempotency-key-missing": () => t("The request has no key of its own. Load the page again.", "请求缺少凭据，请刷新页面。"),
  "idempotency-key-invalid": () => t("The request's key cannot be used. Load the page again.", "请求凭据无效，请刷新页面。"),
  "idempotency-key-reused": () => t("This key was used for another request. Go back and book anew.", "该凭据已用于其他请求，请返回后重新预约。"),
  "unauthenticated": () => t("You are not signed in any more. Sign in again.", "登录已失效，请重新登录。"),
  "forbidden": () => t("Your account may not do this. Sign in with another one.", "您的账号无权执行此操作，请更换账号。"),
  "no-such-route": () => t("There is nothing at this address. Load the page again.", "该地址不存在，请刷新页面。"),
  "method-not-allowed": () => t("The page asked in a way that this server does not know. Load the page again.", "服务器不支持该操作，请刷新页面。"),
  "unknown-session": () => t("This session is not known any more: its day is past.", "该号源已不存在或日期已过。"),
  "unknown-ticket": () => t("This ticket is not yours, or no longer kept.", "该凭证不属于您，或已不再保存。"),
  "unknown-appointment": () => t("There is no such appointment.", "没有该预约。"),
  "unknown-breaker": () => t("There is no such breaker. Load the page again.", "没有该熔断器，请刷新页面。"),
  "unknown-report": () => t("There is no such report. Choose another one.", "没有该报表，请选择其他报表。"),
  "slow-request": () => t("The request took too long to arrive. Try again.", "请求传输超时，请重试。"),
  "too-large": () => t("What was sent is too long. Shorten it.", "提交的内容过大，请缩短。"),
  "unsupported-media-type": () => t("The server does not read this format. Load the page again.", "服务器不支持该格式，请刷新页面。"),
  "session-closed": () => t("The session is closed. Choose another one.", "该号源已停诊，请选择其他号源。"),
  "session-over": () => t("The session is over. Choose another one.", "该门诊已结束，请选择其他号源。"),
  "session-conflict": () => t("There is a session of this id with another doctor, department or day. Give it another id.", "已存在相同编号但医生、科室或日期不同的号源，请更换编号。"),
  "not-booked": () => t("The ticket holds no appointment.", "该凭证没有有效预约。"),
  "below-booked": () => t("More numbers than that are booked already. Choose a larger capacity.", "已预约的号数超过此容量，请填写更大的容量。"),
  "policy-changed": () => t("Somebody else has set a policy meanwhile. Load it and look again.", "期间他人已修改策略，请重新载入后再试。"),
  "invalid-policy": () => t("The policy breaks a rule. Change what is named, and check it again.", "策略不符合规则，请修改所列内容后重新校验。"),
  "invalid-sessions": () => t("The session cannot be opened as it is. Change what is named.", "号源信息不符合要求，未放出，请修改所列内容。"),
  "invalid-patient": () => t("The hospital cannot use these details. Look at \"My details\" again.", "就诊人信息不符合要求，请检查“就诊人信息”。"),
  "challenge-required": () => t("Your device could not show that it is no program. Load the page again, or use another browser.", "安全校验未通过。请刷新页面，或更换浏览器重试。"),
  "rate-limited": () => t("Too many requests. Wait a moment and try again.", "请求过于频繁，请稍后再试。"),
  "internal": () => t("A fault in the server. Try again later.", "服务器故障，请稍后再试。"),
  "overloaded": () => t("Too much to do at the moment. Nothing was taken; try again.", "系统繁忙，请求未受理，请稍后再试。"),
  "storage-full": () => t("The server has no space left. Nothing was taken; try again later.", "服务器存储空间已满，请求未受理，请稍后再试。"),
  "outcome-unknown": () => t("It is not known whether this was taken. Ask again: it is taken once at most.", "尚不确定请求是否受理。可再次提交，最多受理一次。"),
  "audit-unavailable": () => t("The audit trail cannot be written now, so nothing was done. Try again later.", "审计记录暂不可写，操作未执行，请稍后再试。"),
  "session-frozen": () => t("This session takes no bookings while the hospital looks into it. Appointments that were made stay.", "该号源正在核查，暂停预约；已预约的不受影响。"),
  "breaker-open": () => t("A part of the system is out of order at the moment. Nothing was changed; try again later.", "系统部分功能暂不可用，未做任何更改，请稍后再试。"),
  "unavailable": () => t("The server cannot answer this at the moment. Try again.", "服务器暂时无法响应，请重试。"),
  "stopping": () => t("The server is being restarted. Try again in a moment.", "服务器正在重启，请稍后再试。"),
};

/** Kinds of which the server's own sentence says more than the kind does. */
const SAYS_MORE = new Set(["malformed-request", "invalid-policy", "invalid-sessions", "invalid-patient", "session-conflict"]);

export function explain(error: unknown): string {
  if (error instanceof NoAnswer) {
    return navigator.onLine
      ? t("The server does not answer. Try again.", "服务器没有响应，请重试。")
      : t("There is no connection to the internet.", "当前没有网络连接。");
  }
  if (!(error instanceof Problem)) return String(error);
  return KINDS[error.kind]?.() ?? (error.detail || t("The server refuses this.", "服务器拒绝了该请求。"));
}

/** What the server says beyond that, in English; nothing where it adds nothing. */
export function details(error: unknown): string[] {
  if (!(error instanceof Problem) || !SAYS_MORE.has(error.kind)) return [];
  const errors = error.members["errors"];
  return Array.isArray(errors) && errors.length > 0 ? errors.map(String) : error.detail ? [error.detail] : [];
}

const REASONS: Record<string, () => [string, string]> = {
  sold_out: () => [t("All numbers were taken", "号已约满"), t("Those who were before you in line took the last numbers.", "排在您前面的患者约走了最后的号。")],
  already_booked: () => [t("You already have an appointment", "您已有预约"), t("One appointment per patient, department and day is possible. Cancel the other one first if you prefer this one.", "同一患者同一科室同一天只能预约一次。如需改约，请先取消已有预约。")],
  not_released: () => [t("Not released yet", "尚未放号"), t("Your request came before the release. Ask again from then on.", "您的请求早于放号时间，请在放号后再预约。")],
  session_closed: () => [t("The session was closed", "该门诊已停诊"), t("The hospital closed this session, so you have no appointment in it. You can book another one.", "医院已停止该门诊，您在该门诊的预约无效，可改约其他门诊。")],
  unknown_session: () => [t("The session does not exist", "该号源不存在"), t("It may have been taken back by the hospital.", "可能已被医院撤回。")],
  duplicate: () => [t("Asked twice", "重复请求"), t("The same request was decided already.", "相同的请求已有结果。")],
  expired: () => [t("Too late", "已过期"), t("The session had ended before your turn came.", "轮到您时门诊已结束。")],
  malformed: () => [t("Not readable", "请求无法识别"), t("This is a fault of the page or of the server.", "这是页面或服务器的故障。")],
};

/** A refusal's reason: a heading and a sentence. */
export function reason(code: string | undefined): [string, string] {
  return REASONS[code ?? ""]?.() ?? [t("Refused", "未能预约"), code ?? ""];
}
