/** Before the account is changed: show once more that it is you, if that is asked for, and go on. */

import { useState, type ReactNode } from "react";
import { againByCode, againByPassword, AgainNeeded } from "@/api/auth";
import { Button } from "@/design/Button";
import { Fault } from "@/design/Layout";
import { Modal } from "@/design/Panel";
import { useForm } from "@/design/form";
import { CodeField, Secret } from "./fields";
import { bareCode, waysOf, type Ways } from "./flow";

/** The dialog was closed: nothing was done, and there is nothing to tell. */
export class GivenUp extends Error {}

interface Waiting {
  ways: Ways;
  shown: () => void;
  closed: () => void;
}

export interface Again {
  /** Do it; when the broker wants to see first that it is you, ask, and do it then. Throws GivenUp. */
  guarded: <T>(act: () => Promise<T>) => Promise<T>;
  dialog: ReactNode;
}

export function useAgain(): Again {
  const [waiting, setWaiting] = useState<Waiting | null>(null);

  async function guarded<T>(act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof AgainNeeded)) throw error;
      const ways = waysOf(error.flows);
      await new Promise<void>((shown, reject) => setWaiting({ ways, shown, closed: () => reject(new GivenUp()) }));
      return act();
    }
  }

  const dialog = waiting && (
    <Dialog
      ways={waiting.ways}
      onShown={() => {
        setWaiting(null);
        waiting.shown();
      }}
      onClose={() => {
        setWaiting(null);
        waiting.closed();
      }}
    />
  );
  return { guarded, dialog };
}

function Dialog({ ways, onShown, onClose }: { ways: Ways; onShown: () => void; onClose: () => void }): ReactNode {
  const [byCode, setByCode] = useState(!ways.password);
  const form = useForm(["password", "code"], async ({ password, code }) => {
    await (byCode ? againByCode(bareCode(code)) : againByPassword(password));
    onShown();
  });
  const { at, rest } = form.faults;
  return (
    <Modal
      open
      onOpenChange={(open) => !open && onClose()}
      title="Is it you?"
      about="Before the account is changed, show once more that it is you. It holds for some minutes."
    >
      <form onSubmit={form.onSubmit} noValidate className="space-y-4">
        {rest !== null && <Fault error={rest} />}
        {byCode ? (
          <CodeField error={at.code} now />
        ) : (
          <Secret label="Password" name="password" autoComplete="current-password" error={at.password} now />
        )}
        <div className="flex flex-wrap items-center justify-end gap-2">
          {ways.password && ways.code && (
            <Button kind="quiet" size="sm" onClick={() => setByCode(!byCode)}>
              {byCode ? "Use the password" : "Use a code"}
            </Button>
          )}
          <Button kind="primary" type="submit" busy={form.busy}>
            Go on
          </Button>
        </div>
      </form>
    </Modal>
  );
}
