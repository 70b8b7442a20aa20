/** The broker's API about people: keys, teams, members, invitations. */

import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { ownHeaders, Problem, problemOf } from "@/api/client";
import type { Role, Team } from "@/api/me";

// until the schema has it: what is below moves to the typed door (api/client) then.
export interface Key {
  id: number;
  name: string;
  prefix: string;
  scopes: string[];
  created_at: string;
  expires_at: string | null;
  revoked_at: string | null;
  last_used_at: string | null;
  made_by: string;
}

export interface MadeKey extends Key {
  key: string;
}

export interface Member {
  user: number;
  username: string;
  email: string;
  role: Role;
  created_at: string;
}

export interface Invitation {
  id: number;
  email: string;
  role: Role;
  invited_by: string;
  created_at: string;
  expires_at: string;
}

export interface MadeInvitation extends Invitation {
  link: string;
  mailed: boolean;
}

export interface InvitationLink {
  team: string;
  email: string;
  role: Role;
  invited_by: string;
  expires_at: string;
}

export async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      credentials: "same-origin",
      headers: { ...ownHeaders(), ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Problem(0, "unreachable", "The broker does not answer.", "Check the connection and try again.");
  }
  if (!response.ok) throw await problemOf(response);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

export const keys = infiniteQueryOptions({
  queryKey: ["keys"],
  queryFn: ({ pageParam }) =>
    call<{ results: Key[]; next: string | null }>(
      "GET",
      pageParam ? `/v1/keys?cursor=${encodeURIComponent(pageParam)}` : "/v1/keys",
    ),
  initialPageParam: "",
  getNextPageParam: ({ next }) => next,
});

export const makeKey = (name: string, scopes: string[], expires_at: string | null) =>
  call<MadeKey>("POST", "/v1/keys", { name, scopes, expires_at });
export const revokeKey = (id: number) => call<Key>("DELETE", `/v1/keys/${id}`);

export const makeTeam = (name: string) => call<Team>("POST", "/v1/teams", { name });
export const renameTeam = (id: number, name: string) => call<Team>("PATCH", `/v1/teams/${id}`, { name });

export const members = (team: number) =>
  queryOptions({
    queryKey: ["members", team],
    queryFn: async () => (await call<{ results: Member[] }>("GET", `/v1/teams/${team}/members`)).results,
  });
export const setRole = (team: number, user: number, role: Role) =>
  call<Member>("PATCH", `/v1/teams/${team}/members/${user}`, { role });
export const removeMember = (team: number, user: number) => call<void>("DELETE", `/v1/teams/${team}/members/${user}`);

export const invitations = (team: number) =>
  queryOptions({
    queryKey: ["invitations", team],
    queryFn: async () => (await call<{ results: Invitation[] }>("GET", `/v1/teams/${team}/invitations`)).results,
  });
export const invite = (team: number, email: string, role: Role) =>
  call<MadeInvitation>("POST", `/v1/teams/${team}/invitations`, { email, role });
export const withdraw = (team: number, id: number) => call<void>("DELETE", `/v1/teams/${team}/invitations/${id}`);

export const readInvitation = (token: string) =>
  call<InvitationLink>("GET", `/v1/invitations/${encodeURIComponent(token)}`);
export const acceptInvitation = (token: string) => call<Team>("POST", `/v1/invitations/${encodeURIComponent(token)}`);

/** The line that puts the command line onto a machine, as this broker serves it. Raises Problem where it serves none. */
export const wheel = queryOptions({
  queryKey: ["wheel"],
  queryFn: () => call<{ wheel: string; version: string; sha256: string }>("GET", "/dl/"),
  staleTime: 300_000,
});
