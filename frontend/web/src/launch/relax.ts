/** Apply what the broker says would make a need possible: the field, and what it would have to be. */

import { filled, needOf, type Form } from "./form";
import type { Relaxation } from "./shapes";

/** The form with that one constraint loosened; what was typed elsewhere stays as it was typed. */
export function relaxed(form: Form, { field, value }: Relaxation): Form {
  const { need } = needOf(form, 0);
  const before = filled(form, need);
  const after = filled(form, { ...need, [field]: value });
  const names = Object.keys(form) as (keyof Form)[];
  const changed = names.filter((name) => String(before[name]) !== String(after[name]));
  return {
    ...form,
    ...(field === "deadline_hours" ? { deadlineAt: "" } : {}),
    ...Object.fromEntries(changed.map((name) => [name, after[name]])),
  };
}

/** A little more: hours of the curve are rounded to three digits, and may be short by half of the last. */
export function longerDeadline(hours: number): string {
  const step = 10 ** (Math.floor(Math.log10(hours)) - 2);
  return String(Number((hours + step).toPrecision(3)));
}
