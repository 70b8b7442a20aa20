/** Apply what the broker says would make a need possible: "with a deadline of 4.6 h it would cost 4.02 USD". */

import { EMPTY, LISTS, type Form } from "./form";
import type { Relaxation } from "./shapes";

/** The form with one constraint loosened as far as the broker says; where its words give no value, without the constraint. */
export function relaxed(form: Form, { field, change }: Relaxation): Form {
  const value = Number(/\d+(?:\.\d+)?(?:e[+-]?\d+)?/.exec(change)?.[0] ?? NaN);
  const number = (step: number) => (Number.isFinite(value) ? more(value, step) : "");
  switch (field) {
    case "deadline_hours":
      return { ...form, deadlineAt: "", deadlineHours: Number.isFinite(value) ? longer(value) : "" };
    case "budget_usd":
      return { ...form, budget: number(0.01) };
    case "max_usd_per_hour":
      return { ...form, perHour: number(0.01) };
    case "max_egress_usd":
      return { ...form, egress: number(0.01) };
    case "max_spot_share":
      return { ...form, spotShare: Number.isFinite(value) && value < 99 ? String(value + 1) : "" };
    case "min_memory_gib":
      return { ...form, memory: Number.isFinite(value) ? String(value) : "" };
    case "accelerators":
      return { ...form, per: "all", count: number(0) };
    case "accelerators_per_site":
      return { ...form, per: "site", count: number(0) };
    case "sites":
      return { ...form, sites: "exactly", siteCount: number(0) };
    case "accelerator":
      return { ...form, gpu: listed(/^with (.+) instead of /.exec(change)?.[1]) };
    case "interconnect":
      return { ...form, interconnect: "" };
    case "residency":
      return { ...form, residency: "" };
    case "spread":
      return { ...form, spread: "" };
    case "offers":
      return { ...form, offers: [] };
    case "queue":
      return { ...form, queue: true };
    default:
      return relaxedList(form, field, listed(/^also (?:in |at )?(.+)$/.exec(change)?.[1]));
  }
}

function relaxedList(form: Form, field: string, also: string[]): Form {
  const name = LISTS.find(([, known]) => known === field)?.[0];
  if (name === undefined) return form;
  if (also.length === 0 || also.includes("an unknown place")) return { ...form, [name]: EMPTY[name] };
  if (field.startsWith("not_"))
    return {
      ...form,
      [name]: form[name].filter((one) => !also.some((other) => other.toLowerCase() === one.toLowerCase())),
    };
  return { ...form, [name]: [...new Set([...form[name], ...also])] };
}

const listed = (text: string | undefined) => (text ?? "").split(", ").filter(Boolean);

/** A little more: what is said is rounded, and may be short by half of its last digit. */
const more = (value: number, step: number) => String(Math.round((value + step) * 1e6) / 1e6);

/** The broker says hours with three digits. */
function longer(hours: number): string {
  const step = 10 ** (Math.floor(Math.log10(hours)) - 2);
  return String(Number((hours + step).toPrecision(3)));
}

export { longer as longerDeadline };
