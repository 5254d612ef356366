// Who is looking. In a demo one chooses; else the hospital's identity provider says.
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { call } from "../api/call";
import { demoPatient, ended, identities, rememberDemoPatient, take, type Role } from "../api/identity";
import { useCell } from "../cell";
import { demo } from "../hospital";
import { explain } from "../text/problems";
import { t } from "../text/language";
import { Title } from "./frame";

/** Signs in to the demo. */
export async function demoToken(role: Role, sub: string): Promise<void> {
  const { access_token } = await call<{ access_token: string }>("/v1/demo/token", { method: "POST", json: { sub, role } });
  if (role === "patient") rememberDemoPatient(sub);
  take(role, access_token);
}

export function SignIn({ role, why }: { role: Role; why: string }): preact.JSX.Element {
  const isDemo = useCell(demo);
  const [sub, setSub] = useState(role === "patient" ? demoPatient() : role === "ops" ? "amy" : "ada");
  const [token, setToken] = useState("");
  const [error, setError] = useState<string | null>(null);
  const [unfit, setUnfit] = useState<string | null>(null);
  const isEnded = useCell(ended);
  const inDemo = async (event: Event): Promise<void> => {
    event.preventDefault();
    setError(null);
    try {
      await demoToken(role, sub.trim());
    } catch (failed) {
      setError(explain(failed));
    }
  };
  const paste = (event: Event): void => {
    event.preventDefault();
    const wrong = take(role, token);
    setUnfit(wrong === null ? null : wrong === "expired"
      ? t("This token has ended. Get a new one from the hospital's sign-in page.", "该令牌已过期，请从医院登录页面重新获取。")
      : wrong === "role"
      ? t("This token is not for this room.", "该令牌没有此页面的权限。")
      : t("This is not a token. Copy all of it.", "这不是有效的令牌，请完整复制。"));
  };
  return (
    <div class="stack sign-in">
      <Title plain={t("Sign in", "登录")}>{t("Sign in", "登录")}</Title>
      <p class="soft">{why}</p>
      {isEnded && <p class="note warn" role="status">{t("Your sign-in has ended, or the server does not accept it. Sign in again: what was begun goes on then.", "登录已过期或未被服务器接受。请重新登录，未完成的操作将继续。")}</p>}
      {isDemo && (
        <form class="card stack" onSubmit={(event) => void inDemo(event)}>
          <h2>{t("This is a demo: sign in as anybody", "演示环境：可用任意账号登录")}</h2>
          <label>{t("Name", "账号")}<input value={sub} required autocomplete="off" onInput={(event) => setSub(event.currentTarget.value)} /></label>
          {error && <p class="note bad" role="alert">{error}</p>}
          <button class="primary">{t("Continue", "继续")}</button>
        </form>
      )}
      <details class="card" open={!isDemo}>
        <summary>{t("With a token", "使用令牌登录")}</summary>
        <form class="stack" onSubmit={paste}>
          <p class="small soft">
            {t("The hospital's sign-in page brings you here with a token. If you have one, paste it. It stays in this tab and ends with it.",
              "医院的登录页面会携带令牌跳转到此处。如已有令牌，请粘贴；令牌仅保存在当前标签页，关闭即失效。")}
          </p>
          <label>{t("Token", "令牌")}<textarea class="code" rows={3} required value={token} aria-invalid={unfit !== null} onInput={(event) => { setUnfit(null); setToken(event.currentTarget.value); }} /></label>
          {unfit && <p class="note bad" role="alert">{unfit}</p>}
          <button>{t("Use it", "登录")}</button>
        </form>
      </details>
    </div>
  );
}

/** The room, for those who are signed in. */
export function ForRole({ role, why, children }: { role: Role; why: string; children: ComponentChildren }): preact.JSX.Element {
  const identity = useCell(identities[role]);
  return identity ? <>{children}</> : <SignIn role={role} why={why} />;
}
