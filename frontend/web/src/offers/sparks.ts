/** The last days' prices of the rows that are on the screen: asked for together, once each. */

import { useSyncExternalStore } from "react";
import { api, data } from "@/api/client";

export type Prices = readonly (number | null)[];

const AT_ONCE = 100;
const WAIT_MS = 120;

const known = new Map<number, Prices>();
const wanted = new Set<number>();
const listeners = new Map<number, Set<() => void>>();
let timer = 0;

function want(id: number): void {
  if (known.has(id) || wanted.has(id)) return;
  wanted.add(id);
  window.clearTimeout(timer);
  timer = window.setTimeout(fetchThem, WAIT_MS);
}

async function fetchThem(): Promise<void> {
  // Rows that were scrolled past meanwhile are asked for when they come back.
  const ids = [...wanted].filter((id) => listeners.has(id)).slice(0, AT_ONCE);
  wanted.clear();
  if (ids.length === 0) return;
  try {
    const answer = await data(api.GET("/v1/offers/sparks", { params: { query: { offers: ids.join(",") } } }));
    for (const one of answer.results)
      known.set(
        one.offer,
        one.usd_per_gpu_hour.map((usd) => (usd === null ? null : Number(usd))),
      );
  } catch {
    return; // A row without its line is still a row; the next scroll asks again.
  }
  for (const id of ids) for (const one of listeners.get(id) ?? []) one();
}

/** Undefined: not here yet. */
export function useSpark(id: number): Prices | undefined {
  return useSyncExternalStore(
    (listener) => {
      const all = listeners.get(id) ?? new Set();
      listeners.set(id, all.add(listener));
      want(id);
      return () => {
        all.delete(listener);
        if (all.size === 0) listeners.delete(id);
      };
    },
    () => known.get(id),
  );
}
