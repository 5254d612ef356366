// The throttle policy: what is in force, another in its place, and the way back.
import { useEffect, useRef, useState } from "preact/hooks";
import { call } from "../api/call";
import { identities } from "../api/identity";
import { Problem } from "../api/problem";
import type { PolicyVersion } from "../api/types";
import { cell, useCell } from "../cell";
import { zone } from "../hospital";
import { Dialog } from "../parts/dialog";
import { Title } from "../parts/frame";
import { Table } from "../parts/table";
import { Details, Spans, Why } from "../parts/why";
import { moment } from "../text/format";
import { t } from "../text/language";
import { details, explain } from "../text/problems";
import { Audited } from "./breakers";
import { changed, difference } from "./difference";
import { read, write, type Document, type Rate } from "./document";
import { KINDS } from "./limits";
import { Rehearsal, type Rehearsed } from "./rehearsal";

/** What somebody has made of the policy and not set yet. */
interface Draft {
  by: string | undefined;
  /** The version that was in force when they began. */
  from: number;
  text: string;
}

/** It outlives the page: a token may end in the middle of the work, and who signs in again finds it as it was. */
const draftOf = cell<Draft | null>(null);

export function PolicyPage(): preact.JSX.Element {
  const [inForce, setInForce] = useState<PolicyVersion | null>(null);
  const [history, setHistory] = useState<PolicyVersion[]>([]);
  const by = useCell(identities.ops)?.subject;
  const kept = useCell(draftOf);
  const mine = kept?.by === by ? kept : null;
  const [error, setError] = useState<unknown>(null);
  /** Why the server refused the draft as it is, and what it said of it. */
  const [faults, setFaults] = useState<{ why: string; details: string[] } | null>(null);
  /** While the document cannot be read, the limits show what it said last. */
  const readable = useRef<Document | null>(null);
  const [asked, setAsked] = useState<{ policy: Document; title: string; reason: string } | null>(null);
  const [rehearsed, setRehearsed] = useState<Rehearsed | "asking" | null>(null);
  const rehearsals = useRef(0);
  const [overtaken, setOvertaken] = useState(false);
  const [told, setTold] = useState("");
  // What a rehearsal said, or will yet say, holds for one draft beside one policy in force.
  const forgetRehearsal = (): void => {
    rehearsals.current += 1;
    setRehearsed(null);
  };
  const load = async (): Promise<void> => {
    try {
      setInForce(await call<PolicyVersion>("/v1/policy", { role: "ops" }));
      forgetRehearsal();
      setOvertaken(false);
      setHistory(await call<PolicyVersion[]>("/v1/policy/history", { role: "ops" }));
      setError(null);
    } catch (failed) {
      setError(failed);
    }
  };
  useEffect(() => void load(), []);
  const title = t("Throttle policy", "限流策略");
  if (!inForce) return <><Title plain={title}>{title}</Title>{error === null ? <p class="empty" role="status">{t("Loading…", "正在载入…")}</p> : <Why of={error} />}</>;
  const before = write(inForce.policy);
  const text = mine?.text ?? before;
  const setText = (next: string): void => {
    draftOf.set(next === before ? null : { by, from: mine?.from ?? inForce.version, text: next });
    setFaults(null);
    forgetRehearsal();
  };
  const { policy: draft, wrong } = read(text);
  if (draft) readable.current = draft;
  const fields = draft ?? readable.current ?? (inForce.policy as Document);
  const usable = draft !== null && wrong.length === 0;
  const differs = draft !== null && write(draft) !== before;
  const setLimit = (kind: string, rate: Rate | undefined): void => {
    if (!draft) return;
    const limits = { ...draft.limits };
    if (rate) limits[kind] = rate;
    else delete limits[kind];
    setText(write({ ...draft, limits }));
  };
  const failed = (thrown: unknown): void => {
    if (thrown instanceof Problem && thrown.kind === "policy-changed") return setOvertaken(true);
    setFaults({ why: explain(thrown), details: details(thrown) });
  };
  const rehearse = async (): Promise<void> => {
    forgetRehearsal();
    const turn = rehearsals.current;
    setFaults(null);
    setRehearsed("asking");
    try {
      const answer = await call<Rehearsed>("/v1/policy/rehearsals", { method: "POST", role: "ops", json: draft, patience: 60_000 });
      if (turn === rehearsals.current) setRehearsed(answer);
    } catch (thrown) {
      if (turn !== rehearsals.current) return;
      setRehearsed(null);
      failed(thrown);
    }
  };
  const set = async (policy: Document, reason: string): Promise<void> => {
    const next = await call<PolicyVersion>("/v1/policy", { method: "PUT", role: "ops", json: { policy, reason }, headers: { "If-Match": `"${inForce.version}"` } });
    setTold(t(`Version ${next.version} is in force.`, `第 ${next.version} 版已生效。`));
    // A way back leaves what is being written alone.
    if (draft && write(policy) === write(draft)) draftOf.set(null);
    await load();
  };
  return (
    <>
      <div class="row apart"><Title plain={title}>{title}</Title><span class="badge good">{t(`Version ${inForce.version} in force`, `第 ${inForce.version} 版生效中`)}</span></div>
      <p class="soft">{t("Set by", "设置人：")} {inForce.author}{t(", ", "，")}{moment(inForce.set_at, zone(), true)}{inForce.reason && t(`: “${inForce.reason}”`, `，原因：${inForce.reason}`)}{(inForce.scheduled?.length ?? 0) > 0 && <> · {t("scheduled limits that hold now:", "当前生效的定时规则：")} {inForce.scheduled!.join(t(", ", "、"))}</>}</p>
      {told && <p class="note good" role="status">{told}</p>}
      {error !== null && <Why of={error} />}
      <div class="grid two">
        <section class="card stack">
          <h2>{t("Limits", "限流规则")}</h2>
          <p class="small soft">{t("A limit lets in a burst at once, and then so many a second. An empty one does not limit.", "每条规则允许一次性通过“突发量”，此后按每秒速率放行；留空表示不限。")}</p>
          <table class="limits">
            <thead><tr><th>{t("Of", "对象")}</th><th>{t("a second", "每秒")}</th><th>{t("burst", "突发量")}</th></tr></thead>
            <tbody>
              {KINDS.map(([kind, name]) => <Limit key={kind} kind={kind} name={name()} rate={fields.limits?.[kind] ?? undefined} disabled={!draft} onSet={(rate) => setLimit(kind, rate)} />)}
            </tbody>
          </table>
        </section>
        <section class="card stack">
          <h2>{t("The whole document", "完整策略文档")}</h2>
          <label>{t("As JSON: phases, exceptions, lanes and schedules too", "JSON 格式，含阶段、例外、专用通道与定时规则")}
            <textarea class="code" rows={16} spellcheck={false} value={text} aria-invalid={draft === null} aria-describedby={draft === null ? "unreadable" : undefined} onInput={(event) => setText(event.currentTarget.value)} />
          </label>
          {draft === null && <div id="unreadable" class="note bad stack tight" role="alert"><p class="strong">{t("The document cannot be read", "文档无法识别")}</p><p class="breaks"><Spans text={wrong[0]!} /></p></div>}
        </section>
      </div>
      {overtaken && (
        <div class="note warn stack tight" role="alert">
          <p>{t("Somebody else has set a policy meanwhile. Yours was not set, and is kept here.", "期间他人已修改策略。您的策略未启用，内容仍保留在此。")}</p>
          <div class="row"><button onClick={() => void load()}>{t("Load it and look again", "重新载入并核对")}</button></div>
        </div>
      )}
      {mine && mine.from !== inForce.version && <p class="note warn" role="status">{t(`You began this with version ${mine.from}; version ${inForce.version} is in force now. Look at all that changes before you set it.`, `此草稿基于第 ${mine.from} 版，现生效的是第 ${inForce.version} 版。启用前请核对全部变更。`)}</p>}
      {draft && wrong.length > 0 && <div class="note bad stack tight" role="alert"><p class="strong">{t("The policy cannot be used:", "策略无法使用：")}</p><ul class="points">{wrong.map((one) => <li>{one}</li>)}</ul></div>}
      {faults && <div class="note bad stack tight" role="alert"><p class="strong">{faults.why}</p><Details of={faults.details} /></div>}
      <section class="card stack" aria-live="polite">
        <h2>{t("What changes", "变更内容")}</h2>
        {draft === null ? <p class="soft">{t("This is told once the document can be read again. Mend it above, or undo your changes.", "文档恢复可识别后将显示变更。请在上方修正，或撤销修改。")}</p>
          : differs ? <Difference before={before} after={write(draft)} />
          : <p class="soft">{t("Nothing yet. Change a limit above.", "尚无变更，请在上方修改。")}</p>}
        <div class="row">
          <button disabled={!usable || !differs || rehearsed === "asking"} onClick={() => void rehearse()}>{rehearsed === "asking" ? t("Rehearsing…", "正在预演…") : t("Check and rehearse", "校验并预演")}</button>
          <button class="primary" disabled={!usable || !differs || faults !== null} onClick={() => { setFaults(null); setTold(""); if (draft) setAsked({ policy: draft, title: t("Set this policy?", "启用此策略？"), reason: "" }); }}>{t("Set it…", "启用…")}</button>
          <button disabled={text === before} onClick={() => setText(before)}>{t("Undo", "撤销修改")}</button>
        </div>
        {rehearsed && rehearsed !== "asking" && <Rehearsal of={rehearsed} />}
      </section>
      <section class="stack tight">
        <h2>{t("History", "历史版本")}</h2>
        <Table caption={t("History", "历史版本")}>
          <thead><tr><th class="n">{t("Version", "版本")}</th><th>{t("When", "时间")}</th><th>{t("Who", "设置人")}</th><th>{t("Why", "原因")}</th><th>{t("Do", "操作")}</th></tr></thead>
          <tbody>
            {history.map((one) => (
              <tr key={one.version}>
                <td class="n">{one.version}</td><td class="nowrap">{moment(one.set_at, zone(), true)}</td><td>{one.author}</td><td class="breaks">{one.reason || "–"}</td>
                <td>{one.version === inForce.version ? t("in force", "生效中") : <button class="quiet small" onClick={() => setAsked({ policy: one.policy as Document, title: t(`Go back to version ${one.version}?`, `回退到第 ${one.version} 版？`), reason: t(`back to version ${one.version}`, `回退到第 ${one.version} 版`) })}>{t("Go back to it", "回退")}<span class="hidden"> {one.version}</span></button>}</td>
              </tr>
            ))}
          </tbody>
        </Table>
      </section>
      {asked && <Ask asked={asked} before={before} onSet={set} onFaults={failed} onClose={() => setAsked(null)} />}
    </>
  );
}

interface Typed { rate: string; burst: string }

/** What a limit's two inputs say. The one that was typed into last decides: empty, it does not limit; else the other is made of it where it says nothing. */
function limitOf({ rate, burst }: Typed, last: keyof Typed): Rate | undefined {
  if ({ rate, burst }[last] === "") return undefined;
  return {
    rate_per_s: Number(rate === "" ? burst : rate),
    burst: burst === "" ? Math.max(1, Math.round(Number(rate) * 2)) : Number(burst),
  };
}

function Limit({ kind, name, rate, disabled, onSet }: { kind: string; name: string; rate: Rate | undefined; disabled: boolean; onSet(rate: Rate | undefined): void }): preact.JSX.Element {
  // While somebody types, the inputs show what was typed and no more: a number made of its first digit would stay.
  const [typed, setTyped] = useState<Typed | null>(null);
  const shown = typed ?? { rate: String(rate?.rate_per_s ?? ""), burst: String(rate?.burst ?? "") };
  const type = (which: keyof Typed, value: string): void => {
    const next = { ...shown, [which]: value };
    setTyped(next);
    onSet(limitOf(next, which));
  };
  const input = (which: keyof Typed, label: string, min: string, step: string): preact.JSX.Element => (
    <input aria-label={`${kind}: ${label}`} type="number" min={min} max="1000000" step={step} disabled={disabled} value={shown[which]}
      onInput={(event) => type(which, event.currentTarget.value)} onBlur={() => setTyped(null)} />
  );
  return (
    <tr>
      <td>{name}<br /><code class="small soft">{kind}</code></td>
      <td>{input("rate", t("a second", "每秒"), "0.001", "any")}</td>
      <td>{input("burst", t("burst", "突发量"), "1", "1")}</td>
    </tr>
  );
}

function Ask({ asked, before, onSet, onFaults, onClose }: {
  asked: { policy: Document; title: string; reason: string }; before: string;
  onSet(policy: Document, reason: string): Promise<void>; onFaults(thrown: unknown): void; onClose(): void;
}): preact.JSX.Element {
  const [reason, setReason] = useState(asked.reason);
  // Once it is set, the policy in force is this one: the question stays as it was put.
  const [was] = useState(before);
  return (
    <Dialog title={asked.title} confirm={t("Put it in force", "立即生效")} onClose={onClose} onConfirm={async () => {
      try {
        await onSet(asked.policy, reason);
      } catch (thrown) {
        if (!(thrown instanceof Problem) || !["invalid-policy", "policy-changed"].includes(thrown.kind)) throw thrown;
        onFaults(thrown);
      }
    }}>
      <p>{t("It is in force at once on this node and within a second on all others, without a restart. Limits whose numbers stay keep their state.", "将立即在本节点生效，并在一秒内同步到其他节点，无需重启；数值未变的规则保留其状态。")}</p>
      <Difference before={was} after={write(asked.policy)} />
      <label>{t("Why, for those who read the history", "原因（记入历史）")}<input value={reason} required maxLength={300} onInput={(event) => setReason(event.currentTarget.value)} /></label>
      <Audited />
    </Dialog>
  );
}

function Difference({ before, after }: { before: string; after: string }): preact.JSX.Element {
  const lines = changed(difference(before.split("\n"), after.split("\n")));
  return (
    <pre class="diff" role="group" tabIndex={0} aria-label={t("Difference to the policy in force", "与生效策略的差异")}>
      {lines.map((line) => line.kind === "+" ? <ins>+ {line.text}</ins> : line.kind === "-" ? <del>- {line.text}</del> : <span>{line.kind} {line.text}</span>)}
    </pre>
  );
}
