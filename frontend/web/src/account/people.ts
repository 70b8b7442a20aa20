/** The broker's API about people: keys, teams, members, invitations; and the package for their machines. */

import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { api, data, problemOf, type Schemas } from "@/api/client";
import type { Role } from "@/api/me";

export type Key = Schemas["Key"];
export type MadeKey = Schemas["MadeKey"];
export type Scope = Key["scopes"][number];
export type Member = Schemas["Member"];
export type Invitation = Schemas["Invitation"];
export type MadeInvitation = Schemas["MadeInvitation"];

export const keys = infiniteQueryOptions({
  queryKey: ["keys"],
  queryFn: ({ pageParam: cursor }) => data(api.GET("/v1/keys", { params: { query: cursor ? { cursor } : {} } })),
  initialPageParam: "",
  getNextPageParam: ({ next }) => next,
});

export const makeKey = (name: string, scopes: Scope[], expires_at: string | null) =>
  data(api.POST("/v1/keys", { body: { name, scopes, expires_at } }));
export const revokeKey = (id: number) => data(api.DELETE("/v1/keys/{id}", { params: { path: { id } } }));

export const makeTeam = (name: string) => data(api.POST("/v1/teams", { body: { name } }));
export const renameTeam = (id: number, name: string) =>
  data(api.PATCH("/v1/teams/{id}", { params: { path: { id } }, body: { name } }));

export const members = (id: number) =>
  queryOptions({
    queryKey: ["members", id],
    queryFn: async () => (await data(api.GET("/v1/teams/{id}/members", { params: { path: { id } } }))).results,
  });
export const setRole = (id: number, user: number, role: Role) =>
  data(api.PATCH("/v1/teams/{id}/members/{user}", { params: { path: { id, user } }, body: { role } }));
export const removeMember = (id: number, user: number) =>
  data(api.DELETE("/v1/teams/{id}/members/{user}", { params: { path: { id, user } } }));

export const invitations = (id: number) =>
  queryOptions({
    queryKey: ["invitations", id],
    queryFn: async () => (await data(api.GET("/v1/teams/{id}/invitations", { params: { path: { id } } }))).results,
  });
export const invite = (id: number, email: string, role: Role) =>
  data(api.POST("/v1/teams/{id}/invitations", { params: { path: { id } }, body: { email, role } }));
export const withdraw = (id: number, invitation: number) =>
  data(api.DELETE("/v1/teams/{id}/invitations/{invitation}", { params: { path: { id, invitation } } }));

export const readInvitation = (token: string) =>
  data(api.GET("/v1/invitations/{token}", { params: { path: { token } } }));
export const acceptInvitation = (token: string) =>
  data(api.POST("/v1/invitations/{token}", { params: { path: { token } } }));

/** The package that this broker serves, which is no part of its API. Throws Problem where it serves none. */
export const wheel = queryOptions({
  queryKey: ["wheel"],
  queryFn: async (): Promise<{ wheel: string; sha256: string }> => {
    const response = await fetch("/dl/");
    if (!response.ok) throw await problemOf(response);
    return response.json();
  },
  staleTime: 300_000,
});
