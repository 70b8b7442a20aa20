/** The broker's API of suppliers and their machines. */

import { queryOptions } from "@tanstack/react-query";
import { api, data, type Schemas } from "@/api/client";
import type { Wish } from "./wish";

export type Host = Schemas["Host"];
export type Earned = Schemas["Earnings"];
export type ChipPrice = Pick<
  Schemas["OfferGroup"],
  "gpu" | "market" | "offers" | "min_usd_per_gpu_hour" | "median_usd_per_gpu_hour"
>;

const EVERY_MS = 2500;

/** All of them, page by page: a supplier has a few. */
async function every(): Promise<Host[]> {
  const found: Host[] = [];
  let cursor: string | null = "";
  while (cursor !== null) {
    const page: Schemas["HostPage"] = await data(api.GET("/v1/hosts", { params: { query: cursor ? { cursor } : {} } }));
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
    queryFn: async () =>
      (await data(api.GET("/v1/hosts/{id}/earnings", { params: { path: { id }, query: { days: 30 } } }))).results,
    refetchInterval: 6 * EVERY_MS,
  });

/** What the market asks for each kind of chip: the prices that customers compare with. */
export const chipPrices = queryOptions({
  queryKey: ["chip-prices"],
  queryFn: async () =>
    (await data(api.GET("/v1/offers/groups", { params: { query: { group_by: "gpu,market" } } }))).results,
  staleTime: 300_000,
});

/** No country is said by leaving it out. */
export const addHost = ({ country, ...others }: Wish) =>
  data(api.POST("/v1/hosts", { body: country ? { country, ...others } : others }));
/** For a machine whose agent did not come yet. */
export const renewToken = (id: number) => data(api.POST("/v1/hosts/{id}/token", { params: { path: { id } } }));
export const reclaim = (id: number, notice_s: number) =>
  data(api.POST("/v1/hosts/{id}/reclaim", { params: { path: { id } }, body: { notice_s } }));
export const offerAgain = (id: number) => data(api.POST("/v1/hosts/{id}/return", { params: { path: { id } } }));
