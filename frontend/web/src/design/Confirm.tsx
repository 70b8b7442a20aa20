/** Asked before something that cannot be taken back: what it does, and the button that does it. */

import { useState, type ReactNode } from "react";
import { Button } from "./Button";
import { Fault } from "./Layout";
import { Modal } from "./Panel";

interface ConfirmProps {
  title: string;
  /** What the button says: the deed itself, never only "OK". */
  verb: string;
  danger?: boolean;
  onClose: () => void;
  act: () => Promise<unknown>;
  children: ReactNode;
}

/** Shown as long as it is there. It closes by itself once the deed is done. */
export function Confirm({ title, verb, danger, onClose, act, children }: ConfirmProps): ReactNode {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);

  async function go() {
    setBusy(true);
    setError(null);
    try {
      await act();
      onClose();
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  }

  return (
    <Modal open onOpenChange={(open) => !open && !busy && onClose()} title={title}>
      <div className="space-y-4 text-sm">
        {children}
        {error !== null && <Fault error={error} />}
        <div className="flex flex-wrap justify-end gap-2">
          {/* eslint-disable-next-line jsx-a11y/no-autofocus -- a dialog has the focus, and an absent-minded Enter does no harm here */}
          <Button onClick={onClose} disabled={busy} autoFocus>
            Cancel
          </Button>
          <Button kind={danger ? "danger" : "primary"} busy={busy} onClick={() => void go()}>
            {verb}
          </Button>
        </div>
      </div>
    </Modal>
  );
}
