/**
 * Sessions: sign-up, sign-in, passwords, e-mail addresses, second factors.
 *
 * The broker speaks django-allauth's headless protocol (https://docs.allauth.org/en/latest/headless/openapi-specification/).
 * An answer of 401 is no error there: it names the steps that are still to be done.
 */

import { csrfToken } from "./client";
import { nobody, Problem, problemIn } from "./problem";

const BASE = "/_allauth/browser/v1";

export interface Flow {
  id: string;
  is_pending?: boolean;
  types?: string[];
}

export interface Answer<T = Record<string, unknown>> {
  status: number;
  data: T & { flows?: Flow[]; user?: { id: number; display: string; email?: string; has_usable_password?: boolean } };
  meta: { is_authenticated?: boolean; secret?: string; totp_url?: string };
}

/** The account is only changed by who has shown lately that he is himself; `flows` are the ways to show it. */
export class AgainNeeded extends Problem {
  constructor(readonly flows: readonly Flow[]) {
    super(401, "sign_in_again", "Show once more that it is you.", "Give your password or a code.");
  }
}

interface More {
  headers?: Record<string, string>;
  /** Answers that are no errors here. */
  fine?: readonly number[];
}

async function send(method: string, path: string, body: unknown, headers: Record<string, string>): Promise<Response> {
  const json: Record<string, string> = body === undefined ? {} : { "Content-Type": "application/json" };
  try {
    return await fetch(`${BASE}${path}`, {
      method,
      credentials: "same-origin",
      headers: { Accept: "application/json", "X-CSRFToken": csrfToken(), ...json, ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Problem(0, "unreachable", "The broker does not answer.", "Check the connection and try again.");
  }
}

export async function ask<T = Record<string, unknown>>(
  method: string,
  path: string,
  body?: unknown,
  more: More = {},
): Promise<Answer<T>> {
  // The first answer of all brings the CSRF cookie, without which nothing else is taken.
  if (method !== "GET" && !csrfToken()) await send("GET", "/config", undefined, {});
  const response = await send(method, path, body, more.headers ?? {});
  const answer = await response.json().catch(() => null);
  if (answer?.errors) throw invalid(response.status, answer.errors);
  if (!response.ok && !(more.fine ?? [401, 409]).includes(response.status)) throw refusal(response.status, answer);
  return { status: response.status, data: answer?.data ?? {}, meta: answer?.meta ?? {} };
}

function refusal(status: number, body: unknown): Problem {
  if (status === 429) return new Problem(429, "too_many", "Too many tries.", "Wait a few minutes and try again.");
  const told = problemIn(status, body);
  if (status === 403 && told.code === "broken")
    return new Problem(403, "forbidden", "That is not allowed now.", "Load the page again and try once more.");
  return told;
}

function invalid(status: number, errors: { param?: string; message: string }[]): Problem {
  const fields: Record<string, string> = {};
  for (const { param = "", message } of errors) fields[param] = fields[param] ? `${fields[param]} ${message}` : message;
  return new Problem(
    status,
    "invalid",
    fields[""] ?? Object.values(fields)[0] ?? "Some fields need another look.",
    "",
    fields,
  );
}

/** Something of one's own account. Throws AgainNeeded; its caller asks for a password and comes again. */
export async function ofAccount<T = Record<string, unknown>>(
  method: string,
  path: string,
  body?: unknown,
  fine: readonly number[] = [],
): Promise<Answer<T>> {
  const answer = await ask<T>(method, path, body, { fine: [401, ...fine] });
  if (answer.status !== 401) return answer;
  if (answer.meta.is_authenticated) throw new AgainNeeded(answer.data.flows ?? []);
  nobody();
  throw new Problem(401, "signed_out", "You are signed out.", "Load the page again and sign in.");
}

export const signIn = (who: string, password: string) =>
  ask("POST", "/auth/login", { [who.includes("@") ? "email" : "username"]: who, password });
export const signUp = (email: string, password: string) => ask("POST", "/auth/signup", { email, password });
export const sendCode = (code: string) => ask("POST", "/auth/2fa/authenticate", { code });
export const askReset = (email: string) => ask("POST", "/auth/password/request", { email });
export const resetPassword = (key: string, password: string) => ask("POST", "/auth/password/reset", { key, password });
export const readEmailKey = (key: string) =>
  ask<{ email: string }>("GET", "/auth/email/verify", undefined, { headers: { "X-Email-Verification-Key": key } });
export const verifyEmail = (key: string) => ask("POST", "/auth/email/verify", { key });

export async function signOut(): Promise<void> {
  await ask("DELETE", "/auth/session");
}

/** Show once more that it is oneself: with the password, or with a code of the second factor. */
export const againByPassword = (password: string) => ofAccount("POST", "/auth/reauthenticate", { password });
export const againByCode = (code: string) => ofAccount("POST", "/auth/2fa/reauthenticate", { code });

export const changePassword = (current_password: string, new_password: string) =>
  ofAccount("POST", "/account/password/change", { ...(current_password ? { current_password } : {}), new_password });

export interface Address {
  email: string;
  verified: boolean;
  primary: boolean;
}

export const addresses = async (): Promise<Address[]> => (await ofAccount<Address[]>("GET", "/account/email")).data;
export const addAddress = (email: string) => ofAccount("POST", "/account/email", { email });
export const removeAddress = (email: string) => ofAccount("DELETE", "/account/email", { email });
export const makePrimary = (email: string) => ofAccount("PATCH", "/account/email", { email, primary: true });

/** Whether a mail went out: not twice within some minutes. */
export const mailAgain = async (email: string): Promise<boolean> =>
  (await ofAccount("PUT", "/account/email", { email }, [403])).status === 200;

export interface Factor {
  type: "totp" | "recovery_codes";
  created_at: number;
  last_used_at: number | null;
  total_code_count?: number;
  unused_code_count?: number;
}

export const factors = async (): Promise<Factor[]> =>
  (await ofAccount<Factor[]>("GET", "/account/authenticators")).data;
export const turnOnTotp = (code: string) => ofAccount("POST", "/account/authenticators/totp", { code });
export const turnOffTotp = () => ofAccount("DELETE", "/account/authenticators/totp");

/** A new secret for an authenticator app; asked again it is another one. */
export async function newTotp(): Promise<{ secret: string; url: string }> {
  const { status, meta } = await ofAccount("GET", "/account/authenticators/totp", undefined, [404]);
  if (status !== 404 || !meta.secret)
    throw new Problem(409, "totp_is_on", "An authenticator app is set up already.", "Load the page again.");
  return { secret: meta.secret, url: meta.totp_url ?? "" };
}

/** The recovery codes that are unused; null where none were made. */
export async function recoveryCodes(): Promise<string[] | null> {
  const { status, data } = await ofAccount<{ unused_codes: string[] }>(
    "GET",
    "/account/authenticators/recovery-codes",
    undefined,
    [404],
  );
  return status === 404 ? null : data.unused_codes;
}

export const newRecoveryCodes = async (): Promise<string[]> =>
  (await ofAccount<{ unused_codes: string[] }>("POST", "/account/authenticators/recovery-codes", {})).data.unused_codes;
