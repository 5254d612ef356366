// What the hospital may need to call the patient or to check them in. All of it can be left out. It stays in this tab, and goes
// with bookings; the server seals it before it is written anywhere.
import { useState } from "preact/hooks";
import { detailsKey, identities } from "../api/identity";
import { cell, useCell } from "../cell";
import { Title } from "../parts/frame";
import { keep, recall, session } from "../stored";
import { t } from "../text/language";

export interface Details { name?: string; phone?: string; identity_number?: string }

function remembered(): Details {
  const who = identities.patient.get();
  return who ? recall<Details>(detailsKey(who.subject), {}, session) : {};
}

export const details = cell<Details>(remembered());
identities.patient.listen(() => details.set(remembered()));

/** As a booking has it: nothing when nothing was given. */
export function given(): { patient?: Details } {
  const known = Object.fromEntries(Object.entries(details.get()).filter(([, value]) => value));
  return Object.keys(known).length > 0 ? { patient: known } : {};
}

/** The details of whoever is signed in as `subject`. */
export function DetailsPage({ subject }: { subject: string }): preact.JSX.Element {
  const known = useCell(details);
  const [form, setForm] = useState<Details>(known);
  const [saved, setSaved] = useState(false);
  const title = t("My details", "就诊人信息");
  const field = (name: keyof Details, label: string, hint: string, more: { pattern: string; maxLength: number; inputMode?: "tel"; autocomplete: string }): preact.JSX.Element => (
    <label>{label}
      <input value={form[name] ?? ""} aria-describedby={`hint-${name}`} {...more} onInput={(event) => { setSaved(false); setForm({ ...form, [name]: event.currentTarget.value.trim() }); }} />
      <span id={`hint-${name}`}>{hint}</span>
    </label>
  );
  return (
    <>
      <p><a href="#/tickets">← {t("My tickets", "我的预约")}</a></p>
      <form class="card big stack" onSubmit={(event) => {
        event.preventDefault();
        keep(detailsKey(subject), form, session);
        details.set(form);
        setSaved(true);
      }}>
        <Title plain={title}>{title}</Title>
        <p class="soft">{t("Give what the hospital may use to call you or to check you in. All of it can be left out. It stays in this tab until you close it or sign out, goes with your next bookings, and is kept encrypted.",
          "供医院联系您或核对身份使用，均可不填。信息仅保存在当前标签页（关闭或退出登录即清除），随后续预约提交，并由医院加密保存。")}</p>
        {field("name", t("Name", "姓名"), t("up to 100 characters", "最多 100 个字符"), { pattern: ".{1,100}", maxLength: 100, autocomplete: "name" })}
        {field("phone", t("Phone", "手机号"), t("5 to 20 digits, with a + before the country's code", "5 至 20 位数字，国际号码请加 +"), { pattern: "\\+?[0-9]{5,20}", maxLength: 21, inputMode: "tel", autocomplete: "tel" })}
        {field("identity_number", t("Number of your identity card or passport", "身份证或护照号"), t("4 to 32 letters, digits, hyphens or parentheses", "4 至 32 位字母、数字、连字符或括号"), { pattern: "[A-Za-z0-9()\\-]{4,32}", maxLength: 32, autocomplete: "off" })}
        <div class="row"><button class="primary">{t("Keep for this visit", "保存")}</button></div>
        {saved && <p class="note good" role="status">{t("Kept. Your next bookings carry it.", "已保存，后续预约将携带此信息。")}</p>}
      </form>
    </>
  );
}
