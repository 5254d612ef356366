// Find a session: filters above, sessions below, numbers live.
import { useMemo, useState } from "preact/hooks";
import type { Session } from "../api/types";
import { useCell, useTick } from "../cell";
import { hospital, zone } from "../hospital";
import { Title } from "../parts/frame";
import { Fresh, useStream, type Freshness } from "../parts/live";
import { keep, recall } from "../stored";
import { count, day as dayText, dayOfMonth, weekday, zoneName } from "../text/format";
import { t } from "../text/language";
import { doctor, named } from "../text/names";
import { SessionCard, stateOf } from "./session";

interface Filter { campus: string; department: string; doctor: string; day: string; free: boolean }

const KEY = "orderly.filter";
/** A list longer than this is no help to anybody. */
const SHOWN_MAX = 120;

/** Sessions that a filter lets through, kept up by the server. */
export function useSessions(query: Record<string, string>): { sessions: Session[] | null; freshness: Freshness } {
  const path = `/v1/sessions/events?${new URLSearchParams(Object.entries(query).filter(([, value]) => value !== ""))}`;
  const [state, setState] = useState<{ path: string; known: Map<string, Session> | null }>({ path, known: null });
  const box = useMemo(() => ({ known: null as Map<string, Session> | null, fresh: false }), [path]);
  const freshness = useStream(path, undefined, ({ name, data }) => {
    const sessions = JSON.parse(data) as Session[];
    // A snapshot may come in several events; the first that follows changes begins anew.
    if (name === "snapshot" && !box.fresh) box.known = new Map();
    box.fresh = name === "snapshot";
    box.known = new Map(box.known ?? []);
    for (const session of sessions) box.known.set(session.session_id, session);
    setState({ path, known: box.known });
  });
  if (freshness.line !== "live") box.fresh = false;
  const known = state.path === path ? state.known : null;
  const sessions = useMemo(() => known && [...known.values()].sort((a, b) =>
    a.day.localeCompare(b.day) || a.department.localeCompare(b.department) || a.start.localeCompare(b.start) || a.doctor_id.localeCompare(b.doctor_id)), [known]);
  return { sessions, freshness };
}

export function Find(): preact.JSX.Element {
  const all = useCell(hospital);
  useTick(1000);
  const [filter, setFilter] = useState<Filter>(() => ({ campus: "", department: "", doctor: "", day: "", free: false, ...recall<Partial<Filter>>(KEY, {}) }));
  const change = (changes: Partial<Filter>): void => {
    const next = { ...filter, ...changes };
    setFilter(next);
    keep(KEY, next);
  };
  const days = all?.days ?? [];
  // A day that is past, or a hospital that was not asked yet: the first day on which something can be had.
  const day = days.some((one) => one.day === filter.day) || filter.doctor !== "" && filter.day === ""
    ? filter.day : (days.find((one) => one.remaining > 0) ?? days[0])?.day ?? "";
  const { sessions, freshness } = useSessions({ campus: filter.campus, department: filter.department, doctor: filter.doctor, day });
  const doctors = (all?.doctors ?? []).filter((one) => (filter.department === "" || one.department === filter.department) && (filter.campus === "" || one.campus === filter.campus));
  const shown = (sessions ?? []).filter((session) => !filter.free || stateOf(session) === "open");
  const groups = new Map<string, Session[]>();
  for (const session of shown.slice(0, SHOWN_MAX)) {
    const key = day === "" ? session.day : session.department;
    groups.set(key, [...(groups.get(key) ?? []), session]);
  }
  const places = shown.reduce((sum, session) => sum + (stateOf(session) === "open" ? session.remaining : 0), 0);
  return (
    <>
      <div class="row apart">
        <Title plain={t("Find a session", "预约挂号")}>{t("Find a session", "预约挂号")}</Title>
        <Fresh of={freshness} />
      </div>
      <form class="stack" onSubmit={(event) => event.preventDefault()}>
        <div class="filters">
          <label>{t("Department", "科室")}
            <select value={filter.department} onChange={(event) => change({ department: event.currentTarget.value, doctor: "" })}>
              <option value="">{t("All", "全部科室")}</option>
              {(all?.departments ?? []).map((id) => <option value={id}>{named(id)}</option>)}
            </select>
          </label>
          <label>{t("Campus", "院区")}
            <select value={filter.campus} onChange={(event) => change({ campus: event.currentTarget.value, doctor: "" })}>
              <option value="">{t("All", "全部院区")}</option>
              {(all?.campuses ?? []).map((id) => <option value={id}>{named(id)}</option>)}
            </select>
          </label>
          <label>{t("Doctor", "医生")}
            <select value={filter.doctor} onChange={(event) => change({ doctor: event.currentTarget.value, day: event.currentTarget.value ? "" : filter.day })}>
              <option value="">{t("All", "全部医生")}</option>
              {doctors.map((one) => <option value={one.doctor_id}>{doctor(one.doctor_name)}</option>)}
            </select>
          </label>
          <label>{t("Show", "显示")}
            <select value={filter.free ? "free" : "all"} onChange={(event) => change({ free: event.currentTarget.value === "free" })}>
              <option value="all">{t("All sessions", "全部号源")}</option>
              <option value="free">{t("Only with places now", "仅看有号")}</option>
            </select>
          </label>
        </div>
        <fieldset class="days" aria-label={t("Day", "日期")} style={{ border: 0, minWidth: 0 }}>
          {filter.doctor !== "" && <Day value="" chosen={day === ""} onChoose={() => change({ day: "" })} />}
          {days.map((one) => <Day value={one.day} chosen={day === one.day} onChoose={() => change({ day: one.day })} />)}
        </fieldset>
      </form>
      <p class="soft small">
        {sessions !== null && <>{t(`${count(shown.length)} sessions, ${count(places)} places can be had now. `, `共 ${count(shown.length)} 个号源，当前可约 ${count(places)} 个号。`)}</>}
        {t("Times are the hospital's: ", "时间均为医院当地时间：")}{zoneName(zone())}
      </p>
      {sessions === null ? <p class="empty" role="status">{t("Loading the sessions…", "正在载入号源…")}</p>
        : shown.length === 0 ? (
          <div class="empty card">
            <p>{t("There is no session like that.", "没有符合条件的号源。")}</p>
            <button onClick={() => change({ campus: "", department: "", doctor: "", day: "", free: false })}>{t("Show all", "显示全部")}</button>
          </div>
        ) : [...groups].map(([key, of]) => (
          <section class="group" aria-label={day === "" ? dayText(key) : named(key)}>
            <h2>{day === "" ? dayText(key) : named(key)}</h2>
            <ul class="grid">{of.map((session) => <SessionCard key={session.session_id} session={session} withDay={day === ""} />)}</ul>
          </section>
        ))}
      {shown.length > SHOWN_MAX && <p class="note">{t(`The first ${SHOWN_MAX} are shown. Choose a department to see the others.`, `仅显示前 ${SHOWN_MAX} 个，请选择科室查看其余号源。`)}</p>}
    </>
  );
}

function Day({ value, chosen, onChoose }: { value: string; chosen: boolean; onChoose(): void }): preact.JSX.Element {
  return (
    <label>
      <input type="radio" name="day" checked={chosen} onChange={onChoose} />
      {value === "" ? <span><b>{t("All", "全部")}</b><small>{t("days", "日期")}</small></span>
        : <span><b>{dayOfMonth(value)}</b><small>{weekday(value)}</small></span>}
    </label>
  );
}
