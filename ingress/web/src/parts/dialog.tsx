// A question that is asked once, before something is done.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Why } from "./why";
import { t } from "../text/language";

export function Dialog({ title, confirm, danger, children, onConfirm, onClose }: {
  title: string;
  confirm: string;
  danger?: boolean;
  children: ComponentChildren;
  /** Does it. When it throws, the dialog stays and says why. */
  onConfirm(): Promise<void>;
  onClose(): void;
}): preact.JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    setError(null);
    try {
      await onConfirm();
      onClose();
    } catch (failed) {
      setError(failed);
      setBusy(false);
    }
  };
  return (
    <dialog ref={dialog} aria-labelledby="dialog-title" onClose={onClose} onCancel={onClose}>
      <form onSubmit={(event) => void submit(event)}>
        <h2 id="dialog-title">{title}</h2>
        {children}
        {error !== null && <Why of={error} />}
        <div class="row">
          <button type="button" onClick={onClose}>{t("Back", "返回")}</button>
          <button class={danger ? "bad" : "primary"} disabled={busy}>{busy ? t("One moment…", "请稍候…") : confirm}</button>
        </div>
      </form>
    </dialog>
  );
}
