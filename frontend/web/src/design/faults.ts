/** What is wrong with a form that was sent, sorted by the fields that it has. */

import { Problem } from "@/api/problem";

export interface Faults {
  at: Readonly<Record<string, string>>;
  /** What belongs to none of its fields; null when all does. */
  rest: unknown;
}

export const NO_FAULTS: Faults = { at: {}, rest: null };

/** names: the form's fields. The broker names a field in `fields`, or at the front of its message: "name: why". */
export function faultsOf(error: unknown, names: readonly string[]): Faults {
  if (!(error instanceof Problem)) return { at: {}, rest: error };
  const at: Record<string, string> = {};
  for (const [name, what] of Object.entries(error.fields))
    if (names.includes(name)) at[name] = sentence([what].flat().map(String).join(" "));
  const [, name = "", what = ""] = error.message.match(/^(\w+): (.+)$/s) ?? [];
  if (names.includes(name)) at[name] ??= sentence(what);
  const unplaced = Object.keys(error.fields).some((one) => !(one in at));
  return { at, rest: Object.keys(at).length === 0 || unplaced ? error : null };
}

function sentence(text: string): string {
  const said = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.?!)]$/.test(said) ? said : `${said}.`;
}
