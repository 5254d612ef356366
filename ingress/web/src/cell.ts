// State that several parts of a page look at.
import { useEffect, useLayoutEffect, useState } from "preact/hooks";

export interface Cell<T> {
  get(): T;
  set(value: T): void;
  listen(listener: () => void): () => void;
}

export function cell<T>(initial: T): Cell<T> {
  let value = initial;
  const listeners = new Set<() => void>();
  return {
    get: () => value,
    set: (next) => {
      if (Object.is(next, value)) return;
      value = next;
      for (const listener of [...listeners]) listener();
    },
    listen: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/**
 * The cell's value; the component is drawn again when it changes. It listens from the moment it is
 * drawn: an effect that runs after the paint would miss what changes before it.
 */
export function useCell<T>(of: Cell<T>): T {
  const [, again] = useState(0);
  useLayoutEffect(() => of.listen(() => again((n) => n + 1)), [of]);
  return of.get();
}

/** Draws the component again every so many milliseconds. */
export function useTick(every: number): void {
  const [, again] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => again((n) => n + 1), every);
    return () => clearInterval(timer);
  }, [every]);
}
