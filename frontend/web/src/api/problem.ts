/** An answer that says no: what was wrong, and what to do next. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly hint: string = "",
    readonly fields: Record<string, unknown> = {},
  ) {
    super(message);
    this.name = "Problem";
  }
}

const listeners = new Set<() => void>();

/** Have it called whenever an answer says that nobody is signed in. */
export function onNobody(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** An answer said so. */
export function nobody(): void {
  for (const one of listeners) one();
}

/** Read what a refusal says, in whichever form it came. */
export function problemIn(status: number, body: unknown): Problem {
  if (status === 401) nobody();
  const error = (
    body as { error?: { code: string; message?: string; hint?: string; fields?: Record<string, unknown> } } | null
  )?.error;
  if (error?.message) return new Problem(status, error.code, error.message, error.hint, error.fields);
  return new Problem(status, "broken", `The broker answered ${status}.`, "Try again in a moment.");
}
