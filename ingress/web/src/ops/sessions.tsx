// Sessions with their fill level: open, close, resize.
import { useEffect, useState } from "preact/hooks";
import { call } from "../api/call";
import type { PolicyVersion, Session } from "../api/types";
import { Problem } from "../api/problem";
import { useCell, useTick } from "../cell";
import { hospital, load, zone } from "../hospital";
import { Dialog } from "../parts/dialog";
import { Title } from "../parts/frame";
import { Fresh } from "../parts/live";
import { Table } from "../parts/table";
import { moment as momentOf } from "../patients/calendar";
import { useSessions } from "../patients/find";
import { stateOf } from "../patients/session";
import { count, day as dayText, moment, percent } from "../text/format";
import { t } from "../text/language";
import { doctor, named } from "../text/names";
import { Audited } from "./breakers";

const SHOWN_MAX = 300;
const wait = { Prefer: "wait=5" };

export function Sessions(): preact.JSX.Element {
  const all = useCell(hospital);
  useTick(1000);
  const [chosen, setChosen] = useState({ day: "", department: "", campus: "" });
  const day = chosen.day || (all?.days[0]?.day ?? "");
  const { sessions, freshness } = useSessions({ ...chosen, day });
  const [asked, setAsked] = useState<{ what: "close" | "resize" | "freeze"; session: Session } | "open" | null>(null);
  const frozen = useFrozen(asked);
  const title = t("Sessions", "号源");
  const state = { open: t("Open", "可约"), full: t("Full", "约满"), scheduled: t("Scheduled", "待放号"), closed: t("Closed", "已停诊") };
  const pick = (name: "day" | "department" | "campus", label: string, options: [string, string][]): preact.JSX.Element => (
    <label>{label}
      <select value={name === "day" ? day : chosen[name]} onChange={(event) => setChosen({ ...chosen, [name]: event.currentTarget.value })}>
        {options.map(([value, text]) => <option value={value}>{text}</option>)}
      </select>
    </label>
  );
  return (
    <>
      <div class="row apart"><Title plain={title}>{title}</Title><div class="row"><Fresh of={freshness} /><button class="primary" onClick={() => setAsked("open")}>{t("Open a session", "新增号源")}</button></div></div>
      <div class="filters">
        {pick("day", t("Day", "日期"), (all?.days ?? []).map((one) => [one.day, dayText(one.day, "short")]))}
        {pick("department", t("Department", "科室"), [["", t("All", "全部")], ...(all?.departments ?? []).map((id): [string, string] => [id, named(id)])])}
        {pick("campus", t("Campus", "院区"), [["", t("All", "全部")], ...(all?.campuses ?? []).map((id): [string, string] => [id, named(id)])])}
      </div>
      <Table caption={title} cards>
        <thead><tr><th>{t("Doctor", "医生")}</th><th>{t("Department", "科室")}</th><th>{t("Campus", "院区")}</th><th>{t("Time", "时间")}</th><th>{t("State", "状态")}</th><th class="n">{t("Booked", "已约")}</th><th>{t("Fill level", "使用率")}</th><th class="acts">{t("Do", "操作")}</th></tr></thead>
        <tbody>
          {(sessions ?? []).slice(0, SHOWN_MAX).map((one) => {
            const now = stateOf(one);
            const booked = one.capacity - one.remaining;
            return (
              <tr key={one.session_id} data-session={one.session_id}>
                <td>{doctor(one.doctor_name)}</td><td>{named(one.department)}</td><td>{named(one.campus)}</td><td class="nowrap">{one.start}–{one.end}</td>
                <td>{frozen.has(one.session_id) && <><span class="badge bad">{t("Frozen", "已冻结")}</span> </>}<span class={`badge ${now === "open" ? "good" : now === "full" ? "warn" : now === "closed" ? "bad" : "info"}`}>{state[now]}</span>
                  {now === "scheduled" && <span class="small soft nowrap"> {moment(one.release_at, one.timezone)}</span>}</td>
                <td class="n">{now === "closed" ? "–" : `${count(booked)} / ${count(one.capacity)}`}</td>
                <td style={{ minWidth: "7rem" }}>{now !== "closed" && <><span class="small">{percent(booked / one.capacity)}</span><div class="meter" aria-hidden="true"><i style={{ width: `${(100 * booked) / one.capacity}%` }} /></div></>}</td>
                <td class="acts">
                  {now !== "closed" && <>
                    <button class="quiet small" onClick={() => setAsked({ what: "resize", session: one })}>{t("Resize", "调整")}<span class="hidden"> {doctor(one.doctor_name)} {one.start}</span></button>
                    <button class="quiet small" onClick={() => setAsked({ what: "freeze", session: one })}>{frozen.has(one.session_id) ? t("Thaw", "解冻") : t("Freeze", "冻结")}<span class="hidden"> {doctor(one.doctor_name)} {one.start}</span></button>
                    <button class="quiet small" onClick={() => setAsked({ what: "close", session: one })}>{t("Close", "停诊")}<span class="hidden"> {doctor(one.doctor_name)} {one.start}</span></button>
                  </>}
                </td>
              </tr>
            );
          })}
          {sessions === null && <tr><td colSpan={8} class="soft" role="status">{t("Loading the sessions…", "正在载入号源…")}</td></tr>}
          {sessions?.length === 0 && <tr><td colSpan={8} class="soft">{t("There is no session like that. Choose another day, or all departments and campuses.", "没有符合条件的号源，请选择其他日期、科室或院区。")}</td></tr>}
        </tbody>
      </Table>
      {(sessions?.length ?? 0) > SHOWN_MAX && <p class="note">{t(`The first ${SHOWN_MAX} are shown.`, `仅显示前 ${SHOWN_MAX} 个。`)}</p>}
      {asked === "open" ? <Open onClose={() => setAsked(null)} />
        : asked?.what === "close" ? <Close session={asked.session} onClose={() => setAsked(null)} />
        : asked?.what === "freeze" ? <Freeze session={asked.session} thaw={frozen.has(asked.session.session_id)} onClose={() => setAsked(null)} />
        : asked?.what === "resize" ? <Resize session={asked.session} onClose={() => setAsked(null)} /> : null}
    </>
  );
}

const of = (session: Session): string => [doctor(session.doctor_name), named(session.department), `${dayText(session.day)} ${session.start}–${session.end}`].join(t(", ", "，"));

function Close({ session, onClose }: { session: Session; onClose(): void }): preact.JSX.Element {
  const [cause, setCause] = useState("");
  const booked = session.capacity - session.remaining;
  return (
    <Dialog danger title={t("Close this session?", "确定停诊？")} confirm={t("Close the session", "确定停诊")} onClose={onClose}
      onConfirm={async () => { await call(`/v1/sessions/${encodeURIComponent(session.session_id)}/close`, { method: "POST", role: "ops", json: { cause }, headers: wait }); }}>
      <p class="strong">{of(session)}</p>
      <p>{t(`It cannot be booked any more. ${count(booked)} appointments are cancelled now, and each patient is told, with your cause. It cannot be taken back.`,
        `将无法继续预约，${count(booked)} 个预约会立即取消并附停诊原因通知患者，且无法撤销。`)}</p>
      <label>{t("Cause, as the patients read it", "停诊原因（患者可见）")}<textarea rows={2} maxLength={300} required value={cause} onInput={(event) => setCause(event.currentTarget.value)} /></label>
      <Audited />
    </Dialog>
  );
}

interface Policy { frozen?: string[] }

const inForce = (): Promise<PolicyVersion> => call<PolicyVersion>("/v1/policy", { role: "ops" });

/** Sessions that the policy freezes: looked up when the page is opened or looked at again, and after each question. */
function useFrozen(asked: unknown): Set<string> {
  const [frozen, setFrozen] = useState(new Set<string>());
  useEffect(() => {
    const look = (): void => void inForce().then(({ policy }) => setFrozen(new Set((policy as Policy).frozen ?? [])), () => undefined);
    if (asked === null) look();
    addEventListener("focus", look);
    return () => removeEventListener("focus", look);
  }, [asked]);
  return frozen;
}

function Freeze({ session, thaw, onClose }: { session: Session; thaw: boolean; onClose(): void }): preact.JSX.Element {
  const [reason, setReason] = useState("");
  const change = async (): Promise<void> => {
    const { policy, version } = await inForce();
    const others = ((policy as Policy).frozen ?? []).filter((id) => id !== session.session_id);
    const json = { policy: { ...(policy as Policy), frozen: thaw ? others : [...others, session.session_id] }, reason };
    await call("/v1/policy", { method: "PUT", role: "ops", json, headers: { "If-Match": `"${version}"` } });
  };
  return (
    <Dialog danger={!thaw} title={thaw ? t("Thaw this session?", "解除冻结？") : t("Freeze this session?", "冻结该号源？")}
      confirm={thaw ? t("Thaw it", "确定解冻") : t("Freeze it", "确定冻结")} onClose={onClose} onConfirm={change}>
      <p class="strong">{of(session)}</p>
      <p>{thaw ? t("It can be booked again at once.", "将立即恢复预约。")
        : t("It takes no new bookings until it is thawed. Appointments that were made stay, and can be cancelled. It is a new version of the policy.", "解冻前暂停新的预约；已有预约保留，仍可取消。此操作会生成新的策略版本。")}</p>
      <label>{t("Why, for those who read the history", "原因（供查阅历史）")}<textarea rows={2} maxLength={300} required value={reason} onInput={(event) => setReason(event.currentTarget.value)} /></label>
      <Audited />
    </Dialog>
  );
}

function Resize({ session, onClose }: { session: Session; onClose(): void }): preact.JSX.Element {
  const [capacity, setCapacity] = useState(session.capacity);
  const booked = session.capacity - session.remaining;
  const difference = capacity - session.capacity;
  const happens = difference > 0 ? t(`${count(difference)} more numbers can be had at once.`, `将立即增加 ${count(difference)} 个号。`)
    : difference < 0 ? t(`${count(-difference)} fewer numbers can be had. It is refused if a number above ${count(capacity)} is booked.`, `将减少 ${count(-difference)} 个号；若 ${count(capacity)} 号之后的号已被预约，则无法调整。`)
    : t("Nothing changes.", "没有变化。");
  return (
    <Dialog title={t("Change the capacity?", "调整号源数量？")} confirm={t("Change it", "确定调整")} onClose={onClose}
      onConfirm={async () => { await call(`/v1/sessions/${encodeURIComponent(session.session_id)}`, { method: "PATCH", role: "ops", json: { capacity }, headers: wait }); }}>
      <p class="strong">{of(session)}</p>
      <label>{t(`Capacity (${count(booked)} are booked)`, `总号数（已约 ${count(booked)}）`)}
        <input type="number" min={Math.max(1, booked)} max={100000} required value={capacity} onInput={(event) => setCapacity(Number(event.currentTarget.value))} />
      </label>
      <p>{happens}</p>
      <Audited />
    </Dialog>
  );
}

function Open({ onClose }: { onClose(): void }): preact.JSX.Element {
  const all = useCell(hospital);
  const here = zone();
  const first = all?.doctors[0];
  const [form, setForm] = useState({
    doctor_id: first?.doctor_id ?? "", day: all?.days[all.days.length - 1]?.day ?? "", start: "18:00", end: "20:00", capacity: 10,
    release_day: all?.days[0]?.day ?? "", release_time: "08:00",
  });
  const set = (name: keyof typeof form) => (event: { currentTarget: HTMLInputElement | HTMLSelectElement }): void => {
    const { value } = event.currentTarget;
    setForm({ ...form, [name]: name === "capacity" ? Number(value) : value });
  };
  const who = all?.doctors.find((one) => one.doctor_id === form.doctor_id);
  const open = async (): Promise<void> => {
    if (!who) return;
    const release_at = new Date(momentOf(form.release_day, form.release_time, here)).toISOString();
    const session_id = `${who.department.slice(0, 4)}-${form.day}-${form.start.replace(":", "")}-${who.doctor_id}`;
    const session = { session_id, ...who, day: form.day, start: form.start, end: form.end, timezone: here, capacity: form.capacity, release_at };
    const answer = await call<{ refused?: { reason: string }[] }>("/v1/sessions", { method: "PUT", role: "ops", json: [session], headers: wait });
    const refused = answer.refused?.[0];
    if (refused) throw new Problem(409, "refused", t(`The pipeline refused it: ${refused.reason}`, `系统拒绝：${refused.reason}`), {}, null);
    // Its day may be one that nobody could choose before.
    void load();
  };
  return (
    <Dialog title={t("Open a session", "新增号源")} confirm={t("Open it", "确定新增")} onClose={onClose} onConfirm={open}>
      <label>{t("Doctor", "医生")}
        <select value={form.doctor_id} onChange={set("doctor_id")}>{(all?.doctors ?? []).map((one) => <option value={one.doctor_id}>{doctor(one.doctor_name)} · {named(one.department)}</option>)}</select>
      </label>
      <div class="filters">
        <label>{t("Day", "日期")}<input type="date" required value={form.day} onInput={set("day")} /></label>
        <label>{t("From", "开始")}<input type="time" required value={form.start} onInput={set("start")} /></label>
        <label>{t("To", "结束")}<input type="time" required value={form.end} onInput={set("end")} /></label>
        <label>{t("Numbers", "号数")}<input type="number" min={1} max={100000} required value={form.capacity} onInput={set("capacity")} /></label>
        <label>{t("Released on", "放号日期")}<input type="date" required value={form.release_day} onInput={set("release_day")} /></label>
        <label>{t("Released at", "放号时间")}<input type="time" required value={form.release_time} onInput={set("release_time")} /></label>
      </div>
      <p>{t(`${count(form.capacity)} numbers can be had from the release on; at once, when that is past. Times are in ${here}.`, `放号时间起可预约 ${count(form.capacity)} 个号；若放号时间已过则立即可约。时区：${here}。`)}</p>
      <Audited />
    </Dialog>
  );
}
