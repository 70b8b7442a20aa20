/** The broker's API of suppliers and their machines. */

import { queryOptions } from "@tanstack/react-query";
import { api, data, type Schemas } from "@/api/client";
import { call } from "@/account/people";
import type { Wish } from "./wish";

export type HostState = "new" | "barred" | "reclaimed" | "silent" | "reclaiming" | "rented" | "offered";

// until the schema has it
interface Hardware {
  hostname?: string;
  os?: string;
  vcpus?: number | null;
  ram_gib?: number | null;
  disk_free_gib?: number | null;
  accelerators?: { kind: string; memory_gib: number | null; uuid: string }[];
}

// until the schema has it
export interface Host extends Omit<Schemas["Host"], "hardware" | "state"> {
  state: HostState;
  hardware: Hardware;
  /** Since when it is rented; a broker may not say. */
  rented_at?: string | null;
}

// until the schema has it
export interface Earned {
  /** In UTC. */
  day: string;
  usd: string;
  /** That it was rented. */
  seconds: number;
}

const EVERY_MS = 2500;

/** All of them, page by page: a supplier has a few. */
async function every(): Promise<Host[]> {
  const found: Host[] = [];
  let cursor: string | null = "";
  while (cursor !== null) {
    const page: { results: Host[]; next: string | null } = await call(
      "GET",
      cursor ? `/v1/hosts?cursor=${encodeURIComponent(cursor)}` : "/v1/hosts",
    );
    found.push(...page.results);
    cursor = page.next;
  }
  return found;
}

export const hosts = queryOptions({ queryKey: ["hosts"], queryFn: every, refetchInterval: EVERY_MS });

export const supplier = queryOptions({
  queryKey: ["supplier"],
  queryFn: () => data(api.GET("/v1/suppliers/me")),
  refetchInterval: 4 * EVERY_MS,
});

/** Day by day, today last. */
export const earnings = (id: number) =>
  queryOptions({
    queryKey: ["earnings", id],
    queryFn: async () => (await call<{ results: Earned[] }>("GET", `/v1/hosts/${id}/earnings?days=30`)).results,
    refetchInterval: 60_000,
  });

export interface ChipPrice {
  gpu: string;
  market: string;
  offers: number;
  min_usd_per_gpu_hour: string;
  median_usd_per_gpu_hour: string;
}

/** What the market asks for each kind of chip: the price that customers compare with. */
export const chipPrices = queryOptions({
  queryKey: ["chip-prices"],
  queryFn: async () => (await call<{ results: ChipPrice[] }>("GET", "/v1/offers/groups?group_by=gpu,market")).results,
  staleTime: 300_000,
});

export const addHost = ({ country, ...others }: Wish) =>
  call<Host>("POST", "/v1/hosts", { ...others, ...(country ? { country } : {}) });
export const reclaim = (id: number, notice_s: number) => call<Host>("POST", `/v1/hosts/${id}/reclaim`, { notice_s });
export const offerAgain = (id: number) => call<Host>("POST", `/v1/hosts/${id}/return`);
