/** What roles and scopes allow, in a line each. */

import type { Role } from "@/api/me";

export const ROLES: Record<Role, string> = {
  owner: "may do everything, and decides who is in the team.",
  member: "runs workloads, lends machines, makes API keys.",
  viewer: "sees offers, workloads and bills, and changes nothing.",
};

const SCOPES: Record<string, string> = {
  read: "See offers, workloads, logs, models and bills.",
  run: "Quote, launch and stop workloads: it spends the team's credit.",
  supply: "Register machines, take them back, offer them again.",
  operate: "Connect clouds and load price lists, for the whole broker.",
  observe: "Read the broker's own metrics, for Prometheus.",
};

export const scopeText = (scope: string): string => SCOPES[scope] ?? "Something that this page does not know yet.";

export interface Expiry {
  value: string;
  label: string;
  days: number | null;
}

export const EXPIRIES: readonly Expiry[] = [
  { value: "7", label: "In a week", days: 7 },
  { value: "90", label: "In 90 days", days: 90 },
  { value: "365", label: "In a year", days: 365 },
  { value: "", label: "Never", days: null },
];

/** When a key of that many days ends; null is never. */
export function expiresAt(value: string, now: number): string | null {
  return value === "" ? null : new Date(now + Number(value) * 86_400_000).toISOString();
}

export type KeyState = "open" | "revoked" | "expired";

export function keyState(key: { revoked_at: string | null; expires_at: string | null }, now: number): KeyState {
  if (key.revoked_at !== null) return "revoked";
  return key.expires_at !== null && Date.parse(key.expires_at) <= now ? "expired" : "open";
}

/** Why somebody may not do what owners do; null for an owner. */
export function ownersOnly(role: Role): string | null {
  return role === "owner" ? null : `You are a ${role} here: only owners change this.`;
}

/** Why a member's role cannot be changed, or he cannot go; null where he can. */
export function lastOwner(member: { role: Role }, members: readonly { role: Role }[]): string | null {
  const owners = members.filter(({ role }) => role === "owner").length;
  return member.role === "owner" && owners < 2 ? "The only owner stays one: make another member an owner first." : null;
}
