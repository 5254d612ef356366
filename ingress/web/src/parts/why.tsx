// Why something was refused: in the pages' words, then in the server's where those say more.
import { details, explain } from "../text/problems";

/** A text in which `code` is marked by backticks, with the code set as code. */
export function Spans({ text }: { text: string }): preact.JSX.Element {
  return <>{text.split("`").map((part, index, all) => (index % 2 === 1 && index < all.length - 1 ? <code>{part}</code> : index % 2 === 1 ? `\`${part}` : part))}</>;
}

export function Details({ of }: { of: string[] }): preact.JSX.Element | null {
  if (of.length === 0) return null;
  return <ul class="small points breaks" lang="en">{of.map((one) => <li><Spans text={one} /></li>)}</ul>;
}

export function Why({ of }: { of: unknown }): preact.JSX.Element {
  return (
    <div class="note bad stack tight" role="alert">
      <p>{explain(of)}</p>
      <Details of={details(of)} />
    </div>
  );
}
