// Where a text stops being JSON, and what is missing there: browsers say it each in their own way, in English, or not at all.
import { t } from "../text/language";

export interface Fault {
  /** From 1. */
  line: number;
  /** What should stand there, in words. */
  text: string;
}

class Stopped extends Error {
  constructor(readonly at: number, readonly expected: () => string) {
    super();
  }
}

const VALUE = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;
const TEXT = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const SPACE = /[ \t\r\n]*/y;

/** The first fault of a text; null when it is JSON. */
export function fault(text: string): Fault | null {
  let at = 0;
  const take = (what: RegExp): boolean => {
    what.lastIndex = at;
    const found = what.exec(text);
    if (found) at += found[0].length;
    return found !== null;
  };
  const sign = (one: string): boolean => {
    take(SPACE);
    if (text[at] !== one) return false;
    at += 1;
    return true;
  };
  const string = (expected: () => string): void => {
    take(SPACE);
    if (text[at] !== '"') throw new Stopped(at, expected);
    if (!take(TEXT)) throw new Stopped(at, () => t("a text that ends with `\"` on the same line", "在同一行以 `\"` 结束的文本"));
  };
  const list = (end: string, item: () => void): void => {
    if (sign(end)) return;
    do item(); while (sign(","));
    if (!sign(end)) throw new Stopped(at, () => t(`a comma or \`${end}\``, `逗号或 \`${end}\` `));
  };
  const value = (): void => {
    if (sign("{")) {
      list("}", () => {
        string(() => t("a name in `\"…\"`", "用 `\"…\"` 括起的名称"));
        if (!sign(":")) throw new Stopped(at, () => t("a colon", "冒号"));
        value();
      });
    } else if (sign("[")) list("]", value);
    else if (text[at] === '"') string(() => "");
    else if (!take(VALUE)) throw new Stopped(at, () => t("a value", "值"));
  };
  try {
    value();
    take(SPACE);
    if (at < text.length) throw new Stopped(at, () => t("nothing more", "文档结束"));
    return null;
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
    const found = text.slice(error.at).split(/\s/, 1)[0]?.slice(0, 20) ?? "";
    const there = found === "" ? t("the end", "文档结尾") : `\`${found.replaceAll("`", "'")}\``;
    return {
      line: text.slice(0, error.at).split("\n").length,
      text: t(`${error.expected()} is expected, and there is ${there}`, `此处应为${error.expected()}，实际为${there}`),
    };
  }
}
