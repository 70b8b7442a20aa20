/** What an answer of the sign-in protocol asks for next. */

import type { Answer, Flow } from "@/api/auth";

export type Step =
  | { at: "enter" }
  | { at: "in" }
  /** A code of the second factor is wanted; `recovery`: a recovery code would do. */
  | { at: "code"; recovery: boolean }
  /** A mail with a link was sent. */
  | { at: "mail" }
  /** Something that this page does not know. */
  | { at: "unknown"; flow: string };

export function stepOf(answer: Pick<Answer, "status" | "data" | "meta">): Step {
  // 409: somebody is signed in already.
  if (answer.meta.is_authenticated || answer.status === 200 || answer.status === 409) return { at: "in" };
  const pending = answer.data.flows?.find((flow) => flow.is_pending);
  if (!pending) return { at: "enter" };
  if (pending.id === "mfa_authenticate")
    return { at: "code", recovery: (pending.types ?? []).includes("recovery_codes") };
  if (pending.id === "verify_email") return { at: "mail" };
  return { at: "unknown", flow: pending.id };
}

export interface Ways {
  password: boolean;
  code: boolean;
}

/** How one may show again that it is oneself. */
export function waysOf(flows: readonly Flow[]): Ways {
  return {
    password: flows.some(({ id }) => id === "reauthenticate"),
    code: flows.some(({ id }) => id === "mfa_reauthenticate"),
  };
}

/** A code as people copy it, "123 456", as it is sent; recovery codes keep their dashes. */
export const bareCode = (typed: string): string => typed.replaceAll(/\s/g, "");

/** JBSWY3DPEHPK3PXP -> JBSW Y3DP EHPK 3PXP, to be typed by hand. */
export const grouped = (secret: string): string => secret.replaceAll(/(.{4})(?=.)/g, "$1 ");
