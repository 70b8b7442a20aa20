/** What the address says of the pages: which state is shown, which page, which tab. */

export const STATES = [
  "placing",
  "starting",
  "running",
  "recovering",
  "stopping",
  "succeeded",
  "failed",
  "cancelled",
] as const;
type State = (typeof STATES)[number];

export const TABS = ["timeline", "sites", "rounds", "logs", "checkpoints"] as const;
export type TabName = (typeof TABS)[number];

export interface ListSearch {
  state?: State;
  cursor?: string;
}

/** What means nothing is left out, so that a mistyped address still shows workloads. */
export function readListSearch(given: Record<string, unknown>): ListSearch {
  return {
    ...((STATES as readonly unknown[]).includes(given.state) ? { state: given.state as State } : {}),
    ...(given.cursor ? { cursor: String(given.cursor) } : {}),
  };
}

export function readPageSearch(given: Record<string, unknown>): { tab?: TabName } {
  return (TABS as readonly unknown[]).includes(given.tab) ? { tab: given.tab as TabName } : {};
}
