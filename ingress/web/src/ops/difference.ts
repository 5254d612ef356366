// What differs between two documents, line by line.
export interface Line { kind: "+" | "-" | " " | "…"; text: string }

/** Lines around a change that are shown with it. */
const CONTEXT = 2;

/** The longest common subsequence, and what is not part of it. Policies have hundreds of lines at most. */
export function difference(before: string[], after: string[]): Line[] {
  const [n, m] = [before.length, after.length];
  const longest: Uint32Array[] = Array.from({ length: n + 1 }, () => new Uint32Array(m + 1));
  for (let i = n - 1; i >= 0; i -= 1) {
    for (let j = m - 1; j >= 0; j -= 1) {
      longest[i]![j] = before[i] === after[j] ? longest[i + 1]![j + 1]! + 1 : Math.max(longest[i + 1]![j]!, longest[i]![j + 1]!);
    }
  }
  const lines: Line[] = [];
  let [i, j] = [0, 0];
  while (i < n || j < m) {
    if (i < n && j < m && before[i] === after[j]) {
      lines.push({ kind: " ", text: before[i]! });
      [i, j] = [i + 1, j + 1];
    } else if (j >= m || (i < n && longest[i + 1]![j]! >= longest[i]![j + 1]!)) {
      lines.push({ kind: "-", text: before[i]! });
      i += 1;
    } else {
      lines.push({ kind: "+", text: after[j]! });
      j += 1;
    }
  }
  return lines;
}

/** Only what changes, with a little around it. */
export function changed(lines: Line[]): Line[] {
  const near = lines.map((_, index) => lines.slice(Math.max(0, index - CONTEXT), index + CONTEXT + 1).some((line) => line.kind !== " "));
  const shown: Line[] = [];
  lines.forEach((line, index) => {
    if (near[index]) shown.push(line);
    else if (shown.length > 0 && shown[shown.length - 1]!.kind !== "…") shown.push({ kind: "…", text: "" });
  });
  return shown;
}
