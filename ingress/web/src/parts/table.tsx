// A table that may be wider than the page: it scrolls by itself, also by keyboard.
import type { ComponentChildren } from "preact";

/** With `cards`, each row is a card of its own on a narrow screen; `role`s keep it a table for those who hear it. */
export function Table({ caption, cards = false, children }: { caption: string; cards?: boolean; children: ComponentChildren }): preact.JSX.Element {
  return (
    <div class={cards ? "scroll cards" : "scroll"} tabIndex={0} role="region" aria-label={caption}>
      <table role="table"><caption class="hidden">{caption}</caption>{children}</table>
    </div>
  );
}
