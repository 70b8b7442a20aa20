/** When it is to be done: in hours or at a moment, each told as the other. */

import type { ReactNode } from "react";
import { useNow } from "@/app/clock";
import { Input } from "@/design/Field";
import { duration, instant, zone } from "@/design/format";
import { afterHours, fromLocal, hoursUntil, toLocal } from "../deadline";
import { numberOf, type Form, type Wrong } from "../form";

const HOUR_S = 3600;

export function DeadlineField({
  form,
  wrong,
  set,
}: {
  form: Form;
  wrong: Wrong;
  set: (changed: Partial<Form>) => void;
}): ReactNode {
  const now = useNow();
  const at = form.deadlineAt ? fromLocal(form.deadlineAt) : null;
  const hours = numberOf(form.deadlineHours);
  const over = at !== null && hoursUntil(at, now) <= 0 ? "That is over already" : null;
  const until = at
    ? `In ${duration(hoursUntil(at, now) * HOUR_S)}`
    : hours > 0 && hours < 1e6
      ? `By ${instant(afterHours(hours, now))}`
      : `The clock is ${zone()}`;
  return (
    <fieldset className="min-w-0 sm:max-lg:col-span-2">
      <legend className="mb-1 text-sm font-medium">Deadline</legend>
      <div className="grid grid-cols-[6.5rem_1fr] gap-2">
        <Input
          label="Deadline in hours"
          hidden
          value={form.deadlineHours}
          unit="h"
          inputMode="decimal"
          autoComplete="off"
          placeholder="none"
          error={wrong.deadlineHours}
          onChange={(event) => set({ deadlineHours: event.target.value, deadlineAt: "" })}
        />
        <Input
          label={`Deadline as date and time, ${zone()}`}
          hidden
          type="datetime-local"
          value={form.deadlineAt}
          min={toLocal(new Date(now))}
          error={over ?? wrong.deadlineAt}
          onChange={(event) => set({ deadlineAt: event.target.value, deadlineHours: "" })}
        />
      </div>
      {!over && <p className="mt-1 text-xs text-soft">{until}</p>}
    </fieldset>
  );
}
