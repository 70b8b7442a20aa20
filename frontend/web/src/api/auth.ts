/**
 * Sessions: sign-up, sign-in, passwords, second factors.
 *
 * The broker speaks django-allauth's headless protocol (https://docs.allauth.org/en/latest/headless/openapi-specification/).
 * An answer of 401 is no error there: it names the steps that are still to be done.
 */

import { csrfToken, Problem } from "./client";

const BASE = "/_allauth/browser/v1";

export interface Flow {
  id: string;
  is_pending?: boolean;
  types?: string[];
}

export interface Answer<T = Record<string, unknown>> {
  status: number;
  data: T & { flows?: Flow[]; user?: { id: number; display: string; email?: string } };
  meta: { is_authenticated?: boolean };
}

/** What is wrong with which field of a form. */
export class FormProblem extends Problem {
  constructor(
    status: number,
    readonly errors: Record<string, string>,
  ) {
    super(status, "invalid", errors[""] ?? "Some fields need another look.");
  }
}

export async function ask<T = Record<string, unknown>>(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer<T>> {
  let response: Response;
  try {
    response = await fetch(`${BASE}${path}`, {
      method,
      credentials: "same-origin",
      headers: {
        Accept: "application/json",
        "X-CSRFToken": csrfToken(),
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Problem(0, "unreachable", "The broker does not answer.", "Check the connection and try again.");
  }
  const answer = await response.json().catch(() => null);
  if (answer?.errors) throw new FormProblem(response.status, byField(answer.errors));
  if (response.status === 429)
    throw new Problem(429, "too_many", "Too many tries.", "Wait a few minutes and try again.");
  if (response.status === 403)
    throw new Problem(403, "forbidden", "That is not allowed now.", "Load the page again and try once more.");
  if (!response.ok && ![401, 409, 410].includes(response.status))
    throw new Problem(response.status, "broken", `The broker answered ${response.status}.`, "Try again in a moment.");
  return answer as Answer<T>;
}

function byField(errors: { param?: string; message: string }[]): Record<string, string> {
  const found: Record<string, string> = {};
  for (const { param = "", message } of errors) found[param] = found[param] ? `${found[param]} ${message}` : message;
  return found;
}

/** The step that is to be done next, such as mfa_authenticate or verify_email; null when one is in. */
export function pending(answer: Answer): string | null {
  if (answer.meta?.is_authenticated) return null;
  return answer.data?.flows?.find((flow) => flow.is_pending)?.id ?? null;
}

/** Asked once before a form is sent: its answer sets the CSRF cookie. */
export const session = () => ask("GET", "/auth/session");
export const signIn = (email: string, password: string) =>
  ask("POST", "/auth/login", email.includes("@") ? { email, password } : { username: email, password });
export const signUp = (email: string, password: string) => ask("POST", "/auth/signup", { email, password });
export const signInAgain = (password: string) => ask("POST", "/auth/reauthenticate", { password });
export const sendCode = (code: string) => ask("POST", "/auth/2fa/authenticate", { code });
export const askReset = (email: string) => ask("POST", "/auth/password/request", { email });
export const resetPassword = (key: string, password: string) => ask("POST", "/auth/password/reset", { key, password });
export const verifyEmail = (key: string) => ask("POST", "/auth/email/verify", { key });
export const changePassword = (current_password: string, new_password: string) =>
  ask("POST", "/account/password/change", { current_password, new_password });

export async function signOut(): Promise<void> {
  await ask("DELETE", "/auth/session");
}
