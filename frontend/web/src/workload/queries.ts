/** What the pages ask beside the stream. */

import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { api, data } from "@/api/client";
import type { ListSearch } from "./search";
import type { LogLine, Workload } from "./types";

const LIST_EVERY_MS = 4000;
const DETAIL_EVERY_MS = 10_000;
export const PAGE_ROWS = 25;

export const workloadsQuery = (state: ListSearch["state"], cursor: string) =>
  queryOptions({
    queryKey: ["workloads", state, cursor],
    queryFn: () =>
      data(
        api.GET("/v1/workloads", {
          params: { query: { limit: PAGE_ROWS, ...(state ? { state } : {}), ...(cursor ? { cursor } : {}) } },
        }),
      ),
    placeholderData: keepPreviousData,
    refetchInterval: LIST_EVERY_MS,
  });

export const workloadQuery = (id: number) =>
  queryOptions({
    queryKey: ["workload", id],
    queryFn: () => data(api.GET("/v1/workloads/{id}", { params: { path: { id } } })),
    retry: false,
  });

/** All of them: the stream begins with the newest. */
export const roundsQuery = (id: number) =>
  queryOptions({
    queryKey: ["rounds", id],
    queryFn: async () => (await data(api.GET("/v1/workloads/{id}/rounds", { params: { path: { id } } }))).results,
    staleTime: Infinity,
    gcTime: 0,
  });

export const billQuery = (id: number, goesOn: boolean) =>
  queryOptions({
    queryKey: ["bill", id, goesOn],
    queryFn: () => data(api.GET("/v1/workloads/{id}/bill", { params: { path: { id } } })),
    placeholderData: keepPreviousData,
    refetchInterval: goesOn ? DETAIL_EVERY_MS : false,
  });

/** news: anything that changes when there may be others. */
export const versionsQuery = (id: number, news: unknown) =>
  queryOptions({
    queryKey: ["versions", id, news],
    queryFn: () => data(api.GET("/v1/workloads/{id}/versions", { params: { path: { id } } })),
    placeholderData: keepPreviousData,
  });

export const artifactsQuery = (id: number, cursor: string, news: unknown) =>
  queryOptions({
    queryKey: ["artifacts", id, cursor, news],
    queryFn: () =>
      data(
        api.GET("/v1/workloads/{id}/artifacts", {
          params: { path: { id }, query: { limit: PAGE_ROWS, ...(cursor ? { cursor } : {}) } },
        }),
      ),
    placeholderData: keepPreviousData,
  });

const logs = async (id: number, query: { after?: number; limit: number }): Promise<LogLine[]> =>
  (await data(api.GET("/v1/workloads/{id}/logs", { params: { path: { id }, query } }))).results;

export const firstLogQuery = (id: number) =>
  queryOptions({
    queryKey: ["first log", id],
    staleTime: Infinity,
    queryFn: async () => (await logs(id, { limit: 1 }))[0]?.id ?? null,
  });

const LOG_PAGE = 1000;

/** Log lines from the first one on, a page at a time. */
export async function* allLogs(id: number, before = Infinity): AsyncGenerator<LogLine[]> {
  let after = 0;
  for (;;) {
    const results = await logs(id, { after, limit: LOG_PAGE });
    const last = results.at(-1);
    if (last === undefined) return;
    yield results.filter((line) => line.id < before);
    if (last.id >= before || results.length < LOG_PAGE) return;
    after = last.id;
  }
}

export const stop = (id: number): Promise<Workload> =>
  data(api.POST("/v1/workloads/{id}/stop", { params: { path: { id } } }));
