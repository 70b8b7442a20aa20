/** What the pages ask beside the stream. */

import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { api } from "@/api/client";
import type { Artifact, Bill, LogLine, Round, Versions, Workload } from "./types";

interface Page<Row> {
  results: Row[];
  next: string | null;
}

/** Through the door; the types are ours until the schema has them. */
async function get<T>(path: string, query: Record<string, string | number> = {}): Promise<T> {
  const answer = await api.GET(path as "/v1/me", { params: { query } } as never);
  return answer.data as T;
}

const LIST_EVERY_MS = 4000;
const DETAIL_EVERY_MS = 10_000;
export const PAGE_ROWS = 25;

export const workloadsQuery = (state: string, cursor: string) =>
  queryOptions({
    queryKey: ["workloads", state, cursor],
    queryFn: () =>
      get<Page<Workload>>("/v1/workloads", {
        limit: PAGE_ROWS,
        ...(state ? { state } : {}),
        ...(cursor ? { cursor } : {}),
      }),
    placeholderData: keepPreviousData,
    refetchInterval: LIST_EVERY_MS,
  });

export const workloadQuery = (id: number) =>
  queryOptions({ queryKey: ["workload", id], queryFn: () => get<Workload>(`/v1/workloads/${id}`), retry: false });

/** All of them: the stream begins with the newest. */
export const roundsQuery = (id: number) =>
  queryOptions({
    queryKey: ["rounds", id],
    queryFn: async () => (await get<Page<Round>>(`/v1/workloads/${id}/rounds`)).results,
    staleTime: Infinity,
    gcTime: 0,
  });

export const billQuery = (id: number, goesOn: boolean) =>
  queryOptions({
    queryKey: ["bill", id, goesOn],
    queryFn: () => get<Bill>(`/v1/workloads/${id}/bill`),
    placeholderData: keepPreviousData,
    refetchInterval: goesOn ? DETAIL_EVERY_MS : false,
  });

/** news: anything that changes when there may be others. */
export const versionsQuery = (id: number, news: unknown) =>
  queryOptions({
    queryKey: ["versions", id, news],
    queryFn: () => get<Versions>(`/v1/workloads/${id}/versions`),
    placeholderData: keepPreviousData,
  });

export const artifactsQuery = (id: number, cursor: string, news: unknown) =>
  queryOptions({
    queryKey: ["artifacts", id, cursor, news],
    queryFn: () =>
      get<Page<Artifact>>(`/v1/workloads/${id}/artifacts`, { limit: PAGE_ROWS, ...(cursor ? { cursor } : {}) }),
    placeholderData: keepPreviousData,
  });

export const firstLogQuery = (id: number) =>
  queryOptions({
    queryKey: ["first log", id],
    staleTime: Infinity,
    queryFn: async () => (await get<Page<LogLine>>(`/v1/workloads/${id}/logs`, { limit: 1 })).results[0]?.id ?? null,
  });

const LOG_PAGE = 1000;

/** Log lines from the first one on, a page at a time. */
export async function* allLogs(id: number, before = Infinity): AsyncGenerator<LogLine[]> {
  let after = 0;
  for (;;) {
    const { results } = await get<Page<LogLine>>(`/v1/workloads/${id}/logs`, { after, limit: LOG_PAGE });
    const last = results.at(-1);
    if (last === undefined) return;
    yield results.filter((line) => line.id < before);
    if (last.id >= before || results.length < LOG_PAGE) return;
    after = last.id;
  }
}

export async function stop(id: number): Promise<Workload> {
  const answer = await api.POST("/v1/workloads/{id}/stop", { params: { path: { id } } });
  return answer.data as unknown as Workload;
}
