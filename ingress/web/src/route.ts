// Where in a room one is: what follows the # of the address.
import { cell } from "./cell";

function read(): string[] {
  const hash = location.hash.replace(/^#\/?/, "");
  return hash.split("?")[0]!.split("/").filter(Boolean).map(decoded);
}

/** An address that somebody cut or mistyped, such as #/%, is taken as it stands. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const route = cell<string[]>(read());

window.addEventListener("hashchange", () => {
  route.set(read());
  window.scrollTo(0, 0);
});

export function to(...parts: string[]): string {
  return `#/${parts.map(encodeURIComponent).join("/")}`;
}

export function go(...parts: string[]): void {
  location.hash = to(...parts);
}

/** Goes there, and the way back leads past where one was. */
export function instead(...parts: string[]): void {
  history.replaceState(null, "", to(...parts));
  route.set(read());
}
