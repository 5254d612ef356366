// What every room has around it.
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { useCell } from "../cell";
import { identities, leave, offered, takeEverywhere, type Role } from "../api/identity";
import { choose, language, t } from "../text/language";
import { demo } from "../hospital";
import { Dialog } from "./dialog";

export function Brand(): preact.JSX.Element {
  return (
    <svg viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" fill="var(--accent)" />
      <g fill="none" stroke="var(--accent-ink)" stroke-width="3" stroke-linecap="round"><path d="M8 10h16M8 16h11M8 22h6" /></g>
    </svg>
  );
}

const ROOMS: { path: string; role: Role; name: () => string }[] = [
  { path: "/", role: "patient", name: () => t("Patients", "患者") },
  { path: "/ops", role: "ops", name: () => t("Ops", "运营") },
  { path: "/reports", role: "analyst", name: () => t("Reports", "报表") },
];

export function Frame({ role, nav, narrow, children }: {
  role: Role; nav?: ComponentChildren; narrow?: boolean; children: ComponentChildren;
}): preact.JSX.Element {
  useCell(language);
  const isDemo = useCell(demo);
  const identity = useCell(identities[role]);
  const seen = ROOMS.filter((room) => room.role === role || isDemo || identity?.roles.includes(room.role));
  return (
    <>
      <a class="skip button" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById("main")?.focus(); }}>
        {t("Skip to the content", "跳到正文")}
      </a>
      <header class="bar">
        <div>
          <a class="brand" href={ROOMS.find((room) => room.role === role)!.path}><Brand />Orderly</a>
          {nav}
          <div class="end">
            {seen.length > 1 && (
              <label>
                <span class="hidden">{t("Room", "页面")}</span>
                <select class="rooms" value={role} onChange={(event) => {
                  const room = ROOMS.find((one) => one.role === event.currentTarget.value);
                  if (room) location.assign(room.path);
                }}>
                  {seen.map((room) => <option value={room.role}>{room.name()}</option>)}
                </select>
              </label>
            )}
            <button class="small" lang={language.get() === "zh" ? "en" : "zh-CN"} onClick={() => choose(language.get() === "zh" ? "en" : "zh")}>
              {language.get() === "zh" ? "English" : "中文"}
            </button>
          </div>
        </div>
      </header>
      <Offered />
      <main id="main" tabIndex={-1} class={narrow ? "narrow" : undefined}>{children}</main>
      <footer>
        {identity && (
          <span class="row">
            <span class="breaks">{t("Signed in as", "当前身份：")} {identity.subject}</span>
            <button class="quiet small" onClick={() => leave(role)}>{t("Sign out", "退出")}</button>
          </span>
        )}
        <a href="/docs">{t("API", "接口文档")}</a>
      </footer>
    </>
  );
}

/** Whoever is signed in is not replaced by a link without being asked. */
function Offered(): preact.JSX.Element | null {
  const offer = useCell(offered);
  if (!offer) return null;
  const { identity, instead } = offer;
  return (
    <Dialog key={identity.token} title={t("Sign in with another account?", "切换账号？")} confirm={t(`Sign in as ${identity.subject}`, `以 ${identity.subject} 登录`)}
      onConfirm={async () => takeEverywhere(identity)} onClose={() => offered.set(null)}>
      <p class="breaks">{t(`You are signed in as ${instead}. A link wants to sign you in as ${identity.subject}: what you book then is that account's. Go back if you did not ask for it.`,
        `您当前的身份是 ${instead}。一个链接要求改以 ${identity.subject} 登录，此后的预约将归该账号所有。若非本人操作，请返回。`)}</p>
    </Dialog>
  );
}

/** The page's heading. It gets the focus when one comes from elsewhere in the room, so that a screen reader says it. */
export function Title({ children, plain }: { children: ComponentChildren; plain: string }): preact.JSX.Element {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => { document.title = `${plain} · Orderly`; }, [plain]);
  useEffect(() => {
    if (moved) heading.current?.focus({ preventScroll: true });
    moved = true;
  }, []);
  return <h1 ref={heading} tabIndex={-1}>{children}</h1>;
}
let moved = false;
