/** A host whose token this page still knows: nobody shows it again. */

import { Problem } from "@/api/problem";
import type { Host } from "./api";

export interface Fresh {
  id: number;
  token: string;
  /** Milliseconds since 1970: until then the token is good (offers.operations.ENROL_TTL). */
  until: number;
}

export const TOKEN_MS = 3_600_000;

/** Of an answer that brings a token. */
export function freshOf(host: Pick<Host, "id" | "enrol_token">): Fresh {
  if (!host.enrol_token)
    throw new Problem(500, "no_token", "The broker gave no token.", "Ask for a new command in the list of machines.");
  return { id: host.id, token: host.enrol_token, until: Date.now() + TOKEN_MS };
}
