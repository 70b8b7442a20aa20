/** Who is here: the session, and what the broker says of its user. */

import { queryOptions, type QueryClient } from "@tanstack/react-query";
import { api, chooseTeam, currentTeam, data, Problem, type Schemas } from "./client";

export type Me = Schemas["Me"];
export type Team = Me["team"];
export type Role = Team["role"];

export const me = queryOptions({
  queryKey: ["me"],
  queryFn: async (): Promise<Me | null> => {
    try {
      return await data(api.GET("/v1/me"));
    } catch (error) {
      if (error instanceof Problem && error.status === 401) return null;
      if (!(error instanceof Problem && error.code === "not_a_member" && currentTeam() !== null)) throw error;
      chooseTeam(null); // Somebody let us go, or somebody else sat here: back to one's own team.
      return await data(api.GET("/v1/me"));
    }
  },
  staleTime: 15_000,
});

/** All that is cached is of the user, or the team, that was here before: what is on the page is asked for anew. */
export async function forget(client: QueryClient): Promise<void> {
  // Not clear(): what is on the page would go on showing what it showed.
  await client.resetQueries();
}
