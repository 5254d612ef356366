// Renders /openapi.json. All text goes through textContent, so nothing in the description can become markup.
"use strict";

// Chosen in the app, or the browser's: the same key, so that both agree.
const KEY = "orderly.language";

function language() {
  try {
    const chosen = JSON.parse(localStorage.getItem(KEY));
    if (chosen === "zh" || chosen === "en") return chosen;
  } catch {
    // Nothing was chosen, or the browser keeps nothing.
  }
  const first = navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => tag === "zh" || tag === "en");
  return first === "zh" ? "zh" : "en";
}

const zh = language() === "zh";
const t = (english, chinese) => (zh ? chinese : english);

function speak() {
  const other = document.getElementById("language");
  other.textContent = t("中文", "English");
  other.lang = t("zh-CN", "en");
  other.hidden = false;
  other.addEventListener("click", () => {
    try {
      localStorage.setItem(KEY, JSON.stringify(t("zh", "en")));
      location.reload();
    } catch {
      other.hidden = true;
    }
  });
  if (!zh) return;
  document.documentElement.lang = "zh-CN";
  document.title = "Orderly 接口文档";
  document.getElementById("foreign").hidden = false;
  for (const node of document.querySelectorAll("[data-zh]")) node.textContent = node.dataset.zh;
}

// A text in which `code` is marked by backticks.
function spans(text) {
  return text.split("`").map((part, index, all) => {
    if (index % 2 === 0) return part;
    if (index === all.length - 1) return "`" + part;
    const code = document.createElement("code");
    code.textContent = part;
    return code;
  });
}

function el(name, text, ...children) {
  const node = document.createElement(name);
  if (text) node.append(...spans(text));
  node.append(...children);
  return node;
}

// As the description has it: English, whatever the page speaks.
function told(name, text) {
  const node = el(name, text);
  node.lang = "en";
  return node;
}

function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  const variants = schema.oneOf || schema.anyOf || schema.allOf;
  if (variants) return variants.map(typeOf).filter(Boolean).join(" | ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.type === "array") return typeOf(schema.items) + "[]";
  const type = Array.isArray(schema.type) ? schema.type.join(" | ") : schema.type || "any";
  return schema.format ? `${type} (${schema.format})` : type;
}

function table(heads, rows) {
  const head = el("tr", "", ...heads.map((text) => el("th", text)));
  const body = rows.map((cells) => el("tr", "", ...cells.map((cell) => (typeof cell === "string" ? told("td", cell) : el("td", "", cell)))));
  const node = el("div", "", el("table", "", el("thead", "", head), el("tbody", "", ...body)));
  node.className = "table";
  // It scrolls by itself where the page is narrow, also by keyboard.
  node.tabIndex = 0;
  node.setAttribute("role", "group");
  node.setAttribute("aria-label", heads.join(", "));
  return node;
}

function call(method, path, operation) {
  const name = el("span", method.toUpperCase());
  name.className = "method";
  const who = operation.security ? t(" (with a token)", "（需令牌）") : "";
  const inner = el("div", "");
  // The summary is its first sentence, and stands above already.
  if (operation.description && operation.description !== operation.summary) inner.append(told("p", operation.description));
  const parameters = operation.parameters || [];
  if (parameters.length) {
    inner.append(el("h3", t("Parameters", "参数")), table([t("name", "名称"), t("in", "位置"), t("type", "类型"), t("meaning", "说明")], parameters.map((p) =>
      [el("code", p.name), el("span", p.in + (p.required ? t(", required", "，必填") : "")), el("code", typeOf(p.schema)), p.description || ""])));
  }
  if (operation.requestBody) {
    inner.append(el("h3", t("Body", "请求体")), table([t("format", "格式"), t("shape", "结构")], Object.entries(operation.requestBody.content).map(
      ([format, body]) => [el("code", format), el("code", typeOf(body.schema))])));
  }
  inner.append(el("h3", t("Answers", "响应")), table([t("status", "状态码"), t("meaning", "说明"), t("shape", "结构")], Object.entries(operation.responses).map(
    ([status, answer]) => [el("code", status), answer.description || "",
      el("code", Object.values(answer.content || {}).map((body) => typeOf(body.schema)).join(" | "))])));
  const summary = el("summary", "", name, el("code", path), who, told("div", operation.summary || ""));
  return el("details", "", summary, inner);
}

function shape(name, schema) {
  const required = new Set(schema.required || []);
  const inner = el("div", "", told("p", schema.description || ""));
  const fields = Object.entries(schema.properties || {});
  if (fields.length) {
    inner.append(table([t("field", "字段"), t("type", "类型"), t("meaning", "说明")], fields.map(([field, inside]) =>
      [el("code", field + (required.has(field) ? "" : "?")), el("code", typeOf(inside)), inside.description || ""])));
  } else {
    inner.append(el("pre", typeOf(schema)));
  }
  return el("details", "", el("summary", "", el("code", name)), inner);
}

// The description is a paragraph, and a list of errors: - `type` (status): title
function describe(text) {
  const errors = [];
  for (const line of text.split("\n")) {
    const error = /^- `([^`]+)` \((\d+)\): (.+)$/.exec(line);
    if (error) {
      const [, type, status, title] = error;
      errors.push([el("code", type.split("/").pop()), el("code", status), title]);
    }
  }
  document.getElementById("about").append(told("p", text.split("\n\n")[0]));
  document.getElementById("errors").append(table([t("type", "类型"), t("status", "状态码"), t("meaning", "说明")], errors));
}

async function load() {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`openapi.json: ${answer.status}`);
  const api = await answer.json();
  describe(api.info.description || "");
  const calls = document.getElementById("calls");
  for (const tag of api.tags || []) {
    calls.append(el("h2", tag.name), told("p", tag.description || ""));
    for (const [path, item] of Object.entries(api.paths)) {
      for (const [method, operation] of Object.entries(item)) {
        if ((operation.tags || []).includes(tag.name)) calls.append(call(method, path, operation));
      }
    }
  }
  const shapes = Object.entries((api.components || {}).schemas || {}).sort(([a], [b]) => (a < b ? -1 : 1));
  document.getElementById("shapes").append(...shapes.map(([name, schema]) => shape(name, schema)));
  document.getElementById("state").remove();
}

speak();
load().catch((error) => {
  document.getElementById("state").textContent = t(`The description could not be loaded (${error.message}). Reload the page.`, `接口说明载入失败（${error.message}），请刷新页面。`);
});
