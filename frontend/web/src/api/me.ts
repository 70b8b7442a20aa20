/** Who is here: the session, and what the broker says of its user. */

import { queryOptions, type QueryClient } from "@tanstack/react-query";
import { api, data, Problem, type Schemas } from "./client";

export type Me = Schemas["Me"];

export const me = queryOptions({
  queryKey: ["me"],
  queryFn: async (): Promise<Me | null> => {
    try {
      return await data(api.GET("/v1/me"));
    } catch (error) {
      if (error instanceof Problem && error.status === 401) return null;
      throw error;
    }
  },
  staleTime: 15_000,
});

/** All that is cached is of the user, or the team, that was here before. */
export async function forget(client: QueryClient): Promise<void> {
  client.clear();
  await client.fetchQuery(me);
}
