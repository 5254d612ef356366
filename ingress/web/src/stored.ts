// What is kept in the browser. A browser may refuse to keep anything; the page works without, for as long as it is open.
const fallback = new Map<string, string>();

export function recall<T>(key: string, otherwise: T, storage: () => Storage = () => localStorage): T {
  try {
    // What could not be kept is newer than what could.
    const text = fallback.get(key) ?? storage().getItem(key);
    return text === undefined || text === null ? otherwise : (JSON.parse(text) as T);
  } catch {
    const text = fallback.get(key);
    return text === undefined ? otherwise : (JSON.parse(text) as T);
  }
}

export function keep(key: string, value: unknown, storage: () => Storage = () => localStorage): void {
  const text = JSON.stringify(value);
  try {
    storage().setItem(key, text);
    fallback.delete(key);
  } catch {
    fallback.set(key, text);
  }
}

export function forget(key: string, storage: () => Storage = () => localStorage): void {
  fallback.delete(key);
  try {
    storage().removeItem(key);
  } catch {
    // It was not kept.
  }
}

export const session = (): Storage => sessionStorage;
