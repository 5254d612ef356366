// Chinese or English: by the browser, or as chosen.
import { cell } from "../cell";
import { keep, recall } from "../stored";

export type Language = "zh" | "en";

const KEY = "orderly.language";

function preferred(): Language {
  const chosen = recall<string>(KEY, "");
  if (chosen === "zh" || chosen === "en") return chosen;
  for (const tag of navigator.languages) {
    if (tag.toLowerCase().startsWith("zh")) return "zh";
    if (tag.toLowerCase().startsWith("en")) return "en";
  }
  return "en";
}

export const language = cell<Language>(preferred());

export function locale(): string {
  return language.get() === "zh" ? "zh-CN" : "en-GB";
}

export function choose(next: Language): void {
  keep(KEY, next);
  language.set(next);
}

/** The text in the language that is in use. */
export function t(english: string, chinese: string): string {
  return language.get() === "zh" ? chinese : english;
}
