/** Sending a form: once at a time, with what is wrong at its fields and the cursor in the first of them. */

import { useEffect, useState, type FormEvent } from "react";
import { faultsOf, NO_FAULTS, type Faults } from "./faults";

export type Values<Name extends string> = Record<Name, string>;

export interface Form {
  busy: boolean;
  faults: Faults;
  onSubmit: (event: FormEvent<HTMLFormElement>) => void;
}

/** names: its fields. send gets what they hold, and the form itself, to empty it; what it throws is shown. */
export function useForm<Name extends string>(
  names: readonly Name[],
  send: (values: Values<Name>, form: HTMLFormElement) => Promise<unknown>,
): Form {
  const [busy, setBusy] = useState(false);
  const [failed, setFailed] = useState<{ faults: Faults; form: HTMLFormElement } | null>(null);

  useEffect(() => {
    const find = (what: string) => failed?.form.querySelector<HTMLElement>(what);
    (find('[aria-invalid="true"]') ?? find("input:not([hidden]), select"))?.focus();
  }, [failed]);

  async function sent(form: HTMLFormElement) {
    const held = new FormData(form);
    setBusy(true);
    setFailed(null);
    try {
      await send(Object.fromEntries(names.map((name) => [name, String(held.get(name) ?? "")])) as Values<Name>, form);
    } catch (error) {
      setFailed({ faults: faultsOf(error, names), form });
    } finally {
      setBusy(false);
    }
  }

  function onSubmit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    if (!busy) void sent(event.currentTarget);
  }

  return { busy, faults: failed?.faults ?? NO_FAULTS, onSubmit };
}
