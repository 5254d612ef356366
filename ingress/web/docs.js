// Renders /openapi.json. All text goes through textContent, so nothing in the description can become markup.
"use strict";

function el(name, text, ...children) {
  const node = document.createElement(name);
  if (text) node.textContent = text;
  node.append(...children);
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
  const body = rows.map((cells) => el("tr", "", ...cells.map((cell) => el("td", "", cell))));
  const node = el("div", "", el("table", "", el("thead", "", head), el("tbody", "", ...body)));
  node.className = "table";
  return node;
}

function call(method, path, operation) {
  const name = el("span", method.toUpperCase());
  name.className = "method";
  const who = operation.security ? " (with a token)" : "";
  const inner = el("div", "", el("p", operation.description || operation.summary || ""));
  const parameters = operation.parameters || [];
  if (parameters.length) {
    inner.append(el("h3", "Parameters"), table(["name", "in", "type", ""], parameters.map((p) =>
      [el("code", p.name), p.in + (p.required ? ", required" : ""), el("code", typeOf(p.schema)), p.description || ""])));
  }
  if (operation.requestBody) {
    inner.append(el("h3", "Body"), table(["format", "shape"], Object.entries(operation.requestBody.content).map(
      ([format, body]) => [el("code", format), el("code", typeOf(body.schema))])));
  }
  inner.append(el("h3", "Answers"), table(["status", "", "shape"], Object.entries(operation.responses).map(
    ([status, answer]) => [el("code", status), answer.description || "",
      el("code", Object.values(answer.content || {}).map((body) => typeOf(body.schema)).join(" | "))])));
  const summary = el("summary", "", name, el("code", path), who, el("div", operation.summary || ""));
  return el("details", "", summary, inner);
}

function shape(name, schema) {
  const required = new Set(schema.required || []);
  const inner = el("div", "", el("p", schema.description || ""));
  const fields = Object.entries(schema.properties || {});
  if (fields.length) {
    inner.append(table(["field", "type", ""], fields.map(([field, inside]) =>
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
  document.getElementById("about").append(el("p", text.split("\n\n")[0]));
  document.getElementById("errors").append(table(["type", "status", ""], errors));
}

async function load() {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`openapi.json: ${answer.status}`);
  const api = await answer.json();
  describe(api.info.description || "");
  const calls = document.getElementById("calls");
  for (const tag of api.tags || []) {
    calls.append(el("h2", tag.name), el("p", tag.description || ""));
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

load().catch((error) => {
  document.getElementById("state").textContent = `The description could not be loaded (${error.message}). Reload the page.`;
});
